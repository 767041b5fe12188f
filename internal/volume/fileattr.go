package volume

import (
	"context"
	"fmt"
)

// SetAttr changes attributes: with the next commit where the file is dirty
// anyway, else with other changes, soon.
func (f *File) SetAttr(ctx context.Context, c Change) (Info, error) {
	if err := c.check(f.rule(), f.Info().Xattrs); err != nil { // before the size, which cannot be taken back
		return Info{}, err
	}
	if c.Size != nil && *c.Size != f.Info().Size { // to its own size a file does not change (truncate(2))
		if err := f.Truncate(ctx, *c.Size); err != nil {
			return Info{}, err
		}
	}
	if c.onlySize() {
		return f.Info(), nil
	}
	if f.ride(c) {
		f.mind(c)
		return f.Info(), nil
	}
	unlock, err := f.lockPath(ctx)
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	return f.setHeld(ctx, c)
}

// setHeld is SetAttr, but for the size; the path of f is held.
func (f *File) setHeld(ctx context.Context, c Change) (Info, error) {
	if err := c.check(f.rule(), f.Info().Xattrs); err != nil {
		return Info{}, err
	}
	if f.ride(c) {
		f.mind(c)
		return f.Info(), nil
	}
	return f.setNow(ctx, c)
}

// ride lets a change wait for the commit that is due, for others of a clean
// file, or for nothing in one that has no name any more. False: it may not wait.
func (f *File) ride(c Change) bool {
	gathers := f.v.gathers()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seq == f.done && !f.gone {
		if !gathers || !c.small(f.xat) || f.base.archived() { // of which no copy can be made
			return false
		}
		f.wait = retry{at: f.v.opt.Now().Add(f.v.opt.AttrDelay)}
		f.v.wakeUp()
	}
	f.take(c)
	return true
}

// mind notes a change of attributes that rides. While the file is open, times
// can wait: the note of its close has them.
func (f *File) mind(c Change) {
	f.mu.Lock()
	due := !f.noted.plain || c.Mode != nil || c.UID != nil || c.GID != nil || c.Xattrs != nil
	f.mu.Unlock()
	if due {
		f.retell()
	}
}

// setNow writes a change of a clean file; its path is locked.
func (f *File) setNow(ctx context.Context, c Change) (Info, error) {
	f.mu.Lock()
	path, base := f.path, f.base
	f.mu.Unlock()
	o, err := f.v.setObject(context.WithoutCancel(ctx), path, base, c)
	if err != nil {
		return Info{}, err
	}
	f.mu.Lock()
	same := f.base.same(o)
	if same {
		f.rebase(o)
	}
	if f.seq != f.done { // written to meanwhile: the next commit carries the change on
		f.take(c)
	}
	f.mu.Unlock()
	if !same {
		return Info{}, fmt.Errorf("%q: %w", path, ErrChanged)
	}
	f.tellLoans()
	f.v.publish(path, o, f.incarnation)
	return f.Info(), nil
}

// lockPath holds the path of f, wherever it is once the hold is had.
func (f *File) lockPath(ctx context.Context) (unlock func(), err error) {
	for {
		p := f.Path()
		unlock, err = f.v.names.lock(ctx, one(p))
		if err != nil || f.Path() == p {
			return unlock, err
		}
		unlock()
	}
}
