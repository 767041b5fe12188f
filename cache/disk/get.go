package disk

import "github.com/sigilfs/sigilfs/cache"

// Get fills p with block index of b, if it is there whole; p has that block's
// length exactly.
func (c *Cache) Get(b cache.Body, index int64, p []byte) bool {
	if c.get(b, index, p) {
		c.hits.Add(1)
		return true
	}
	c.misses.Add(1)
	return false
}

func (c *Cache) get(b cache.Body, index int64, p []byte) bool {
	extent, shape, number, ok := place(b, index)
	if !ok {
		return false
	}
	off, n := shape.at(number)
	if int64(len(p)) != n-overhead(b.Clear) {
		return false
	}
	k := key{c.secret.nameOf(b), extent}
	c.mu.Lock()
	at := c.table.find(k)
	if c.off || !c.table.has(at, number) {
		c.mu.Unlock()
		return false
	}
	s := &c.table.slots[at]
	s.touch(number)
	salt := s.salt
	c.mu.Unlock()
	select {
	case c.reads <- struct{}{}:
		defer func() { <-c.reads }()
	default:
		return false
	}
	// The slot may go to another extent while it is read: then nothing fits.
	if b.Clear {
		ok = c.readSealed(p, int64(at)*stride+off, k, salt, number)
	} else {
		ok = c.readSummed(p, int64(at)*stride+off, salt, number)
	}
	if !ok {
		c.damaged(k, salt)
	}
	return ok
}

func (c *Cache) readSealed(p []byte, off int64, k key, salt [saltSize]byte, number int) bool {
	buf := c.buffers.Get().(*buffer)
	defer c.buffers.Put(buf)
	sealed := buf[:len(p)+nonceSize+tagSize]
	return c.readStored(sealed, nil, off) == nil && c.secret.open(p, sealed, k, salt, number)
}

func (c *Cache) readSummed(p []byte, off int64, salt [saltSize]byte, number int) bool {
	var sum [sumSize]byte
	return c.readStored(p, sum[:], off) == nil && checkSum(sum[:], salt, number, p)
}

// damaged forgets an extent of which a block did not fit, unless its slot has
// been taken for another one since.
func (c *Cache) damaged(k key, salt [saltSize]byte) {
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	n := c.table.find(k)
	same := n != none && c.table.slots[n].salt == salt
	c.mu.Unlock()
	if same {
		c.settle(c.forget(n))
	}
}
