package cache

import "container/list"

// body is what is here of one, by index. It is found as long as that is
// anything.
type body struct {
	Body
	blocks map[int64]*block
}

// ending is the index of the bytes at the end of a body that a lookup brought,
// which are no whole block.
const ending = -1

// block is part of a body, here or on its way. data and err are set before
// ready is closed, and never change as long as somebody uses it.
type block struct {
	of    Body
	index int64
	off   int64 // where it begins in the body
	size  int64
	ready chan struct{}
	data  []byte
	err   error

	// What follows is guarded by Cache.mu.
	users  int           // who wait for it or read it
	coming bool          // and not ready
	gone   bool          // is found no more
	stream *stream       // that it was fetched ahead of; nil once it was read
	passed bool          // who read it last, in order, will not come back
	in     *queue        // nil while it is used
	elem   *list.Element // there
	round  int           // of sweeping, when it came there
}

func newBlock(of Body, index int64) *block {
	b := &block{of: of, index: index, off: index * of.Block, ready: make(chan struct{}), coming: true}
	b.size = min(of.Block, of.Size-b.off)
	return b
}

// find gives a block that is here or on its way, nil if it is neither. c.mu is
// held, as in all below.
func (c *Cache) find(of Body, index int64) *block {
	if b := c.bodies[of]; b != nil {
		return b.blocks[index]
	}
	return nil
}

// add makes b found. Its memory is counted already.
func (c *Cache) add(b *block) {
	of := c.bodies[b.of]
	if of == nil {
		of = &body{Body: b.of, blocks: map[int64]*block{}}
		c.bodies[b.of] = of
	}
	of.blocks[b.index] = b
}

// pin keeps b from going while somebody waits for it or reads it.
func (c *Cache) pin(b *block) {
	b.users++
	c.unlist(b)
}

// unpin is called once for every pin, by who has read b.
func (c *Cache) unpin(b *block, passed bool) {
	b.stream, b.passed = nil, passed
	c.let(b)
}

// let ends a use of b.
func (c *Cache) let(b *block) {
	b.users--
	c.settle(b)
}

// settle puts b where it belongs if nobody uses it.
func (c *Cache) settle(b *block) {
	switch {
	case b.users > 0 || b.coming:
	case b.gone:
		c.free(b)
	case b.passed || b.stream != nil && b.stream.window == 0:
		c.enlist(b, &c.spent)
	case b.stream != nil:
		c.enlist(b, &c.ahead)
	default: // also where who wanted it has left
		c.enlist(b, &c.kept)
	}
}

// enlist puts b, which nobody uses, among those that may go. Nothing is
// borrowed for what was read.
func (c *Cache) enlist(b *block, in *queue) {
	b.in, b.elem, b.round = in, in.PushBack(b), c.round
	in.bytes += cost(b.size)
	for c.mem.lent > 0 && c.evictSpent() || c.kept.bytes > c.mem.own && c.evict(&c.kept) {
	}
	c.mem.repay()
	c.mem.wake()
	c.sweepLater()
}

func (c *Cache) unlist(b *block) {
	if b.in != nil {
		b.in.Remove(b.elem)
		b.in.bytes -= cost(b.size)
		b.in, b.elem = nil, nil
	}
}

// queue holds blocks that nobody uses; the first goes first.
type queue struct {
	list.List
	bytes int64
}

// evict lets the first block go. False: there is none.
func (c *Cache) evict(from *queue) bool {
	e := from.Front()
	if e == nil {
		return false
	}
	c.remove(e.Value.(*block))
	return true
}

// remove makes b found no more; its memory goes when nobody uses it.
func (c *Cache) remove(b *block) {
	if b.gone {
		return
	}
	b.gone = true
	c.unlist(b)
	of := c.bodies[b.of]
	delete(of.blocks, b.index)
	if len(of.blocks) == 0 {
		delete(c.bodies, b.of)
	}
	if b.users == 0 && !b.coming {
		c.free(b)
	}
}

// forget removes all of a body.
func (c *Cache) forget(of *body) {
	for _, b := range of.blocks {
		c.remove(b)
	}
}

// free gives the memory of b back.
func (c *Cache) free(b *block) {
	c.mem.recycle(b.data)
	b.data = nil
	c.mem.release(cost(b.size))
}
