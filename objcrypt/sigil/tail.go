package sigil

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// table is a verified tail: the salts of all segments, and the late block
// still sealed.
type table struct {
	salts []salt
	late  []byte
}

// makeTail gives salts(16 S) || late(256) || u64be(n) || MAC(32).
func makeTail(dek Key, g Generation, layout byte, n int64, salts []salt, late []byte) []byte {
	tail := make([]byte, 0, saltSize*len(salts)+trailerSize)
	for _, s := range salts {
		tail = append(tail, s[:]...)
	}
	tail = append(tail, late...)
	tail = binary.BigEndian.AppendUint64(tail, uint64(n))
	return append(tail, tailMAC(dek, g, layout, tail)...)
}

// parseTail verifies the tail of the body of n bytes.
func parseTail(dek Key, g Generation, layout byte, n int64, tail []byte) (*table, error) {
	if int64(len(tail)) != tailSize(n) || !hasTail(n) {
		return nil, fmt.Errorf("tail of %d bytes where %d bytes of plaintext have %d: %w", len(tail), n, tailSize(n), objcrypt.ErrCorrupt)
	}
	signed := tail[:len(tail)-macSize]
	if !hmac.Equal(tail[len(signed):], tailMAC(dek, g, layout, signed)) {
		return nil, fmt.Errorf("tail does not authenticate: %w", objcrypt.ErrCorrupt)
	}
	late, size := splitTrailer(tail)
	if size != uint64(n) {
		return nil, fmt.Errorf("tail says %d bytes, the body's length %d: %w", size, n, objcrypt.ErrCorrupt)
	}
	t := &table{salts: make([]salt, segments(n)), late: append([]byte(nil), late...)}
	for i := range t.salts {
		copy(t.salts[i][:], tail[i*saltSize:])
	}
	return t, nil
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
