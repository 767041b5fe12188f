package sigil

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt/section"
)

// Body is the sealed form of a plaintext of known size that does not change,
// made as its sections are read. It is safe for concurrent use.
type Body struct {
	n    int64
	made ciphertext
	kept []Kept
}

// ciphertext is a body, or whole segments of one, that can be made again.
type ciphertext interface {
	size() int64
	section(ctx context.Context, off, size int64) *section.Section
	setTail(tail []byte) // which comes behind, before anything is read
	release()            // what is held is made again
}

// Kept is a range of a body that is stored already, in the body that NewRewrite
// began from: Len bytes at Off, which lie there at From.
type Kept struct{ Off, Len, From int64 }

// NewBody begins a body of the n bytes that src gives, and puts into rec what
// belongs to it: a data key where there is none, a new generation, the size,
// and that no late attributes stand. rec.Attr and rec.Version are final by now:
// the tail holds them too. rec.Seal comes after. A directory has n = 0 and no
// body at all; fifos, sockets, devices and hard-link names have n = 0.
//
// c decides on the layout. Layout 1 reads all of src here, which ctx bounds; only
// regular files have it.
//
// src is read again for every retry and must not change; where it does,
// reading fails with ErrSource.
func NewBody(ctx context.Context, rec *Record, c *Compressor, src ReaderAt, n int64) (*Body, error) {
	if err := begin(rec, n); err != nil {
		return nil, err
	}
	if c != nil && rec.mayFrame() {
		rec.Layout = layoutFrames
		return newFramed(ctx, rec, packed{comp: c, src: src, end: n, salts: newSalts(ceil(n, SegmentSize))})
	}
	rec.Layout = layoutChunks
	salts := []salt{salt(rec.Generation)}
	if hasTail(n) {
		salts = newSalts(segments(n))
	}
	return newBody(rec, src, n, salts, nil)
}

// begin checks the size and draws what every body has of its own.
func begin(rec *Record, n int64) error {
	switch {
	case n < 0 || n > MaxSize:
		return fmt.Errorf("body of %d bytes: %w", n, ErrRecord)
	case n != 0 && (rec.isDir() || rec.isEmptyKind()):
		return fmt.Errorf("file of mode %o with %d bytes of content: %w", rec.Mode, n, ErrRecord)
	}
	rec.fresh()
	rec.Late = false
	rec.Size, rec.SizeKnown = n, !rec.isDir()
	return nil
}

func newSalts(count int64) []salt {
	s := make([]salt, count)
	for i := range s {
		s[i] = newSalt()
	}
	return s
}

func newBody(rec *Record, src ReaderAt, n int64, salts []salt, kept []bool) (*Body, error) {
	img := image{dek: rec.DEK, src: src, end: n, salts: salts, kept: kept, final: !hasTail(n), none: rec.isDir()}
	if hasTail(n) {
		late, err := Late{Attr: rec.Attr, Version: rec.Version}.seal(rec.DEK, rec.Generation, layoutChunks, n)
		if err != nil {
			return nil, err
		}
		img.tail = makeTail(rec.DEK, rec.Generation, layoutChunks, n, salts, nil, late)
	}
	b := &Body{n: n, made: newImage(img)}
	for i, kept := range kept {
		if kept {
			off, size := segmentRange(n, int64(i))
			b.keeps(Kept{off, size, off})
		}
	}
	return b, nil
}

// newFramed makes p the body of a record.
func newFramed(ctx context.Context, rec *Record, p packed) (*Body, error) {
	late, err := Late{Attr: rec.Attr, Version: rec.Version}.seal(rec.DEK, rec.Generation, layoutFrames, p.end)
	if err != nil {
		return nil, err
	}
	p.dek = rec.DEK
	made, err := newPacked(ctx, p, 0)
	if err != nil {
		return nil, err
	}
	made.tail = makeTail(rec.DEK, rec.Generation, layoutFrames, p.end, made.salts, made.lens, late)
	b := &Body{n: p.end, made: made}
	for s := range made.salts {
		if made.keeps(int64(s)) {
			b.keeps(Kept{made.starts[s], made.starts[s+1] - made.starts[s], p.old.table.Load().starts[s]})
		}
	}
	return b, nil
}

// keeps appends k, as one range with the last where they meet in both bodies.
func (b *Body) keeps(k Kept) {
	if n := len(b.kept); n > 0 {
		last := &b.kept[n-1]
		if last.Off+last.Len == k.Off && last.From+last.Len == k.From {
			last.Len += k.Len
			return
		}
	}
	b.kept = append(b.kept, k)
}

// Size is the length of the body as stored, in bytes.
func (b *Body) Size() int64 { return b.made.size() }

// PlainSize is the length of the plaintext in bytes.
func (b *Body) PlainSize() int64 { return b.n }

// Section gives size bytes of the body from off on (clipped to what there is),
// to be sent by one PUT or as one part. ctx bounds the reading of the source.
func (b *Body) Section(ctx context.Context, off, size int64) *section.Section {
	return b.made.section(ctx, off, size)
}

// Kept gives the segments that are stored already, in order, neighbours as one:
// they are copied. A section over one fails in layout 0; in layout 1 it reads
// there. The tail is never kept.
func (b *Body) Kept() []Kept { return b.kept }

// Close lets go of what is held of the body; it can still be read again.
func (b *Body) Close() { b.made.release() }
