package spool

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	keyName  = "key"
	dataExt  = ".data"
	logExt   = ".log"
	metaExt  = ".meta"
	tempExt  = ".tmp"
	openMode = unix.O_NOFOLLOW | unix.O_CLOEXEC
	keyMax   = 64 << 10
)

// dir is an open directory, held by flock. Everything in it is reached through
// the descriptor, so that nobody can put another directory in its place.
type dir struct {
	f    *os.File
	path string

	mu     sync.Mutex // guards failed; held while the disk works
	failed error      // of the first sync that did
}

// makeDir takes hold of path, alone, and makes it, 0700, where it is missing.
func makeDir(path string) (*dir, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create the spool directory: %w", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("create the spool directory: %w", err)
	}
	return openDir(path, unix.LOCK_EX)
}

// openDir takes hold of path: alone (LOCK_EX), or beside others who read what
// a dead process left (LOCK_SH).
func openDir(path string, lock int) (*dir, error) {
	fd, err := unix.Open(path, openMode|unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return nil, pathError("open the spool directory", path, err)
	}
	d := &dir{f: os.NewFile(uintptr(fd), path), path: path}
	if err := d.claim(lock); err != nil {
		return nil, errors.Join(err, d.f.Close())
	}
	return d, nil
}

func (d *dir) claim(lock int) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.f.Fd()), &st); err != nil {
		return pathError("stat the spool directory", d.path, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("%w: %s must be owned by uid %d with mode 0700, it is %d's with %04o",
			ErrUnsafe, d.path, os.Geteuid(), st.Uid, st.Mode&0o7777)
	}
	// The kernel drops the lock with the process: a dead owner holds nothing.
	err := unix.Flock(int(d.f.Fd()), lock|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s", ErrBusy, d.path)
	}
	if err != nil {
		return pathError("lock the spool directory", d.path, err)
	}
	return nil
}

func (d *dir) close() error { return d.f.Close() }

// open opens a regular file of ours in the directory.
func (d *dir) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(d.f.Fd()), name, flags|openMode|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, pathError("open", filepath.Join(d.path, name), err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.path, name))
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(pathError("stat", f.Name(), err), f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return nil, errors.Join(fmt.Errorf("%w: %s is not a private file", ErrUnsafe, f.Name()), f.Close())
	}
	return f, nil
}

// read gives a whole small file.
func (d *dir) read(name string, limit int64) ([]byte, error) {
	f, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrDamaged, f.Name(), limit)
	}
	return b, nil
}

// write durably replaces a whole small file.
func (d *dir) write(name string, b []byte) error {
	if err := d.replace(name, b, (*os.File).Sync); err != nil {
		return err
	}
	return d.sync()
}

// put replaces a whole small file, so that a kill leaves the old or the new one.
func (d *dir) put(name string, b []byte) error {
	return d.replace(name, b, func(*os.File) error { return nil })
}

func (d *dir) replace(name string, b []byte, sync func(*os.File) error) error {
	if err := d.remove(name + tempExt); err != nil {
		return err
	}
	f, err := d.open(name+tempExt, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = sync(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.move(name+tempExt, name)
	}
	if err != nil {
		return errors.Join(full(fmt.Errorf("write %s: %w", filepath.Join(d.path, name), err)), d.remove(name+tempExt))
	}
	return nil
}

func (d *dir) move(from, to string) error {
	fd := int(d.f.Fd())
	if err := unix.Renameat(fd, from, fd, to); err != nil {
		return pathError("rename", filepath.Join(d.path, from), err)
	}
	return nil
}

// sync makes the names durable. A failure stands for all that come after: the kernel tells of what it could
// not write once, and then says that all is well (fsync(2)).
func (d *dir) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return d.failed
	}
	if err := d.f.Sync(); err != nil {
		d.failed = fmt.Errorf("sync the spool directory: %w", err)
	}
	return d.failed
}

// remove removes a name; one that is not there is no error.
func (d *dir) remove(name string) error {
	err := unix.Unlinkat(int(d.f.Fd()), name, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return pathError("remove", filepath.Join(d.path, name), err)
	}
	return nil
}

// removeFile removes all that belongs to one file, its meta record first:
// without it nothing is ever replayed, whatever else a crash leaves.
func (d *dir) removeFile(id fileID) error {
	var errs []error
	for _, ext := range []string{metaExt, dataExt, logExt, metaExt + tempExt, logExt + tempExt} {
		errs = append(errs, d.remove(id.String()+ext))
	}
	return errors.Join(errs...)
}

// files lists the files that are there, by their data or their meta record.
func (d *dir) files() ([]fileID, error) {
	// A descriptor of its own: a directory's offset is shared otherwise.
	fd, err := unix.Openat(int(d.f.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, pathError("list", d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	var ids []fileID
	seen := map[fileID]bool{}
	for _, name := range names {
		if id, ok := parseName(name); ok && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func parseName(name string) (id fileID, ok bool) {
	hexID, found := strings.CutSuffix(name, dataExt)
	if !found {
		hexID, found = strings.CutSuffix(name, metaExt)
	}
	if !found {
		return id, false
	}
	return parseID(hexID)
}

func parseID(s string) (id fileID, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != s {
		return id, false
	}
	return fileID(b), true
}

// pathError names the action and the place. A symbolic link where a file or
// directory of ours belongs is ErrUnsafe (open(2): ELOOP, ENOTDIR).
func pathError(action, path string, err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: %s %s: %w", ErrUnsafe, action, path, err)
	}
	return full(fmt.Errorf("%s %s: %w", action, path, err))
}

// full makes ErrFull of what the kernel says when no space is left.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
