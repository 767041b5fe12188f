package cache

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Reader reads one body. It is safe for concurrent use.
type Reader struct {
	cache *Cache
	id    ID
	size  int64
	fetch Fetch

	mu   sync.Mutex // guards next
	next int64      // where a sequential read would go on
}

// Size is the body's length in bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt reads as io.ReaderAt does; it gives up when ctx ends, while the
// fetch goes on for others. An error of the Fetch is given as it is, with what
// lies before it read, and is not remembered.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("cached read: offset %d", off)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if off >= r.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > r.size-off {
		p, end = p[:r.size-off], io.EOF
	}
	ahead := r.sequential(off, int64(len(p)))
	for n := 0; n < len(p); {
		// A window at a time, so that a huge read holds few blocks.
		part := p[n:min(int64(len(p)), int64(n)+r.window(off+int64(n)))]
		m, err := r.readWindow(ctx, part, off+int64(n), ahead)
		n += m
		if err != nil {
			return n, err
		}
	}
	return len(p), end
}

// window is how many bytes from off on end with a fetch of full length.
func (r *Reader) window(off int64) int64 {
	size := r.cache.opt.BlockSize
	return max(r.cache.opt.Coalesce/size, 1)*size - off%size
}

// sequential tells whether the read goes on where the last one ended.
func (r *Reader) sequential(off, n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	same := r.next == off
	r.next = off + n
	return same
}

func (r *Reader) readWindow(ctx context.Context, p []byte, off int64, ahead bool) (int, error) {
	size := r.cache.opt.BlockSize
	first, last := off/size, (off+int64(len(p))-1)/size
	until := last
	if ahead && r.cache.opt.ReadAhead > 0 {
		until = min(last+int64(r.cache.opt.ReadAhead), (r.size-1)/size)
	}
	blocks, err := r.cache.get(ctx, r, first, last, until)
	if err != nil {
		return 0, err
	}
	n := 0
	for i, b := range blocks {
		select {
		case <-b.ready:
		case <-ctx.Done():
			return n, ctx.Err()
		}
		in := off + int64(n) - (first+int64(i))*size
		if in < int64(len(b.data)) {
			n += copy(p[n:], b.data[in:])
		}
		if b.err != nil {
			return n, b.err
		}
	}
	return n, nil
}
