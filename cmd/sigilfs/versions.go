package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/past"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// versionsFlags are those of versions.
type versionsFlags struct {
	restore            string // a version's ID
	at                 moment
	dry, json, restart bool
	parallel           int
}

func newVersions() *cobra.Command {
	var f versionsFlags
	s := defaultSettings()
	cmd := &cobra.Command{
		Use:   "versions [flags] TARGET [PATH]",
		Short: "List the versions of a file or directory, and bring older ones back",
		Long: `versions lists what a bucket that keeps versions has kept of a file, or of a
directory and all below it: every version and every deletion, the newest of each
file first, and whether it opens.

    sigilfs versions s3://bucket/prefix/file --encryption client --key file:main.key
    sigilfs versions s3://bucket/prefix/file … --restore VERSION-ID
    sigilfs versions s3://bucket/prefix/dir … --restore-at "2026-03-01 22:00" --dry-run
    sigilfs versions s3://bucket/prefix/dir … --restore-at 12h

--restore puts one version of a file over what is there now; --restore-at does so
with every file below the target, as it was at that time. Both copy inside the
bucket and make new versions: nothing is deleted, what was not there at that time
stays, and what somebody writes meanwhile wins. A version that does not open is
not brought back; contents are not read, which sigilfs verify --data does. Hard
links come with their file, and epochs that were removed or overwritten are put
back as they are needed.

A run that was interrupted or killed goes on where it was.
The exit code is 32 if something could not be brought back.`,
		Args: targetAndPath("sigilfs versions s3://bucket/prefix/file --encryption client --key file:main.key"),
	}
	flags := cmd.Flags()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if err := f.check(s); err != nil {
			return err
		}
		target, path, err := splitTarget(args)
		if err != nil {
			return err
		}
		how := reads | aFile
		if f.restore != "" || f.at.given() {
			how |= writes
		}
		s.lostEpochs = true
		return withVolume(c, s, target, path, how, func(ctx context.Context, o *offline) error {
			return f.run(ctx, c, o)
		})
	}
	flags.StringVar(&f.restore, "restore", "", "put the version with this `ID` over the file")
	flags.Var(&f.at, "restore-at", "put what was there at this `TIME` over what is there now")
	flags.BoolVar(&f.dry, "dry-run", false, "with --restore, --restore-at: say what would be done, and write nothing")
	flags.IntVar(&f.parallel, "parallel", 16, "how many `OBJECTS` are looked at at a time")
	flags.BoolVar(&f.restart, "restart", false, "begin anew where an earlier run was interrupted")
	flags.BoolVar(&f.json, "json", false, "print a JSON document for each version, one a line; with --restore-at events, and a summary as the last")
	s.addFlags(flags)
	return cmd
}

func (f *versionsFlags) check(s *settings) error {
	switch {
	case f.restore != "" && f.at.given():
		return usageError("--restore takes one version, and --restore-at what was there at a time: give one of them")
	case f.dry && f.restore == "" && !f.at.given():
		return usageError("--dry-run goes with --restore or --restore-at: versions writes nothing without")
	case f.parallel < 1 || f.parallel > 1000:
		return usageError("--parallel is from 1 to 1000")
	case s.readOnly && !f.dry && (f.restore != "" || f.at.given()):
		return usageError("--read-only does not go with --restore and --restore-at, which write; give --dry-run to see what")
	case s.at.given():
		return usageError("--at does not go with versions, which shows all times; give --restore-at to bring one back")
	}
	return nil
}

func (f *versionsFlags) run(ctx context.Context, c *cobra.Command, o *offline) error {
	switch {
	case f.restore != "":
		return f.one(ctx, c, o)
	case f.at.given():
		return f.tree(ctx, c, o)
	}
	return f.list(ctx, c, o)
}

// history is what the bucket has kept below the target, less what is not the
// volume's.
func (o *offline) history(ctx context.Context, after string) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		p, err := o.stored(o.path)
		if err != nil {
			yield(objstore.Version{}, err)
			return
		}
		for ver, err := range o.volume.History(ctx, p, after) {
			if err == nil && !o.volume.Mine(ver.Key) {
				continue
			}
			if !yield(ver, err) {
				return
			}
		}
	}
}

// list prints the versions.
func (f *versionsFlags) list(ctx context.Context, c *cobra.Command, o *offline) error {
	out := newPrinter(c.OutOrStdout(), c.ErrOrStderr(), "looking", f.json)
	out.bar.Done() // rows are progress enough
	var names []volume.Kept
	if err := f.looks(ctx, o, out, o.history(ctx, ""), func(k volume.Kept) {
		if k.Link != "" && o.shownPath(k.Path) == o.path {
			names = append(names, k)
		}
	}); err != nil {
		return err
	}
	if err := f.looks(ctx, o, out, o.volume.InodeHistory(ctx, names), func(volume.Kept) {}); err != nil {
		return err
	}
	if out.bad != nil {
		return systemError("%w", out.bad)
	}
	return nil
}

// looked is a version on its way through ordered.
type looked struct {
	ver  objstore.Version
	kept volume.Kept
	err  error
}

func (f *versionsFlags) looks(ctx context.Context, o *offline, out *printer, all iter.Seq2[objstore.Version, error], seen func(volume.Kept)) error {
	in := func(yield func(looked) bool) {
		for ver, err := range all {
			if !yield(looked{ver: ver, err: err}) || err != nil {
				return
			}
		}
	}
	for l := range ordered(ctx, f.parallel, in, func(ctx context.Context, l looked) looked {
		if l.err == nil {
			l.kept, l.err = o.volume.Look(ctx, l.ver)
		}
		return l
	}) {
		if l.err != nil {
			return o.explain("versions of", o.path, l.err)
		}
		seen(l.kept)
		l.kept.Path = o.shownPath(l.kept.Path)
		out.line(versionLineOf(l.kept), versionEvent(l.kept))
	}
	return nil
}

// versionLineOf is a row: time, size of the content, how it is encrypted, storage
// class, ID, name, and what else is to be said.
func versionLineOf(k volume.Kept) string {
	size, mode, class := fmt.Sprint(k.Content), k.Mode, k.StorageClass
	if k.Content < 0 {
		size = "-"
	}
	if mode == "" {
		mode = "-"
	}
	if class == "" {
		class = "STANDARD"
	}
	if k.Deleted {
		mode, class = "deleted", "-"
	}
	name := k.Path
	if name == "" {
		name = k.Key
	}
	line := fmt.Sprintf("%s %12s %-12s %-12s %-36s %s", k.Modified.Local().Format("2006-01-02 15:04:05"), size, mode, class, k.VersionID, shownName(name))
	if k.Latest {
		line += "  (now)"
	}
	if k.Link != "" {
		line += "  (hard link)"
	}
	if k.Err != nil {
		line += "  (does not open: " + oneLine(k.Err) + ")"
	}
	return line
}

func versionEvent(k volume.Kept) event {
	e := event{
		"path": k.Path, "key": k.Key, "version": k.VersionID, "time": k.Modified.UTC().Format(time.RFC3339Nano),
		"latest": k.Latest, "deleted": k.Deleted, "stored": k.Size, "storage_class": k.StorageClass, "mode": k.Mode,
	}
	if k.Content >= 0 {
		e["size"] = k.Content
	}
	if k.Link != "" {
		e["inode"] = k.Link
	}
	if k.Err != nil {
		e["error"] = k.Err.Error()
	}
	return e
}

// one brings one version back.
func (f *versionsFlags) one(ctx context.Context, c *cobra.Command, o *offline) error {
	m, err := f.find(ctx, o)
	if err != nil {
		return err
	}
	r, err := o.volume.NewRestorer(volume.RestorerOptions{Dry: f.dry})
	if err != nil {
		return o.explain("restore", o.path, err)
	}
	did, err := r.BringBack(ctx, m)
	if errors.Is(err, volume.ErrArchived) {
		return mountError("restore %s: %w; aws s3api restore-object brings it back with --version-id %s, and sigilfs restore only what is there now", o.name(o.path), err, m.Then.VersionID)
	}
	if err != nil {
		return o.explain("restore", o.path, err)
	}
	out := newPrinter(c.OutOrStdout(), c.ErrOrStderr(), "restoring", f.json)
	out.bar.Done()
	out.line(f.said(did)+" "+shownName(o.path), event{"event": f.said(did), "path": o.path, "version": m.Then.VersionID})
	return out.bad
}

// find looks for the version, of the file itself or of what it is a name of.
func (f *versionsFlags) find(ctx context.Context, o *offline) (m past.Moment, err error) {
	var names []volume.Kept
	take := func(ver objstore.Version) {
		if m.Key == "" || m.Then.Key == "" && ver.Key != m.Key {
			m = past.Moment{Key: ver.Key}
		}
		if ver.Key == m.Key && ver.Latest {
			m.Now = ver
		}
		if ver.Key == m.Key && ver.VersionID == f.restore {
			m.Then = ver
		}
	}
	own, here := "", false
	file := o.key()
	for ver, err := range o.history(ctx, "") {
		if err != nil {
			return m, o.explain("versions of", o.path, err)
		}
		if own == "" {
			own = ver.Key
		}
		if ver.Key != own || ver.Key != file && ver.Key != file+"/" {
			break // of what is in a directory: one version is one file's
		}
		take(ver)
		here = here || ver.Latest && !ver.Deleted
		if k, err := o.volume.Look(ctx, ver); err == nil && k.Link != "" {
			names = append(names, k)
		}
	}
	if m.Then.Key == "" {
		for ver, err := range o.volume.InodeHistory(ctx, names) {
			if err != nil {
				return m, o.explain("versions of", o.path, err)
			}
			take(ver)
		}
	}
	switch {
	case m.Then.Key != "" && m.Key != own && !here:
		return m, mountError("%s: version %s is of the content of a hard link, and this name of it is not there: bring back a version of the name first", o.name(o.path), f.restore)
	case m.Then.Key == "":
		return m, mountError("%s: no version of it has the ID %s; sigilfs versions lists them", o.name(o.path), f.restore)
	case m.Then.Deleted:
		return m, mountError("%s: version %s is a deletion: name the version that it deleted", o.name(o.path), f.restore)
	}
	return m, nil
}

// said is what came of it, as it is told.
func (f *versionsFlags) said(did volume.BroughtBack) string {
	switch {
	case did == volume.Restored && f.dry:
		return "would be restored"
	case did == volume.Same:
		return "as it was"
	case did == volume.NewSince:
		return "new since, left"
	}
	return string(did)
}

// tree brings back what was there at a time.
func (f *versionsFlags) tree(ctx context.Context, c *cobra.Command, o *offline) error {
	journal, err := o.journal(bulk.Identity{
		Operation: "versions", Target: fmt.Sprintf("s3://%s/%s%s", o.set.target.Bucket, o.set.target.Prefix, o.path),
		Options: fmt.Sprintf("restore-at=%s dry-run=%v", f.at.text, f.dry),
	}, f.restart)
	if err != nil {
		return err
	}
	defer journal.Close()
	at := f.at.at
	if journal.Resumed() {
		at = at.Add(-time.Since(journal.Began())) // of "3h ago" then
	}
	if f.at.fixed {
		at = f.at.at
	}
	r, err := o.volume.NewRestorer(volume.RestorerOptions{At: at, Dry: f.dry})
	if err != nil {
		return o.explain("restore", o.path, err)
	}
	out := newPrinter(c.OutOrStdout(), c.ErrOrStderr(), "restoring", f.json)
	out.of = o.mounting
	defer out.bar.Done()
	if journal.Resumed() {
		out.say(fmt.Sprintf("going on with what was interrupted, begun %s", journal.Began().Format(time.RFC3339)))
	}
	totals, err := f.walk(ctx, o, r, journal, at, out)
	if err != nil {
		return o.explain("restore", o.path, err)
	}
	out.bar.Done()
	sum := event{"event": "summary", "at": at.UTC().Format(time.RFC3339Nano), "failed": totals.Failed}
	text := fmt.Sprintf("as of %s:", at.Format(time.RFC3339))
	for _, did := range []volume.BroughtBack{volume.Restored, volume.Same, volume.NewSince} {
		n := totals.Done[f.said(did)].Entries
		sum[string(did)] = n
		text += fmt.Sprintf(" %d %s,", n, f.said(did))
	}
	out.line(fmt.Sprintf("%s %d failed", text, totals.Failed), sum)
	if err := journal.Finish(); err != nil {
		o.log.WithError(err).Warn("the journal of this run could not be removed: the next one will say that it goes on")
	}
	switch {
	case totals.Failed > 0:
		return mountError("%d objects could not be brought back", totals.Failed)
	case out.bad != nil:
		return systemError("%w", out.bad)
	}
	return nil
}

func (f *versionsFlags) walk(ctx context.Context, o *offline, r *volume.Restorer, j *bulk.Journal, at time.Time, out *printer) (bulk.Totals, error) {
	out.bar.Resume(sums(j.Done()))
	stop := counting(ctx, out.bar, func(ctx context.Context) (objects, bytes int64, err error) {
		for m, err := range past.Moments(o.history(ctx, ""), at) {
			if err != nil {
				return 0, 0, err
			}
			objects, bytes = objects+1, bytes+m.Then.Size
		}
		return objects, bytes, nil
	})
	defer stop()
	return bulk.Run(ctx, bulk.Walk[past.Moment]{
		List: func(ctx context.Context, after string) iter.Seq2[past.Moment, error] {
			return past.Moments(o.history(ctx, after), at)
		},
		Key: func(m past.Moment) string { return m.Key },
		Do: func(ctx context.Context, m past.Moment) (bulk.Outcome, error) {
			did, err := r.BringBack(ctx, m)
			out.bar.Add(1, m.Then.Size)
			if err != nil {
				return bulk.Outcome{}, err
			}
			if did == volume.Restored || did == volume.NewSince {
				out.line(f.said(did)+" "+out.named(m.Key), out.keyed(event{"event": f.said(did), "key": m.Key, "version": m.Then.VersionID}))
			}
			return bulk.Outcome{Kind: f.said(did), Bytes: m.Then.Size}, nil
		},
		Fatal: hopeless, Failed: out.failed, Journal: j, Parallel: f.parallel,
	})
}
