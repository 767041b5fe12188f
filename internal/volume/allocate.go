package volume

import (
	"context"
	"io"

	"github.com/sigilfs/sigilfs/cache/spool"
)

// AllocOptions choose what Allocate does to its range: reserve it (the zero
// value; nothing is reserved, but the size grows), or make it zeros.
type AllocOptions struct {
	KeepSize  bool // do not grow the file
	PunchHole bool // zeros; goes with KeepSize
	ZeroRange bool // zeros
}

// Allocate is fallocate(2).
func (f *File) Allocate(ctx context.Context, off, n int64, o AllocOptions) error {
	if off < 0 || n <= 0 {
		return ErrInvalid
	}
	if off > f.limit()-n {
		return ErrTooLarge
	}
	f.grow.Lock()
	defer f.grow.Unlock()
	data, err := f.overlay(ctx)
	if err != nil {
		return err
	}
	if o.PunchHole || o.ZeroRange {
		err := f.change(ctx, data, off, off+n, func() error { return data.Zero(off, n, f.fill(ctx)) })
		if err != nil {
			return err
		}
	}
	if end := off + n; !o.KeepSize && end > data.Size() {
		return f.truncate(ctx, end)
	}
	return nil
}

// Seek finds the next data or the next hole at or after off. What is committed
// counts as data throughout. io.EOF: off is at or beyond the end, or only a
// hole follows.
func (f *File) Seek(ctx context.Context, off int64, hole bool) (int64, error) {
	f.mu.Lock()
	data, src, size := f.data, f.src, f.attr.Size
	f.mu.Unlock()
	if data == nil {
		if err := src.Verify(ctx); err != nil {
			return 0, err
		}
		return seekWhole(off, size, hole)
	}
	size = data.Size()
	if off < 0 || off >= size {
		return 0, io.EOF
	}
	for off < size {
		kind, end := data.Extent(off)
		if (kind == spool.Zero) == hole {
			return off, nil
		}
		off = end
	}
	if hole { // the end counts as one
		return size, nil
	}
	return 0, io.EOF
}

// seekWhole is Seek in a file without holes.
func seekWhole(off, size int64, hole bool) (int64, error) {
	switch {
	case off < 0 || off >= size:
		return 0, io.EOF
	case hole:
		return size, nil
	}
	return off, nil
}
