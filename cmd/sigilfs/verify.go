package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// verifyFlags are verify's own.
type verifyFlags struct {
	data, repair, dry, json, restart, accept bool
	settled                                  time.Duration
	parallel                                 int
}

func newVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [flags] TARGET [PATH]",
		Short: "Look whether what is in the bucket is whole, and repair it from older versions",
		Long: `verify asks the bucket for each object below TARGET and looks whether it is what
was written there: its seal, its size and the table at its end, and with --data
every byte. It believes no cache and no index, runs beside mounts, and writes
nothing unless --repair is given.

    sigilfs verify s3://bucket/prefix --encryption client --key file:main.key
    sigilfs verify s3://bucket/prefix … --data
    sigilfs verify s3://bucket/prefix … --data --repair --dry-run
    sigilfs verify CONFIG.yaml [PATH] --data

Each finding is a line: what is wrong, the path or else the key, why, and which
bytes of the content are lost. What is older than this host has known of it is
found, and so are epochs that do not open. Of a whole volume the names of hard
links are counted too, and what hosts left that have been silent for long is
told.

--repair takes, of a bucket that keeps versions, the newest version that is
whole (all of it is read first) and puts it over a damaged object, unless
somebody has written that meanwhile, and over an older state one that is as new
as this host has known; counts hard links anew; removes inodes that
have had no name for a week; and removes damaged indexes, which are made again.

A run that was interrupted goes on where it was. The exit code is 0 if all is
well, 64 if something is wrong, and 32 if something could not be looked at, or
not held against what this host knows, and nothing that could is wrong.`,
		Args: targetAndPath("sigilfs verify s3://bucket/prefix --encryption client --key file:main.key"),
	}
	flags := cmd.Flags()
	s := defaultSettings()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		how := reads | aFile
		if f.repair || f.accept {
			how |= writes
		}
		target, path, err := splitTarget(args)
		if err != nil {
			return err
		}
		return withVolume(c, s, target, path, how, func(ctx context.Context, o *offline) error {
			if f.accept {
				return f.acceptRestore(ctx, c, o, target)
			}
			return f.run(ctx, c, o, target)
		})
	}
	flags.BoolVar(&f.data, "data", false, "read all content too, and verify every byte")
	flags.BoolVar(&f.repair, "repair", false, "put the newest good version over what is damaged, and count hard links anew")
	flags.BoolVar(&f.accept, "accept-restore", false, "take the older states that this host meets there for what is to be, after a restore that was wanted; verify nothing")
	flags.BoolVar(&f.dry, "dry-run", false, "with --repair or --accept-restore: say what would be done, and write nothing")
	flags.DurationVar(&f.settled, "settled", time.Hour, "judge the names of hard links that nobody has changed for `TIME`")
	flags.IntVar(&f.parallel, "parallel", 16, "how many `OBJECTS` are looked at at a time")
	flags.BoolVar(&f.restart, "restart", false, "begin anew where an earlier run was interrupted")
	flags.BoolVar(&f.json, "json", false, "print events as JSON, one a line, and a summary as the last")
	s.addFlags(flags)
	return cmd
}

func (f *verifyFlags) check() error {
	switch {
	case f.dry && !f.repair && !f.accept:
		return usageError("--dry-run goes with --repair: verify writes nothing without it")
	case f.accept && (f.repair || f.data):
		return usageError("--accept-restore verifies and repairs nothing: give it alone")
	case f.parallel < 1 || f.parallel > 1000:
		return usageError("--parallel is from 1 to 1000")
	case f.settled <= 0:
		return usageError("--settled is more than nothing")
	}
	return nil
}

// identity is what an interrupted run must have been, to be gone on with.
func (f *verifyFlags) identity(o *offline) bulk.Identity {
	return bulk.Identity{
		Operation: "verify", Target: fmt.Sprintf("s3://%s/%s%s", o.set.target.Bucket, o.set.target.Prefix, o.path),
		Options: fmt.Sprintf("%s data=%v repair=%v dry-run=%v", o.heldAgainst(), f.data, f.repair, f.dry),
	}
}

// run verifies, and tells what it found.
func (f *verifyFlags) run(ctx context.Context, c *cobra.Command, o *offline, target string) error {
	journal, err := o.journal(f.identity(o), f.restart)
	if err != nil {
		return err
	}
	defer journal.Close()
	out := newVerifyPrinter(c.OutOrStdout(), c.ErrOrStderr(), f.json)
	out.of = o.mounting
	defer out.bar.Done()
	epochs, err := newEpochCheck(o)
	if err != nil {
		return systemError("%w", err)
	}
	p, err := o.stored(o.path)
	if err != nil {
		return err
	}
	opt := volume.VerifyOptions{
		Path: p, Data: f.data, Repair: f.repair, Dry: f.dry, Settled: f.settled, After: journal.Cursor(), Parallel: 4,
		Read: func(n int64) { out.bar.Add(0, n) },
	}
	if epochs != nil {
		opt.Epoch = epochs.look
	}
	x, err := o.volume.NewVerifier(opt)
	if err != nil {
		return explainStore(target, err)
	}
	defer x.Close()
	if journal.Resumed() {
		out.sum.resumed = true
		out.say(fmt.Sprintf("going on with what was interrupted, begun %s", journal.Began().Format(time.RFC3339)))
		if err := f.again(ctx, x); err != nil {
			return explainStore(target, err)
		}
	}
	stop := counting(ctx, out.bar, func(ctx context.Context) (objects, bytes int64, err error) {
		if objects, bytes, err = sizes(x.List(ctx, x.After())); !f.data {
			bytes = 0 // none is read
		}
		return objects, bytes, err
	})
	totals, err := f.walk(ctx, x, journal, out)
	stop()
	found := func(one *volume.Finding) {
		out.finding(one)
		out.sum.count(string(one.Fault), 1)
	}
	if err == nil && epochs != nil && x.Whole() {
		err = epochs.missing(ctx, found)
	}
	if err == nil {
		out.sum.Verified, err = x.Finish(ctx, found)
	}
	if err != nil {
		return explainStore(target, err)
	}
	out.sum.take(totals)
	out.sum.foreign = o.volume.Stats().Foreign > 0
	out.bar.Done()
	if err := out.end(); err != nil {
		return err
	}
	if err := journal.Finish(); err != nil {
		o.log.WithError(err).Warn("the journal of this run could not be removed: the next one will say that it goes on")
	}
	return out.sum.exit()
}

// sound is what bulk calls an object that is as it should be, untold one that may
// be an older state.
const (
	sound  = "sound"
	untold = "untold"
)

// walk looks at each object.
func (f *verifyFlags) walk(ctx context.Context, x *volume.Verifier, j *bulk.Journal, out *verifyPrinter) (bulk.Totals, error) {
	return bulk.Run(ctx, bulk.Walk[objstore.Entry]{
		List: x.List, Key: func(e objstore.Entry) string { return e.Key },
		Do: func(ctx context.Context, e objstore.Entry) (bulk.Outcome, error) {
			err := x.Check(ctx, e)
			out.bar.Add(1, 0)
			if one := (*volume.Finding)(nil); errors.As(err, &one) {
				out.finding(one)
				return bulk.Outcome{Kind: string(one.Fault), Bytes: e.Size}, nil
			}
			if errors.Is(err, volume.ErrUntold) {
				out.untold(err)
				return bulk.Outcome{Kind: untold, Bytes: e.Size}, nil
			}
			return bulk.Outcome{Kind: sound, Bytes: e.Size}, err
		},
		Fatal: hopeless, Failed: out.failed, Journal: j, Parallel: f.parallel,
	})
}

// again looks once more at what an earlier run has done, as far as the counts of
// hard links need that; what was found then was told then.
func (f *verifyFlags) again(ctx context.Context, x *volume.Verifier) error {
	_, err := bulk.Run(ctx, bulk.Walk[objstore.Entry]{
		List: x.Earlier, Key: func(e objstore.Entry) string { return e.Key },
		Do: func(ctx context.Context, e objstore.Entry) (bulk.Outcome, error) {
			err := x.Check(ctx, e)
			if one := (*volume.Finding)(nil); errors.As(err, &one) || errors.Is(err, volume.ErrUntold) {
				err = nil
			}
			return bulk.Outcome{Kind: sound}, err
		},
		Fatal: func(error) bool { return true }, Parallel: f.parallel,
	})
	return err
}

// hopeless tells what no other object would fare better with.
func hopeless(err error) bool {
	for _, e := range []error{objstore.ErrBadAuth, objstore.ErrBucket, objstore.ErrUnreachable, volume.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// targetAndPath wants a TARGET, and after a configuration file perhaps a PATH.
func targetAndPath(example string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return usageError("%s", example)
		}
		return nil
	}
}

func splitTarget(args []string) (target, path string, err error) {
	if len(args) == 1 {
		return args[0], "", nil
	}
	if !isFile(args[0]) {
		return "", "", usageError("%s: a path of its own goes with a configuration file only; write %s/%s", args[1], args[0], args[1])
	}
	return args[0], args[1], nil
}

// verifyPrinter says what is found: lines for persons, JSON for machines.
type verifyPrinter struct {
	*printer
	sum  verifySum
	once sync.Once // what is said of the first object of which nobody can tell
}

func newVerifyPrinter(stdout, stderr io.Writer, json bool) *verifyPrinter {
	return &verifyPrinter{printer: newPrinter(stdout, stderr, "verifying", json), sum: verifySum{found: map[string]int64{}}}
}
