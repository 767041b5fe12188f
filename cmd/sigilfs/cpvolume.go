package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

// volumeTree is the volume as a side of a copy.
type volumeTree struct {
	o       *offline
	archive bool
}

var _ tree = (*volumeTree)(nil)

func (t *volumeTree) explain(verb, p string, err error) error { return t.o.explain(verb, p, err) }

func (t *volumeTree) stat(ctx context.Context, p string, follow bool) (n node, err error) {
	var info volume.Info
	if follow {
		_, info, err = t.o.follow(ctx, p)
	} else {
		info, err = t.o.files.Stat(ctx, p)
	}
	if err != nil {
		return n, err
	}
	if info.Err != nil {
		return n, info.Err
	}
	a := info.Attr
	n = node{mode: a.Mode, uid: a.UID, gid: a.GID, rdev: a.Rdev, size: a.Size, mtime: a.Mtime, nlink: a.Nlink, id: fileID{ino: a.FileID}, xattrs: keptXattrs(info.Xattrs)}
	if a.Mode&unix.S_IFMT == unix.S_IFLNK {
		n.link, err = t.o.files.Readlink(ctx, p)
	}
	return n, err
}

// keptXattrs are those that a mount would show and keep: no other name, whoever
// wrote it, reaches this host's files.
func keptXattrs(all map[string][]byte) map[string][]byte {
	kept := map[string][]byte{}
	for name, value := range all {
		if strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.sigil.") {
			kept[name] = value
		}
	}
	return kept
}

func (t *volumeTree) list(ctx context.Context, p string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for e, err := range t.o.files.List(ctx, p, "") {
			if !yield(e.Name, err) {
				return
			}
		}
	}
}

// size reckons with the objects as a listing has them.
func (t *volumeTree) size(ctx context.Context, p string) (files, bytes int64, err error) {
	return sizes(func(yield func(objstore.Entry, error) bool) {
		for e, err := range t.o.below(ctx, p, "") {
			if err == nil && (strings.HasSuffix(e.Key, "/") || strings.Contains("/"+e.Key, "/.sigil/")) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	})
}

// volumeContent is a file of the volume.
type volumeContent struct {
	o *offline
	f *volume.File
	p string
}

func (t *volumeTree) open(ctx context.Context, p string, _ node) (content, error) {
	f, err := t.o.openFile(ctx, p)
	if err != nil {
		return nil, t.o.explain("read", p, err)
	}
	return volumeContent{t.o, f, p}, nil
}

func (c volumeContent) close() { c.f.Release() }

// copyTo fails unless all that the file is said to have has come.
func (c volumeContent) copyTo(ctx context.Context, w io.Writer, done func(int64)) error {
	n, err := c.o.copyOut(ctx, w, c.f, c.p, 0, -1, done)
	if size := c.f.Info().Size; err == nil && n != size {
		return fmt.Errorf("%d bytes came, and there are %d: %w", n, size, volume.ErrCorrupt)
	}
	return err
}

// change is what a copy gets of the attributes: of a new file, without
// --archive, the mode alone.
func (t *volumeTree) change(n node, made bool) (c volume.Change) {
	if !t.archive && !made {
		return c
	}
	mode := n.mode & 0o777 &^ t.o.mask
	c.Mode = &mode
	if !t.archive {
		return c
	}
	mode = n.mode & 0o7777
	c.UID, c.GID, c.Mtime, c.Xattrs = &n.uid, &n.gid, &n.mtime, n.xattrs
	return c
}

// attr is what something new gets.
func (t *volumeTree) attr(n node) volume.Attr {
	a := volume.Attr{Mode: n.mode&unix.S_IFMT | n.mode&0o777&^t.o.mask, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Rdev: n.rdev}
	if t.archive {
		a.Mode, a.UID, a.GID = n.mode, n.uid, n.gid
	}
	return a
}

// write has a copy written at p. What is no regular file there, a symbolic link
// too, is not followed but replaced, once the copy is in the bucket.
func (t *volumeTree) write(ctx context.Context, p string, n node, fill func(f *volume.File) error) error {
	info, err := t.o.files.Stat(ctx, p)
	switch {
	case err == nil && info.Mode&unix.S_IFMT == unix.S_IFDIR:
		return volume.ErrIsDir
	case err == nil && info.Mode&unix.S_IFMT != unix.S_IFREG:
		return t.over(ctx, p, func(at string) error { return t.writeAt(ctx, at, n, true, fill) })
	case err != nil && !absent(err):
		return err
	}
	return t.writeAt(ctx, p, n, err != nil, fill)
}

func (t *volumeTree) writeAt(ctx context.Context, p string, n node, made bool, fill func(f *volume.File) error) error {
	f, err := t.o.beginFile(ctx, p, false)
	if err != nil {
		return err
	}
	return t.o.finishFile(ctx, f, t.change(n, made), fill(f))
}

// over makes something beside p, and renames it to that: whatever fails, what is
// at p stays until all of the other is there.
func (t *volumeTree) over(ctx context.Context, p string, place func(at string) error) error {
	at := path.Join(path.Dir(p), ".sigilfs-cp-"+rand.Text())
	err := place(at)
	if err == nil {
		err = t.o.files.Rename(ctx, at, p, false)
	}
	if err != nil {
		if rerr := t.o.files.Remove(context.WithoutCancel(ctx), at); rerr != nil && !absent(rerr) {
			err = fmt.Errorf("%w; %q is left: %w", err, at, rerr)
		}
	}
	return err
}

func (t *volumeTree) file(ctx context.Context, p string, n node, src content, done func(int64)) error {
	if local, ok := src.(localContent); ok && t.archive {
		var err error
		if n.xattrs, err = userXattrs(local.f); err != nil {
			return err
		}
	}
	return t.write(ctx, p, n, func(f *volume.File) error { return src.copyTo(ctx, &appender{ctx: ctx, f: f}, done) })
}

// appender writes a file in order.
type appender struct {
	ctx context.Context //nolint:containedctx // of one copy, which it does not outlive
	f   *volume.File
	off int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(a.ctx, p, a.off)
	a.off += int64(n)
	return n, err
}

// copyWithin copies a file inside the volume, as copy_file_range(2) of a mount
// does: by the server where that can be.
func (t *volumeTree) copyWithin(ctx context.Context, p pair, done func(int64)) error {
	from, err := t.o.openFile(ctx, p.from)
	if err != nil {
		return t.o.explain("read", p.from, err)
	}
	defer from.Release()
	return t.write(ctx, p.to, p.node, func(f *volume.File) error { return copyAll(ctx, f, from, done) })
}

// copyAll has all of a file copied.
func copyAll(ctx context.Context, f, from *volume.File, done func(int64)) (err error) {
	for off := int64(0); err == nil; {
		var n int64
		if n, err = f.CopyRange(ctx, from, off, off, max(from.Info().Size-off, 1)); n == 0 {
			break
		}
		off += n
		done(n)
		if err == nil {
			err = ctx.Err()
		}
	}
	if err == nil && f.Info().Size != from.Info().Size {
		err = fmt.Errorf("%d bytes were copied of %d: %w", f.Info().Size, from.Info().Size, volume.ErrChanged)
	}
	return err
}

func (t *volumeTree) mkdir(ctx context.Context, p string, n node) error {
	if p == "" {
		return nil
	}
	_, err := t.o.files.Mkdir(ctx, p, t.attr(n))
	if !errors.Is(err, volume.ErrExist) {
		return err
	}
	info, err := t.o.files.Stat(ctx, p)
	if err == nil && info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return volume.ErrNotDir
	}
	return err
}

func (t *volumeTree) endDir(ctx context.Context, p string, n node) error {
	if !t.archive {
		return nil
	}
	_, err := t.o.files.SetAttr(ctx, p, t.change(n, true))
	return err
}

func (t *volumeTree) symlink(ctx context.Context, p string, n node) error {
	return t.replace(ctx, p, n, func(p string) error {
		_, err := t.o.files.Symlink(ctx, p, n.link, t.attr(n))
		return err
	})
}

func (t *volumeTree) mknod(ctx context.Context, p string, n node) error {
	return t.replace(ctx, p, n, func(p string) error {
		_, err := t.o.files.Mknod(ctx, p, t.attr(n))
		return err
	})
}

// replace makes something at once, in the place of what is there.
func (t *volumeTree) replace(ctx context.Context, p string, n node, place func(at string) error) error {
	err := place(p)
	if errors.Is(err, volume.ErrExist) {
		err = t.over(ctx, p, place)
	}
	if err == nil && t.archive {
		_, err = t.o.files.SetAttr(ctx, p, volume.Change{Mtime: &n.mtime})
	}
	return err
}

// link makes a hard link where the rule has any, else a copy.
func (t *volumeTree) link(ctx context.Context, from, to string) error {
	link := func(at string) error {
		_, err := t.o.files.Link(ctx, from, at)
		return err
	}
	err := link(to)
	if errors.Is(err, volume.ErrExist) {
		if t.sameFile(ctx, from, to) {
			return nil
		}
		err = t.over(ctx, to, link)
	}
	if errors.Is(err, volume.ErrNoLinks) || errors.Is(err, volume.ErrCrossing) {
		n, err := t.stat(ctx, from, false)
		if err != nil {
			return err
		}
		return t.copyWithin(ctx, pair{from, to, n}, func(int64) {})
	}
	return err
}

func (t *volumeTree) sameFile(ctx context.Context, a, b string) bool {
	x, err := t.o.files.Stat(ctx, a)
	y, yerr := t.o.files.Stat(ctx, b)
	return err == nil && yerr == nil && x.FileID == y.FileID && x.Nlink > 1
}

func (t *volumeTree) parents(ctx context.Context, p string) error { return t.o.parents(ctx, p) }
