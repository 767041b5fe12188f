package sigil

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt/section"
)

// Stream seals a plaintext whose length is not known yet: whole segments while
// they are written, the rest and the tail at the end. The metadata of a
// multipart upload is fixed when it starts, so its record says late, and the
// attributes go into the tail.
//
// A segment that changes after it was sealed is sealed again, under a fresh
// salt. One goroutine may use a Stream at a time; the sections that it gives
// are independent of it and of one another.
type Stream struct {
	dek   Key
	gen   Generation
	kind  uint32 // file type of the record
	salts []salt
	lens  []int64 // plaintext of each segment as it was sealed last
}

// NewStream begins a stream of which have bytes are there: more than
// SegmentSize, else ErrRecord, since a body of at most one segment has another
// form. It puts into rec a data key where there is none, a new generation, and
// that the attributes come late. rec.Seal comes after.
func NewStream(rec *Record, have int64) (*Stream, error) {
	switch {
	case !hasTail(have) || have > MaxSize:
		return nil, fmt.Errorf("stream of %d bytes: %w", have, ErrRecord)
	case rec.isDir() || rec.isEmptyKind():
		return nil, fmt.Errorf("stream into a file of mode %o: %w", rec.Mode, ErrRecord)
	}
	rec.fresh()
	rec.Late, rec.Size, rec.SizeKnown = true, 0, false
	return &Stream{dek: rec.DEK, gen: rec.Generation, kind: rec.Mode & typeMask}, nil
}

// Segments counts the segments sealed so far.
func (s *Stream) Segments() int64 { return int64(len(s.salts)) }

// Seal draws salts for the n > 0 bytes of src from off on, and gives them as
// they are to be stored. off is a multiple of SegmentSize, at most the end of
// what was sealed; only the last segment of a file may be a part of one. src is
// indexed by offset in the file, and under the section it must not change.
func (s *Stream) Seal(ctx context.Context, src ReaderAt, off, n int64) (*section.Section, error) {
	if n <= 0 {
		return nil, fmt.Errorf("seal %d bytes: %w", n, ErrRecord)
	}
	img, err := s.seal(src, off, n)
	if err != nil {
		return nil, err
	}
	return img.section(ctx, 0, img.size()), nil
}

// Finish seals the n-off bytes of src from off on (none where off = n), as Seal
// does, and puts the tail of a file of n bytes behind them. Every segment
// before off must have been sealed with its final content, and late is of the
// record's file type. The Stream is used up once a Complete with this tail was
// sent, whatever became of it.
func (s *Stream) Finish(ctx context.Context, src ReaderAt, off, n int64, late Late) (*section.Section, error) {
	img, err := s.finish(src, off, n, late)
	if err != nil {
		return nil, err
	}
	return img.section(ctx, 0, img.size()), nil
}

func (s *Stream) finish(src ReaderAt, off, n int64, late Late) (*image, error) {
	if !hasTail(n) || n > MaxSize || off > n {
		return nil, fmt.Errorf("finish a stream of %d bytes from %d on: %w", n, off, ErrRecord)
	}
	if late.Mode&typeMask != s.kind {
		return nil, fmt.Errorf("finish a stream into a file of type %o with mode %o: %w", s.kind, late.Mode, ErrRecord)
	}
	img := &image{first: segments(n), end: segments(n) * SegmentSize}
	if off < n {
		var err error
		if img, err = s.seal(src, off, n-off); err != nil {
			return nil, err
		}
	}
	if err := s.complete(n); err != nil {
		return nil, err
	}
	block, err := late.seal(s.dek, s.gen, 0, n)
	if err != nil {
		return nil, err
	}
	img.tail = makeTail(s.dek, s.gen, 0, n, s.salts[:segments(n)], block)
	return img, nil
}

// seal draws salts for n > 0 bytes from off on.
func (s *Stream) seal(src ReaderAt, off, n int64) (*image, error) {
	first := off / SegmentSize
	if off < 0 || off%SegmentSize != 0 || first > s.Segments() || n > MaxSize-off {
		return nil, fmt.Errorf("seal %d bytes at %d of a stream: %w", n, off, ErrRecord)
	}
	img := image{dek: s.dek, src: src, first: first, end: off + n, salts: newSalts(segments(n))}
	for i, salt := range img.salts {
		s.set(first+int64(i), salt, segmentLen(n, int64(i)))
	}
	return newImage(img), nil
}

func (s *Stream) set(i int64, salt salt, length int64) {
	if i == s.Segments() {
		s.salts, s.lens = append(s.salts, salt), append(s.lens, length)
		return
	}
	s.salts[i], s.lens[i] = salt, length
}

// complete holds what was sealed against the length of the file.
func (s *Stream) complete(n int64) error {
	for i := range segments(n) {
		if i >= s.Segments() || s.lens[i] != segmentLen(n, i) {
			return fmt.Errorf("segment %d of a stream of %d bytes was not sealed as it is: %w", i, n, ErrRecord)
		}
	}
	return nil
}
