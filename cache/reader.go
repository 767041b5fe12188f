package cache

import (
	"context"
	"fmt"
	"io"
)

// Reader reads one body. It is safe for concurrent use.
type Reader struct {
	cache *Cache
	body  Body
	fetch Fetch

	// Guarded by Cache.mu.
	streams [maxStreams]*stream // most recently read first; nil behind the last
	reads   int
}

// Size is the body's length in bytes.
func (r *Reader) Size() int64 { return r.body.Size }

// ReadAt reads as io.ReaderAt does; it gives up when ctx ends, while the
// fetch goes on for others. An error of the Fetch is given as it is, with what
// lies before it read, and is not remembered.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("cached read: offset %d", off)
	}
	if off >= r.body.Size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > r.body.Size-off {
		p, end = p[:r.body.Size-off], io.EOF
	}
	n := 0
	err := r.View(ctx, off, int64(len(p)), func(part []byte) error {
		n += copy(p[n:], part)
		return nil
	})
	if err != nil {
		return n, err
	}
	return n, end
}

// View gives use the n bytes from off on, which lie within the body, where they
// are: in order, and in pieces that end where blocks end, each as soon as it is
// there. A piece is not to be changed, nor kept beyond the call, which must not
// wait for another read. Errors are those of ReadAt, and the first of use.
func (r *Reader) View(ctx context.Context, off, n int64, use func(p []byte) error) error {
	if off < 0 || n < 0 || n > r.body.Size-off {
		return fmt.Errorf("cached read: %d bytes at %d of %d", n, off, r.body.Size)
	}
	s := r.follow(off, n)
	for end := off + n; off < end; {
		blocks, err := r.claim(ctx, s, off, end)
		if err != nil {
			return err
		}
		off, err = r.hand(ctx, s, blocks, off, end, use)
		if err != nil {
			return err
		}
	}
	return nil
}

// hand waits for blocks, one after the other, and lets go of each when it was
// used. It gives where the next byte is.
func (r *Reader) hand(ctx context.Context, s *stream, blocks []*block, off, end int64, use func([]byte) error) (int64, error) {
	for i, b := range blocks {
		err := b.wait(ctx)
		if err == nil {
			to := min(end, b.off+b.size)
			err = use(b.data[off-b.off : to-b.off])
			off = to
		}
		r.cache.leave(s, b, off)
		if err != nil {
			for _, rest := range blocks[i+1:] {
				r.cache.leave(nil, rest, 0)
			}
			return off, err
		}
	}
	return off, nil
}

// wait gives the error of who brings b, or that of ctx.
func (b *block) wait(ctx context.Context) error {
	select {
	case <-b.ready:
		return b.err
	default:
	}
	select {
	case <-b.ready:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave ends the use of b by s, which was read up to off.
func (c *Cache) leave(s *stream, b *block, off int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unpin(b, s != nil && s.window > 0 && off == b.off+b.size)
}

// claim pins blocks from off on, as many as there is memory for and at least
// one, and has those fetched that are missing. It waits while there is no
// memory at all.
func (r *Reader) claim(ctx context.Context, s *stream, off, end int64) ([]*block, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := r.cache
	for again := false; ; again = true {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		got, missing := r.pinAll(off, end)
		if len(got) > 0 {
			c.hits += uint64(len(got) - len(missing))
			c.misses += uint64(len(missing))
			if again {
				c.mem.wake() // there may be room for the next, too
			}
			s.waits(got)
			r.readAhead(ctx, s)
			c.mu.Unlock()
			r.begin(ctx, missing)
			return got, nil
		}
		turn := c.mem.wait(again)
		c.mu.Unlock()
		if err := c.queue(ctx, turn); err != nil {
			return nil, err
		}
	}
}

// queue waits for a turn. Who gives it up lets the next one have it.
func (c *Cache) queue(ctx context.Context, turn chan struct{}) error {
	var err error
	select {
	case <-turn:
		err = ctx.Err()
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.stop:
		err = ErrClosed
	}
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mem.quit(turn)
	return err
}

// pinAll pins what is found of the range and what there is room for, up to the
// first that there is none for. Those that are missing are among got, and
// coming.
func (r *Reader) pinAll(off, end int64) (got, missing []*block) {
	c, size := r.cache, r.body.Block
	if b := c.find(r.body, ending); b != nil && off >= b.off {
		c.pin(b)
		return []*block{b}, nil
	}
	for i := off / size; i*size < end; i++ {
		b := c.find(r.body, i)
		if b == nil {
			b = newBlock(r.body, i)
			if !c.room(cost(b.size)) {
				break
			}
			c.add(b)
			missing = append(missing, b)
		}
		c.pin(b)
		got = append(got, b)
	}
	return got, missing
}

// Seed takes bytes of the body from off on that another request has brought,
// as far as there is room: whole blocks, or the last bytes of the body if they
// are few.
func (r *Reader) Seed(off int64, p []byte) {
	end := off + int64(len(p))
	if off < 0 || end > r.body.Size || len(p) == 0 {
		return
	}
	if off > 0 && end == r.body.Size && len(p) <= maxEnding {
		r.seed(&block{of: r.body, index: ending, off: off, size: int64(len(p)), ready: make(chan struct{})}, p)
		return
	}
	for i := (off + r.body.Block - 1) / r.body.Block; ; i++ {
		b := newBlock(r.body, i)
		if b.size <= 0 || b.off+b.size > end {
			return
		}
		r.seed(b, p[b.off-off:][:b.size])
	}
}

// maxEnding is the most bytes of an end that is no whole block: what a lookup
// asks for. A body that is not longer is asked for by every lookup.
const maxEnding = 4096

// seed keeps p as b, unless that is there; on the Disk too, if it is not asked
// for again anyway.
func (r *Reader) seed(b *block, p []byte) {
	c := r.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.find(r.body, b.index) != nil || !c.roomAhead(cost(b.size)) {
		return
	}
	b.data = c.mem.buffer(b.size)
	copy(b.data, p)
	b.coming = false
	close(b.ready)
	c.add(b)
	if b.index != ending && r.body.Size > maxEnding {
		c.shelve(b)
		return
	}
	c.settle(b)
}

// Drop forgets the body, on the Disk too: it did not authenticate, and the next
// read fetches it again, even where a fetch that began before is still under
// way.
func (r *Reader) Drop() {
	c := r.cache
	c.mu.Lock()
	if b := c.bodies[r.body]; b != nil {
		c.forget(b)
	}
	c.mu.Unlock()
	if c.opt.Disk != nil {
		c.opt.Disk.Drop(r.body)
	}
}
