package volume

import "hash/maphash"

// mostVisits bounds the opens that are remembered of all walks: about 20 bytes
// each, 700 KiB in all.
const mostVisits = 32 << 10

// visits are the small files that were opened in the rows of walks. It keeps
// hashes: of two names that share one, the second is not fetched ahead, no more.
// When it is full it forgets all, and files that were read may be fetched once
// more. The zero value is not ready. Guarded by walks.mu.
type visits struct {
	seed maphash.Seed
	all  map[uint64]struct{}
}

// visit is the open of a name in a row of a walk.
type visit struct {
	row  uint64
	name string
}

func newVisits() visits {
	return visits{seed: maphash.MakeSeed(), all: map[uint64]struct{}{}}
}

func (s *visits) add(v visit) {
	if len(s.all) >= mostVisits {
		clear(s.all)
	}
	s.all[maphash.Comparable(s.seed, v)] = struct{}{}
}

func (s *visits) has(v visit) bool {
	_, ok := s.all[maphash.Comparable(s.seed, v)]
	return ok
}
