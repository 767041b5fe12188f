package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Try finds out whether a Cache works in the directory, and leaves nothing new
// there: it takes a file, and holes in that. Errors: ErrUnsupported, those of
// the disk.
func (d *Dir) Try() (err error) {
	f, err := os.CreateTemp(d.path, newPrefix+"*")
	if err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err = f.Write(make([]byte, 2*page)); err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	switch err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, page, page); {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%w: %s", ErrUnsupported, d.path)
	case err != nil:
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}
