package s3ec

import (
	"context"

	"github.com/sigilfs/sigilfs/objcrypt/section"
)

// Section gives size bytes of the body from off on (clipped to what there is),
// to be sent by one PUT or as one part, sealed while they are read. ctx bounds
// the reading of the source.
func (b *Body) Section(ctx context.Context, off, size int64) *section.Section {
	body := section.Body{Size: b.Size(), Window: min(windowSize, b.n)}
	body.Make = func(p []byte, off, to int64) ([]byte, int64, error) { return b.piece(ctx, p, off, to) }
	return section.New(body, off, size)
}

// piece is section.Body's: whole chunks, which alone can be held against what
// was measured, and no more of them than the section needs.
func (b *Body) piece(ctx context.Context, p []byte, off, to int64) ([]byte, int64, error) {
	if off >= b.n {
		return b.end[:], b.n, nil
	}
	first := off / ChunkSize
	from := first * ChunkSize
	p = p[:min(chunks(to)*ChunkSize, b.n, from+windowSize)-from]
	return p, from, b.seal(ctx, p, first)
}
