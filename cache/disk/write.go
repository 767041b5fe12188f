package disk

import (
	"crypto/rand"
	"math/bits"
	"time"
)

// work writes what is queued, until Close, and looks at the disk now and then.
func (c *Cache) work() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.wake:
			if c.writeNext() {
				c.wakeWriter()
			}
		case <-tick.C:
			c.measure()
			c.thinOut()
		case <-c.stop:
			for c.writeNext() {
			}
			return
		}
	}
}

// writeNext writes the batch that is first. False: there is none.
func (c *Cache) writeNext() bool {
	c.mu.Lock()
	b := c.waiting.next()
	c.mu.Unlock()
	if b == nil {
		return false
	}
	c.do(b)
	c.stuck.Store(false)
	return true
}

func (c *Cache) do(b *batch) {
	if b.done != nil {
		close(b.done)
		return
	}
	c.disk.Lock()
	defer c.disk.Unlock()
	kept, err := c.store(b)
	c.lost.Add(int64(bits.OnesCount16(b.held &^ kept)))
	c.settle(err)
	for _, data := range b.blocks {
		if data != nil {
			c.spare <- data
		}
	}
}

// store writes the blocks of b, and tells which of them are there then. c.disk
// is held.
func (c *Cache) store(b *batch) (kept uint16, err error) {
	c.mu.Lock()
	unwanted := c.off || b.round != c.round
	n, s := c.slotOf(b)
	c.mu.Unlock()
	fresh := b.held &^ s.held
	if unwanted || fresh == 0 {
		return s.held, nil
	}
	if n != none && s.shape != b.shape { // a damaged record has said so
		if err := c.forget(n); err != nil {
			return 0, err
		}
		n, s, fresh = none, b.slot(), b.held
	}
	if ok, err := c.makeRoom(s.grows(fresh), n); !ok || err != nil {
		return s.held, err
	}
	if n == none {
		if n, err = c.begin(&s); n == none || err != nil {
			return 0, err
		}
	}
	if err := c.keep(n, &s, b, fresh); err != nil {
		return 0, c.unwritten(n, err)
	}
	if c.unseen >= measureAfter {
		_, err = c.look()
	}
	return b.held, err
}

// slotOf gives the slot that has the extent of b, and what is known of it; or
// none, and what it will be. c.mu is held.
func (c *Cache) slotOf(b *batch) (uint32, slot) {
	n := c.table.find(b.key)
	if n == none {
		return n, b.slot()
	}
	return n, c.table.slots[n]
}

// keep writes the fresh blocks of b to slot n, and then its record.
func (c *Cache) keep(n uint32, s *slot, b *batch, fresh uint16) error {
	if err := c.writeRuns(n, s, b, fresh); err != nil {
		return err
	}
	c.mu.Lock()
	c.table.hold(n, fresh)
	r := c.table.record(n, c.secret.volume)
	c.mu.Unlock()
	return c.writeRecord(n, r.encode())
}

// writeRuns writes fresh blocks as they are stored, adjacent ones at once.
func (c *Cache) writeRuns(n uint32, s *slot, b *batch, fresh uint16) error {
	var run [][]byte
	var at int64 // of run, in the slot
	for number := range extentBlocks + 1 {
		if fresh>>number&1 == 0 { // of the one behind the last, too
			if err := c.writeBlocks(n, at, run); err != nil {
				return err
			}
			run = nil
			continue
		}
		off, length := s.shape.at(number)
		if run == nil {
			at = off
		}
		stored, err := c.secret.store(b.blocks[number], int(length-overhead(b.clear)), b.clear, b.key, s.salt, number)
		if err != nil {
			return err
		}
		run = append(run, stored)
		c.unseen += length
	}
	return nil
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
