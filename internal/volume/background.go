package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sync/errgroup"
)

// What fails in the background is tried again after firstRetry, then ever more
// slowly, up to lastRetry.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// retry says when something is to be tried again.
type retry struct {
	at    time.Time
	pause time.Duration
	busy  bool // it is being tried
}

func (r *retry) later(now time.Time) {
	r.pause = min(max(2*r.pause, firstRetry), lastRetry)
	r.at = now.Add(r.pause)
}

// claim tells whether it is time to try, and if so marks it busy. Else at is
// when it will be; zero while it is busy.
func (r *retry) claim(now time.Time) (ok bool, at time.Time) {
	switch {
	case r.busy:
		return false, time.Time{}
	case now.Before(r.at):
		return false, r.at
	}
	r.busy = true
	return true, time.Time{}
}

// background commits what was released dirty, removes what was unlinked while
// open and completes directory renames. Each file is tried by itself: none
// waits for the trouble of another.
func (v *Volume) background(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(parallelCommits)
	defer func() { _ = g.Wait() }() // its functions give no error
	spare, end := context.WithCancel(ctx)
	defer end() // what Close does itself, within its time
	for {
		var due <-chan time.Time
		stop := func() bool { return true }
		if next := v.spawn(ctx, spare, &g); !next.IsZero() {
			t := time.NewTimer(next.Sub(v.opt.Now()))
			due, stop = t.C, t.Stop
		}
		select {
		case <-v.stop:
			stop()
			return
		case <-ctx.Done():
			stop()
			return
		case <-v.wake:
		case <-due:
		}
		stop()
	}
}

// spawn starts what is due, as far as there is room, and tells when the next
// will be; zero is not before somebody says wakeUp, as each that ends does.
// Indexes are written under spare.
func (v *Volume) spawn(ctx, spare context.Context, g *errgroup.Group) (next time.Time) {
	now := v.opt.Now()
	try := func(claimed bool, at time.Time, work func(), unclaim func()) {
		if !claimed {
			if !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
			return
		}
		if !g.TryGo(func() error {
			work()
			unclaim()
			v.wakeUp()
			return nil
		}) {
			unclaim()
		}
	}
	if claimed, at := v.claimChores(now); claimed || !at.IsZero() {
		try(claimed, at, func() { v.logged(v.doChores(ctx)) }, v.unclaimChores)
	}
	for _, p := range v.dueDirs("") {
		claimed, at := v.claimDir(p, now)
		try(claimed, at, func() { v.logged(v.commitDir(ctx, p)) }, func() { v.unclaimDir(p) })
	}
	for _, r := range v.index.dueIndexes() {
		claimed, at := v.index.claimWrite(r, now)
		try(claimed, at, func() { v.writeIndex(spare, r) }, func() { v.index.unclaimWrite(r) })
	}
	for _, f := range v.allFiles() {
		if v.abandoned(f) {
			claimed, at := f.claim(now)
			try(claimed, at, func() { v.commitAbandoned(ctx, f) }, f.unclaim)
		}
	}
	return next
}

func (v *Volume) logged(err error) {
	if err != nil {
		v.opt.Log.WithError(err).Error("will be tried again")
	}
}

func (v *Volume) commitAbandoned(ctx context.Context, f *File) {
	if err := f.commitClosed(ctx); err != nil {
		v.opt.Log.WithField("path", f.Path()).WithError(err).Error("dirty data is kept and will be tried again")
		return
	}
	v.retire(f)
}

func (f *File) claim(now time.Time) (bool, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wait.claim(now)
}

func (f *File) unclaim() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wait.busy = false
}

// claimChores is false and zero where there are none.
func (v *Volume) claimChores(now time.Time) (bool, time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.doomed)+len(v.unfinished)+len(v.strays) == 0 {
		return false, time.Time{}
	}
	return v.chores.claim(now)
}

func (v *Volume) unclaimChores() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.chores.busy = false
}

// condemn has key removed in the background.
func (v *Volume) condemn(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doomed = append(v.doomed, key)
}

// stray has u aborted in the background.
func (v *Volume) stray(u *upload) {
	v.mu.Lock()
	v.strays = append(v.strays, u)
	v.mu.Unlock()
	v.wakeUp()
}

// doChores completes unfinished renames and removes what is condemned and
// aborts what nobody completes; what fails stays on the list.
func (v *Volume) doChores(ctx context.Context) error {
	v.mu.Lock()
	moves, keys, strays := v.unfinished, v.doomed, v.strays
	v.unfinished, v.doomed, v.strays = nil, nil, nil
	v.mu.Unlock()
	var errs []error
	for _, u := range strays {
		if err := u.abandon(ctx); err != nil {
			errs = append(errs, err)
			v.stray(u)
		}
	}
	for _, j := range moves {
		if err := v.finish(ctx, j); err != nil {
			errs = append(errs, fmt.Errorf("complete rename of %q to %q: %w", j.From, j.To, err))
		}
	}
	for _, key := range keys {
		if err := v.delete(ctx, key, ""); err != nil {
			errs = append(errs, fmt.Errorf("remove what nobody needs: %w", err))
			v.condemn(key)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(errs) == 0 {
		v.chores = retry{busy: v.chores.busy}
	} else {
		v.chores.later(v.opt.Now())
	}
	return errors.Join(errs...)
}

// sweep removes the bodies that a process of this host which died had
// unlinked while they were open: there is one process at a time. Where it left
// files too, these may lie over them, and are replayed first.
func (v *Volume) sweep(ctx context.Context) error {
	if v.opt.LeftSealed {
		return nil
	}
	var keys []string
	for _, host := range v.sweepable() {
		for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: v.parkedOf(host)}) {
			if err != nil {
				return err
			}
			keys = append(keys, e.Key)
		}
	}
	if len(v.opt.Left) > 0 {
		v.orphans = keys
		return nil
	}
	v.condemnAll(keys)
	return nil
}

// sweepable are the hosts whose unlinked bodies nobody has open. One that is
// Passing is there for the first time.
func (v *Volume) sweepable() []string {
	if v.opt.Passing {
		return v.opt.Former
	}
	return append([]string{v.opt.Host}, v.opt.Former...)
}

func (v *Volume) condemnAll(keys []string) {
	for _, key := range keys {
		v.condemn(key)
	}
	v.wakeUp()
}
