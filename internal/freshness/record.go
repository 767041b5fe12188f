package freshness

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrDamaged: the file, or a record in it, is not what was written.
var ErrDamaged = errors.New("memory of versions is damaged")

// A record in the file, big-endian:
//
//	version 8, last 8, seal 16, flags 1, day 2, MAC 8
//
// day is when it was last used, in days since 1970. The MAC is over the hashed
// key and all before it.
const (
	hashSize   = 16
	macSize    = 8
	plainSize  = 8 + 8 + 16 + 1 + 2
	recordSize = plainSize + macSize

	flagGone    = 1
	flagDoubted = 2
)

// secret hashes keys and proves records.
type secret [32]byte

// hash is what stands for a key in the file.
func (s *secret) hash(key string) []byte { return s.sum("key", []byte(key))[:hashSize] }

func (s *secret) sum(use string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte(use))
	h.Write([]byte{0})
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func (s *secret) encode(hash []byte, r Record, day uint16) []byte {
	p := make([]byte, 0, recordSize)
	p = binary.BigEndian.AppendUint64(p, r.Version)
	p = binary.BigEndian.AppendUint64(p, r.Last)
	p = append(p, r.Seal[:]...)
	flags := byte(0)
	if r.Gone {
		flags |= flagGone
	}
	if r.Doubted {
		flags |= flagDoubted
	}
	p = append(p, flags)
	p = binary.BigEndian.AppendUint16(p, day)
	return append(p, s.sum("record", hash, p)[:macSize]...)
}

// decode reads what stands at a hash; nil is nothing known.
func (s *secret) decode(hash, p []byte) (r Record, day uint16, err error) {
	if p == nil {
		return r, 0, nil
	}
	if len(p) != recordSize || !hmac.Equal(p[plainSize:], s.sum("record", hash, p[:plainSize])[:macSize]) {
		return r, 0, fmt.Errorf("record of %d bytes: %w", len(p), ErrDamaged)
	}
	r.Version, r.Last = binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:])
	copy(r.Seal[:], p[16:])
	flags := p[32]
	r.Gone, r.Doubted = flags&flagGone != 0, flags&flagDoubted != 0
	if flags&^(flagGone|flagDoubted) != 0 || r.Version == 0 {
		return Record{}, 0, fmt.Errorf("record with flags %#x: %w", flags, ErrDamaged)
	}
	return r, dayOf(p), nil
}

// dayOf is the day in an encoded record.
func dayOf(p []byte) uint16 { return binary.BigEndian.Uint16(p[33:]) }

// day is t in days since 1970.
func day(t time.Time) uint16 { return uint16(max(0, t.Unix()/86400)) } //nolint:gosec // until 2149
