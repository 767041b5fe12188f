package sigil

import (
	"context"
	"fmt"
)

// image is ciphertext still to be made: whole segments of one plaintext, or
// the last of them with the tail. Its keys are drawn and its bytes thereby
// fixed, so they can be made in any order, and again for a retry. It is safe
// for concurrent use.
type image struct {
	dek   Key
	src   ReaderAt
	first int64 // index of the first segment
	end   int64 // of the plaintext
	salts []salt
	final bool   // a body without a tail: the last chunk is final
	none  bool   // a directory: no chunk at all
	kept  []bool // segments that stay as they are stored; nil: none
	tail  []byte

	marks marks
}

func newImage(i image) *image {
	i.marks = make(marks, len(i.salts))
	return &i
}

// start is where the plaintext begins.
func (i *image) start() int64 { return i.first * SegmentSize }

// chunks counts the chunks.
func (i *image) chunks() int64 {
	switch n := i.end - i.start(); {
	case i.none || n == 0 && !i.final:
		return 0
	default:
		return chunks(n)
	}
}

// sealed is the length of the chunks as stored.
func (i *image) sealed() int64 { return i.end - i.start() + TagSize*i.chunks() }

func (i *image) setTail(tail []byte) { i.tail = tail }

// release does nothing: no ciphertext is held.
func (i *image) release() {}

// size is the length of everything as stored.
func (i *image) size() int64 { return i.sealed() + int64(len(i.tail)) }

// seal fills buf with count chunks from chunk c of the image on, and gives
// their length. Errors: ErrSource, ErrRecord for a segment that is kept, and
// those of the source; then buf holds no plaintext.
func (i *image) seal(ctx context.Context, buf []byte, c, count int64) (n int64, err error) {
	defer func() {
		if err != nil {
			clear(buf)
		}
	}()
	off := i.start() + c*ChunkSize
	plain := min(count*ChunkSize, i.end-off)
	// The plaintext is read in one go to the end of where the chunks will lie;
	// each then moves down to its place, which never reaches into the next.
	gap := count * TagSize
	if err := readFull(ctx, i.src, buf[gap:gap+plain], off); err != nil {
		return 0, err
	}
	var a keyed
	for k := range count {
		chunk := c + k
		if s := chunk / chunksPerSegment; k == 0 || s != a.index {
			if a, err = i.cipher(s); err != nil {
				return 0, err
			}
		}
		size := min(ChunkSize, plain-k*ChunkSize)
		at := buf[k*sealedChunk:]
		copy(at, buf[gap+k*ChunkSize:][:size])
		done := a.aead.sealChunk(at, size, chunk%chunksPerSegment, i.final && chunk == i.chunks()-1)
		if !i.marks.same(chunk/chunksPerSegment, chunk%chunksPerSegment, done[size:]) {
			return 0, fmt.Errorf("chunk at %d: %w", i.start()+chunk*ChunkSize, ErrSource)
		}
		n += int64(len(done))
	}
	return n, nil
}

// cipher is that of segment s of the image.
func (i *image) cipher(s int64) (keyed, error) {
	if i.kept != nil && i.kept[s] {
		return keyed{}, fmt.Errorf("segment %d is kept, it is not sealed again: %w", i.first+s, ErrRecord)
	}
	return keyed{index: s, aead: segmentAEAD(i.dek, i.salts[s], i.first+s)}, nil
}
