package disk

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// recordSize is the length of a record:
//
//	0  u32     magic, "SgCr"
//	4  u32     extent
//	8  [16]    name of the body
//	24 [8]     tag of the cache key
//	32 [8]     tag of the key ID
//	40 [16]    salt
//	56 u64     order in which extents came
//	64 u32     stored length of a full block
//	68 u32     stored length of all blocks
//	72 u16     which blocks are held, the first is bit 0
//	74 u8      1 the blocks came in the clear, 2 it was used again
//	75 u8      0
//	76 u32     CRC-32C of what is before
//
// A slot that is free has 80 zeros.
const recordSize = 80

// The header: the magic, version and stride, then zeros.
const (
	headerMagic  = "sigilfs cache\n\x00\x00"
	recordMagic  = uint32('S') | 'g'<<8 | 'C'<<16 | 'r'<<24
	layoutNumber = 1

	flagClear = 1
	flagUsed  = 2
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // made once, there

// record is what is on disk of a slot.
type record struct {
	key    key
	volume tag // of the cache key
	tag    tag // of the key ID
	salt   [saltSize]byte
	order  uint64
	shape  shape
	held   uint16
	clear  bool
	used   bool
}

func (r *record) encode() [recordSize]byte {
	var p [recordSize]byte
	le := binary.LittleEndian
	le.PutUint32(p[0:], recordMagic)
	le.PutUint32(p[4:], r.key.extent)
	copy(p[8:], r.key.name[:])
	copy(p[24:], r.volume[:])
	copy(p[32:], r.tag[:])
	copy(p[40:], r.salt[:])
	le.PutUint64(p[56:], r.order)
	le.PutUint32(p[64:], r.shape.block)
	le.PutUint32(p[68:], r.shape.length)
	le.PutUint16(p[72:], r.held)
	if r.clear {
		p[74] |= flagClear
	}
	if r.used {
		p[74] |= flagUsed
	}
	le.PutUint32(p[76:], crc32.Checksum(p[:76], castagnoli()))
	return p
}

// parse gives a record whose every member can be relied on to be in its range,
// or false.
func parse(p []byte) (record, bool) {
	le := binary.LittleEndian
	if len(p) != recordSize || le.Uint32(p) != recordMagic || le.Uint32(p[76:]) != crc32.Checksum(p[:76], castagnoli()) {
		return record{}, false
	}
	r := record{
		key:   key{name: [nameSize]byte(p[8:24]), extent: le.Uint32(p[4:])},
		order: le.Uint64(p[56:]),
		shape: shape{block: le.Uint32(p[64:]), length: le.Uint32(p[68:])},
		held:  le.Uint16(p[72:]),
		clear: p[74]&flagClear != 0,
		used:  p[74]&flagUsed != 0,
	}
	r.volume, r.tag, r.salt = tag(p[24:32]), tag(p[32:40]), [saltSize]byte(p[40:56])
	return r, p[74] < 4 && p[75] == 0 && r.valid()
}

// valid tells whether the shape fits a slot and the blocks held fit the shape.
func (r *record) valid() bool {
	s := r.shape
	if over := overhead(r.clear); int64(s.block) <= over || s.block > maxStored || s.length < 1 ||
		int64(s.length) > extentBlocks*int64(s.block) {
		return false
	}
	if _, last := s.at(s.blocks() - 1); last <= overhead(r.clear) {
		return false
	}
	return r.held != 0 && uint32(r.held) < 1<<s.blocks()
}

func encodeHeader() []byte {
	p := make([]byte, headerSize)
	n := copy(p, headerMagic)
	binary.LittleEndian.PutUint32(p[n:], layoutNumber)
	binary.LittleEndian.PutUint32(p[n+4:], stride)
	return p
}

// isHeader tells whether records of this layout follow.
func isHeader(p []byte) bool { return bytes.Equal(p, encodeHeader()) }
