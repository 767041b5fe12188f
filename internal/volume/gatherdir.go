package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// dirChange is what waits to be written to the marker of a directory, as it does
// for files. The times that its entries move ride along.
type dirChange struct {
	c    Change
	n    uint64 // changes so far
	wait retry

	fail    error     // of the last try, until one succeeds
	failing time.Time // since when, if fail is not nil
}

// gatherDir lets a change of the directory at p, which is held, wait for others.
// False: it has to be written now, or has no key to be written to.
func (v *Volume) gatherDir(p string, d *dentry, c Change) bool {
	if !v.gathers() || v.dirKey(p) == "" || d.obj != nil && d.obj.err != nil {
		return false
	}
	info := v.dirInfo(p, d)
	if !c.small(info.Xattrs) {
		return false
	}
	a := c.apply(info.Attr, v.opt.Now())
	c.Size, c.Mtime, c.Ctime = nil, &a.Mtime, &a.Ctime
	v.mu.Lock()
	defer v.mu.Unlock()
	due := v.dirDue[p]
	if due == nil {
		if len(v.dirDue) >= maxGathered {
			return false
		}
		due = &dirChange{wait: retry{at: v.opt.Now().Add(v.opt.AttrDelay)}}
		v.dirDue[p] = due
		v.wakeUp()
	}
	due.c = due.c.then(c)
	due.n++
	delete(v.touched, p)
	return true
}

// shown gives info with what waits for the directory at p. It needs v.mu.
func (v *Volume) shown(p string, info Info) Info {
	due := v.dirDue[p]
	if due == nil {
		return info
	}
	info.Attr = due.c.apply(info.Attr, v.opt.Now())
	info.Xattrs = changeXattrs(info.Xattrs, due.c.Xattrs)
	return info
}

// touchDue moves the times that wait for the directory dir. False: none do. It
// needs v.mu.
func (v *Volume) touchDue(dir string, ns int64) bool {
	due := v.dirDue[dir]
	if due == nil {
		return false
	}
	due.c.Mtime, due.c.Ctime = &ns, &ns
	due.n++
	return true
}

// dueDirs lists the directories at and below dir whose attributes wait.
func (v *Volume) dueDirs(dir string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []string
	for p := range v.dirDue {
		if p == dir || below(p, dir) {
			all = append(all, p)
		}
	}
	return all
}

// commitDirs writes what waits for directories at and below dir, which is held.
func (v *Volume) commitDirs(ctx context.Context, dir string) error {
	dirs := v.dueDirs(dir)
	errs := make([]error, len(dirs))
	var g errgroup.Group
	g.SetLimit(parallelCommits)
	for i, p := range dirs {
		g.Go(func() error {
			errs[i] = v.commitDirHeld(ctx, p)
			return nil
		})
	}
	_ = g.Wait() // its functions give no error
	return errors.Join(errs...)
}

// commitDir is commitDirHeld of a directory that is not.
func (v *Volume) commitDir(ctx context.Context, p string) error {
	unlock, err := v.names.lock(ctx, one(p))
	if err != nil {
		return fmt.Errorf("set attributes of %q: %w", p, err)
	}
	defer unlock()
	return v.commitDirHeld(ctx, p)
}

// SyncDir writes what waits of the directory at p: its attributes, and the files
// in it that were closed and could not be committed. It gives the errors of
// those that still cannot be. When ctx ends its caller goes, as from Commit.
func (v *Volume) SyncDir(ctx context.Context, p string) error {
	left, err := v.leaving(ctx, func() error { return v.syncDir(ctx, p) })
	if left {
		return fmt.Errorf("sync %q: it goes on: %w", p, err)
	}
	return err
}

func (v *Volume) syncDir(ctx context.Context, p string) error {
	ctx, end := v.work.begin(context.WithoutCancel(ctx))
	defer end()
	errs := []error{v.commitDir(ctx, p)}
	for _, f := range v.allFiles() {
		if f.dirty() && !v.inUse(f) && parent(f.name()) == p {
			errs = append(errs, f.commitOwn(ctx, true))
		}
	}
	return errors.Join(errs...)
}

// name is where the file shows.
func (f *File) name() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shown()
}

// commitDirHeld writes what waits for the directory at p, which is held. Nobody
// misses the attributes of one that another host has removed.
func (v *Volume) commitDirHeld(ctx context.Context, p string) error {
	v.mu.Lock()
	due := v.dirDue[p]
	if due == nil {
		v.mu.Unlock()
		return nil
	}
	c, n := due.c, due.n
	v.mu.Unlock()
	d, err := v.lookup(ctx, p)
	if err == nil && d.dir {
		_, err = v.setDirs(ctx, p, d, c)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, ErrNotExist):
		return due.fails(named(err, "set attributes of", p), v.opt.Now())
	case due.n == n && v.dirDue[p] == due:
		delete(v.dirDue, p)
	default: // changed meanwhile
		due.wait = retry{at: v.opt.Now().Add(v.opt.AttrDelay), busy: due.wait.busy}
		due.fail = nil
	}
	return nil
}

// fails needs v.mu: err is why due waits still. It is given back.
func (due *dirChange) fails(err error, now time.Time) error {
	if due.fail == nil {
		due.failing = now
	}
	due.fail = err
	due.wait.later(now)
	return err
}

// claimDir tells whether it is time to write what waits for the directory at p.
func (v *Volume) claimDir(p string, now time.Time) (bool, time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if due := v.dirDue[p]; due != nil {
		return due.wait.claim(now)
	}
	return false, time.Time{}
}

func (v *Volume) unclaimDir(p string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if due := v.dirDue[p]; due != nil {
		due.wait.busy = false
	}
}
