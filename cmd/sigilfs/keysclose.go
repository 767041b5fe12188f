package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
does not open, or while an upload is under way. Some servers, MinIO among them, do
not tell of uploads: nothing is closed there but with --no-writers, when every host
was unmounted since the epochs were retired. Nor is one that was retired less than
--retired-for ago, as hosts may seal under it until they have looked; nor one that
also lies at a root above TARGET, or that may not be closed yet at another place
within it: hosts take what is closed for closed everywhere. What the
bucket does not show is not looked at: copies and backups of it elsewhere open no
more under a closed epoch, but with a recovery file (sigilfs keys export).

--force closes the given epochs without looking: what lies under them is lost to
every host, also below other roots where the same epochs lie, those above TARGET
too. One that is open at such a root stays.

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
	noWriters  bool
	force, yes bool
	parallel   int
}

func (f *closeFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.retiredFor, "retired-for", 0, "`TIME` for which an epoch must have been retired before it is closed: more than any host may need to notice, asleep or cut off, and to end what it was writing (default: --key-recheck and 15 minutes)")
	cmd.Flags().BoolVar(&f.noWriters, "no-writers", false, "take it upon yourself that no upload of before that is under way, where the server does not tell: every host has been unmounted since, and nothing else writes")
}

// closing is of epochs.
type closing struct {
	*alteration
	objects    objstore.Store // where epochs and uploads are looked for
	given      bool           // somebody named the epochs
	retiredFor time.Duration
	noWriters  bool
	parallel   int // requests at a time
	unseen     int // what could not be looked at

	// replaced tells of what a dry run of reencrypt would seal anew. It may be nil.
	replaced func(ctx context.Context, key string) (bool, error)
}

func (f closeFlags) closing(a *alteration, parallel int) *closing {
	return &closing{alteration: a, objects: a.store, retiredFor: f.retired(a.set), noWriters: f.noWriters, parallel: parallel}
}

func (k *keeping) close(ctx context.Context, ids []string, f closeFlags) error {
	held, err := k.epochs(ctx, k.places.Within)
	if err != nil {
		return err
	}
	if held, err = chooseEpochs(held, ids); err != nil {
		return err
	}
	c := f.closing(k.newAlteration("looking for what needs them"), f.parallel)
	c.given = len(ids) > 0
	defer c.bar.Done()
	if err := c.resealForClose(ctx); err != nil {
		return err
	}
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

// resealForClose sees to it that the key of names is under no epoch that is closed.
func (c *closing) resealForClose(ctx context.Context) error {
	if err := c.resealNames(ctx); err != nil {
		return err
	}
	if n := c.doc.Names; n != nil && n.Error != "" {
		return mountError("%s: nothing was closed: %s", c.doc.Target, n.line())
	}
	return nil
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

// force closes what is retired, whatever needs it.
func (c *closing) force(ctx context.Context, held []keyring.Held, yes bool) error {
	var retired []keyring.Held
	for _, h := range c.opened(held, anyEpoch) {
		if h.State == keyring.Live {
			c.keep(h, "it is open, and hosts seal under it: sigilfs keys rotate retires it")
			continue
		}
		why, err := c.openElsewhere(ctx, held, h)
		if err != nil {
			return explainStore(c.doc.Target, err)
		}
		if why != "" {
			c.keep(h, why)
			continue
		}
		retired = append(retired, h)
	}
	if !yes && !c.doc.DryRun && len(retired) > 0 {
		c.bar.Clear()
		ok, err := confirm(ctx, fmt.Sprintf("Close %d epochs for good? No host will read what is sealed under them again, below any root where they lie, those above TARGET too. [y/N] ", len(retired)))
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
	retired, since, err := c.ready(ctx, c.opened(held, func(h keyring.Held) bool { return c.given || h.State == keyring.Retired }))
	if err != nil {
		return explainStore(c.doc.Target, err)
	}
	ready, err := c.everywhere(ctx, held, retired)
	if err != nil {
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
		if !c.needed(h, needs) {
			free = append(free, h)
		}
	}
	return c.finish(ctx, free)
}

// needed notes what was found of an epoch, if anything was.
func (c *closing) needed(h keyring.Held, found *needs) bool {
	id := h.ID.String()
	kind, why := id, fmt.Sprintf("%d objects or old versions need it", found.of[id])
	if found.of[kind] == 0 {
		kind, why = alsoAt+id, "what is closed at one place hosts take for closed at all, and it also lies where the search for volumes within did not come"
	}
	if found.of[kind] == 0 {
		return false
	}
	c.keep(h, why)
	j := &c.doc.Kept[len(c.doc.Kept)-1]
	j.Needed, j.Such = found.of[id], found.such[kind]
	return true
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
