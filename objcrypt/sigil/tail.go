package sigil

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// table is a verified tail: the salts of all segments, in layout 1 where their
// frames lie, and the late block still sealed.
type table struct {
	salts  []salt
	lens   []byte  // of the frames, as in the tail
	starts []int64 // where each segment begins in the body; one more where the last ends
	late   []byte
}

// makeTail gives salts(16 S) || late(256) || u64be(n) || MAC(32); in layout 1 the
// lengths of the frames, 3 F, follow the salts.
func makeTail(dek Key, g Generation, layout byte, n int64, salts []salt, lens []frameLen, late []byte) []byte {
	tail := make([]byte, 0, saltSize*len(salts)+frameLenSize*len(lens)+trailerSize)
	for _, s := range salts {
		tail = append(tail, s[:]...)
	}
	for _, l := range lens {
		tail = appendFrameLen(tail, l)
	}
	tail = append(tail, late...)
	tail = binary.BigEndian.AppendUint64(tail, uint64(n))
	return append(tail, tailMAC(dek, g, layout, tail)...)
}

// parseTail verifies the tail of the body of n bytes, which is body bytes long.
func parseTail(dek Key, g Generation, layout byte, n, body int64, tail []byte) (*table, error) {
	if want := TailSize(layout, n); want == 0 || int64(len(tail)) != want {
		return nil, fmt.Errorf("tail of %d bytes where %d bytes of plaintext have %d: %w", len(tail), n, want, objcrypt.ErrCorrupt)
	}
	signed := tail[:len(tail)-macSize]
	if !hmac.Equal(tail[len(signed):], tailMAC(dek, g, layout, signed)) {
		return nil, fmt.Errorf("tail does not authenticate: %w", objcrypt.ErrCorrupt)
	}
	late, size := splitTrailer(tail)
	if size != uint64(n) {
		return nil, fmt.Errorf("tail says %d bytes, the body's length %d: %w", size, n, objcrypt.ErrCorrupt)
	}
	t := &table{salts: make([]salt, ceil(n, SegmentSize)), late: bytes.Clone(late)}
	for i := range t.salts {
		copy(t.salts[i][:], tail[i*saltSize:])
	}
	if layout == layoutFrames {
		return t, t.place(n, body, tail[len(t.salts)*saltSize:])
	}
	return t, nil
}

// place takes the lengths of all frames, and holds their sum against the body's.
func (t *table) place(n, body int64, lens []byte) error {
	t.lens = bytes.Clone(lens[:frameLenSize*frames(n)])
	t.starts = make([]int64, len(t.salts)+1)
	at := int64(0)
	for f := range frames(n) {
		if f%framesPerSegment == 0 {
			t.starts[f/framesPerSegment] = at
		}
		l := frameLenAt(t.lens, f)
		if !l.valid(plainFrame(n, f)) {
			return fmt.Errorf("frame %d of %d bytes, as the tail says: %w", f, l.sealed(), objcrypt.ErrCorrupt)
		}
		at += l.sealed()
	}
	t.starts[len(t.salts)] = at
	if at+framedTail(n) != body {
		return fmt.Errorf("body of %d bytes, the tail's frames have %d: %w", body, at+framedTail(n), objcrypt.ErrCorrupt)
	}
	return nil
}

// segment gives the lengths of the frames of segment s.
func (t *table) segment(s int64) []frameLen {
	first, end := s*framesPerSegment, min(int64(len(t.lens)/frameLenSize), (s+1)*framesPerSegment)
	all := make([]frameLen, 0, framesPerSegment)
	for f := first; f < end; f++ {
		all = append(all, frameLenAt(t.lens, f))
	}
	return all
}

// frameAt is where frame f begins in the body; one past the last is its end.
func (t *table) frameAt(f int64) int64 {
	s := f / framesPerSegment
	at := t.starts[s]
	for i := s * framesPerSegment; i < f; i++ {
		at += frameLenAt(t.lens, i).sealed()
	}
	return at
}

// splitTrailer gives the late block and the size out of bytes that end in a
// whole trailer.
func splitTrailer(end []byte) (late []byte, n uint64) {
	trailer := end[len(end)-trailerSize:]
	return trailer[:lateSize], binary.BigEndian.Uint64(trailer[lateSize:])
}

func tailMAC(dek Key, g Generation, layout byte, signed []byte) []byte {
	key := derive(dek[:], g[:], infoTable, KeySize)
	defer clear(key)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(labelTable))
	mac.Write([]byte{layout})
	mac.Write(g[:])
	mac.Write(signed)
	return mac.Sum(nil)
}
