// Package cache keeps blocks of object bodies near: in memory, and on a Disk
// beyond that. Blocks are named by the identity of the immutable body that they
// are part of, so nothing is ever invalidated, only evicted. It fetches through
// a function, each block once however many ask, and knows neither S3 nor what
// the bytes mean.
//
// A fetch is a run of adjacent blocks in one request. Each is there as soon as
// its bytes are, so that who reads it goes on while the rest comes. Who reads
// in order is read ahead of, in a window that grows as long as that is too
// slow (stream.go).
//
// Memory is counted before it is taken (memory.go). Who reads waits for it
// while holding nothing, and can do with one block; reading ahead takes what is
// free.
package cache

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrClosed: the cache was closed before or during the read.
var ErrClosed = errors.New("cache is closed")

// ID names one immutable body and the key it is sealed under.
type ID struct {
	Body  string // a sigil generation in hex, else bucket, key, ETag and version
	KeyID string // so that blocks of a revoked key can be told
}

// Options of a cache.
type Options struct {
	// Bytes of memory are the cache's own, for blocks that are here and on
	// their way. 0 is 64 MiB. It works with one block's, slowly.
	Bytes int64

	// Budget lends memory beyond that, in bytes, for what is under way and not
	// read yet. Nothing waits for it. Nil lends none.
	Budget *semaphore.Weighted

	// Ahead is how many bytes of all bodies may be read ahead, shared by those
	// who read in order. 0 is 64 MiB, negative none.
	Ahead int64

	Segment int           // blocks of one large fetch, which ends at a multiple; 0 is 128
	Disk    Disk          // nil: memory only
	Fetches int           // at a time; others wait for their turn. 0 is 64.
	Timeout time.Duration // of a fetch that brings no block; 0 is 2 minutes
}

func (o Options) withDefaults() Options {
	if o.Bytes <= 0 {
		o.Bytes = 64 << 20
	}
	if o.Ahead == 0 {
		o.Ahead = 64 << 20
	}
	if o.Segment <= 0 {
		o.Segment = 128
	}
	if o.Fetches <= 0 {
		o.Fetches = 64
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	return o
}

// Cache is safe for concurrent use.
type Cache struct {
	opt   Options
	slots chan struct{} // one token per fetch under way
	stop  chan struct{} // closed by Close
	tasks sync.WaitGroup

	mu      sync.Mutex // guards what follows; never held in a Fetch or in a Disk
	closed  bool
	mem     memory
	bodies  map[Body]*body
	running map[*run]struct{} // fetches that are queued or under way

	// Blocks that are here and that nobody uses now.
	spent queue // who read in order have passed them
	kept  queue // others that were read; least recently first
	ahead queue // read ahead of a stream

	hits, misses uint64 // of reads, in blocks

	streams map[*stream]struct{} // that are read ahead of
	sweeper *time.Timer          // nil: nothing is to be swept
	round   int                  // of sweeping
}

// New makes an empty cache. The caller closes it.
func New(opt Options) *Cache {
	opt = opt.withDefaults()
	return &Cache{
		opt:     opt,
		slots:   make(chan struct{}, opt.Fetches),
		stop:    make(chan struct{}),
		mem:     memory{own: opt.Bytes, budget: opt.Budget},
		bodies:  map[Body]*body{},
		running: map[*run]struct{}{},
		streams: map[*stream]struct{}{},
	}
}

// Close ends fetches under way, waits for them and forgets all blocks.
// Readers give ErrClosed from now on. The Disk is the caller's to close, later.
func (c *Cache) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.stop)
		for job := range c.running {
			job.cancel()
		}
		if c.sweeper != nil {
			c.sweeper.Stop()
		}
	}
	c.mu.Unlock()
	c.tasks.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.bodies {
		c.forget(b)
	}
	c.mem.empty()
	return nil
}

// Stats are counts since New, and memory in bytes now.
type Stats struct {
	// Hits are blocks that a read found here or on their way, Misses those that
	// it had brought from the Disk or by a fetch. Who reads again within a block,
	// as the kernel does, hits again.
	Hits, Misses uint64

	Kept, Own int64 // taken by blocks, those on their way included; of which this may be the cache's own
}

// Stats tells how the cache does.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Hits: c.hits, Misses: c.misses, Kept: c.mem.used, Own: c.opt.Bytes}
}

// Kept is the memory in bytes that blocks take now, those that are on their way
// included.
func (c *Cache) Kept() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mem.used
}

// DropKey forgets all blocks of bodies under a key, on the Disk too.
func (c *Cache) DropKey(keyID string) {
	c.mu.Lock()
	for b, of := range c.bodies {
		if b.ID.KeyID == keyID {
			c.forget(of)
		}
	}
	c.mu.Unlock()
	if c.opt.Disk != nil {
		c.opt.Disk.DropKey(keyID)
	}
}

// Reader reads the body b; fetch loads what is missing. It needs no closing.
func (c *Cache) Reader(b Body, fetch Fetch) *Reader {
	return &Reader{cache: c, body: b, fetch: fetch}
}

func (id ID) String() string { return fmt.Sprintf("%s (key %s)", id.Body, id.KeyID) }
