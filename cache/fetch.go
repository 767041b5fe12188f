package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// run is a row of adjacent blocks that one Fetch loads.
type run struct {
	r      *Reader
	blocks []*block
	cancel context.CancelFunc
}

// get gives the blocks [first, last] of r's body, of which those that are
// neither here nor on their way begin to be fetched, as do those up to until
// where there is room for it.
func (c *Cache) get(ctx context.Context, r *Reader, first, last, until int64) ([]*block, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	got := make([]*block, 0, last-first+1)
	var missing []*block
	for i := first; i <= until; i++ {
		b := c.blocks[name{r.id, i}]
		if b == nil && i > last && (len(c.running) >= c.opt.Fetches/2 || c.opt.Bytes < 4*c.opt.BlockSize) {
			break // reading ahead takes no turn from those who wait
		}
		if b == nil {
			b = &block{name: name{r.id, i}, ready: make(chan struct{})}
			c.blocks[b.name] = b
			missing = append(missing, b)
		} else if b.elem != nil {
			c.recent.MoveToFront(b.elem)
		}
		if i <= last {
			got = append(got, b)
		}
	}
	for _, job := range c.runs(r, missing, last) {
		// Others may wait for the same blocks: the end of this read is not
		// that of the fetch.
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opt.Timeout)
		job.cancel = cancel
		c.running[job] = struct{}{}
		c.tasks.Go(func() { c.load(detached, job) })
	}
	return got, nil
}

// runs groups adjacent blocks, up to the longest fetch. What is read ahead is
// fetched by itself: nobody waits for it.
func (c *Cache) runs(r *Reader, missing []*block, last int64) []*run {
	most := int(max(c.opt.Coalesce/c.opt.BlockSize, 1))
	var runs []*run
	for i, b := range missing {
		k := len(runs) - 1
		if i == 0 || missing[i-1].name.index+1 != b.name.index || len(runs[k].blocks) == most ||
			b.name.index > last && missing[i-1].name.index <= last {
			runs = append(runs, &run{r: r})
			k++
		}
		runs[k].blocks = append(runs[k].blocks, b)
	}
	return runs
}

// load fetches a run, detached from the reads that wait for it.
func (c *Cache) load(ctx context.Context, job *run) {
	defer job.cancel()
	data, err := c.fetch(ctx, job)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, job)
	size := c.opt.BlockSize
	for i, b := range job.blocks {
		from := min(int64(i)*size, int64(len(data)))
		part := data[from:min(from+size, int64(len(data)))]
		want := min(size, job.r.size-b.name.index*size)
		if int64(len(part)) < want {
			b.data, b.err = part, err
			c.remove(b)
		} else {
			if b.data = part; len(job.blocks) > 1 {
				// Of its own, so that evicting one block frees its memory.
				b.data = bytes.Clone(part)
			}
			c.keep(b)
		}
		close(b.ready)
	}
}

// fetch gives what was read, all of it unless there is an error.
func (c *Cache) fetch(ctx context.Context, job *run) ([]byte, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.stop:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	off := job.blocks[0].name.index * c.opt.BlockSize
	n := min(int64(len(job.blocks))*c.opt.BlockSize, job.r.size-off)
	p := make([]byte, n)
	got, err := job.r.fetch(ctx, off, p)
	if got < 0 || int64(got) > n {
		return nil, fmt.Errorf("fetch of %d bytes at %d gave %d", n, off, got)
	}
	if int64(got) == n {
		return p, nil
	}
	select {
	case <-c.stop:
		return p[:got], ErrClosed
	default:
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("fetch at %d: %w", off, io.ErrUnexpectedEOF)
	}
	return p[:got], err
}
