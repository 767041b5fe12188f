package cache

import (
	"slices"

	"golang.org/x/sync/semaphore"
)

// memory counts, in bytes, what blocks take or will take when they come.
// Buffers go round: a block's worth of garbage each would have the collector
// hold as much again. Cache.mu guards it.
type memory struct {
	own    int64
	budget *semaphore.Weighted
	used   int64
	lent   int64    // by the budget; used <= own + lent, but for one block
	out    int64    // of used, what has come: the buffers that blocks have
	idle   [][]byte // buffers of MaxBlock; out and they are no more either

	waiting []chan struct{} // who can go no further without; closed to try again
}

// cost is what a block of size bytes is counted as: the buffer that it lies in.
func cost(size int64) int64 {
	if size > MaxBlock/2 {
		return MaxBlock
	}
	return size
}

// take counts n bytes more, if there is room for them and for spare besides.
// There is always room for one block.
func (m *memory) take(n, spare int64) bool {
	if m.used+n+spare > m.own+m.lent && (m.used > 0 || spare > 0) {
		return false
	}
	m.used += n
	m.trim()
	return true
}

// borrow makes room for n bytes more out of the budget.
func (m *memory) borrow(n int64) bool {
	need := m.used + n - m.own - m.lent
	if m.budget == nil || !m.budget.TryAcquire(need) {
		return false
	}
	m.lent += need
	return true
}

// release counts n bytes less. What was lent goes back first.
func (m *memory) release(n int64) {
	m.used -= n
	m.repay()
	m.wake()
}

// repay gives back what is lent and not used.
func (m *memory) repay() {
	if over := m.lent - max(0, m.used-m.own); over > 0 {
		m.lent -= over
		m.budget.Release(over)
	}
	m.trim()
}

// trim lets go of buffers that there is no room for. What is on its way needs
// none yet, and will take them.
func (m *memory) trim() {
	n := max(0, (m.own+m.lent-m.out)/MaxBlock)
	if int64(len(m.idle)) > n {
		clear(m.idle[n:])
		m.idle = m.idle[:n]
	}
}

// buffer gives room for a block that was counted.
func (m *memory) buffer(size int64) []byte {
	m.out += cost(size)
	if cost(size) != MaxBlock {
		m.trim()
		return make([]byte, size)
	}
	if k := len(m.idle) - 1; k >= 0 {
		p := m.idle[k]
		m.idle[k] = nil
		m.idle = m.idle[:k]
		return p[:size]
	}
	return make([]byte, size, MaxBlock)
}

// recycle takes a buffer back, if there is one, before it is released.
func (m *memory) recycle(p []byte) {
	m.out -= cost(int64(len(p)))
	if cap(p) == MaxBlock {
		m.idle = append(m.idle, p)
	}
}

// wait queues up for room, in front of the others if again.
func (m *memory) wait(again bool) chan struct{} {
	turn := make(chan struct{})
	if again {
		m.waiting = slices.Insert(m.waiting, 0, turn)
	} else {
		m.waiting = append(m.waiting, turn)
	}
	return turn
}

// wake lets the first in the queue try.
func (m *memory) wake() {
	if len(m.waiting) > 0 {
		close(m.waiting[0])
		m.waiting = m.waiting[1:]
	}
}

// quit leaves the queue; who was called already calls the next.
func (m *memory) quit(turn chan struct{}) {
	k := len(m.waiting)
	m.waiting = slices.DeleteFunc(m.waiting, func(other chan struct{}) bool { return other == turn })
	if len(m.waiting) == k {
		m.wake()
	}
}

// empty gives all back when the cache is closed. What somebody still reads is
// the garbage collector's.
func (m *memory) empty() {
	m.idle = nil
	if m.lent > 0 {
		m.budget.Release(m.lent)
	}
	m.used, m.lent, m.out = 0, 0, 0
}

// room counts n bytes for somebody who waits: for that all goes that nobody
// uses, what was read ahead last.
func (c *Cache) room(n int64) bool {
	for !c.mem.take(n, 0) {
		if !c.spare() && !c.mem.borrow(n) && !c.evict(&c.spent) && !c.evict(&c.kept) && !c.evict(&c.ahead) {
			return false
		}
	}
	return true
}

// roomAhead counts n bytes for what nobody waits for. It takes nothing from
// other streams, and leaves room for those who wait: what is on its way cannot
// be evicted.
func (c *Cache) roomAhead(n int64) bool {
	spare := c.mem.own / 8
	for !c.mem.take(n, spare) {
		if !c.spare() && !c.mem.borrow(n+spare) {
			return false
		}
	}
	return true
}

// spare evicts what is missed least. What was read out of order has a quarter
// of the memory that streams do not take.
func (c *Cache) spare() bool {
	return c.evictSpent() || c.kept.bytes > c.mem.own/4 && c.evict(&c.kept)
}

// evictSpent leaves the last that were passed: a read that comes late may want
// the beginning of a block.
func (c *Cache) evictSpent() bool {
	return c.spent.bytes > c.mem.own/8 && c.evict(&c.spent)
}
