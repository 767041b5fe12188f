package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// node is what is copied of one name, less its content.
type node struct {
	mode     uint32 // with the type
	uid, gid uint32
	rdev     uint64
	size     int64
	mtime    int64 // ns
	nlink    uint32
	id       fileID
	xattrs   map[string][]byte
	link     string // where a symbolic link leads
}

// fileID tells files with several names apart. Devices are told apart by all of
// their number: Btrfs gives each subvolume one, and the same inodes in all.
type fileID struct{ dev, ino uint64 }

func (n node) isDir() bool { return n.mode&unix.S_IFMT == unix.S_IFDIR }

var errNotDir = errors.New("is not a directory")

// content is a regular file that is open to be copied.
type content interface {
	// copyTo writes all of it, in order.
	copyTo(ctx context.Context, w io.Writer, done func(int64)) error
	close()
}

// tree is one side of a copy: this host or the bucket. Paths are its own.
type tree interface {
	// stat tells of what is at p; follow follows a symbolic link.
	stat(ctx context.Context, p string, follow bool) (node, error)
	list(ctx context.Context, p string) iter.Seq2[string, error]
	// size tells how many files there are at p and below, and how long they are
	// in all, about.
	size(ctx context.Context, p string) (files, bytes int64, err error)
	open(ctx context.Context, p string, n node) (content, error)

	// What is made replaces what is there, but for directories: one that is
	// there will do, and is not replaced.
	file(ctx context.Context, p string, n node, src content, done func(int64)) error
	mkdir(ctx context.Context, p string, n node) error
	symlink(ctx context.Context, p string, n node) error
	mknod(ctx context.Context, p string, n node) error
	link(ctx context.Context, from, to string) error
	endDir(ctx context.Context, p string, n node) error // when all is in it

	// parents sees to it that p can be made.
	parents(ctx context.Context, p string) error
	explain(verb, p string, err error) error
}

// localSource reads this host's files, wherever they are.
type localSource struct{ archive bool }

var errNoSink = errors.New("it is only read")

func (l localSource) stat(_ context.Context, p string, follow bool) (node, error) {
	n, err := localStat(unix.AT_FDCWD, p, p, follow)
	if err != nil || !n.isDir() || !l.archive {
		return n, err
	}
	d, err := os.Open(p)
	if err != nil {
		return n, err
	}
	defer d.Close()
	n.xattrs, err = userXattrs(d)
	return n, err
}

// localStat tells of p below the directory dir; full is a path to it.
func localStat(dir int, p, full string, follow bool) (node, error) {
	var st unix.Stat_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if follow {
		flags = 0
	}
	if err := unix.Fstatat(dir, p, &st, flags); err != nil {
		return node{}, &os.PathError{Op: "stat", Path: full, Err: err}
	}
	n := nodeOf(&st)
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		buf := make([]byte, unix.PathMax)
		got, err := unix.Readlinkat(dir, p, buf)
		if err != nil {
			return n, &os.PathError{Op: "readlink", Path: full, Err: err}
		}
		n.link = string(buf[:got])
	}
	return n, nil
}

func nodeOf(st *unix.Stat_t) node {
	return node{
		mode: st.Mode, uid: st.Uid, gid: st.Gid, rdev: st.Rdev, size: st.Size, mtime: st.Mtim.Nano(),
		nlink: uint32(min(st.Nlink, 1<<31)), id: fileID{st.Dev, st.Ino},
	}
}

func (localSource) list(_ context.Context, p string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		d, err := os.Open(p)
		if err != nil {
			yield("", err)
			return
		}
		defer d.Close()
		for {
			names, err := d.Readdirnames(1000)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

func (localSource) size(ctx context.Context, p string) (files, bytes int64, err error) {
	err = filepath.WalkDir(p, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ctx.Err() // what cannot be read is told of by who copies
		}
		files++
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return ctx.Err()
	})
	return files, bytes, err
}

// localContent is a file of this host.
type localContent struct{ f *os.File }

func (localSource) open(_ context.Context, p string, n node) (content, error) {
	f, err := os.OpenFile(p, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo that took its place does not block
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no regular file any more", p), err, f.Close())
	}
	return localContent{f}, nil
}

func (c localContent) close() { _ = c.f.Close() }

func (c localContent) copyTo(ctx context.Context, w io.Writer, done func(int64)) error {
	buf := make([]byte, readPiece)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := c.f.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
			done(int64(n))
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (localSource) file(context.Context, string, node, content, func(int64)) error { return errNoSink }

func (localSource) mkdir(context.Context, string, node) error { return errNoSink }

func (localSource) symlink(context.Context, string, node) error { return errNoSink }

func (localSource) mknod(context.Context, string, node) error { return errNoSink }

func (localSource) link(context.Context, string, string) error { return errNoSink }

func (localSource) endDir(context.Context, string, node) error { return errNoSink }

func (localSource) parents(context.Context, string) error { return errNoSink }

func (localSource) explain(verb, p string, err error) error { return explainLocal(verb, p, err) }

func explainLocal(verb, p string, err error) error {
	if coded := (*exitError)(nil); errors.As(err, &coded) {
		return err
	}
	return systemError("%s %s: %w", verb, quoted(p), err)
}

// userXattrs are the user.* attributes of an open file; where the filesystem has
// none, there are none.
func userXattrs(f *os.File) (map[string][]byte, error) {
	fd := int(f.Fd())
	size, err := unix.Flistxattr(fd, nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: f.Name(), Err: err}
	}
	names := make([]byte, size)
	if size, err = unix.Flistxattr(fd, names); err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: f.Name(), Err: err}
	}
	all := map[string][]byte{}
	for name := range strings.SplitSeq(string(names[:size]), "\x00") {
		if !strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "user.sigil.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			return nil, &os.PathError{Op: "getxattr", Path: f.Name(), Err: err}
		}
		all[name] = slices.Clone(value[:n])
	}
	return all, nil
}

// openLocal opens the directory that dst lies in, or dst itself if it is one:
// nothing is made outside of it, wherever symbolic links lead.
func openLocal(dst string, archive bool, mask uint32) (*localTree, error) {
	dir, name := filepath.Split(filepath.Clean(dst))
	switch info, err := os.Stat(dst); {
	case err != nil:
	case info.IsDir():
		dir, name = dst, ""
	case !info.Mode().IsRegular() && isLink(dst): // as /dev/stdout is
		return nil, fmt.Errorf("%s leads to what is no regular file; sigilfs cat writes to stdout", quoted(dst))
	}
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &localTree{root: root, dir: dir, name: name, archive: archive, mask: mask, made: map[string]bool{}}, nil
}

func isLink(p string) bool {
	info, err := os.Lstat(p)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}
