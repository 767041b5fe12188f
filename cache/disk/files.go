package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Nothing here takes a lock. Whoever writes holds Cache.disk.

// writeBlocks puts what was stored of adjacent blocks where it belongs: off in
// slot n, and behind that.
func (c *Cache) writeBlocks(n uint32, off int64, run [][]byte) error {
	for at := int64(n)*stride + off; len(run) > 0; {
		wrote, err := c.writev(run, at)
		if err == nil && wrote == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("write blocks of the cache: %w", err)
		}
		at += int64(wrote)
		run = after(run, wrote)
	}
	return nil
}

func (c *Cache) writev(run [][]byte, at int64) (n int, err error) {
	ctlErr := c.raw.Control(func(fd uintptr) {
		for {
			n, err = unix.Pwritev(int(fd), run, at)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return n, errors.Join(ctlErr, err)
}

// after is what is left of run when n bytes of it are written.
func after(run [][]byte, n int) [][]byte {
	for len(run) > 0 && n >= len(run[0]) {
		n -= len(run[0])
		run = run[1:]
	}
	if n > 0 {
		run[0] = run[0][n:]
	}
	return run
}

func (c *Cache) writeRecord(n uint32, p [recordSize]byte) error {
	if _, err := c.index.WriteAt(p[:], headerSize+int64(n)*recordSize); err != nil {
		return fmt.Errorf("write the index of the cache: %w", err)
	}
	return nil
}

// wipe forgets what is on disk of a slot: the record first, so that none ever
// speaks of what is there next.
func (c *Cache) wipe(n uint32) error {
	if err := c.writeRecord(n, [recordSize]byte{}); err != nil {
		return err
	}
	return c.punch(int64(n)*stride, stride)
}

func (c *Cache) punch(off, n int64) error {
	var err error
	ctlErr := c.raw.Control(func(fd uintptr) {
		for {
			err = unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	if err = errors.Join(ctlErr, err); err != nil {
		return fmt.Errorf("free a part of the cache: %w", err)
	}
	return nil
}

// readStored reads n bytes that are stored at off into p, and the rest of them
// into rest. Fewer is an error.
func (c *Cache) readStored(p, rest []byte, off int64) error {
	var n int
	var err error
	ctlErr := c.raw.Control(func(fd uintptr) {
		for {
			n, err = unix.Preadv(int(fd), [][]byte{p, rest}, off)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case ctlErr != nil:
		return ctlErr
	case err != nil:
		return fmt.Errorf("read the cache: %w", err)
	case n != len(p)+len(rest):
		return fmt.Errorf("read the cache: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// checkSum tells whether p and the stored sum belong together.
func checkSum(stored []byte, salt [saltSize]byte, number int, p []byte) bool {
	return binary.LittleEndian.Uint32(stored) == sumOf(salt, number, p)
}

// freeOnDisk is what the file system has left for this user, in bytes.
func (c *Cache) freeOnDisk() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(c.blocks.Fd()), &st); err != nil {
		return 0, fmt.Errorf("ask for the space left for the cache: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// there tells whether both files still have their names.
func (c *Cache) there() error {
	for _, f := range []interface{ Fd() uintptr }{c.index, c.blocks} {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return fmt.Errorf("look at the cache: %w", err)
		}
		if st.Nlink == 0 {
			return ErrVanished
		}
	}
	return nil
}
