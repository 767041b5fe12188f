package sigil

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt/section"
)

// Body is the sealed form of a plaintext of known size that does not change,
// made as its sections are read. It is safe for concurrent use.
type Body struct {
	n   int64
	img *image
}

// NewBody begins a body of the n bytes that src gives, and puts into rec what
// belongs to it: a data key where there is none, a new generation, the size,
// and that no late attributes stand. rec.Attr and rec.Version are final by now:
// the tail holds them too. rec.Seal comes after. A directory has n = 0 and no
// body at all; fifos, sockets, devices and hard-link names have n = 0.
//
// src is read again for every retry and must not change; where it does,
// reading fails with ErrSource.
func NewBody(rec *Record, src ReaderAt, n int64) (*Body, error) {
	if err := begin(rec, n); err != nil {
		return nil, err
	}
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
		late, err := Late{Attr: rec.Attr, Version: rec.Version}.seal(rec.DEK, rec.Generation, 0, n)
		if err != nil {
			return nil, err
		}
		img.tail = makeTail(rec.DEK, rec.Generation, 0, n, salts, late)
	}
	return &Body{n: n, img: newImage(img)}, nil
}

// Size is the length of the body as stored, in bytes.
func (b *Body) Size() int64 { return b.img.size() }

// PlainSize is the length of the plaintext in bytes.
func (b *Body) PlainSize() int64 { return b.n }

// Section gives size bytes of the body from off on (clipped to what there is),
// to be sent by one PUT or as one part. ctx bounds the reading of the source.
func (b *Body) Section(ctx context.Context, off, size int64) *section.Section {
	return b.img.section(ctx, off, size)
}

// Kept tells whether segment i is stored already, at the same place of the
// body that NewRewrite began from: it is copied there, and reading a section
// over it fails. The tail is never kept.
func (b *Body) Kept(i int64) bool { return b.img.kept != nil && b.img.kept[i] }
