// Package cache keeps blocks of object bodies near, in memory for now, within
// a bound in bytes. Blocks are named by the identity of the immutable body
// that they are part of, so nothing is ever invalidated, only evicted. It
// fetches through a function, once per block however many ask, and knows
// neither S3 nor what the bytes mean.
package cache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed: the cache was closed before or during the read.
var ErrClosed = errors.New("cache is closed")

// ID names one immutable body and the key it is sealed under.
type ID struct {
	Body  string // a sigil generation in hex, else bucket, key, ETag and version
	KeyID string // so that blocks of a revoked key can be told
}

// Fetch reads into p the bytes of the body that begin at off, as io.ReaderAt:
// fewer than len(p) only with an error. Its context is the cache's, not that
// of the read which caused it, and ends by Options.Timeout or Close.
type Fetch func(ctx context.Context, off int64, p []byte) (int, error)

// Options of a cache.
type Options struct {
	Bytes     int64         // most memory for blocks that are kept; 0 is 64 MiB
	BlockSize int64         // bytes; 0 is 1 MiB
	Coalesce  int64         // most bytes of one fetch; 0 is 8 MiB
	ReadAhead int           // blocks fetched ahead of a sequential reader; 0 is 2, negative none
	Fetches   int           // fetches at a time; 0 is 32. Others wait for their turn.
	Timeout   time.Duration // of one fetch; 0 is 2 minutes
}

func (o Options) withDefaults() Options {
	if o.Bytes <= 0 {
		o.Bytes = 64 << 20
	}
	if o.BlockSize <= 0 {
		o.BlockSize = 1 << 20
	}
	if o.Coalesce <= 0 {
		o.Coalesce = 8 << 20
	}
	if o.ReadAhead == 0 {
		o.ReadAhead = 2
	}
	if o.Fetches <= 0 {
		o.Fetches = 32
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	return o
}

// Cache is safe for concurrent use. Besides Options.Bytes it holds what is
// being fetched: at most twice Fetches times Coalesce bytes, and what readers that
// are woken have not copied yet.
type Cache struct {
	opt   Options
	slots chan struct{} // one token per fetch under way
	stop  chan struct{} // closed by Close
	tasks sync.WaitGroup

	mu      sync.Mutex // guards what follows; never held in a Fetch
	closed  bool
	blocks  map[name]*block
	recent  *list.List        // *block that are kept; front is used last
	kept    int64             // bytes
	running map[*run]struct{} // fetches that are queued or under way
}

// name is a block's place in the world.
type name struct {
	id    ID
	index int64
}

// block is fetched once. data and err are set before ready is closed, and
// never change after.
type block struct {
	name  name
	ready chan struct{}
	data  []byte
	err   error
	elem  *list.Element // in recent; guarded by Cache.mu
}

// New makes an empty cache. The caller closes it.
func New(opt Options) *Cache {
	opt = opt.withDefaults()
	return &Cache{
		opt:     opt,
		slots:   make(chan struct{}, opt.Fetches),
		stop:    make(chan struct{}),
		blocks:  map[name]*block{},
		recent:  list.New(),
		running: map[*run]struct{}{},
	}
}

// Close ends fetches under way, waits for them and forgets all blocks.
// Readers give ErrClosed from now on.
func (c *Cache) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.stop)
		for job := range c.running {
			job.cancel()
		}
	}
	c.mu.Unlock()
	c.tasks.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.blocks)
	c.recent.Init()
	c.kept = 0
	return nil
}

// Kept is the memory in bytes that blocks take now.
func (c *Cache) Kept() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept
}

// Drop forgets the blocks that hold n bytes from off: they did not
// authenticate, and the next read fetches them again, even where a fetch that
// began before is still under way.
func (c *Cache) Drop(id ID, off, n int64) {
	if off < 0 || n <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first, last := off/c.opt.BlockSize, (off+n-1)/c.opt.BlockSize
	if last-first >= int64(len(c.blocks)) {
		for nm, b := range c.blocks {
			if nm.id == id && nm.index >= first && nm.index <= last {
				c.remove(b)
			}
		}
		return
	}
	for i := first; i <= last; i++ {
		if b := c.blocks[name{id, i}]; b != nil {
			c.remove(b)
		}
	}
}

// remove forgets b. c.mu is held.
func (c *Cache) remove(b *block) {
	if c.blocks[b.name] == b {
		delete(c.blocks, b.name)
	}
	if b.elem != nil {
		c.recent.Remove(b.elem)
		b.elem = nil
		c.kept -= int64(len(b.data))
	}
}

// keep puts a fetched block in front and evicts from the back. c.mu is held.
func (c *Cache) keep(b *block) {
	if c.blocks[b.name] != b {
		return // dropped while it was fetched
	}
	b.elem = c.recent.PushFront(b)
	c.kept += int64(len(b.data))
	for c.kept > c.opt.Bytes {
		c.remove(c.recent.Back().Value.(*block))
	}
}

// Reader reads the body id of size bytes; fetch loads what is missing. All
// readers of an ID must give the same size. It needs no closing.
func (c *Cache) Reader(id ID, size int64, fetch Fetch) *Reader {
	return &Reader{cache: c, id: id, size: size, fetch: fetch}
}

func (id ID) String() string { return fmt.Sprintf("%s (key %s)", id.Body, id.KeyID) }
