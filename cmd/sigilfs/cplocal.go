package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// localTree is a directory of this host that copies are made in. It is never
// left: os.Root refuses symbolic links that lead out of it.
type localTree struct {
	root    *os.Root
	dir     string // its path, for people
	name    string // of the copy in it; "" is the directory itself
	archive bool
	mask    uint32          // umask
	made    map[string]bool // directories
}

var (
	_ tree = (*localTree)(nil)
	_ tree = localSource{}
)

// at is p as os.Root has it.
func at(p string) string {
	if p == "" {
		return "."
	}
	return p
}

func (l *localTree) explain(verb, p string, err error) error {
	return explainLocal(verb, path.Join(l.dir, p), err)
}

func (l *localTree) stat(_ context.Context, p string, follow bool) (n node, err error) {
	var info fs.FileInfo
	if follow {
		info, err = l.root.Stat(at(p))
	} else {
		info, err = l.root.Lstat(at(p))
	}
	if err != nil {
		return n, err
	}
	dir, err := l.root.Open(path.Dir(at(p)))
	if err != nil {
		return n, err
	}
	defer dir.Close()
	if follow && info.IsDir() { // by whatever way
		return node{mode: unix.S_IFDIR | uint32(info.Mode().Perm())}, nil
	}
	return localStat(int(dir.Fd()), path.Base(at(p)), path.Join(l.dir, p), false)
}

func (l *localTree) list(context.Context, string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", errors.New("it is only written")) }
}

func (l *localTree) size(context.Context, string) (files, bytes int64, err error) {
	return 0, 0, errors.New("it is only written")
}

func (l *localTree) open(context.Context, string, node) (content, error) {
	return nil, errors.New("it is only written")
}

func (l *localTree) parents(_ context.Context, p string) error {
	info, err := l.root.Stat(path.Dir(at(p)))
	if err == nil && !info.IsDir() {
		return errNotDir
	}
	return err
}

// file writes under another name, to the disk, and then takes the name.
func (l *localTree) file(ctx context.Context, p string, n node, src content, done func(int64)) error {
	if err := l.replaceable(p, n); err != nil {
		return err
	}
	temp := path.Join(path.Dir(p), tempName())
	f, err := l.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = src.copyTo(ctx, f, done)
	if err == nil {
		err = l.attributes(f, n)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && l.archive {
		err = l.root.Chtimes(temp, time.Time{}, time.Unix(0, n.mtime))
	}
	if err == nil {
		err = l.root.Rename(temp, p)
	}
	if err != nil {
		_ = l.root.Remove(temp) // it is ours, and not whole
	}
	return err
}

// replaceable tells whether n may take the place of what is at p: no directory,
// and neither a device, fifo or socket unless n is one too. Else who is root and
// writes to /dev/null would have a file there.
func (l *localTree) replaceable(p string, n node) error {
	info, err := l.root.Lstat(at(p))
	if err != nil {
		return nil //nolint:nilerr // nothing is there, or who writes gets the same error
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.IsDir():
		return errors.New("a directory is there")
	case info.Mode()&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) == 0:
		return nil
	case !ok || st.Mode&unix.S_IFMT != n.mode&unix.S_IFMT:
		return errors.New("what is there is no regular file, and stays; sigilfs cat writes to a device or fifo")
	}
	return nil
}

// end has the names on the disk that are in the directory itself.
func (l *localTree) end() error {
	d, err := l.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func tempName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return ".sigilfs-" + hex.EncodeToString(random[:])
}

// attributes sets those of an open file: the owner first, as that takes
// set-user-ID bits away (chown(2)).
func (l *localTree) attributes(f *os.File, n node) error {
	if !l.archive {
		return f.Chmod(fs.FileMode(n.mode & 0o777 &^ l.mask))
	}
	if os.Geteuid() == 0 {
		if err := f.Chown(int(n.uid), int(n.gid)); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(int(f.Fd()), localMode(n.mode)); err != nil {
		return &os.PathError{Op: "chmod", Path: f.Name(), Err: err}
	}
	for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
		if err := unix.Fsetxattr(int(f.Fd()), name, n.xattrs[name], 0); err != nil {
			return &os.PathError{Op: "setxattr " + name, Path: f.Name(), Err: err}
		}
	}
	return nil
}

// localMode leaves set-user-ID and set-group-ID bits to root, who keeps the
// owner too: else a program would run as who copies.
func localMode(mode uint32) uint32 {
	if os.Geteuid() == 0 {
		return mode & 0o7777
	}
	return mode & 0o1777
}

// mkdir makes one that only its owner enters until endDir.
func (l *localTree) mkdir(_ context.Context, p string, _ node) error {
	err := l.root.Mkdir(at(p), 0o700)
	if !errors.Is(err, fs.ErrExist) {
		l.made[p] = err == nil
		return err
	}
	info, err := l.root.Lstat(at(p))
	if err == nil && !info.IsDir() {
		return errNotDir
	}
	return err
}

func (l *localTree) endDir(_ context.Context, p string, n node) error {
	d, err := l.root.Open(at(p))
	if err != nil {
		return err
	}
	if l.archive || l.made[p] {
		err = l.attributes(d, n)
	}
	if err == nil {
		err = d.Sync() // the names in it
	}
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err == nil && l.archive {
		err = l.root.Chtimes(at(p), time.Time{}, time.Unix(0, n.mtime))
	}
	return err
}

func (l *localTree) symlink(_ context.Context, p string, n node) error {
	temp := path.Join(path.Dir(p), tempName())
	if err := l.root.Symlink(n.link, temp); err != nil {
		return err
	}
	return l.settle(temp, p, n)
}

func (l *localTree) link(ctx context.Context, from, to string) error {
	n, err := l.stat(ctx, from, false)
	if err == nil {
		err = l.replaceable(to, n)
	}
	if err != nil {
		return err
	}
	temp := path.Join(path.Dir(to), tempName())
	if err := l.root.Link(from, temp); err != nil {
		return err
	}
	err = l.root.Rename(temp, to)
	_ = l.root.Remove(temp) // of two names of one file rename(2) leaves both
	return err
}

// mknod makes fifos and, as root who asks for them, devices.
func (l *localTree) mknod(_ context.Context, p string, n node) error {
	if n.mode&unix.S_IFMT != unix.S_IFIFO && (!l.archive || os.Geteuid() != 0) {
		return errors.New("a device is made by root, with --archive")
	}
	dir, err := l.root.Open(path.Dir(p))
	if err != nil {
		return err
	}
	defer dir.Close()
	temp := tempName()
	mode := n.mode & 0o777 &^ l.mask
	if l.archive {
		mode = localMode(n.mode)
	}
	if err := unix.Mknodat(int(dir.Fd()), temp, n.mode&unix.S_IFMT|mode, int(n.rdev)); err != nil {
		return &os.PathError{Op: "mknod", Path: p, Err: err}
	}
	return l.settle(path.Join(path.Dir(p), temp), p, n)
}

// settle gives what is no file its owner and its name.
func (l *localTree) settle(temp, p string, n node) error {
	err := l.replaceable(p, n)
	if err == nil && l.archive && os.Geteuid() == 0 {
		err = l.root.Lchown(temp, int(n.uid), int(n.gid))
	}
	if l.archive && err == nil {
		err = l.setTime(temp, n.mtime)
	}
	if err == nil {
		err = l.root.Rename(temp, p)
	}
	if err != nil {
		_ = l.root.Remove(temp) // it is ours
	}
	return err
}

// setTime sets the time of the last change of what may be a symbolic link.
func (l *localTree) setTime(p string, ns int64) error {
	dir, err := l.root.Open(path.Dir(p))
	if err != nil {
		return err
	}
	defer dir.Close()
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(ns)}
	if err := unix.UtimesNanoAt(int(dir.Fd()), path.Base(p), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimes", Path: p, Err: err}
	}
	return nil
}
