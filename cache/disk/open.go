package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// open opens both files and takes from them what can be used.
func (c *Cache) open(dir *Dir) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(c.index, c.blocks))
		}
	}()
	if c.index, err = openOurs(filepath.Join(dir.path, indexName)); err != nil {
		return err
	}
	if c.blocks, err = openOurs(filepath.Join(dir.path, blocksName)); err != nil {
		return err
	}
	if c.raw, err = c.blocks.SyscallConn(); err != nil {
		return err
	}
	if err := c.canPunch(); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	if _, err := c.look(); err != nil {
		return err
	}
	return c.shrink(0, none)
}

func closeAll(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// canPunch tries a hole where nothing lies: beyond the last slot there can be.
func (c *Cache) canPunch() error {
	err := c.punch(int64(c.slots)*stride, page)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %s", ErrUnsupported, filepath.Dir(c.blocks.Name()))
	}
	return err
}

// load reads the index. One of another layout, or none, is begun anew.
func (c *Cache) load() error {
	header := make([]byte, headerSize)
	n, err := c.index.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n < headerSize || !isHeader(header) {
		return c.beginAnew()
	}
	if err := c.cut(); err != nil {
		return err
	}
	damaged, err := c.admit()
	if err != nil {
		return err
	}
	for _, n := range append(damaged, c.table.restore()...) {
		if err := c.writeRecord(n, [recordSize]byte{}); err != nil {
			return err
		}
	}
	return c.punchUnheld()
}

// beginAnew empties both files.
func (c *Cache) beginAnew() error {
	if err := errors.Join(c.index.Truncate(0), c.blocks.Truncate(0)); err != nil {
		return err
	}
	_, err := c.index.WriteAt(encodeHeader(), 0)
	return err
}

// cut takes away what is beyond the most slots that there may be.
func (c *Cache) cut() error {
	for f, most := range map[*os.File]int64{
		c.index:  headerSize + int64(c.slots)*recordSize,
		c.blocks: int64(c.slots) * stride,
	} {
		info, err := f.Stat()
		if err == nil && info.Size() > most {
			err = f.Truncate(most)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// admit takes the records that can be used, and gives the slots of those that
// cannot.
func (c *Cache) admit() (damaged []uint32, err error) {
	part, zeros := make([]byte, 4096*recordSize), make([]byte, recordSize)
	for first := 0; ; first += len(part) / recordSize {
		n, err := c.index.ReadAt(part, headerSize+int64(first)*recordSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for i := 0; i < n; i += recordSize {
			number := uint32(first + i/recordSize)
			p := part[i:min(i+recordSize, n)]
			if r, ok := parse(p); ok {
				c.table.admit(number, r, c.secret.volume)
			} else if !bytes.Equal(p, zeros[:len(p)]) {
				damaged = append(damaged, number)
			}
		}
		if n < len(part) {
			return damaged, nil
		}
	}
}

// punchUnheld gives back what a crash left where no record says that a block is.
func (c *Cache) punchUnheld() error {
	info, err := c.blocks.Stat()
	if err != nil {
		return err
	}
	run := struct{ off, end int64 }{}
	var errs []error
	flush := func() {
		if run.end > run.off {
			errs = append(errs, c.punch(run.off, run.end-run.off))
		}
	}
	for n := int64(0); n*stride < info.Size(); n++ {
		var s slot
		if n < int64(len(c.table.slots)) {
			s = c.table.slots[n]
		}
		s.shape.holes(s.held, func(off, length int64) {
			if off += n * stride; off != run.end {
				flush()
				run.off = off
			}
			run.end = off + length
		})
	}
	flush()
	return errors.Join(errs...)
}
