package sigil

import (
	"encoding/binary"
	"sync/atomic"
)

// marks remember the beginning of each tag, by segment and index in it, so that
// a source which changed between two readings is noticed: it gives another tag.
// They are safe for concurrent use.
type marks []atomic.Pointer[segmentMarks]

// segmentMarks are 0 where nothing was sealed yet.
type segmentMarks [chunksPerSegment]atomic.Uint64

// same remembers a tag, or holds it against the one remembered.
func (m marks) same(segment, index int64, tag []byte) bool {
	slot := &m[segment]
	s := slot.Load()
	if s == nil {
		s = new(segmentMarks)
		if !slot.CompareAndSwap(nil, s) {
			s = slot.Load()
		}
	}
	is := max(1, binary.BigEndian.Uint64(tag))
	return s[index].CompareAndSwap(0, is) || s[index].Load() == is
}

// forget is for a segment that has another key now.
func (m marks) forget(segment int64) { m[segment].Store(nil) }
