package disk

import (
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/cache"
	"golang.org/x/sys/unix"
)

// Methods here are called with c.disk held, unless they are exported or say so.

// makeRoom evicts until more bytes fit, and leaves slot keep alone. False: they
// never will.
func (c *Cache) makeRoom(more int64, keep uint32) (bool, error) {
	if err := c.shrink(more, keep); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fits(more), nil
}

// fits counts an index that may grow by a page. c.mu is held.
func (c *Cache) fits(more int64) bool {
	return c.table.used+more+indexTaken(len(c.table.slots)+1) <= c.bound
}

// shrink evicts until more bytes fit, or nothing is left.
func (c *Cache) shrink(more int64, keep uint32) error {
	for {
		c.mu.Lock()
		fits := c.fits(more)
		c.mu.Unlock()
		if fits {
			return nil
		}
		if ok, err := c.evict(keep); !ok || err != nil {
			return err
		}
	}
}

// evict forgets the extent that goes next; false: there is none.
func (c *Cache) evict(keep uint32) (bool, error) {
	c.mu.Lock()
	n, moved := c.table.victim(keep, nil)
	records := make([]record, len(moved))
	for i, m := range moved {
		records[i] = c.table.record(m, c.secret.volume)
	}
	c.mu.Unlock()
	for i, m := range moved {
		if err := c.writeRecord(m, records[i].encode()); err != nil {
			return false, err
		}
	}
	if n == none {
		return false, nil
	}
	return true, c.forget(n)
}

// forget empties a slot, in memory at once, and on disk.
func (c *Cache) forget(n uint32) error {
	c.mu.Lock()
	c.table.remove(n)
	c.mu.Unlock()
	if err := c.wipe(n); err != nil {
		// Perhaps of the record alone. The slot is not used again in this mount.
		return errors.Join(err, c.punch(int64(n)*stride, stride))
	}
	c.mu.Lock()
	c.table.give(n)
	c.mu.Unlock()
	return nil
}

// unwritten forgets a slot to which a write failed: nobody knows what that left.
func (c *Cache) unwritten(n uint32, err error) error {
	if forgot := c.forget(n); forgot != nil {
		return errors.Join(forgot, err)
	}
	return err
}

// measure has the bounds kept while nothing is written. No lock is held.
func (c *Cache) measure() {
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	off := c.off
	c.mu.Unlock()
	if off {
		return
	}
	_, err := c.look()
	if err == nil {
		err = c.shrink(0, none)
	}
	c.settle(err)
}

// look sets the bound by what is free on the disk.
func (c *Cache) look() (bound int64, err error) {
	c.unseen = 0
	if err := c.there(); err != nil {
		return 0, err
	}
	free, err := c.opt.free()
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.table.used + indexTaken(len(c.table.slots))
	c.bound = max(0, min(c.opt.Size, taken+free-c.opt.Free))
	return c.bound, nil
}

// settle takes what went wrong. A full disk makes the cache smaller until it
// looks again; anything else ends it, and is reported.
func (c *Cache) settle(err error) {
	switch {
	case err == nil || c.trouble != nil:
		return
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		c.mu.Lock()
		c.bound = min(c.bound, c.table.used+indexTaken(len(c.table.slots)))
		c.bound -= c.bound / 16
		c.mu.Unlock()
		if err = c.shrink(0, none); err == nil {
			return
		}
	}
	c.trouble = err
	c.mu.Lock()
	was := c.off
	c.off, c.table = true, newTable()
	c.mu.Unlock()
	if was {
		return
	}
	// What cannot be kept account of must not be found again; and who removed
	// the files wants the space.
	gone := errors.Join(c.index.Truncate(0), c.blocks.Truncate(0))
	_ = errors.Join(gone, c.closeFiles()) // the first error says it
	c.opt.Report(fmt.Errorf("the cache is off: %w", err))
}

// Drop forgets all blocks of a body. Queued ones of all bodies go with them.
func (c *Cache) Drop(b cache.Body) {
	name, all := c.secret.nameOf(b), extents(b)
	c.drop(func() (gone []uint32) {
		if all <= int64(len(c.table.slots)) {
			for i := range all {
				if n := c.table.find(key{name, uint32(i)}); n != none {
					gone = append(gone, n)
				}
			}
			return gone
		}
		return c.table.which(func(s *slot) bool { return s.key.name == name })
	})
}

// DropKey forgets all blocks of bodies under a key: when it returns, none is
// given any more, after a crash of the process either.
func (c *Cache) DropKey(keyID string) {
	tag := c.secret.tagOf(keyID)
	c.drop(func() []uint32 {
		return c.table.which(func(s *slot) bool { return s.tag == tag })
	})
}

func (c *Cache) drop(which func() []uint32) {
	c.disk.Lock()
	defer c.disk.Unlock()
	c.mu.Lock()
	c.round++
	off, gone := c.off, []uint32(nil)
	if !off {
		gone = which()
	}
	c.mu.Unlock()
	for _, n := range gone {
		if err := c.forget(n); err != nil {
			c.settle(err)
			return
		}
	}
}

// which gives the slots of this cache key for which is says so.
func (t *table) which(is func(*slot) bool) (all []uint32) {
	for _, n := range t.by {
		if is(&t.slots[n]) {
			all = append(all, n)
		}
	}
	return all
}
