package spool

import (
	"slices"
	"sort"
)

// entry is the state of one block: base, zero, sent, or a slot plus slot0.
type entry uint32

const (
	inBase entry = iota
	isZero
	isSent
	slot0
)

func (e entry) slot() (uint32, bool) { return uint32(e - slot0), e >= slot0 }

// pageLen blocks (4 MiB of file) share a page: four bytes a block where the
// file is dense, some 280 where only one of them is present.
const pageLen = 64

// page is shared by tables until one of them changes it; refs counts them.
// The owner's lock guards refs; a page with several refs is immutable.
type page struct {
	refs    int
	entries [pageLen]entry
}

// span is one place in a table: the blocks from index*pageLen on.
type span struct {
	index int64
	page  *page
}

// table maps blocks to entries, sorted, pages shared copy-on-write. It calls
// ref and unref as slots come to be named by one more or one fewer page.
type table struct{ spans []span }

// slotRefs counts the pages that name a slot.
type slotRefs interface {
	ref(slot uint32)
	unref(slot uint32)
}

func (t *table) find(index int64) (int, bool) {
	return slices.BinarySearchFunc(t.spans, index, func(s span, i int64) int {
		switch {
		case s.index < i:
			return -1
		case s.index > i:
			return 1
		}
		return 0
	})
}

func (t *table) get(block int64) entry {
	if i, ok := t.find(block / pageLen); ok {
		return t.spans[i].page.entries[block%pageLen]
	}
	return inBase
}

// set changes one block. A slot in e must not be named yet: the caller's
// reference to it passes to the table.
func (t *table) set(block int64, e entry, r slotRefs) {
	i, ok := t.find(block / pageLen)
	if !ok {
		if e == inBase {
			return
		}
		t.spans = slices.Insert(t.spans, i, span{block / pageLen, &page{refs: 1}})
	}
	p := t.own(i, r)
	old := p.entries[block%pageLen]
	p.entries[block%pageLen] = e
	if s, ok := old.slot(); ok {
		r.unref(s)
	}
}

// own gives the page at place i for changing.
func (t *table) own(i int, r slotRefs) *page {
	p := t.spans[i].page
	if p.refs == 1 {
		return p
	}
	p.refs--
	c := &page{refs: 1, entries: p.entries}
	for _, e := range c.entries {
		if s, ok := e.slot(); ok {
			r.ref(s)
		}
	}
	t.spans[i].page = c
	return c
}

// setRange gives the blocks [from, to) the state e, which is no slot. Whole
// pages share one, so that a hole of terabytes costs 16 bytes for 4 MiB.
func (t *table) setRange(from, to int64, e entry, r slotRefs) {
	for from < to && from%pageLen != 0 {
		t.set(from, e, r)
		from++
	}
	if whole := to / pageLen; from/pageLen < whole {
		t.replace(from/pageLen, whole, e, r)
		from = whole * pageLen
	}
	for ; from < to; from++ {
		t.set(from, e, r)
	}
}

func (t *table) replace(from, to int64, e entry, r slotRefs) {
	i, _ := t.find(from)
	j, _ := t.find(to)
	var fill []span
	if e != inBase {
		shared := &page{refs: int(to - from)}
		for k := range shared.entries {
			shared.entries[k] = e
		}
		fill = make([]span, 0, to-from)
		for k := from; k < to; k++ {
			fill = append(fill, span{k, shared})
		}
	}
	old := slices.Clone(t.spans[i:j])
	t.spans = slices.Replace(t.spans, i, j, fill...)
	release(old, r)
}

// cut makes every block from from on a base block.
func (t *table) cut(from int64, r slotRefs) {
	i, _ := t.find(blocksToPages(from))
	old := slices.Clone(t.spans[i:])
	clear(t.spans[i:])
	t.spans = t.spans[:i]
	release(old, r)
	for b := from; b%pageLen != 0; b++ {
		t.set(b, inBase, r)
	}
}

func blocksToPages(n int64) int64 { return (n + pageLen - 1) / pageLen }

// clone shares every page with a new table.
func (t *table) clone() table {
	for _, s := range t.spans {
		s.page.refs++
	}
	return table{slices.Clone(t.spans)}
}

// drop empties the table.
func (t *table) drop(r slotRefs) {
	old := t.spans
	t.spans = nil
	release(old, r)
}

func release(old []span, r slotRefs) {
	for _, s := range old {
		if s.page.refs--; s.page.refs > 0 {
			continue
		}
		for _, e := range s.page.entries {
			if slot, ok := e.slot(); ok {
				r.unref(slot)
			}
		}
	}
}

// prune forgets pages that say nothing.
func (t *table) prune(r slotRefs) {
	t.spans = slices.DeleteFunc(t.spans, func(s span) bool {
		if s.page.entries != [pageLen]entry{} {
			return false
		}
		s.page.refs--
		return true
	})
}

// next is the first block from block on, below end, whose kind is another
// than that of block, or end.
func (t *table) next(block, end int64, same func(entry) bool) int64 {
	i := sort.Search(len(t.spans), func(i int) bool { return t.spans[i].index >= block/pageLen })
	for block < end {
		if i == len(t.spans) || t.spans[i].index > block/pageLen {
			if !same(inBase) {
				return block
			}
			if i == len(t.spans) {
				return end
			}
			block = t.spans[i].index * pageLen
			continue
		}
		if !same(t.spans[i].page.entries[block%pageLen]) {
			return block
		}
		if block++; block%pageLen == 0 {
			i++
		}
	}
	return end
}

// settle makes base blocks of those that are what they are in snap. Sent
// blocks stay what they are, unless sent says that snap contains them all; so
// do zeros, unless zero says that none is newer than snap.
func (t *table) settle(snap *table, sent, zero bool, r slotRefs) {
	var gone []span
	kept := t.spans[:0:0]
	for _, s := range t.spans {
		j, ok := snap.find(s.index)
		if ok && sent && snap.spans[j].page == s.page {
			gone = append(gone, s)
			continue
		}
		kept = append(kept, s)
	}
	t.spans = kept
	release(gone, r)
	for i := range t.spans {
		then := &page{}
		if j, ok := snap.find(t.spans[i].index); ok {
			then = snap.spans[j].page
		}
		settlePage(t, i, then, sent, zero, r)
	}
	t.prune(r)
}

func settlePage(t *table, i int, then *page, sent, zero bool, r slotRefs) {
	for k, e := range t.spans[i].page.entries {
		if e == inBase || e == isSent && !sent || e == isZero && !zero || e != isSent && e != then.entries[k] {
			continue
		}
		t.own(i, r).entries[k] = inBase
		if slot, ok := e.slot(); ok {
			r.unref(slot)
		}
	}
}

// row is the blocks [from, to) of one state; of those in slots each is one by
// itself.
type row struct {
	from, to int64
	entry    entry
}

// rows gives the blocks that are not in the base, in order.
func (t *table) rows(yield func(row) bool) {
	var last row
	for _, s := range t.spans {
		for i, e := range s.page.entries {
			if e == inBase {
				continue
			}
			block := s.index*pageLen + int64(i)
			if e < slot0 && e == last.entry && block == last.to {
				last.to++
				continue
			}
			if last.entry != inBase && !yield(last) {
				return
			}
			last = row{block, block + 1, e}
		}
	}
	if last.entry != inBase {
		yield(last)
	}
}
