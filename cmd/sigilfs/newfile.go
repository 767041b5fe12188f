package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errUnsynced: a file is there, whole, and its name may not be on the disk yet.
var errUnsynced = errors.New("it is there, and may not survive a power failure")

// newFile makes a file of mode 0600 that is whole as soon as it has its name, on
// the disk too, and that takes the name of no other: until then it has another
// one in the same directory, which is all that kill -9 leaves.
func newFile(path string, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil { // before the work; the rename looks too
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*") // 0600, O_EXCL
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, errUnsynced) {
			_ = os.Remove(f.Name()) // it is ours, and not whole
		}
	}()
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := takeName(f.Name(), path, renameNew); err != nil {
		return err
	}
	return syncName(path)
}

// syncName sees to it that a name stays. errUnsynced: it may not.
func syncName(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, errUnsynced, err)
	}
	return nil
}

// takeName gives a file a name that nothing has. Where the filesystem cannot rename
// so, as NFS, link(2) does; what then stays of the old name is no failure.
func takeName(from, to string, rename func(from, to string) error) error {
	err := rename(from, to)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		if err = os.Link(from, to); err == nil {
			_ = os.Remove(from)
		}
	}
	return err
}

// renameNew is renameat2(2) to a name that nothing has.
func renameNew(from, to string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
