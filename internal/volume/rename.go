package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Rename moves what is at from to to and replaces what is there: a file a
// file, a directory an empty directory. With noReplace anything at to is
// ErrExist. Dirty data is committed first. The source goes only after the copy
// is proved. Errors: ErrNotExist, ErrExist, ErrIsDir, ErrNotDir, ErrNotEmpty,
// ErrInvalid (a directory into itself), ErrCrossing.
func (v *Volume) Rename(ctx context.Context, from, to string, noReplace bool) error {
	ctx = context.WithoutCancel(ctx)
	if err := v.renameAny(ctx, from, to, noReplace); err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, err)
	}
	return nil
}

func (v *Volume) renameAny(ctx context.Context, from, to string, noReplace bool) error {
	if v.opt.ReadOnly {
		return ErrReadOnly
	}
	if from == "" || to == "" || below(to, from) {
		return ErrInvalid
	}
	info, err := v.Stat(ctx, from)
	if err != nil {
		return err
	}
	dir := info.isDir()
	if _, err := v.keyFor(to, dir); err != nil {
		return err
	}
	if from == to {
		return nil
	}
	if dir {
		return v.renameDir(ctx, from, to, noReplace)
	}
	return v.renameFile(ctx, from, to, noReplace)
}

func (v *Volume) renameFile(ctx context.Context, from, to string, noReplace bool) error {
	unlock, err := v.names.lock(ctx, one(from), one(to))
	if err != nil {
		return err
	}
	defer unlock()
	f := v.share(from, func(*File) bool { return true })
	if f != nil {
		defer f.Release()
		defer v.still([]*File{f})()
		if err := f.commitContent(ctx); err != nil {
			return err
		}
		if p := f.Path(); p != from && !isInodePath(p) {
			return ErrNotExist // gave way to another host
		}
	}
	change, seq := f.carry()
	src, moved, err := v.replace(ctx, from, to, noReplace, change)
	if errors.Is(err, errSameFile) {
		return nil
	}
	if err != nil {
		return err
	}
	f.carried(seq)
	v.arrive(f, from, to, src, moved)
	v.haunt(from)
	v.touch(from)
	v.touch(to)
	return nil
}

// replace moves the object at from, which is held as to is, over whatever is
// there. Where another host was faster at either, it looks again.
func (v *Volume) replace(ctx context.Context, from, to string, noReplace bool, c Change) (src, moved *object, err error) {
	for range maxRetries {
		var target *object
		if target, err = v.target(ctx, to, noReplace); err != nil {
			return nil, nil, err
		}
		before := src
		if src, err = v.source(ctx, from); err != nil {
			return nil, nil, err
		}
		if before.refiled(src) {
			return nil, nil, errOtherFile(src)
		}
		if src.isName() && src.inode() == target.inode() {
			return nil, nil, errSameFile
		}
		if moved, err = v.moveObject(ctx, src, from, to, target, c); !conflict(err) {
			return src, moved, err
		}
		v.suspect(from)
		v.suspect(to)
	}
	return nil, nil, err
}

// source is the object that is to be moved.
func (v *Volume) source(ctx context.Context, from string) (*object, error) {
	d, err := v.lookup(ctx, from)
	if err != nil {
		return nil, err
	}
	if d.dir {
		return nil, ErrIsDir
	}
	return d.named(), nil
}

// target is what a rename will replace at to: nil for nothing. A file that was
// not committed yet is none.
func (v *Volume) target(ctx context.Context, to string, noReplace bool) (*object, error) {
	d, err := v.lookup(ctx, to)
	absent := errors.Is(err, ErrNotExist)
	switch {
	case err != nil && !absent:
		return nil, err
	case noReplace && (!absent || v.fileAt(to) != nil):
		return nil, ErrExist
	case absent:
		return nil, nil
	case d.dir:
		return nil, ErrIsDir
	}
	return d.named(), nil
}

// moveObject copies src to to, over target, with a record sealed for its new
// name and the attributes that c changes, and then removes it from from.
// Whoever has the target open keeps its body; what was dirty of it goes only when it is replaced.
func (v *Volume) moveObject(ctx context.Context, src *object, from, to string, target *object, c Change) (moved *object, err error) {
	cond := objstore.Condition{IfNone: target == nil}
	if target != nil {
		cond.IfMatch = target.id.ETag
	}
	victim, unpark := v.fileAt(to), func() {}
	if victim != nil {
		if unpark, err = v.park(ctx, victim); err != nil {
			return nil, err
		}
	}
	moved, err = v.copyFile(ctx, src, v.fileKey(to), cond, target, c)
	if err != nil {
		v.spare(victim, unpark, err)
		if errors.Is(err, ErrNotExist) {
			v.forget(from)
		}
		return nil, err
	}
	if victim != nil {
		v.unlink(victim)
		victim.stopStream(ctx, true)
	}
	if err := v.fileAt(from).yieldLoans(ctx, src, moved); err != nil {
		v.forget(to)
		return nil, err
	}
	// ErrChanged: another host has put a new file at from since.
	if err := v.deleteMoved(ctx, src, moved); err != nil && !errors.Is(err, ErrChanged) {
		v.suspect(from) // it may be done
		v.suspect(to)
		return nil, fmt.Errorf("copied, but the old name could not be removed: %w", err)
	}
	for _, gone := range []*object{src, target} {
		if gone.isName() {
			v.dropName(ctx, gone)
		}
	}
	if src.instruction() {
		v.dropInstruction(ctx, src.id.Key, src)
	}
	if target != nil && target.instruction() && !moved.instruction() {
		v.dropInstruction(ctx, target.id.Key, target)
	}
	return moved, nil
}

// spare gives a target of a rename that failed its name back, unless it may be
// gone: then whoever has it open needs the body that was parked.
func (v *Volume) spare(victim *File, unpark func(), err error) {
	lost := (*unsettled)(nil)
	switch {
	case victim != nil && errors.As(err, &lost) && lost.left:
		v.unlink(victim)
	case errors.Is(err, objstore.ErrUnknown):
	default:
		unpark()
	}
}

// deleteMoved removes what was copied to moved. That took long through this
// host, or where there is much of it: where the server does not honour the
// condition, the source is then looked at again.
func (v *Volume) deleteMoved(ctx context.Context, src, moved *object) error {
	if src.body != moved.body || src.length > v.onePut {
		if err := v.guard(ctx, v.opt.Capabilities.DeleteConditions, src.id.Key, objstore.Condition{IfMatch: src.id.ETag}); err != nil {
			return err
		}
	}
	return v.delete(ctx, src.id.Key, src.id.ETag)
}

// copyFile copies src to dst, over target, with the attributes that c changes,
// and its instruction file before it.
// That of the target is in use until then: in its place a body is written that
// needs none.
func (v *Volume) copyFile(ctx context.Context, src *object, dst string, cond objstore.Condition, target *object, c Change) (*object, error) {
	above := func(d *draft) {
		d.above = append(d.above, target)
		if !c.none() {
			c.draft(v.opt.Now())(d)
		}
	}
	switch {
	case src.isName():
		return v.copyName(ctx, src, dst, cond, target)
	case !src.instruction() || v.rule(src.id.Key) != v.rule(dst):
		return v.restate(ctx, src, dst, cond, above)
	case target == nil || !target.instruction():
		if _, err := v.carryInstruction(ctx, src, dst); err != nil {
			return nil, err
		}
		return v.restate(ctx, src, dst, cond, above)
	}
	return v.integrate(ctx, src, dst, cond, above)
}

// arrive tells all who knew the file at from that it is at to now.
func (v *Volume) arrive(f *File, from, to string, src, moved *object) {
	if src.isName() {
		v.arriveName(from, to, moved)
		return
	}
	incarnation := v.note(from, src, false).incarnation
	if f != nil && f.follows(src, moved) {
		incarnation = f.incarnation
		v.rename(f, to)
	} else if f != nil {
		v.detach(f) // what moved is another host's version
	}
	v.forget(from)
	v.dirs.drop(from, asFile)
	v.publish(to, moved, incarnation)
}

// follows moves f to o, which was made of src, if f is src's file: to the same
// body, or the same content in another one.
func (f *File) follows(src, o *object) bool {
	content, err := f.v.contentOf(o)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.base.same(o):
		f.rebase(o)
		return true
	case err != nil || !f.base.same(src):
		return false
	}
	f.src = content
	f.rebase(o)
	return true
}
