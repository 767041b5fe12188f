package fsx

import (
	"fmt"
	"slices"
)

// Units at whose multiples a filesystem over sealed objects does something
// else: pages, blocks, segments.
const (
	page    = 4 << 10
	block   = 64 << 10
	segment = 8 << 20
)

// class is a sort of files. A name keeps its class, since renames stay within
// one: large files are dear.
type class struct {
	share   int // of descriptors, in percent
	names   []string
	max     int64 // size of a file
	most    int64 // length of one operation
	unit    int64 // at whose multiples offsets are chosen
	inOrder bool  // written in order, mostly
}

func classes(opt Options) []class {
	small := class{max: min(1<<20, opt.MaxSize), most: 128 << 10, unit: block, names: []string{"s0", "s1", "s2", "s3", "s4"}}
	middle := class{max: min(2*segment+segment/2, opt.MaxSize), most: 256 << 10, unit: segment, names: []string{"m0", "m1"}}
	large := class{max: opt.MaxSize, most: 1 << 20, unit: segment, names: []string{"l0", "l1"}, inOrder: true}
	large.share = opt.Large
	middle.share = min(4, 100-large.share)
	small.share = 100 - large.share - middle.share
	return []class{small, middle, large}
}

func (t *tester) class() class {
	n := t.rng.IntN(100)
	for _, c := range t.classes {
		if n -= c.share; n < 0 {
			return c
		}
	}
	panic("the shares are not 100 percent")
}

func (c class) name(t *tester) string { return c.names[t.rng.IntN(len(c.names))] }

// allNames are the names of all classes, in a fixed order.
func (t *tester) allNames() []string {
	var all []string
	for _, c := range t.classes {
		all = append(all, c.names...)
	}
	slices.Sort(all)
	return all
}

// offset chooses a place in a file of that size, or a bit beyond its end:
// anywhere, about a border, or about the end. It is below c.max.
func (c class) offset(t *tester, size int64) int64 {
	off := int64(0)
	switch t.rng.IntN(5) {
	case 0, 1:
		off = t.rng.Int64N(min(size+1, c.max))
	case 2:
		off = t.near(t.rng.Int64N(c.max/c.unit+1) * c.unit)
	case 3:
		off = t.near(t.rng.Int64N(min(size, c.max)/page+1) * page)
	case 4:
		off = t.near(size)
	}
	return min(max(off, 0), c.max-1)
}

// near is at, or up to a page beside it.
func (t *tester) near(at int64) int64 {
	switch t.rng.IntN(3) {
	case 0:
		return at
	case 1:
		return at + t.rng.Int64N(7) - 3
	}
	return at + t.rng.Int64N(2*page) - page
}

// span chooses an offset and a length, which is at least 1: small ones are as
// frequent as large ones. The end is at most c.max.
func (c class) span(t *tester, size int64) (off, n int64) {
	off = c.offset(t, size)
	n = 1 + t.rng.Int64N(max(c.most>>t.rng.IntN(18), 1))
	return off, min(n, c.max-off)
}

// bytes are new content: mostly random, now and then zeros, which must not be
// taken for a hole that was never written.
func (t *tester) bytes(n int64) []byte {
	b := make([]byte, n)
	if t.rng.IntN(12) == 0 {
		return b
	}
	x := t.rng.Uint64() | 1
	for i := range b {
		if i%8 == 0 { // xorshift (Marsaglia, 2003)
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		b[i] = byte(x >> (i % 8 * 8))
	}
	return b
}

func span(off, n int64) string { return fmt.Sprintf("[%#x, %#x)", off, off+n) }
