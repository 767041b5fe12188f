package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Flush returns when what was put before is written.
func (c *Cache) Flush() {
	done := make(chan struct{})
	c.mu.Lock()
	c.waiting.row = append(c.waiting.row, &batch{done: done})
	c.mu.Unlock()
	c.wakeWriter()
	<-done
}

// Measure is what happens every few seconds.
func (c *Cache) Measure() { c.measure() }

// WithFree has the cache believe that so many bytes are free.
func (o Options) WithFree(free func() int64) Options {
	o.free = func() (int64, error) { return free(), nil }
	return o
}

// RecordSize, HeaderSize and Stride are of the layout.
const (
	RecordSize = recordSize
	HeaderSize = headerSize
	Stride     = stride
)

// Break has every access to the blocks fail.
func (c *Cache) Break() { _ = c.blocks.Close() }

// MakeReadOnly has both files be read and not written, as those of a file system
// that was damaged are.
func (c *Cache) MakeReadOnly() error {
	c.disk.Lock()
	defer c.disk.Unlock()
	var errs []error
	for _, f := range []*os.File{c.index, c.blocks} {
		again, err := os.Open(f.Name())
		if err == nil {
			err = errors.Join(unix.Dup3(int(again.Fd()), int(f.Fd()), unix.O_CLOEXEC), again.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Parse tells whether p is a record, and gives it encoded again.
func Parse(p []byte) ([]byte, bool) {
	r, ok := parse(p)
	again := r.encode()
	return again[:], ok
}

// Hold has the disk take nothing until release.
func (c *Cache) Hold() (release func()) {
	c.disk.Lock()
	return c.disk.Unlock
}
