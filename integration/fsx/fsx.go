// Package fsx changes files at random and holds each change, read and error
// against the same system call on files of a local filesystem: writes,
// truncations, fallocate(2), shared mmap(2), copy_file_range(2), several
// descriptors of one file, names that are replaced and unlinked while they are
// open, dropped pages, remounts. It is made after what fsx, the filesystem
// exerciser of 1991, does.
//
// All that it does follows from a seed: the operations of a run are the first
// ones of a longer run with the same options. A failure tells the seed, the
// number of the operation and the last ones before it.
package fsx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
)

// Options of Run. Dir, Ref and Ops are required.
type Options struct {
	Dir  string // what is tested: an empty directory
	Ref  string // an empty directory of a local filesystem
	Seed uint64
	Ops  int

	// Remount makes the filesystem forget what it holds, now and then and at
	// the end; no file is open then. nil: files are only closed.
	Remount func(context.Context) error

	// MaxSize of a file, in bytes; 0 is 40 MiB.
	MaxSize int64

	// Large is the share of descriptors that are of large files, in percent; 0
	// is 3. Those are mostly written in order.
	Large int

	// Full: there may be less room for unfinished files than they need. A write
	// that gets ENOSPC is tried again after an fsync of all.
	Full bool

	Trace io.Writer // gets every operation, a line each; may be nil
}

// Failure is a difference between the two directories, or a call that failed
// in a way that it should not.
type Failure struct {
	Seed uint64
	Op   int      // how many operations there were, the failed one included
	Last []string // the last of them, oldest first
	Err  error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d, operation %d: %v\nthe last operations:\n\t%s", f.Seed, f.Op, f.Err, strings.Join(f.Last, "\n\t"))
}

func (f *Failure) Unwrap() error { return f.Err }

// Run does opt.Ops operations, compares everything at last, and leaves the
// files. Every error is a *Failure. Two runs may go on at once in directories
// of their own.
func Run(ctx context.Context, opt Options) error {
	t := newTester(opt)
	// What an mmap cannot read or write is an error here, not the end.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	err := t.run(ctx)
	if err == nil {
		return nil
	}
	last := slices.Clone(t.trace)
	return &Failure{Seed: opt.Seed, Op: t.count, Last: last, Err: errors.Join(err, t.closeAll())}
}

// tester is one run.
type tester struct {
	opt     Options
	rng     *rand.Rand
	classes []class
	handles []*handle // open, the oldest first
	opened  int       // handles ever
	mapped  *mapping  // nil for none
	count   int
	trace   []string
}

// traced is how many operations a failure tells.
const traced = 60

func newTester(opt Options) *tester {
	if opt.MaxSize == 0 {
		opt.MaxSize = 40 << 20
	}
	if opt.Large == 0 {
		opt.Large = 3
	}
	return &tester{opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 0)), classes: classes(opt)} //nolint:gosec // repeatable on purpose
}

func (t *tester) run(ctx context.Context) error {
	ops := operations(t.opt)
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	for t.count < t.opt.Ops {
		t.count++
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := choose(ops, t.rng.IntN(total)).do(ctx, t); err != nil {
			return err
		}
	}
	return t.remount(ctx)
}

// note keeps what is about to be done.
func (t *tester) note(format string, args ...any) {
	if len(t.trace) == traced {
		t.trace = t.trace[1:]
	}
	line := fmt.Sprintf("%d: ", t.count) + fmt.Sprintf(format, args...)
	t.trace = append(t.trace, line)
	if t.opt.Trace != nil {
		fmt.Fprintln(t.opt.Trace, line)
	}
}
