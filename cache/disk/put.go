package disk

import (
	"crypto/rand"
	"time"

	"github.com/sigilfs/sigilfs/cache"
)

// job is a block that waits to be written.
type job struct {
	key    key
	tag    tag
	shape  shape
	number int
	clear  bool
	data   *buffer
	n      int // bytes of the block in data
	round  uint64
	done   chan struct{} // of a job without data: closed when it is reached
}

// Put takes a copy of block index of b, to be written behind the caller. It is
// not kept where more wait than the disk takes.
func (c *Cache) Put(b cache.Body, index int64, p []byte) {
	extent, shape, number, ok := place(b, index)
	if !ok {
		return
	}
	if _, n := shape.at(number); int64(len(p)) != n-overhead(b.Clear) {
		return
	}
	j := job{key: key{c.secret.nameOf(b), extent}, shape: shape, number: number, clear: b.Clear, n: len(p)}
	c.mu.Lock()
	off, known := c.off, c.table.has(c.table.find(j.key), number)
	j.round = c.round
	c.mu.Unlock()
	if known {
		return
	}
	if !off {
		j.data = c.buffer()
	}
	if j.data == nil {
		c.lost.Add(1)
		return
	}
	j.tag = c.secret.tagOf(b.ID.KeyID)
	j.data.hold(p, b.Clear)
	c.queue <- j // has room for every buffer
}

// buffer gives one for the queue; nil where all are in use.
func (c *Cache) buffer() *buffer {
	select {
	case b := <-c.spare:
		return b
	default:
	}
	if c.made.Add(1) > maxQueued {
		c.made.Add(-1)
		return c.awaited()
	}
	return new(buffer)
}

// A Put waits for a disk that is behind for a moment, lest what comes fast from
// near is lost; not for one that is slow.
const (
	patience   = 20 * time.Millisecond
	impatience = time.Second // for so long it does not wait, once it did in vain
)

// awaited is a buffer that comes free soon, or nil.
func (c *Cache) awaited() *buffer {
	if time.Now().UnixNano() < c.slow.Load() {
		return nil
	}
	clock := time.NewTimer(patience)
	defer clock.Stop()
	select {
	case b := <-c.spare:
		return b
	case <-c.done:
	case <-clock.C:
		c.slow.Store(time.Now().Add(impatience).UnixNano())
	}
	return nil
}

// work writes what is queued, until Close, and looks at the disk now and then.
func (c *Cache) work() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case j := <-c.queue:
			c.do(j)
		case <-tick.C:
			c.measure()
			c.thinOut()
		case <-c.stop:
			for {
				select {
				case j := <-c.queue:
					c.do(j)
				default:
					return
				}
			}
		}
	}
}

// thinOut gives back the memory of a queue that has nothing to do.
func (c *Cache) thinOut() {
	for {
		select {
		case <-c.spare:
			c.made.Add(-1)
		default:
			return
		}
	}
}

func (c *Cache) do(j job) {
	if j.data == nil {
		close(j.done)
		return
	}
	c.disk.Lock()
	defer c.disk.Unlock()
	kept, err := c.store(j)
	if !kept {
		c.lost.Add(1)
	}
	c.settle(err)
	c.spare <- j.data
}

// store writes one block. c.disk is held.
func (c *Cache) store(j job) (kept bool, err error) {
	c.mu.Lock()
	unwanted := c.off || j.round != c.round
	n := c.table.find(j.key)
	there := c.table.has(n, j.number)
	s := slot{key: j.key, tag: j.tag, shape: j.shape, clear: j.clear}
	if n != none {
		s = c.table.slots[n]
	}
	c.mu.Unlock()
	if unwanted || there {
		return there, nil
	}
	if ok, err := c.makeRoom(s.grows(j.number), n); !ok || err != nil {
		return false, err
	}
	if n == none {
		if n, err = c.begin(&s); n == none || err != nil {
			return false, err
		}
	}
	stored, err := c.secret.store(j.data, j.n, j.clear, j.key, s.salt, j.number)
	if err != nil {
		return false, err
	}
	off, _ := s.shape.at(j.number)
	if err := c.writeBlock(n, off, stored); err != nil {
		return false, c.unwritten(n, err)
	}
	c.mu.Lock()
	c.table.hold(n, j.number)
	r := c.table.record(n, c.secret.volume)
	c.mu.Unlock()
	if err := c.writeRecord(n, r.encode()); err != nil {
		return false, c.unwritten(n, err)
	}
	c.unseen += int64(len(stored))
	if c.unseen >= measureAfter {
		_, err = c.look()
	}
	return true, err
}

// begin takes a slot for the extent of s, and draws its salt. none: there is no
// slot for it.
func (c *Cache) begin(s *slot) (uint32, error) {
	_, _ = rand.Read(s.salt[:]) // never fails (crypto/rand)
	for {
		c.mu.Lock()
		n := c.table.take(c.slots)
		if n != none {
			c.table.begin(n, *s)
		}
		c.mu.Unlock()
		if n != none {
			return n, nil
		}
		if ok, err := c.evict(none); !ok || err != nil {
			return none, err
		}
	}
}
