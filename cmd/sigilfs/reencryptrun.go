package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// mostPasses bounds the walks over one bucket: who writes faster than it is
// walked would have it go on for ever.
const mostPasses = 10

// mostTold is how many failures are told of one by one.
const mostTold = 100

// reencrypted is what a run came to, as --json tells it last.
type reencrypted struct {
	Event    string                `json:"event"` // "result"
	Target   string                `json:"target"`
	DryRun   bool                  `json:"dry-run,omitempty"`
	Resumed  bool                  `json:"resumed,omitempty"`
	Passes   int                   `json:"passes"`
	Settled  bool                  `json:"settled"` // the last pass found nothing to do
	Did      map[string]bulk.Count `json:"did"`     // of all passes what was written, of the last one the rest
	Failed   int64                 `json:"failed"`
	Failures []failedObject        `json:"failures,omitempty"` // the first ones
	Requests int64                 `json:"requests,omitempty"` // that a dry run expects, about
	Old      *oldVersions          `json:"old-versions,omitempty"`
	Epochs   *changesDocument      `json:"epochs,omitempty"` // that were closed
	closed   []string              // the same for people
}

type failedObject struct {
	Key   string `json:"key"`
	Path  string `json:"path,omitempty"` // where names are encrypted
	Error string `json:"error"`
}

// run goes over the objects until nothing is left to do.
func (r *reencrypting) run(ctx context.Context, c *cobra.Command, o *offline) error {
	if o.set.readOnly && !r.dry {
		return usageError("--read-only: nothing can be re-encrypted; --dry-run tells what would be")
	}
	if r.closing && o.key() != o.set.volumeRoot {
		return usageError("--close-epochs has to look at all of the volume: its root is s3://%s/%s", o.set.target.Bucket, o.set.volumeRoot)
	}
	if _, err := o.stored(o.path); err != nil {
		return err
	}
	journal, err := r.journal(o)
	if err != nil {
		return err
	}
	told := progress.New(r.tells(c), progress.Options{What: "re-encrypting", JSON: r.json})
	defer told.Done()
	res := reencrypted{Event: "result", Target: o.set.source, DryRun: r.dry, Resumed: journal.Resumed(), Did: map[string]bulk.Count{}}
	if res.Resumed && !r.json {
		fmt.Fprintf(told, "going on with a run that was begun at %s: pass %d, behind %q\n", journal.Began().Local().Format("2006-01-02 15:04:05"), journal.Pass(), journal.Cursor())
	}
	re := o.volume.Reencrypt(volume.ReencryptOptions{From: r.from, Fresh: r.all, Dry: r.dry})
	re.Ask(ctx)
	counted := counting(ctx, told, func(ctx context.Context) (objects, bytes int64, err error) { return sizes(o.below(ctx, o.path, "")) })
	err = r.passes(ctx, o, re, journal, told, &res)
	counted()
	if err == nil {
		err = r.past(ctx, o, re.Again(), told, &res)
	}
	if err == nil && r.closing {
		err = r.closeEpochs(ctx, c, o, told, &res)
	}
	told.Done()
	if err != nil {
		return errors.Join(r.interrupted(ctx, o, err), journal.Close())
	}
	if err := errors.Join(journal.Finish(), journal.Close()); err != nil {
		return systemError("%w", err)
	}
	r.tell(c.OutOrStdout(), res)
	switch {
	case res.Failed > 0:
		return mountError("%d objects could not be re-encrypted; they are as they were", res.Failed)
	case res.Old != nil && res.Old.Purged && (res.Old.Failed > 0 || res.Old.Untold != ""):
		return mountError("not all old versions could be looked at or removed; the same command goes on")
	case !res.Settled && !r.dry:
		return mountError("after %d passes objects still change faster than they are re-encrypted: run it again when less is written", res.Passes)
	case res.Epochs != nil:
		return res.Epochs.closed(false)
	}
	return nil
}

// tells is where progress goes.
func (r *reencrypting) tells(c *cobra.Command) io.Writer {
	if r.json {
		return c.OutOrStdout()
	}
	return c.ErrOrStderr()
}

// interrupted is the error of a run that ended before its end.
func (r *reencrypting) interrupted(ctx context.Context, o *offline, err error) error {
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	hint := "; the same command goes on where this one ended"
	if r.dry {
		hint = ""
	}
	if ctx.Err() != nil {
		return mountError("%w%s", err, hint)
	}
	return mountError("%w%s", explainStore(o.set.target.Spec, err), hint)
}

// journal opens what an interrupted run left, or begins; a dry run has none.
func (r *reencrypting) journal(o *offline) (*bulk.Journal, error) {
	if r.dry {
		return nil, nil
	}
	id := bulk.Identity{Operation: "reencrypt", Target: o.bucketName() + " " + o.key(), Options: r.options(o)}
	return o.journal(id, r.restart)
}

// options is what decides on what is done: modes, keys, what is taken and for what
// it is taken.
func (r *reencrypting) options(o *offline) string {
	var b strings.Builder
	for _, rule := range o.rules {
		fmt.Fprintf(&b, "%s=%s(%s) ", rule.Prefix, rule.Mode, strings.Join(rule.makes(), " "))
	}
	from := slices.Clone(r.from)
	slices.Sort(from)
	fmt.Fprintf(&b, "from=%s all=%v", strings.Join(from, ","), r.all)
	fmt.Fprintf(&b, " instruction-files=%v s3ec-legacy-wrapping=%v s3ec-legacy-cbc=%v", o.set.readInstructions, o.set.readOldWraps, o.set.readCBC)
	return b.String()
}

// key is what the keys to be taken are, or begin with and a slash. What can be no
// name is refused before it is asked for.
func (o *offline) key() string {
	p, _ := o.names.Stored(o.path)
	return o.storedPrefix() + p
}

// below lists what lies at path p and below, less what is not the volume's.
func (o *offline) below(ctx context.Context, p, after string) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		p, err := o.stored(p)
		if err != nil {
			yield(objstore.Entry{}, err)
			return
		}
		whole := o.storedPrefix() + p
		for e, err := range o.objects.List(ctx, objstore.ListOptions{Prefix: whole, After: after}) {
			if err == nil && (p != "" && e.Key != whole && !strings.HasPrefix(e.Key, whole+"/") || !o.volume.Mine(e.Key)) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// passes walks again and again until a walk changes nothing.
func (r *reencrypting) passes(ctx context.Context, o *offline, re *volume.Reencryption, journal *bulk.Journal, told *progress.Progress, res *reencrypted) error {
	for pass := journal.Pass(); ; pass++ {
		if pass > 1 {
			re = re.Again()
		}
		totals, err := r.pass(ctx, o, re, journal, told)
		res.count(o, totals, pass)
		if err != nil {
			return err
		}
		res.Settled = !changed(totals)
		// Another pass would take what got no fresh data key for as it should be.
		lost := r.all && pass == 1 && totals.Failed > 0
		if res.Settled || r.dry || lost || pass >= mostPasses {
			for kind, c := range journal.Earlier() {
				if isChange(kind) {
					res.add(kind, c)
				}
			}
			return nil
		}
		if err := journal.Again(); err != nil {
			return systemError("%w", err)
		}
	}
}

func (r *reencrypting) pass(ctx context.Context, o *offline, re *volume.Reencryption, journal *bulk.Journal, told *progress.Progress) (bulk.Totals, error) {
	told.Resume(sums(journal.Done()))
	failures := 0
	return bulk.Run(ctx, bulk.Walk[objstore.Entry]{
		List: func(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
			return o.below(ctx, o.path, after)
		},
		Key:     func(e objstore.Entry) string { return e.Key },
		Journal: journal, Parallel: r.parallel,
		Do: func(ctx context.Context, e objstore.Entry) (bulk.Outcome, error) {
			did, err := re.Do(ctx, e.Key)
			return bulk.Outcome{Kind: did.Did, Bytes: did.Bytes}, err
		},
		Fatal: endsAll,
		Failed: func(key string, err error) {
			if failures++; failures <= mostTold && !r.json {
				fmt.Fprintf(told, "%s\n", inOneLine(failure(o.keyOrName(key), err)))
			}
			if failures == mostTold+1 && !r.json {
				fmt.Fprintln(told, "more failures are counted only")
			}
		},
		Tell: func(p bulk.Progress) {
			objects, bytes := sums(p.Totals.Done)
			told.Set(objects+p.Totals.Failed, bytes)
		},
	})
}

// sums counts entries of every kind together.
func sums(done map[string]bulk.Count) (objects, bytes int64) {
	for _, c := range done {
		objects, bytes = objects+c.Entries, bytes+c.Bytes
	}
	return objects, bytes
}

// endsAll tells the errors after which no other object fares better.
func endsAll(err error) bool {
	for _, e := range []error{volume.ErrBadAuth, volume.ErrClosed, volume.ErrSpoolFull, volume.ErrQuota, volume.ErrReadOnly, objstore.ErrBucket, objstore.ErrUnreachable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// failure is the line about an object, with what to do where that is not plain.
func failure(key string, err error) string {
	text := err.Error()
	if !strings.Contains(text, key) {
		text = key + ": " + text
	}
	if errors.Is(err, volume.ErrUnproven) {
		text += "; --from names the modes whose objects are to be taken all the same"
	}
	return text
}

// inOneLine has nothing of a key, which anybody may have chosen, move the cursor.
func inOneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, text)
}

// amount is bytes for people.
func amount(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func isChange(kind string) bool {
	return volume.Reencrypted{Did: kind}.Changed()
}

func changed(t bulk.Totals) bool {
	for kind := range t.Done {
		if isChange(kind) {
			return true
		}
	}
	return false
}

func (res *reencrypted) add(kind string, c bulk.Count) {
	was := res.Did[kind]
	res.Did[kind] = bulk.Count{Entries: was.Entries + c.Entries, Bytes: was.Bytes + c.Bytes}
}

// count has what the last pass found.
func (res *reencrypted) count(o *offline, t bulk.Totals, pass int) {
	res.Passes, res.Did, res.Failed, res.Failures = pass, map[string]bulk.Count{}, t.Failed, nil
	for kind, c := range t.Done {
		res.add(kind, c)
	}
	for _, f := range t.Failures {
		one := failedObject{Key: f.Key, Error: f.Cause}
		one.Path, _ = o.pathOf(f.Key)
		res.Failures = append(res.Failures, one)
	}
	for _, c := range t.Done {
		res.Requests += c.Entries
	}
	res.Requests += res.Requests/1000 + 1 + 2*(t.Done[volume.Copied].Entries+t.Done[volume.Rewrapped].Entries) + 3*t.Done[volume.Rewritten].Entries
}

// tell says what came of it.
func (r *reencrypting) tell(out io.Writer, res reencrypted) {
	if !r.dry {
		res.Requests = 0
	}
	if r.json {
		b, _ := json.Marshal(res) // plain data
		fmt.Fprintf(out, "%s\n", b)
		return
	}
	lines := []struct{ kind, text, would string }{
		{volume.Rewritten, "through this host", "would go through this host"},
		{volume.Rewrapped, "their data key under another key, their content left in the store", "would have their data key under another key, their content left in the store"},
		{volume.Copied, "copied inside the store", "would be copied inside the store"},
		{volume.Removed, "removed, to be made anew or needed no more", "would be removed"},
		{volume.Unchanged, "as they should be", "are as they should be"},
		{volume.Left, "left: of other modes, or in use", "would be left: of other modes, or in use"},
		{volume.Gone, "gone since they were listed", "have gone since they were listed"},
	}
	for _, l := range lines {
		text := l.text
		if r.dry {
			text = l.would
		}
		if c := res.Did[l.kind]; c.Entries > 0 {
			fmt.Fprintf(out, "%8d objects  %10s  %s\n", c.Entries, amount(c.Bytes), text)
		}
	}
	if res.Failed > 0 {
		fmt.Fprintf(out, "%8d objects  %10s  failed, and are as they were\n", res.Failed, "")
	}
	if res.Old != nil {
		res.Old.tell(out, r.dry)
	}
	for _, line := range res.closed {
		fmt.Fprintln(out, line)
	}
	if r.dry {
		fmt.Fprintf(out, "about %d requests\n", res.Requests)
	}
}
