package sigil

import (
	"context"

	"github.com/sigilfs/sigilfs/objcrypt/section"
)

// windowChunks is how many chunks a section seals at a time: its memory, and
// small enough to stay in a processor's cache between the copies.
const windowChunks = 4

// section gives size bytes of the image as stored from off on, sealed while
// they are read.
func (i *image) section(ctx context.Context, off, size int64) *section.Section {
	body := section.Body{Size: i.size(), Window: min(windowChunks, i.chunks()) * sealedChunk}
	body.Make = func(p []byte, off, to int64) ([]byte, int64, error) { return i.piece(ctx, p, off, to) }
	return section.New(body, off, size)
}

// piece is section.Body's. No more chunks are sealed than the section needs: it
// may end where a segment is kept.
func (i *image) piece(ctx context.Context, p []byte, off, to int64) ([]byte, int64, error) {
	if end := i.sealed(); off >= end {
		return i.tail, end, nil
	}
	first := off / sealedChunk
	count := min(ceil(to, sealedChunk), i.chunks(), first+windowChunks) - first
	p = p[:count*sealedChunk]
	n, err := i.seal(ctx, p, first, count)
	return p[:n], first * sealedChunk, err
}
