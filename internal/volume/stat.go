package volume

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Stat tells what is at p. Dirty data of this host is shown, whatever the
// store holds; else what the store said at most AttrTimeout ago.
func (v *Volume) Stat(ctx context.Context, p string) (Info, error) {
	if f := v.fileAt(p); f != nil && f.dirty() {
		return f.Info(), nil
	}
	d, err := v.look(ctx, p)
	if err != nil {
		return Info{}, err
	}
	return v.infoOf(p, d), nil
}

// look is lookup for callers that do not hold p. The store is asked under the
// hold: an answer that a commit of our own overtook would pass for another
// host's version.
func (v *Volume) look(ctx context.Context, p string) (*dentry, error) {
	if d := v.believed(p); d != nil {
		v.walks.used(p)
		return d, nil
	}
	unlock, err := v.names.lock(ctx, one(p))
	if err != nil {
		return nil, err
	}
	defer unlock()
	return v.lookup(ctx, p)
}

func (v *Volume) infoOf(p string, d *dentry) Info {
	if d.dir {
		return v.dirInfo(p, d)
	}
	if d.link != nil {
		return v.infoOf(d.inode(), d.to)
	}
	if f := v.fileAt(p); f != nil {
		if f.refresh(d.obj) || !v.recalls(p, d) { // the latter: published by a commit since
			return f.Info()
		}
		v.detach(f)
	}
	info := d.obj.info()
	info.Sigil = v.show(d.obj)
	info.Incarnation = d.incarnation
	return info
}

// recalls tells whether what d says of p is what is remembered still.
func (v *Volume) recalls(p string, d *dentry) bool {
	now := v.recall(p)
	return now != nil && now.obj == d.obj
}

// Readlink gives the target of the symbolic link at p.
func (v *Volume) Readlink(ctx context.Context, p string) (string, error) {
	d, err := v.look(ctx, p)
	if err != nil {
		return "", err
	}
	if d.dir || d.obj.err != nil || d.obj.attr.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", fmt.Errorf("readlink %q: %w", p, ErrInvalid)
	}
	target, err := v.readAll(ctx, d.obj, unix.PathMax)
	return string(target), err
}
