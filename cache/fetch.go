package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Fetch opens n bytes of the body from off on, in one request, which lie within
// it. The reader gives exactly those, as they arrive, and then io.EOF; anything
// else is an error of the read. ctx is that of the fetch, not of the read that
// caused it: it ends when no block has come for Options.Timeout, when the fetch
// is given up, and with Close. The reader is closed before that.
type Fetch func(ctx context.Context, off, n int64) (io.ReadCloser, error)

// run is a fetch of adjacent blocks: detached from the reads that wait for
// them.
type run struct {
	r      *Reader
	blocks []*block
	stream *stream // nil: somebody waits
	cancel context.CancelFunc
}

// begin brings blocks that somebody waits for: those that the Disk has at once,
// the others by as few requests as there are gaps between them.
func (r *Reader) begin(ctx context.Context, missing []*block) {
	c := r.cache
	if missing = c.fromDisk(missing); len(missing) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, blocks := range adjacent(missing) {
		c.start(ctx, &run{r: r, blocks: blocks})
	}
}

// adjacent splits blocks, in order, where there is a gap.
func adjacent(blocks []*block) (runs [][]*block) {
	from := 0
	for i := range blocks {
		if i+1 == len(blocks) || blocks[i+1].index != blocks[i].index+1 {
			runs = append(runs, blocks[from:i+1])
			from = i + 1
		}
	}
	return runs
}

// start begins a run. c.mu is held.
func (c *Cache) start(ctx context.Context, job *run) {
	if c.closed {
		c.fail(job.blocks, ErrClosed)
		return
	}
	ctx, job.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.running[job] = struct{}{}
	c.tasks.Go(func() { c.load(ctx, job) })
}

// giveUp ends a run that was begun ahead, if nobody waits for any of it.
// c.mu is held.
func (c *Cache) giveUp(job *run) {
	for _, b := range job.blocks {
		if b.coming && b.users > 0 {
			return
		}
	}
	for _, b := range job.blocks {
		if b.coming {
			c.remove(b)
		}
	}
	job.cancel()
}

func (c *Cache) load(ctx context.Context, job *run) {
	defer job.cancel()
	blocks := job.blocks
	if job.stream != nil {
		blocks = c.fromDisk(blocks)
	}
	for _, gap := range adjacent(blocks) {
		c.bring(ctx, job, gap)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, job)
}

// bring fetches blocks that are adjacent, when it is their turn.
func (c *Cache) bring(ctx context.Context, job *run, blocks []*block) {
	err, n := ctx.Err(), 0
	select {
	case c.slots <- struct{}{}:
		if err == nil {
			n, err = c.fetch(ctx, job.r, blocks)
		}
		<-c.slots
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		return
	}
	select {
	case <-c.stop:
		err = ErrClosed
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(blocks[n:], err)
	if job.stream != nil && ctx.Err() == nil {
		c.end(job.stream)
	}
}

// errSlow ends a fetch that brings nothing.
var errSlow = fmt.Errorf("fetch brings nothing: %w", context.DeadlineExceeded)

// fetch reads blocks out of one request, and gives how many came.
func (c *Cache) fetch(ctx context.Context, r *Reader, blocks []*block) (n int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clock := time.AfterFunc(c.opt.Timeout, func() { cancel(errSlow) })
	defer clock.Stop()
	defer func() {
		if err != nil && context.Cause(ctx) == errSlow { //nolint:errorlint // it is that very one
			err = fmt.Errorf("at %d, for %v: %w", blocks[n].off, c.opt.Timeout, errSlow)
		}
	}()
	end := blocks[len(blocks)-1]
	body, err := r.fetch(ctx, blocks[0].off, end.off+end.size-blocks[0].off)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }() // what was read was checked
	for _, b := range blocks {
		if err := c.receive(body, b, b == end); err != nil {
			return n, err
		}
		n++
		clock.Reset(c.opt.Timeout)
	}
	return n, nil
}

// receive reads a block; with the last one, the end.
func (c *Cache) receive(from io.Reader, b *block, last bool) error {
	p := c.buffer(b)
	_, err := io.ReadFull(from, p)
	if err == nil && last {
		err = ends(from)
	}
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mem.recycle(p)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("fetch at %d: %w", b.off, errors.Join(io.ErrUnexpectedEOF, notEnd(err)))
		}
		return err
	}
	c.deliver(b, p, true)
	return nil
}

// notEnd is nil for the errors by which a reader says no more than that it ends.
func notEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // wrapped ones say more
		return nil
	}
	return err
}

// ends sees that nothing follows.
func ends(from io.Reader) error {
	var more [1]byte
	n, err := io.ReadFull(from, more[:])
	switch {
	case n > 0:
		return errors.New("fetch gave more than it was asked for")
	case errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

func (c *Cache) buffer(b *block) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mem.buffer(b.size)
}

// fromDisk brings the blocks that the Disk has and gives the others.
func (c *Cache) fromDisk(blocks []*block) (missing []*block) {
	if c.opt.Disk == nil {
		return blocks
	}
	for _, b := range blocks {
		p := c.buffer(b)
		if c.opt.Disk.Get(b.of, b.index, p) {
			c.deliver(b, p, false)
			continue
		}
		c.mu.Lock()
		c.mem.recycle(p)
		c.mu.Unlock()
		missing = append(missing, b)
	}
	return missing
}

// deliver makes p, which b takes over, what b is. The Disk gets what is anew:
// those who wait go on meanwhile.
func (c *Cache) deliver(b *block, p []byte, anew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.data, b.coming = p, false
	close(b.ready)
	if anew {
		c.shelve(b)
		return
	}
	c.settle(b)
}

// shelve gives b, which is here and found, to the Disk, and then puts it where it
// belongs. c.mu is held, but not meanwhile.
func (c *Cache) shelve(b *block) {
	if c.opt.Disk == nil || b.gone {
		c.settle(b)
		return
	}
	b.users++
	c.mu.Unlock()
	c.opt.Disk.Put(b.of, b.index, b.data)
	c.mu.Lock()
	dropped := b.gone // nothing else takes a block that is used
	if c.let(b); dropped {
		// Perhaps before the Disk had it.
		c.mu.Unlock()
		c.opt.Disk.Drop(b.of)
		c.mu.Lock()
	}
}

// fail tells who waits for blocks that they do not come. c.mu is held.
func (c *Cache) fail(blocks []*block, err error) {
	for _, b := range blocks {
		b.err, b.coming = err, false
		close(b.ready)
		if b.gone && b.users == 0 {
			c.free(b)
		}
		c.remove(b)
	}
}
