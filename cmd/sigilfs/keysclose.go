package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/spf13/cobra"
)

func newKeysClose() *cobra.Command {
	var f closeFlags
	cmd := keysCommand("close TARGET [EPOCH…]", "Close retired epochs that nothing needs", `close has nothing that was sealed under an epoch open any more, on any host, so
that who once had its key forges nothing under it. There is no way back. Without
EPOCH it takes all retired epochs that nothing needs, after sigilfs reencrypt;
with it those alone, by their ids or the beginnings of them.

It asks for the metadata of every object of the volume, and of every older version
that the bucket keeps: an epoch stays that one of them is sealed under, or whose
data key is from it. No epoch is closed while one of them cannot be looked at or
does not open, or an upload is under way; nor one that was retired less than
--retired-for ago, as hosts may seal under it until they have looked; nor one that
also lies at a root above TARGET, or that may not be closed yet at another place
within it: hosts take what is closed for closed everywhere. What the
bucket does not show is not looked at: copies and backups of it elsewhere open no
more under a closed epoch, but with a recovery file (sigilfs keys export).

--force closes the given epochs without looking: what lies under them is lost to
every host.

Exit codes: 0 closed; 32 none was closed, or not all of those given; 64 some
retired ones are needed yet, or do not open here.`, anyNumber, writes,
		func(ctx context.Context, k *keeping, args []string) error { return k.close(ctx, args, f) })
	number := cmd.Args
	cmd.Args = func(c *cobra.Command, args []string) error {
		if f.force && len(args) < 2 {
			return usageError("--force closes what it is given: sigilfs keys close TARGET EPOCH… --force")
		}
		if f.parallel < 1 || f.parallel > 1000 {
			return usageError("--parallel is from 1 to 1000")
		}
		return number(c, args)
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "close the given epochs even if files need them, which nobody can read then")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask before that")
	cmd.Flags().IntVar(&f.parallel, "parallel", 32, "how many `OBJECTS` are asked for at a time")
	return cmd
}

// closeFlags say when an epoch may be closed.
type closeFlags struct {
	retiredFor time.Duration
	force, yes bool
	parallel   int
}

func (f *closeFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.retiredFor, "retired-for", 0, "`TIME` for which an epoch must have been retired before it is closed: more than any host may need to notice, asleep or cut off, and to end what it was writing (default: --key-recheck and 15 minutes)")
}

// unheard is how long a host may go on with what it began before it noticed that
// its epoch is retired: the requests that end a commit, each tried again for
// commitRetry.
const unheard = 3 * commitRetry

func (f closeFlags) retired(s *settings) time.Duration {
	if f.retiredFor > 0 {
		return f.retiredFor
	}
	return s.keyRecheck + unheard
}

// keptJSON is an epoch that was not closed.
type keptJSON struct {
	ID     string `json:"id"`
	At     string `json:"at"`
	State  string `json:"state"`
	Why    string `json:"why"`
	Needed int64  `json:"needed_by,omitempty"` // objects and old versions
	Such   string `json:"such_as,omitempty"`   // one of them
}

func (j keptJSON) line() string {
	text := fmt.Sprintf("epoch %s is not closed: %s", j.ID, j.Why)
	if j.Such != "" {
		text += fmt.Sprintf(", such as %q", j.Such)
	}
	return text
}

// closing is of epochs.
type closing struct {
	*alteration
	given      bool // somebody named the epochs
	retiredFor time.Duration
	parallel   int // requests at a time
	unseen     int // what could not be looked at

	// replaced tells of what a dry run of reencrypt would seal anew. It may be nil.
	replaced func(ctx context.Context, key string) (bool, error)
}

func (k *keeping) close(ctx context.Context, ids []string, f closeFlags) error {
	held, err := k.epochs(ctx, k.places.Within)
	if err != nil {
		return err
	}
	if held, err = chooseEpochs(held, ids); err != nil {
		return err
	}
	c := &closing{alteration: k.newAlteration("looking for what needs them"), given: len(ids) > 0, retiredFor: f.retired(k.set), parallel: f.parallel}
	defer c.bar.Done()
	if f.force {
		err = c.force(ctx, held, f.yes)
	} else if err = k.openIdle(ctx); err == nil {
		err = c.run(ctx, held)
	}
	if err != nil {
		return err
	}
	if err := c.print(); err != nil {
		return err
	}
	return c.doc.closed(c.given)
}

// openIdle opens the volume to look at what is there.
func (k *keeping) openIdle(ctx context.Context) error {
	k.idle = true
	if err := k.openPolicy(ctx); err != nil {
		return err
	}
	return k.openVolume(ctx)
}

// chooseEpochs takes the epochs that are named, all without names.
func chooseEpochs(held []keyring.Held, names []string) ([]keyring.Held, error) {
	if len(names) == 0 {
		return held, nil
	}
	var chosen []keyring.Held
	for _, name := range names {
		ids := map[keyring.EpochID]bool{}
		for _, h := range held {
			if len(name) >= 8 && strings.HasPrefix(h.ID.String(), name) {
				ids[h.ID] = true
				chosen = append(chosen, h)
			}
		}
		switch len(ids) {
		case 1:
		case 0:
			return nil, usageError("%q is no epoch of the volume: sigilfs keys list --epochs shows them", name)
		default:
			return nil, usageError("%q is the beginning of several ids: give more of it", name)
		}
	}
	slices.SortStableFunc(chosen, func(a, b keyring.Held) int { return strings.Compare(a.Path(), b.Path()) })
	return slices.CompactFunc(chosen, func(a, b keyring.Held) bool { return a.Path() == b.Path() }), nil
}

// closed is the error of a document about closing. given: the epochs were named.
func (d changesDocument) closed(given bool) error {
	switch {
	case d.Refused != "":
		return mountError("%s: no epoch was closed: %s", d.Target, d.Refused)
	case len(d.Failed) > 0: // which is worse than what follows
	case len(d.Kept) > 0 && given:
		return mountError("%s: %d of the epochs were not closed", d.Target, len(d.Kept))
	case len(d.Kept) > 0:
		return &exitError{exitWarned, fmt.Errorf("%s: %d retired epochs were not closed", d.Target, len(d.Kept))}
	}
	return d.failed("those are as they were")
}

// force closes what is retired, whatever needs it.
func (c *closing) force(ctx context.Context, held []keyring.Held, yes bool) error {
	var retired []keyring.Held
	for _, h := range c.opened(held, anyEpoch) {
		if h.State == keyring.Live {
			c.keep(h, "it is open, and hosts seal under it: sigilfs keys rotate retires it")
			continue
		}
		retired = append(retired, h)
	}
	if !yes && !c.doc.DryRun && len(retired) > 0 {
		c.bar.Clear()
		ok, err := confirm(ctx, fmt.Sprintf("Close %d epochs for good? No host will read what is sealed under them again. [y/N] ", len(retired)))
		if err != nil {
			return usageError("--force asks before it closes anything, and cannot: %w; say --yes", err)
		}
		if !ok {
			return mountError("nothing was changed")
		}
	}
	return c.finish(ctx, retired)
}

// run closes those of the epochs that are retired and that nothing needs.
func (c *closing) run(ctx context.Context, held []keyring.Held) error {
	ready, since, err := c.ready(ctx, c.opened(held, func(h keyring.Held) bool { return c.given || h.State == keyring.Retired }))
	if err != nil {
		return explainStore(c.doc.Target, err)
	}
	if ready, err = c.everywhere(ctx, held, ready); err != nil {
		return explainStore(c.doc.Target, err)
	}
	if len(ready) > 0 {
		if c.doc.Refused, err = c.uploads(ctx, since); err != nil {
			return explainStore(c.doc.Target, err)
		}
	}
	if len(ready) == 0 || c.doc.Refused != "" {
		return nil
	}
	needs, err := c.scan(ctx, ready)
	if err != nil || c.doc.Refused != "" {
		return err
	}
	var free []keyring.Held
	for _, h := range ready {
		if n := needs.of[h.ID.String()]; n > 0 {
			c.keep(h, fmt.Sprintf("%d objects or old versions need it", n))
			j := &c.doc.Kept[len(c.doc.Kept)-1]
			j.Needed, j.Such = n, needs.such[h.ID.String()]
			continue
		}
		free = append(free, h)
	}
	return c.finish(ctx, free)
}

// finish closes epochs. What failed stands in the document.
func (c *closing) finish(ctx context.Context, held []keyring.Held) error {
	c.bar.Set(0, 0)
	err := c.applyAll(ctx, held, keyring.Aim{State: keyring.Closed})
	if ctx.Err() != nil {
		return err
	}
	return nil //nolint:nilerr // which is told with the rest
}

func (c *closing) keep(h keyring.Held, why string) {
	c.doc.Kept = append(c.doc.Kept, keptJSON{ID: h.ID.String(), At: h.At, State: h.State.String(), Why: why})
}

// ready gives the epochs that have been retired for long enough, by the clock of
// the server and the last change of their objects. Others are noted. An upload
// that was begun since then carries none of them.
func (c *closing) ready(ctx context.Context, held []keyring.Held) (ready []keyring.Held, since time.Time, err error) {
	for _, h := range held {
		switch {
		case h.State == keyring.Closed:
			c.doc.Unchanged++
			continue
		case h.State == keyring.Live:
			if c.given {
				c.keep(h, "it is open, and hosts seal under it: sigilfs keys rotate retires it")
			}
			continue
		case !h.Newest():
			c.keep(h, "the bucket does not show what this host knows of it, and other hosts may seal under what they see: sigilfs keys rotate puts the newest revision back")
			continue
		}
		// After h was read, so that it has not been changed since without our seeing.
		info, err := c.store.Head(ctx, objstore.ID{Key: h.Path()})
		if err != nil {
			return nil, since, err
		}
		now := info.Answered
		if now.IsZero() {
			now = time.Now()
		}
		wait := info.Modified.Add(c.retiredFor + time.Second).Sub(now) // their clocks have whole seconds
		if wait > 0 {
			c.keep(h, fmt.Sprintf("it was retired, or last changed, %s ago, and hosts may seal under it for another %s (--retired-for)", max(0, now.Sub(info.Modified)).Round(time.Second), wait.Round(time.Second)))
			continue
		}
		ready = append(ready, h)
		if left := info.Modified.Add(c.retiredFor); left.After(since) {
			since = left
		}
	}
	return ready, since, nil
}

// needs are what was found of epochs: how many need each, and one of them.
type needs struct {
	of   map[string]int64
	such map[string]string // of what this run looked at itself

	mu sync.Mutex // guards such
}

// scan asks every object, and every version that is kept, which of the epochs it
// needs. What it found goes on with an interrupted run: which epochs are looked
// for is part of what that was, and each of them was retired before it began.
func (c *closing) scan(ctx context.Context, ready []keyring.Held) (*needs, error) {
	var ids []string
	for _, h := range ready {
		ids = append(ids, h.ID.String())
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	journal, err := c.journal(strings.Join(ids, " "))
	if err != nil {
		return nil, err
	}
	found := &needs{of: map[string]int64{}, such: map[string]string{}}
	stop := c.count(ctx)
	totals, err := bulk.Run(ctx, bulk.Walk[objstore.Version]{
		List: c.volume.Stored, Key: func(ver objstore.Version) string { return ver.Key },
		Journal: journal, Parallel: c.parallel, Fatal: endsAll,
		Do: func(ctx context.Context, ver objstore.Version) (bulk.Outcome, error) {
			return c.needed(ctx, ver, ids, found)
		},
		Failed: func(key string, err error) { c.failed(key, err) },
		Tell: func(p bulk.Progress) {
			all := p.Totals.Failed
			for _, n := range p.Totals.Done {
				all += n.Entries
			}
			c.bar.Set(all, 0)
		},
	})
	stop()
	if err != nil {
		err = errors.Join(err, journal.Close())
		if ctx.Err() != nil {
			return nil, mountError("interrupted: no epoch was closed, and the same command goes on")
		}
		return nil, mountError("%w; no epoch was closed, and the same command goes on", explainStore(c.doc.Target, err))
	}
	if err := errors.Join(journal.Finish(), journal.Close()); err != nil {
		return nil, systemError("%w", err)
	}
	for kind, n := range totals.Done {
		for _, id := range strings.Fields(kind) {
			found.of[id] += n.Entries
		}
	}
	if totals.Failed > 0 {
		c.doc.Refused = fmt.Sprintf("%d objects could not be looked at, or do not open, and may need any of them; such as %s", totals.Failed, inOneLine(totals.Failures[0].Cause))
	}
	return found, nil
}

// needed asks one.
func (c *closing) needed(ctx context.Context, ver objstore.Version, ids []string, found *needs) (bulk.Outcome, error) {
	of, err := c.volume.EpochsOf(ctx, ver)
	if err != nil {
		return bulk.Outcome{}, err
	}
	var kinds []string
	for _, id := range of {
		if slices.Contains(ids, id.String()) {
			kinds = append(kinds, id.String())
		}
	}
	if kinds != nil && ver.Latest && c.replaced != nil {
		if gone, err := c.replaced(ctx, ver.Key); err != nil || gone {
			return bulk.Outcome{}, err
		}
	}
	if lies, ok := c.unlisted(ver, ids); ok {
		kinds = append(kinds, lies)
	}
	slices.Sort(kinds)
	found.mu.Lock()
	defer found.mu.Unlock()
	for _, id := range kinds {
		if found.such[id] == "" {
			found.such[id] = strings.Clone(ver.Key)
		}
	}
	return bulk.Outcome{Kind: strings.Join(kinds, " ")}, nil
}

// failed tells of what could not be looked at, the first ones.
func (c *closing) failed(key string, err error) {
	if c.unseen++; c.unseen <= mostTold && !c.asJSON {
		fmt.Fprintf(c.bar, "%s\n", inOneLine(failure(key, err)))
	}
}

// journal is of one run over the bucket for these epochs; what was left of
// another one is not gone on with. A dry run has none.
func (c *closing) journal(ids string) (*bulk.Journal, error) {
	if c.doc.DryRun {
		return nil, nil
	}
	id := bulk.Identity{Operation: "close-epochs", Target: c.bucketName() + " " + c.set.volumeRoot, Options: c.options(ids)}
	j, err := bulk.Open(c.state.Journals(), id, false)
	if errors.Is(err, bulk.ErrOther) || errors.Is(err, bulk.ErrCorrupt) {
		j, err = bulk.Open(c.state.Journals(), id, true)
	}
	switch {
	case errors.Is(err, bulk.ErrBusy):
		return nil, mountError("%w: wait for it", err)
	case err != nil:
		return nil, systemError("%w", err)
	}
	return j, nil
}

// options tell runs apart: what one has looked at says nothing to who gives hosts
// more time to notice, as they may have sealed there since.
func (c *closing) options(ids string) string {
	return fmt.Sprintf("%s retired-for=%s", ids, c.retiredFor)
}

// count tells meanwhile how much there is to be looked at; stop ends that.
func (c *closing) count(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if n, ok := entries(c.volume.Stored(ctx, "")); ok {
			c.bar.Total(n, 0)
		}
	})
	return func() {
		cancel()
		tasks.Wait()
	}
}

func entries[E any](all iter.Seq2[E, error]) (n int64, ok bool) {
	for _, err := range all {
		if err != nil {
			return 0, false
		}
		n++
	}
	return n, true
}
