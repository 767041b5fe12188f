package disk

import (
	"cmp"
	"slices"
)

// none is the number of no slot.
const none = ^uint32(0)

// slot is what is known of one; the zero slot is free.
type slot struct {
	key   key
	tag   tag
	salt  [saltSize]byte
	shape shape
	order uint64
	held  uint16 // blocks that are there
	seen  uint16 // of them, those that were used in this round of uses
	uses  uint8  // rounds, at most maxUses, since it was queued
	clear bool
	in    queueID
	prev  uint32
	next  uint32
}

// queueID is which queue a slot is in. There are no pointers in a slot: the
// collector need not look at a million of them.
type queueID uint8

const (
	noQueue queueID = iota // the slot is free
	others                 // of other cache keys: not in table.by
	recent
	used
	queues
)

// maxUses is where counting ends (S3-FIFO, 4.1).
const maxUses = 3

// table says which slot holds what, and in which order they go: S3-FIFO (Yang
// et al., SOSP 2023) over extents, by the bytes that they take. What comes is
// queued as recent, a tenth of all; what was used there goes on to used, what
// was not leaves, and is remembered for a while by a hash: when it comes again
// it belongs to used. So a scan passes through the tenth. The caller holds the
// locks.
type table struct {
	slots  []slot
	free   []uint32
	by     map[key]uint32
	queues [queues]queue
	ghost  ghost
	used   int64 // bytes taken by all queues
	order  uint64
}

func newTable() table { return table{by: map[key]uint32{}} }

// recentShare is the part of what is used that recent may have.
const recentShare = 10

// queue is a row of slots; what goes first is at its end.
type queue struct {
	front, back uint32
	n           int
	used        int64
}

func (t *table) push(in queueID, n uint32) {
	s, q := &t.slots[n], &t.queues[in]
	s.in, s.prev, s.next = in, none, q.front
	if q.n == 0 {
		s.next, q.back = none, n
	} else {
		t.slots[q.front].prev = n
	}
	q.front = n
	q.n++
	q.used += s.shape.taken(s.held)
}

func (t *table) pull(n uint32) {
	s := &t.slots[n]
	q := &t.queues[s.in]
	if s.prev == none {
		q.front = s.next
	} else {
		t.slots[s.prev].next = s.next
	}
	if s.next == none {
		q.back = s.prev
	} else {
		t.slots[s.next].prev = s.prev
	}
	q.n--
	q.used -= s.shape.taken(s.held)
	s.in = noQueue
}

// find gives the slot that holds an extent, or none.
func (t *table) find(k key) uint32 {
	if n, ok := t.by[k]; ok {
		return n
	}
	return none
}

// has tells whether slot n holds a block.
func (t *table) has(n uint32, number int) bool {
	return n != none && t.slots[n].held>>number&1 == 1
}

// take gives a free slot, of at most limit; none where there is none.
func (t *table) take(limit int) uint32 {
	if last := len(t.free) - 1; last >= 0 {
		n := t.free[last]
		t.free = t.free[:last]
		return n
	}
	if len(t.slots) >= limit {
		return none
	}
	t.slots = append(t.slots, slot{})
	return uint32(len(t.slots) - 1)
}

// begin makes of a taken slot that of an extent without blocks yet.
func (t *table) begin(n uint32, s slot) {
	t.order++
	s.order = t.order
	t.slots[n] = s
	t.by[s.key] = n
	if t.ghost.forget(s.key.hash()) {
		t.push(used, n)
		return
	}
	t.push(recent, n)
}

// hold adds blocks to a slot.
func (t *table) hold(n uint32, blocks uint16) {
	s := &t.slots[n]
	more := s.grows(blocks)
	s.held |= blocks
	t.queues[s.in].used += more
	t.used += more
}

// grows is by how many bytes other blocks have the slot take more.
func (s *slot) grows(blocks uint16) int64 {
	return s.shape.taken(s.held|blocks) - s.shape.taken(s.held)
}

// remove forgets what a slot holds. It is not free before give.
func (t *table) remove(n uint32) {
	s := &t.slots[n]
	t.used -= s.shape.taken(s.held)
	if s.in != others {
		delete(t.by, s.key)
	}
	t.pull(n)
	*s = slot{}
}

// give makes a removed slot free.
func (t *table) give(n uint32) { t.free = append(t.free, n) }

// touch counts a use of a block that is there. A pass over the extent, block by
// block, is one use.
func (s *slot) touch(number int) {
	bit := uint16(1) << number
	if s.seen == 0 || s.seen&bit != 0 {
		s.seen = 0
		s.uses = min(s.uses+1, maxUses)
	}
	s.seen |= bit
}

// victim gives the slot that goes next, which is still queued; but not keep.
// Slots that moved to used on the way are appended to moved. none: nothing is
// left to go.
func (t *table) victim(keep uint32, moved []uint32) (uint32, []uint32) {
	order := [...]queueID{others, recent, used}
	if t.queues[recent].used*recentShare < t.used {
		order[1], order[2] = order[2], order[1]
	}
	for _, q := range order {
		var n uint32
		if n, moved = t.last(q, keep, moved); n != none {
			return n, moved
		}
	}
	return none, moved
}

// last is victim of one queue: what was used gets another round.
func (t *table) last(in queueID, keep uint32, moved []uint32) (uint32, []uint32) {
	for range t.queues[in].n * (maxUses + 1) {
		if t.queues[in].n == 0 {
			break
		}
		n := t.queues[in].back
		s := &t.slots[n]
		if n != keep && s.uses == 0 {
			if in == recent {
				t.ghost.remember(s.key.hash(), max(ghostLeast, len(t.by)))
			}
			return n, moved
		}
		t.pull(n)
		switch {
		case n == keep:
			t.push(in, n)
		case in == recent:
			s.uses, s.seen = 0, 0
			t.push(used, n)
			moved = append(moved, n)
		default:
			s.uses--
			t.push(in, n)
		}
	}
	return none, moved
}

// record is what is on disk of slot n.
func (t *table) record(n uint32, volume tag) record {
	s := &t.slots[n]
	return record{
		key: s.key, volume: volume, tag: s.tag, salt: s.salt, order: s.order,
		shape: s.shape, held: s.held, clear: s.clear, used: s.in == used,
	}
}

// admit takes what was found on disk of slot n; numbers grow. The slot has its
// place when restore is called.
func (t *table) admit(n uint32, r record, volume tag) {
	for uint32(len(t.slots)) <= n {
		t.slots = append(t.slots, slot{})
	}
	s := slot{key: r.key, tag: r.tag, salt: r.salt, shape: r.shape, order: r.order, held: r.held, clear: r.clear, in: recent}
	switch {
	case r.volume != volume:
		s.in = others
	case r.used:
		s.in = used
	}
	t.slots[n] = s
}

// restore queues what was admitted, in the order in which it came, and gives the
// slots of which another one, that came later, holds the same extent. Those
// without a record are free.
func (t *table) restore() (double []uint32) {
	var held []uint32
	for n := range t.slots {
		if t.slots[n].in != noQueue {
			held = append(held, uint32(n))
		}
	}
	slices.SortFunc(held, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(t.slots[a].order, t.slots[b].order), cmp.Compare(a, b))
	})
	for _, n := range slices.Backward(held) {
		s := &t.slots[n]
		if s.in == others {
			continue
		}
		if t.find(s.key) != none {
			*s = slot{}
			double = append(double, n)
			continue
		}
		t.by[s.key] = n
	}
	for _, n := range held {
		if s := &t.slots[n]; s.in != noQueue {
			t.used += s.shape.taken(s.held)
			t.order = max(t.order, s.order)
			t.push(s.in, n)
		}
	}
	for n := len(t.slots) - 1; n >= 0; n-- { // low numbers are taken first
		if t.slots[n].in == noQueue {
			t.give(uint32(n))
		}
	}
	return double
}
