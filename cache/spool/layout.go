package spool

import (
	"encoding/binary"
	"fmt"
)

// A slot is 17 pages of 4 KiB, so that freeing one gives back all of it:
//
//	0      65,536  ciphertext of one block
//	65,536     16  GCM tag
//	65,552     48  header, the AAD
//	65,600         zeros
//
// The header is last because a kill can cut a write(2) short only at its end:
// then the slot has no header and counts as never written.
const (
	slotSize  = 68 << 10
	tagSize   = 16
	headSize  = 48
	slotUsed  = BlockSize + tagSize + headSize
	metaMax   = headSize + MaxMeta + tagSize
	eventSize = 8 + eventBody + tagSize
	eventBody = 48
)

// MaxMeta is the longest record of the owner's in bytes.
const MaxMeta = 64 << 10

// MaxSize is the largest size of a file in bytes.
const MaxSize = 1 << 62

// maxBlock bounds block indexes, so that no offset overflows an int64.
const maxBlock = MaxSize / BlockSize

// fileID names a file and salts its key.
type fileID [16]byte

func (id fileID) String() string { return fmt.Sprintf("%x", id[:]) }

// part separates what is sealed under one file key.
type part byte

const (
	partBlock part = 1
	partMeta  part = 2
	partEvent part = 3
	partAfter part = 4 // a meta record of a later process
)

// header describes a sealed block or meta record. All integers little-endian:
//
//	0   4  "SGSP"
//	4   1  version, 1
//	5   1  part
//	6   2  zeros
//	8  16  file ID
//	24  8  block index (0 in a meta record)
//	32  8  sequence
//	40  8  size of the file in bytes when this was sealed
type header struct {
	part  part
	file  fileID
	block int64
	seq   uint64
	size  int64
}

const magic = "SGSP\x01"

func (h *header) put(b []byte) {
	copy(b, magic)
	b[5], b[6], b[7] = byte(h.part), 0, 0
	copy(b[8:24], h.file[:])
	binary.LittleEndian.PutUint64(b[24:], uint64(h.block))
	binary.LittleEndian.PutUint64(b[32:], h.seq)
	binary.LittleEndian.PutUint64(b[40:], uint64(h.size))
}

// parseHeader checks structure only: what it returns is not authenticated.
func parseHeader(b []byte) (header, error) {
	if len(b) != headSize || string(b[:5]) != magic || b[6] != 0 || b[7] != 0 {
		return header{}, fmt.Errorf("%w: no header", ErrDamaged)
	}
	h := header{
		part:  part(b[5]),
		file:  fileID(b[8:24]),
		block: int64(binary.LittleEndian.Uint64(b[24:])),
		seq:   binary.LittleEndian.Uint64(b[32:]),
		size:  int64(binary.LittleEndian.Uint64(b[40:])),
	}
	if h.block < 0 || h.block >= maxBlock || h.size < 0 || h.size > MaxSize || h.seq == 0 {
		return header{}, fmt.Errorf("%w: header out of range", ErrDamaged)
	}
	return h, nil
}

// blocks is the number of blocks that size bytes reach into.
func blocks(size int64) int64 {
	n := size / BlockSize
	if size%BlockSize != 0 {
		n++
	}
	return n
}

// inner gives the whole blocks [from, to) inside n bytes at off.
func inner(off, n int64) (from, to int64) {
	from, to = blocks(off), (off+n)/BlockSize
	return from, max(from, to)
}
