package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// restoreFlags are those of restore.
type restoreFlags struct {
	tier            string
	days, parallel  int
	wait, dry, json bool
}

// The pauses of --wait: the fastest restore takes a minute, the slowest two days.
const (
	leastWait = 15 * time.Second
	mostWait  = 10 * time.Minute
)

func newRestore() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore TARGET…",
		Short: "Have archived files brought back, so that they can be read",
		Long: `restore asks S3 to bring back files of the classes GLACIER and DEEP_ARCHIVE, and
those that S3 Intelligent-Tiering has put away: of each TARGET the file, or the
directory and all below it, hard links with their content.

    sigilfs restore s3://bucket/prefix/dir --days 7 --encryption client --key file:main.key
    sigilfs restore s3://bucket/prefix/file … --tier Expedited --wait
    sigilfs restore CONFIG.yaml PATH… --dry-run

S3 takes minutes to two days for it, by class and --tier, and keeps what is back
for --days beside the archive. Mounts read it as soon as it is there; the extended
attribute user.sigil.restore tells how far it is. With --wait the command ends when
nothing is being restored any more.

What is back for so long, on its way, or not archived is left as it is: a run that
was interrupted may be given again. The exit code is 32 if something could not be
ordered, or was left in the archive.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("sigilfs restore s3://bucket/prefix/file --encryption client --key file:main.key")
			}
			return nil
		},
	}
	cmd.PreRunE = func(c *cobra.Command, _ []string) error { return f.check(c) }
	onVolume(cmd, reads|aFile, func(ctx context.Context, c *cobra.Command, o *offline, args []string) error {
		paths, err := o.targets(args)
		if err != nil {
			return err
		}
		return f.run(ctx, c, o, paths)
	})
	flags := cmd.Flags()
	flags.StringVar(&f.tier, "tier", volume.TierStandard, "how fast and dear: `TIER` Standard, Bulk or Expedited, which the class DEEP_ARCHIVE has not")
	flags.IntVar(&f.days, "days", 7, "for how many `DAYS` what is back stays")
	flags.BoolVar(&f.wait, "wait", false, "end when nothing is being restored any more")
	flags.BoolVar(&f.dry, "dry-run", false, "say what would be ordered, and order nothing")
	flags.IntVar(&f.parallel, "parallel", 16, "how many `OBJECTS` are looked at at a time")
	flags.BoolVar(&f.json, "json", false, "print events as JSON, one a line, and a summary as the last")
	return cmd
}

func (f *restoreFlags) check(c *cobra.Command) error {
	for _, tier := range []string{volume.TierStandard, volume.TierBulk, volume.TierExpedited} {
		if strings.EqualFold(f.tier, tier) {
			f.tier = tier
		}
	}
	given := func(name string) bool {
		flag := c.Flags().Lookup(name)
		return flag != nil && flag.Changed && flag.Value.String() != "false"
	}
	switch {
	case f.tier != volume.TierStandard && f.tier != volume.TierBulk && f.tier != volume.TierExpedited:
		return usageError("--tier is Standard, Bulk or Expedited")
	case f.days < 1 || f.days > 36500:
		return usageError("--days is from 1 to 36500")
	case f.parallel < 1 || f.parallel > 1000:
		return usageError("--parallel is from 1 to 1000")
	case f.dry && f.wait:
		return usageError("--dry-run orders nothing: there is nothing to --wait for")
	case given("read-only"):
		return usageError("--read-only does not go with restore, which sends orders; give --dry-run to see which")
	case given("at"):
		return usageError("--at does not go with restore, which is for what is there now")
	}
	return nil
}

// remedy says of a failure at a path of a mount what there is to do.
func (s *settings) remedy(path string, err error) string {
	switch {
	case !errors.Is(err, volume.ErrArchived):
		return ""
	case s.ofFile:
		return "sigilfs restore " + quoted(s.source) + " " + quoted(path)
	}
	return "sigilfs restore " + quoted("s3://"+s.target.Bucket+"/"+s.target.Prefix+path) + " (with the flags of the mount)"
}

// restoring is a run.
type restoring struct {
	*restoreFlags
	o      *offline
	out    *printer
	counts map[volume.ThawState]int64
	failed int64
	left   int64 // in the archive, after --wait
}

func (f *restoreFlags) run(ctx context.Context, c *cobra.Command, o *offline, paths []string) error {
	r := &restoring{restoreFlags: f, o: o, out: newPrinter(c.OutOrStdout(), c.ErrOrStderr(), "ordering", f.json), counts: map[volume.ThawState]int64{}}
	r.out.of = o.mounting
	defer r.out.bar.Done()
	var all []*volume.Thawer
	for _, p := range paths {
		stored, err := o.stored(p)
		if err != nil {
			return err
		}
		x, err := o.volume.NewThawer(volume.ThawOptions{Path: stored, Days: f.days, Tier: f.tier, Dry: f.dry})
		if err != nil {
			return o.explain("restore", p, err)
		}
		all = append(all, x)
	}
	stop := counting(ctx, r.out.bar, func(ctx context.Context) (int64, int64, error) { return inAll(ctx, all) })
	defer stop()
	for i, x := range all {
		if err := r.order(ctx, x, paths[i]); err != nil {
			return o.explain("restore", paths[i], err)
		}
	}
	for i, x := range all {
		if !f.wait || r.counts[volume.ThawOrdered]+r.counts[volume.ThawOngoing] == 0 {
			break
		}
		err := r.await(ctx, x)
		if ctx.Err() != nil {
			return mountError("interrupted; what was ordered is brought back all the same")
		}
		if err != nil {
			return o.explain("restore", paths[i], err)
		}
	}
	r.out.bar.Done()
	return r.sum()
}

// inAll tells how many objects there are to look at. Of no body is a byte read.
func inAll(ctx context.Context, all []*volume.Thawer) (objects, bytes int64, err error) {
	for _, x := range all {
		n, _, err := sizes(x.List(ctx, ""))
		if err != nil {
			return 0, 0, err
		}
		objects += n
	}
	return objects, 0, nil
}

// order goes over one target.
func (r *restoring) order(ctx context.Context, x *volume.Thawer, p string) error {
	stored, err := r.o.stored(p)
	if err != nil {
		return err
	}
	var seen atomic.Int64
	totals, err := bulk.Run(ctx, bulk.Walk[objstore.Entry]{
		List: func(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] { return x.List(ctx, after) },
		Key:  func(e objstore.Entry) string { return e.Key },
		Do: func(ctx context.Context, e objstore.Entry) (bulk.Outcome, error) {
			seen.Add(1)
			t, err := x.Order(ctx, e)
			r.out.bar.Add(1, 0)
			if err != nil {
				return bulk.Outcome{}, err
			}
			if t.State != volume.ThawNeedless || e.Key == r.o.storedPrefix()+stored {
				r.tell(e, t)
			}
			return bulk.Outcome{Kind: string(t.State), Bytes: e.Size}, nil
		},
		Fatal: hopeless, Failed: r.out.failed, Parallel: r.parallel,
	})
	if err != nil {
		return err
	}
	if seen.Load() == 0 && p != "" {
		return volume.ErrNotExist
	}
	r.failed += totals.Failed
	for kind, n := range totals.Done {
		r.counts[volume.ThawState(kind)] += n.Entries
	}
	return nil
}

// tell says what is with an object.
func (r *restoring) tell(e objstore.Entry, t volume.Thawed) {
	said := string(t.State)
	if r.dry && t.State == volume.ThawOrdered {
		said = "would be ordered"
	}
	doc := event{"event": said, "key": e.Key, "storage_class": t.Class, "stored": e.Size}
	text := said + " " + r.out.named(e.Key)
	if !t.Until.IsZero() {
		until := t.Until.UTC().Format(time.RFC3339)
		doc["until"] = until
		text += " until " + until
	}
	r.out.line(text, r.out.keyed(doc))
}

// await waits for what is on its way of one target.
func (r *restoring) await(ctx context.Context, x *volume.Thawer) error {
	told := ""
	return x.Await(ctx, volume.ThawWait{
		Parallel: r.parallel, Least: leastWait, Most: mostWait, Pause: pause,
		Ready: func(e objstore.Entry, t volume.Thawed) {
			if t.State != volume.ThawNeedless {
				r.tell(e, t)
			}
		},
		Left: func(e objstore.Entry, err error) {
			r.left++
			text, doc := "left in the archive "+r.out.named(e.Key), r.out.keyed(event{"event": "left in the archive", "key": e.Key})
			if err != nil {
				text, doc["reason"] = inOneLine(fmt.Sprintf("%s: %v", text, err)), err.Error()
			}
			r.out.line(text, doc)
		},
		Waits: func(e objstore.Entry, cause error, d time.Duration) {
			switch {
			case cause != nil:
				r.out.say(fmt.Sprintf("waiting on: %v; next look in %s", cause, d.Round(time.Second)))
			case told != e.Key:
				r.out.say(fmt.Sprintf("waiting for %s", r.out.named(e.Key)))
				told = e.Key
			}
		},
	})
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sum is the last line, and how the command ends.
func (r *restoring) sum() error {
	doc := event{"event": "summary", "failed": r.failed, "left": r.left}
	text := ""
	for _, s := range []volume.ThawState{volume.ThawOrdered, volume.ThawOngoing, volume.ThawDone, volume.ThawNeedless} {
		said := string(s)
		if r.dry && s == volume.ThawOrdered {
			said = "would be ordered"
		}
		doc[said] = r.counts[s]
		text += fmt.Sprintf("%d %s, ", r.counts[s], said)
	}
	r.out.line(fmt.Sprintf("%s%d failed", text, r.failed), doc)
	switch {
	case r.failed > 0:
		return mountError("%d objects could not be restored", r.failed)
	case r.left > 0:
		return mountError("%d objects are in the archive still, and nobody restores them", r.left)
	case r.out.bad != nil:
		return systemError("%w", r.out.bad)
	}
	return nil
}
