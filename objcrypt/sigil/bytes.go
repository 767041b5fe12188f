package sigil

import (
	"context"
	"io"
)

var _ ReaderAt = Bytes(nil)

// Bytes is a plaintext in memory, to be sealed.
type Bytes []byte

// ReadAt implements ReaderAt.
func (b Bytes) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
