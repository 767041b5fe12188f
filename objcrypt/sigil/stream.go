package sigil

import (
	"context"
	"fmt"
	"sync"

	"github.com/sigilfs/sigilfs/objcrypt/section"
)

// Stream seals a plaintext whose length is not known yet: whole segments while
// they are written, the rest and the tail at the end. The metadata of a
// multipart upload is fixed when it starts, so its record says late, and the
// attributes go into the tail.
//
// A segment that changes after it was sealed is sealed again, under a fresh
// salt. It is safe for concurrent use, but for two that seal one segment; the
// sections that it gives are independent of it and of one another.
type Stream struct {
	dek  Key
	gen  Generation
	kind uint32      // file type of the record
	comp *Compressor // of layout 1

	mu   sync.Mutex // guards segs
	segs []streamed
}

// streamed is a segment as it was sealed last.
type streamed struct {
	salt  salt
	plain int64      // bytes of plaintext; 0: it was not sealed
	lens  []frameLen // of layout 1
}

// NewStream begins a stream of which have bytes are there, in the layout that c
// decides on. In layout 0 they are more than SegmentSize, else ErrRecord, since a
// body of at most one segment has another form. It puts into rec a data key where
// there is none, a new generation, and that the attributes come late. rec.Seal
// comes after.
func NewStream(rec *Record, c *Compressor, have int64) (*Stream, error) {
	switch {
	case have < 0 || c == nil && !hasTail(have) || have > MaxSize:
		return nil, fmt.Errorf("stream of %d bytes: %w", have, ErrRecord)
	case !rec.mayFrame():
		return nil, fmt.Errorf("stream into a file of mode %o: %w", rec.Mode, ErrRecord)
	}
	rec.fresh()
	rec.Late, rec.Size, rec.SizeKnown, rec.Layout = true, 0, false, layoutChunks
	if c != nil {
		rec.Layout = layoutFrames
	}
	return &Stream{dek: rec.DEK, gen: rec.Generation, kind: rec.Mode & typeMask, comp: c}, nil
}

func (s *Stream) layout() byte {
	if s.comp != nil {
		return layoutFrames
	}
	return layoutChunks
}

// Segments counts the segments up to the last that was sealed.
func (s *Stream) Segments() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.segs))
}

// Seal draws salts for the n > 0 bytes of src from off on, and gives them as
// they are to be stored. off is a multiple of SegmentSize; only the last segment
// of a file may be a part of one. src is indexed by offset in the file, and under
// the section it must not change. In layout 1 it is read here, and frames are
// stored until there are least bytes, as far as there can be; Close of the section
// lets go of what is held.
func (s *Stream) Seal(ctx context.Context, src ReaderAt, off, n, least int64) (*section.Section, error) {
	if n <= 0 {
		return nil, fmt.Errorf("seal %d bytes: %w", n, ErrRecord)
	}
	made, err := s.seal(ctx, src, off, n, least)
	if err != nil {
		return nil, err
	}
	return made.section(ctx, 0, made.size()), nil
}

// Finish seals the n-off bytes of src from off on (none where off = n), as Seal
// does, and puts the tail of a file of n bytes behind them. Every segment
// before off must have been sealed with its final content, and late is of the
// record's file type. It gives the length of the whole body, too. The Stream is
// used up once a Complete with this tail was sent, whatever became of it.
func (s *Stream) Finish(ctx context.Context, src ReaderAt, off, n int64, late Late) (last *section.Section, body int64, err error) {
	made, body, err := s.finish(ctx, src, off, n, late)
	if err != nil {
		return nil, 0, err
	}
	return made.section(ctx, 0, made.size()), body, nil
}

func (s *Stream) finish(ctx context.Context, src ReaderAt, off, n int64, late Late) (ciphertext, int64, error) {
	if n < 0 || s.comp == nil && !hasTail(n) || n > MaxSize || off > n {
		return nil, 0, fmt.Errorf("finish a stream of %d bytes from %d on: %w", n, off, ErrRecord)
	}
	if late.Mode&typeMask != s.kind {
		return nil, 0, fmt.Errorf("finish a stream into a file of type %o with mode %o: %w", s.kind, late.Mode, ErrRecord)
	}
	var made ciphertext = &image{first: segments(n), end: segments(n) * SegmentSize}
	if off < n {
		var err error
		if made, err = s.seal(ctx, src, off, n-off, 0); err != nil {
			return nil, 0, err
		}
	}
	salts, lens, err := s.complete(n)
	var block []byte
	if err == nil {
		block, err = late.seal(s.dek, s.gen, s.layout(), n)
	}
	if err != nil {
		made.release()
		return nil, 0, err
	}
	tail := makeTail(s.dek, s.gen, s.layout(), n, salts, lens, block)
	made.setTail(tail)
	if s.comp == nil {
		return made, BodySize(n), nil
	}
	body := int64(len(tail))
	for _, l := range lens {
		body += l.sealed()
	}
	return made, body, nil
}

// seal draws salts for n > 0 bytes from off on.
func (s *Stream) seal(ctx context.Context, src ReaderAt, off, n, least int64) (ciphertext, error) {
	first := off / SegmentSize
	if off < 0 || off%SegmentSize != 0 || off > MaxSize || n > MaxSize-off {
		return nil, fmt.Errorf("seal %d bytes at %d of a stream: %w", n, off, ErrRecord)
	}
	salts := newSalts(segments(n))
	if s.comp == nil {
		img := newImage(image{dek: s.dek, src: src, first: first, end: off + n, salts: salts})
		s.set(first, n, salts, func(int64) []frameLen { return nil })
		return img, nil
	}
	p, err := newPacked(ctx, packed{dek: s.dek, comp: s.comp, src: src, first: first, end: off + n, salts: salts}, least)
	if err != nil {
		return nil, err
	}
	s.set(first, n, p.salts, p.segment)
	return p, nil
}

// set notes n bytes as sealed from segment first on.
func (s *Stream) set(first, n int64, salts []salt, lens func(int64) []frameLen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if more := first + int64(len(salts)) - int64(len(s.segs)); more > 0 {
		s.segs = append(s.segs, make([]streamed, more)...)
	}
	for i, salt := range salts {
		s.segs[first+int64(i)] = streamed{salt: salt, plain: segmentLen(n, int64(i)), lens: lens(int64(i))}
	}
}

// complete holds what was sealed against the length of the file, and gives what
// the tail has of it.
func (s *Stream) complete(n int64) (salts []salt, lens []frameLen, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ceil(n, SegmentSize) {
		if i >= int64(len(s.segs)) || s.segs[i].plain != segmentLen(n, i) {
			return nil, nil, fmt.Errorf("segment %d of a stream of %d bytes was not sealed as it is: %w", i, n, ErrRecord)
		}
		salts, lens = append(salts, s.segs[i].salt), append(lens, s.segs[i].lens...)
	}
	return salts, lens, nil
}
