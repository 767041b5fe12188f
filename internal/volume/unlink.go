package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// removeName removes the name p, which is held, of what the link d stands for:
// the name first, then its place on the roll, and with the last one the body.
func (v *Volume) removeName(ctx context.Context, p string, d *dentry) error {
	err := error(nil)
	for range maxRetries {
		if err = v.deleteName(ctx, d.link); !errors.Is(err, ErrChanged) {
			break
		}
		v.suspect(p)
		if d, err = v.lookup(ctx, p); err != nil {
			return err
		}
		if d.link == nil {
			return v.remove(ctx, p)
		}
	}
	if err != nil {
		v.suspect(p) // it may be done
		return err
	}
	v.forget(p)
	v.dirs.drop(p, asFile)
	return nil
}

// deleteName removes a name and takes it off the roll. ErrChanged: another host
// has put something else in its place.
func (v *Volume) deleteName(ctx context.Context, name *object) error {
	key, cond := name.id.Key, objstore.Condition{IfMatch: name.id.ETag}
	if err := v.guard(ctx, v.opt.Capabilities.DeleteConditions, key, cond); err != nil {
		return err
	}
	if err := v.delete(ctx, key, name.id.ETag); err != nil {
		return err
	}
	v.dropName(ctx, name)
	return nil
}

// dropName takes a name that has gone off the roll of its inode. What fails
// leaves the link count too high, and is no failure of whoever removed the name.
func (v *Volume) dropName(ctx context.Context, name *object) {
	to, err := v.inodeOf(ctx, "", name)
	if err == nil && to.obj.err != nil {
		err = to.obj.err
	}
	if err != nil {
		v.stillCounted(name.id.Key, err)
		return
	}
	unlock, err := v.names.lock(ctx, one(inodePath(to.obj.id.Key)))
	if err != nil {
		v.stillCounted(name.id.Key, err)
		return
	}
	defer unlock()
	v.struck(ctx, v.latest(to.obj), name.token())
}

func (v *Volume) stillCounted(key string, err error) {
	v.opt.Log.WithField("key", key).WithError(err).Warn("a hard link has gone, but its file counts it still")
}

// struck takes a name off the roll of in, whose path is held, and does what
// follows from that.
func (v *Volume) struck(ctx context.Context, in *object, t token) {
	n, err := v.strike(ctx, in, t)
	switch {
	case err != nil:
	case n == 0:
		v.removeInode(ctx, in)
	case uint32(n) != in.attr.Nlink:
		_, err = v.recount(ctx, in, n)
	}
	if err != nil {
		v.stillCounted(in.id.Key, err)
	}
}

// removeInode removes an inode without a name, and its roll. Where a handle
// needs the body still, that moves to where unlinked ones lie; if it cannot, it
// goes with the handle.
func (v *Volume) removeInode(ctx context.Context, in *object) {
	ip := inodePath(in.id.Key)
	f := v.fileAt(ip)
	kept := false
	if f != nil {
		if _, err := v.park(ctx, f); err != nil {
			kept = true
			v.lay(f, f.committedAs(), in.id.Key)
		}
		v.unlink(f)
	}
	v.forget(ip)
	v.rememberRoll(in, nil)
	doomed := []string{in.id.Key, rollKey(in.id.Key)}
	if kept {
		doomed = doomed[1:]
	}
	for _, key := range doomed {
		if err := v.delete(ctx, key, ""); err != nil {
			v.condemn(key)
			v.wakeUp()
		}
	}
}

// errSameFile: both names of a rename are of one file; it does nothing
// (POSIX.1-2017, rename).
var errSameFile = errors.New("names of one file")

// copyName makes a name at dst, over target, of what the name src stands for:
// a new one on the roll, so that neither counts for the other.
func (v *Volume) copyName(ctx context.Context, src *object, dst string, cond objstore.Condition, target *object) (*object, error) {
	if v.rule(dst) != v.rule(src.id.Key) {
		return nil, fmt.Errorf("%s: a hard link under another rule: %w", dst, ErrCrossing)
	}
	to, err := v.inodeOf(ctx, "", src)
	if errors.Is(err, ErrNotExist) {
		return nil, fmt.Errorf("%s: inode %s is missing: %w", src.id.Key, inodeName(src.inode()), ErrCorrupt)
	}
	if err == nil {
		err = to.obj.err
	}
	if err != nil {
		return nil, err
	}
	unlock, err := v.names.lock(ctx, one(inodePath(to.obj.id.Key)))
	if err != nil {
		return nil, err
	}
	defer unlock()
	return v.copyHeld(ctx, v.latest(to.obj), src, dst, cond, target)
}

// copyHeld is copyName; the inode's path is held.
func (v *Volume) copyHeld(ctx context.Context, in, src *object, dst string, cond objstore.Condition, target *object) (*object, error) {
	n, err := v.sealName(ctx, src, src.inode(), dst, cond, src, target)
	if err != nil {
		return nil, err
	}
	if _, err := v.enrol(ctx, in, n.token()); err != nil {
		return nil, err
	}
	o, err := v.putName(ctx, n)
	if err != nil {
		v.unenrol(ctx, in, n, err)
		return nil, err
	}
	return o, nil
}

// arriveName tells all who knew the name at from that it is at to now, as moved.
func (v *Volume) arriveName(from, to string, moved *object) {
	d := v.recall(from)
	v.forget(from)
	v.dirs.drop(from, asFile)
	v.forget(to)
	if d != nil && d.link != nil {
		v.madeLink(to, moved, d.to)
		v.reach(d.inode(), from, to)
	}
}

// reach has the File of an inode known by another name, where the one that it
// was reached through has moved.
func (v *Volume) reach(ip, from, to string) {
	f := v.fileAt(ip)
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.via == from {
		f.via = to
	}
}
