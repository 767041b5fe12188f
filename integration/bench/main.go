// Bench measures the built binary from outside: sigilfs in three modes beside
// the filesystems that people would use instead (s3fs, rclone, gocryptfs over
// s3fs, where they are installed), beside a client of AWS's SDK that moves whole
// objects in parallel, and beside a FUSE filesystem that does nothing. All do
// the same work on the same server behind the same meter, which holds each
// request for a round trip, caps the rate, and counts requests and bytes; what
// they wrote and read is compared with what it should be.
//
// Counts are exact. Times are of this machine, on which server, meter and client
// share the processors: they compare programs, and fail nothing.
//
// Each program mounts anew, with empty caches, before each round of each work.
// What a work needs is put there before, at no distance. Time is that of the
// work, until all of it is in the bucket; requests are all until the unmount,
// where the work changes anything.
//
// Packages below: report is the result as data and what is made of it, raw the
// client of the SDK, null the filesystem that does nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/integration/bench/report"
	"github.com/sigilfs/sigilfs/integration/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Somebody who reads our output no more is no reason to leave mounts behind.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := start(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// start is the benchmark, or one of the programs that it runs as processes of
// their own, to know their memory and processor time.
func start(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == rawCommand {
		return rawMain(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == nullCommand {
		return nullMain(ctx, args[1:])
	}
	opt, err := parse(args)
	if err != nil {
		return err
	}
	return opt.run(ctx)
}

// run measures, or only publishes what was measured before.
func (o options) run(ctx context.Context) error {
	all, err := report.Load(o.results)
	if err != nil {
		return err
	}
	if !o.publishOnly {
		if err := o.measure(ctx, all); err != nil {
			return err
		}
	}
	for _, v := range all.Verdicts() {
		fmt.Printf("%-3s %s: %s\n", map[bool]string{true: "ok", false: "-"}[v.Met], v.Goal, v.Got)
	}
	if o.publish == "" {
		return nil
	}
	return all.Publish(o.publish)
}

// measure is one run in a directory of its own. all is kept up to date, and on
// disk, work by work: an interrupted run loses the work that it was in.
func (o options) measure(ctx context.Context, all *report.Report) (err error) {
	busy := load()
	dir, remove, err := daemon.WorkDir("sigilfs-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	b, err := newBed(ctx, dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	one := report.Report{When: time.Now().UTC().Format(time.RFC3339), Sizes: o.sizes.reported(), Versions: b.versions(ctx)}
	if one.Machine, err = machine(b.storeOn); err != nil {
		return err
	}
	if one.Machine.Busy(busy) {
		progress("other programs keep this machine busy (load %.1f): times will mean little", busy)
	}
	err = b.all(ctx, func(rows []report.Row) error {
		for i := range rows {
			rows[i].Load = busy
		}
		one.Rows = append(one.Rows, rows...)
		all.Replace(&one)
		return all.Save(o.results)
	})
	return errors.Join(err, one.Print(os.Stdout))
}
