package cache

import "time"

// sweepEvery is how often memory is looked through that nobody will want.
const sweepEvery = 5 * time.Second

// sweepLater sees that there will be a sweeping. c.mu is held.
func (c *Cache) sweepLater() {
	if c.sweeper == nil && !c.closed {
		c.sweeper = time.AfterFunc(sweepEvery, c.sweep)
	}
}

// sweep lets go of what lay about for a whole round: streams that nobody reads,
// blocks that were passed, buffers.
func (c *Cache) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweeper = nil
	if c.closed {
		return
	}
	c.round++
	for s := range c.streams {
		if s.idle {
			c.end(s)
		}
		s.idle = true
	}
	for e := c.spent.Front(); e != nil && e.Value.(*block).round < c.round-1; e = c.spent.Front() {
		c.evict(&c.spent)
	}
	if len(c.running) == 0 {
		c.mem.idle = nil
	}
	if len(c.streams) > 0 || c.spent.Len() > 0 || len(c.mem.idle) > 0 {
		c.sweepLater()
	}
}
