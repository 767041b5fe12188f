package volume

import (
	"context"

	"github.com/sigilfs/sigilfs/objcrypt/section"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// window is how much of a plaintext a section holds while it is read, in bytes.
const window = 256 << 10

// newSection gives n bytes of the plaintext src from off on as the body of a
// request; ctx bounds the reading.
func newSection(ctx context.Context, src sigil.ReaderAt, off, n int64) *section.Section {
	body := section.Body{Size: off + n, Window: min(window, n)}
	body.Make = func(p []byte, at, to int64) ([]byte, int64, error) {
		p = p[:min(int64(len(p)), to-at)]
		got, err := src.ReadAt(ctx, p, at)
		return p, at, filled(got, len(p), err)
	}
	return section.New(body, off, n)
}
