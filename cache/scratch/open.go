package scratch

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const openFlags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC

// open makes a file in dir that has no name. O_EXCL beside O_TMPFILE keeps
// anybody from giving it one (open(2)).
func open(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, openFlags|unix.O_TMPFILE|unix.O_EXCL, 0o600)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR): // of the file system, of the kernel
		return openNamed(dir)
	case err != nil:
		return nil, fmt.Errorf("in %s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), dir+"/(unnamed)"), nil
}

// openNamed makes a file and removes its name at once. A crash between the two
// leaves an empty file.
func openNamed(dir string) (*os.File, error) {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", dir, err)
	}
	defer unix.Close(at) //nolint:errcheck // nothing was written through it
	name := "scratch-" + rand.Text()
	fd, err := unix.Openat(at, name, openFlags|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), dir+"/"+name)
	if err := unix.Unlinkat(at, name, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("remove the name of %s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}
