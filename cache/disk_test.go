package cache

import (
	"testing"

	"golang.org/x/sync/semaphore"
)

// What memory lets go of as soon as the disk has taken it stays on disk: going
// is not being dropped.
func TestWhatGoesStaysOnDisk(t *testing.T) {
	b := newObject(100)
	d := newShelf()
	c := newCache(t, Options{Bytes: 50, Budget: semaphore.NewWeighted(1000), Disk: d, Ahead: -1})
	late := newBlock(b.as("a"), 0)
	late.passed = true // who wanted it has read on while the disk took it
	c.mu.Lock()
	if !c.mem.borrow(late.size) || !c.mem.take(late.size, 0) {
		t.Fatal("no memory")
	}
	c.add(late)
	c.mu.Unlock()
	c.deliver(late, make([]byte, late.size), true)
	if c.Kept() != 0 || len(d.blocks) != 1 {
		t.Errorf("%d bytes are in memory, %d bodies on disk", c.Kept(), len(d.blocks))
	}
}
