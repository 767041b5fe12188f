package sigil

import (
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// Sizes of format version 1, in bytes.
const (
	ChunkSize   = 64 << 10 // plaintext of a chunk; the last of a body may be shorter
	TagSize     = 16       // AES-GCM tag behind each chunk
	SegmentSize = 8 << 20  // plaintext of a segment, 128 chunks under one key

	// MaxSize is the longest plaintext: its body is the longest under the
	// 5 TiB of an S3 object.
	MaxSize = 5496205808264

	// TailReadSize is how much of an object's end a lookup asks for: the fixed
	// trailer and 237 salts, or the whole of a small file.
	TailReadSize = 4096

	sealedChunk      = ChunkSize + TagSize
	chunksPerSegment = SegmentSize / ChunkSize
	sealedSegment    = chunksPerSegment * sealedChunk

	saltSize    = 16
	lateSize    = 256
	macSize     = 32
	trailerSize = lateSize + 8 + macSize // late || u64be(n) || MAC

	maxBody = MaxSize + TagSize*((MaxSize+ChunkSize-1)/ChunkSize) +
		saltSize*((MaxSize+SegmentSize-1)/SegmentSize) + trailerSize
)

// BodySize gives the length of the body of n plaintext bytes, or -1 where n is
// negative or over MaxSize. It is strictly increasing.
func BodySize(n int64) int64 {
	if n < 0 || n > MaxSize {
		return -1
	}
	return n + TagSize*chunks(n) + TailSize(layoutChunks, n)
}

// PlainSize is the inverse of BodySize. A length that no plaintext gives is
// objcrypt.ErrCorrupt. It holds only for an object whose metadata names layout
// 0; from a listing alone it is a hint.
func PlainSize(body int64) (int64, error) {
	n := plainSize(body)
	if n < 0 || BodySize(n) != body {
		return 0, fmt.Errorf("body of %d bytes: no file has this length: %w", body, objcrypt.ErrCorrupt)
	}
	return n, nil
}

// plainSize is right for every body that BodySize gives, and anything else for
// others.
func plainSize(body int64) int64 {
	switch {
	case body < TagSize || body > maxBody:
		return -1
	case body <= sealedSegment:
		return body - TagSize*ceil(body, sealedChunk)
	case body <= sealedSegment+trailerSize:
		return -1
	}
	body -= trailerSize
	body -= saltSize * ceil(body, sealedSegment+saltSize)
	return body - TagSize*ceil(body, sealedChunk)
}

// hasTail tells whether the body of n bytes is segments and a tail.
func hasTail(n int64) bool { return n > SegmentSize }

// chunks counts the chunks of n bytes; the empty body has an empty one.
func chunks(n int64) int64 { return max(1, ceil(n, ChunkSize)) }

// segments counts the segments of n bytes, at least one.
func segments(n int64) int64 { return max(1, ceil(n, SegmentSize)) }

// segmentLen is the plaintext length of segment i of n bytes.
func segmentLen(n, i int64) int64 { return min(SegmentSize, n-i*SegmentSize) }

// chunkLen is the plaintext length of chunk c of n bytes.
func chunkLen(n, c int64) int64 { return min(ChunkSize, n-c*ChunkSize) }

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// Segments counts the segments of a plaintext of n bytes, 0 <= n <= MaxSize,
// at least one.
func Segments(n int64) int64 { return segments(n) }

// segmentRange tells where segment i, 0 <= i < Segments(n), lies in the body
// of n bytes: its offset and length as stored. Segments follow one another
// without a gap; the tail comes after the last.
func segmentRange(n, i int64) (off, length int64) {
	plain := segmentLen(n, i)
	return i * sealedSegment, plain + TagSize*chunks(plain)
}

// TailSize is the length of the tail of n plaintext bytes in a layout, 0 where
// the body has none.
func TailSize(layout byte, n int64) int64 {
	switch {
	case layout == layoutFrames:
		return framedTail(n)
	case !hasTail(n):
		return 0
	}
	return saltSize*segments(n) + trailerSize
}

// MayBe tells whether n bytes of plaintext may be a body of body bytes, in either
// layout.
func MayBe(n, body int64) bool {
	if n < 0 || n > MaxSize {
		return false
	}
	least, most := framedRange(n)
	return body == BodySize(n) || least <= body && body <= most
}

// PartSegments is how many segments part p = 0, 1, … of a stream of unknown
// length holds: 2^min(9, floor(p/1000)), so that 5 TiB fit in 9,282 parts.
func PartSegments(p int) int { return 1 << min(9, max(0, p)/1000) }
