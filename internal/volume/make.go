package volume

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// Mkdir makes a directory: at once, and exclusively among hosts.
func (v *Volume) Mkdir(ctx context.Context, p string, a Attr) (Info, error) {
	unlock, err := v.claim(ctx, p, true)
	if err != nil {
		return Info{}, fmt.Errorf("mkdir %q: %w", p, err)
	}
	defer unlock()
	a = v.newAttr(Attr{Mode: a.Mode&^unix.S_IFMT | unix.S_IFDIR, UID: a.UID, GID: a.GID}, 0)
	since, sure := v.dirs.since(p)
	o, err := v.putDir(context.WithoutCancel(ctx), p, a, nil, objstore.Condition{IfNone: true})
	if err != nil {
		return Info{}, fmt.Errorf("mkdir %q: %w", p, err)
	}
	v.touch(p)
	info := v.dirInfo(p, v.made(p, o, true))
	if sure {
		v.dirs.seed(p, since)
	}
	return info, nil
}

// Symlink makes a symbolic link; the target is its content, sealed.
func (v *Volume) Symlink(ctx context.Context, p, target string, a Attr) (Info, error) {
	if target == "" || len(target) >= unix.PathMax {
		return Info{}, fmt.Errorf("symlink %q: target of %d bytes: %w", p, len(target), ErrTooLong)
	}
	a.Mode = unix.S_IFLNK | 0o777
	return v.mknod(ctx, p, a, target)
}

// Mknod makes a fifo, a socket, a device node, or an empty regular file: at
// once, and exclusively.
func (v *Volume) Mknod(ctx context.Context, p string, a Attr) (Info, error) {
	switch a.Mode & unix.S_IFMT {
	case 0, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
		return v.mknod(ctx, p, a, "")
	}
	return Info{}, fmt.Errorf("mknod %q: type %o: %w", p, a.Mode&unix.S_IFMT, ErrInvalid)
}

func (v *Volume) mknod(ctx context.Context, p string, a Attr, content string) (Info, error) {
	unlock, err := v.claim(ctx, p, false)
	if err != nil {
		return Info{}, fmt.Errorf("create %q: %w", p, err)
	}
	defer unlock()
	d, err := v.makeNode(ctx, p, a, content)
	if err != nil {
		return Info{}, fmt.Errorf("create %q: %w", p, err)
	}
	return v.infoOf(p, d), nil
}

// makeNode puts a new object at p, which is held.
func (v *Volume) makeNode(ctx context.Context, p string, a Attr, content string) (*dentry, error) {
	d := draft{key: v.fileKey(p), attr: v.newAttr(a, unix.S_IFREG), src: sigil.Bytes(content)}
	d.class = v.newClass(d.key, d.attr.Mode)
	d.attr.Size, d.cond.IfNone = int64(len(content)), true
	o, err := v.put(context.WithoutCancel(ctx), d)
	if err != nil {
		return nil, err
	}
	v.touch(p)
	return v.made(p, o, false), nil
}

// claim checks that p can be made here and holds it.
func (v *Volume) claim(ctx context.Context, p string, dir bool) (unlock func(), err error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	if p == "" {
		return nil, ErrExist
	}
	if _, err := v.keyFor(p, dir); err != nil {
		return nil, err
	}
	unlock, err = v.names.lock(ctx, one(p))
	if err != nil {
		return nil, err
	}
	if f := v.fileAt(p); f != nil && f.dirty() {
		unlock()
		return nil, ErrExist
	}
	return unlock, nil
}
