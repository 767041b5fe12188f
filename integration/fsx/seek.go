package fsx

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// seek walks the data and the holes of a file. Filesystems may tell fewer
// holes than there are, so the local file's own are no measure: what is told
// must be in order and end with the file, and no hole may hide data.
func (t *tester) seek() error {
	return t.with((*handle).reads, func(h *handle, size int64) error {
		t.note("holes of %v", h)
		// A FUSE filesystem knows nothing of what was mapped and is not sent yet.
		if err := sendPages(h.fds[tested]); err != nil {
			return err
		}
		for off := int64(0); off < size; {
			data, err := nextData(h.fds[tested], off, size)
			if err != nil {
				return err
			}
			if err := zeros(h.fds[local], off, data); err != nil {
				return fmt.Errorf("hole %s: %w", span(off, data-off), err)
			}
			if off, err = nextHole(h.fds[tested], data, size); err != nil {
				return err
			}
		}
		return pastEnd(h.fds[tested], size)
	})
}

// sendPages has the kernel write what was changed by mmap(2), and nothing more.
func sendPages(fd int) error {
	return again0(func() error {
		return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	})
}

// nextData is the begin of data at or after off, and size if there is none.
func nextData(fd int, off, size int64) (int64, error) {
	at, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, nil
	}
	if err != nil || at < off || at >= size {
		return 0, fmt.Errorf("SEEK_DATA from %#x of %#x: %#x, %w", off, size, at, orNone(err))
	}
	return at, nil
}

// nextHole is the end of the data that begins at off.
func nextHole(fd int, off, size int64) (int64, error) {
	if off == size {
		return size, nil
	}
	at, err := unix.Seek(fd, off, unix.SEEK_HOLE)
	if err != nil || at <= off || at > size {
		return 0, fmt.Errorf("SEEK_HOLE from %#x of %#x: %#x, %w", off, size, at, orNone(err))
	}
	return at, nil
}

func pastEnd(fd int, size int64) error {
	for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
		if at, err := unix.Seek(fd, size, whence); !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("seek %d from the end %#x: %#x, %w, want ENXIO", whence, size, at, orNone(err))
		}
	}
	return nil
}

// zeros: the file has nothing else in that range.
func zeros(fd int, from, to int64) error {
	for off := from; off < to; off += chunk {
		b, err := readAt(fd, int(min(chunk, to-off)), off)
		if err != nil {
			return err
		}
		if err := sameBytes(make([]byte, len(b)), b, off); err != nil {
			return err
		}
	}
	return nil
}
