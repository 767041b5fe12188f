package disk

import (
	"time"

	"github.com/sigilfs/sigilfs/cache"
)

// Put takes a copy of block index of b, to be written behind the caller. It
// waits for a disk that is behind for a moment, and is not kept where that takes
// too long.
func (c *Cache) Put(b cache.Body, index int64, p []byte) {
	extent, shape, number, ok := place(b, index)
	if !ok {
		return
	}
	if _, n := shape.at(number); int64(len(p)) != n-overhead(b.Clear) {
		return
	}
	of := batch{key: key{c.secret.nameOf(b), extent}, shape: shape, clear: b.Clear}
	c.mu.Lock()
	off, known := c.off, c.table.has(c.table.find(of.key), number) || c.waiting.has(of.key, c.round, number)
	of.round = c.round
	c.mu.Unlock()
	if known {
		return
	}
	var data *buffer
	if !off {
		data = c.buffer()
	}
	if data == nil {
		c.lost.Add(1)
		return
	}
	of.tag = c.secret.tagOf(b.ID.KeyID)
	data.hold(p, b.Clear)
	c.enqueue(of, number, data)
}

// enqueue has a block written, unless it became unwanted.
func (c *Cache) enqueue(of batch, number int, data *buffer) {
	c.mu.Lock()
	wanted := of.round == c.round && !c.waiting.has(of.key, of.round, number)
	if wanted {
		c.waiting.add(of, number, data)
	}
	c.mu.Unlock()
	if !wanted {
		c.spare <- data
		return
	}
	c.wakeWriter()
}

func (c *Cache) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
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

// patience is how long a Put waits for a disk that is behind, lest what comes
// fast from near is lost while the disk makes room or writes out; and for how
// long nobody waits once that was in vain. So it is half of the time at most,
// and where nothing is written any more, once.
const patience = 500 * time.Millisecond

// awaited is a buffer that comes free soon, or nil.
func (c *Cache) awaited() *buffer {
	if c.stuck.Load() || time.Now().UnixNano() < c.slow.Load() {
		return nil
	}
	clock := time.NewTimer(patience)
	defer clock.Stop()
	select {
	case b := <-c.spare:
		return b
	case <-c.done:
	case <-clock.C:
		c.stuck.Store(true)
		c.slow.Store(time.Now().Add(patience).UnixNano())
	}
	return nil
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
