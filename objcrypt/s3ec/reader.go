package s3ec

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// errOffset is a caller's mistake.
var errOffset = errors.New("negative offset")

// Reader reads the plaintext of a body that was verified. It is safe for
// concurrent use and needs no closing. The source has to stay; where its bytes
// change, those are not released (under CBC nobody can tell).
type Reader struct {
	n       int64
	content content
}

var _ ReaderAt = (*Reader)(nil)

// content decrypts within the bounds of the plaintext.
type content interface {
	// readAt puts at least one byte into p, and gives how many.
	readAt(ctx context.Context, p []byte, off int64) (int, error)
}

// Size is the length of the plaintext in bytes.
func (r *Reader) Size() int64 { return r.n }

// ReadAt reads plaintext as io.ReaderAt does. On any error but io.EOF p holds
// nothing of the object and the count is 0. Errors: objcrypt.ErrCorrupt where
// the source is not any more what was verified, and those of the source.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: %w", off, errOffset)
	}
	want := p[:max(0, min(int64(len(p)), r.n-off))]
	for done := 0; done < len(want); {
		n, err := r.content.readAt(ctx, want[done:], off+int64(done))
		if err != nil {
			clear(want)
			return 0, err
		}
		done += n
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(want), nil
}

// readFull fills p from a stored body. One that ends early is corrupt: its
// length was known before.
func readFull(ctx context.Context, src ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(ctx, p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return corrupt("body ends at %d, not at %d", off+int64(n), off+int64(len(p)))
	default:
		return fmt.Errorf("body at %d: %w", off, err)
	}
}
