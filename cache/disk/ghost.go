package disk

import "encoding/binary"

// ghostLeast is how many extents are remembered at the least.
const ghostLeast = 1024

// ghost remembers extents that went without having been used, the latest of
// them, by hashes. The zero ghost remembers nothing.
type ghost struct {
	ring []uint64
	next int
	at   map[uint64]int // place in ring
}

// hash is of a keyed hash: nobody chooses it.
func (k key) hash() uint64 {
	return binary.LittleEndian.Uint64(k.name[:]) ^ uint64(k.extent)*0x9e3779b97f4a7c15
}

// remember adds h, of at most the given number.
func (g *ghost) remember(h uint64, most int) {
	if g.at == nil {
		g.at = map[uint64]int{}
	}
	if _, known := g.at[h]; known {
		return
	}
	if len(g.ring) < most {
		g.at[h] = len(g.ring)
		g.ring = append(g.ring, h)
		return
	}
	g.next %= len(g.ring)
	old := g.ring[g.next]
	if at, there := g.at[old]; there && at == g.next {
		delete(g.at, old)
	}
	g.ring[g.next], g.at[h] = h, g.next
	g.next++
}

// forget tells whether h was remembered, and ends that.
func (g *ghost) forget(h uint64) bool {
	_, known := g.at[h]
	delete(g.at, h)
	return known
}
