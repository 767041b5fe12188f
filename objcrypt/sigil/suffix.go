package sigil

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// OpenSuffix gives what a lookup wants to know: the attributes and the version
// that stand, and the plaintext's length. suffix is the last bytes of the body,
// TailReadSize or all of them, bodySize the length of the whole; layout 1 needs
// none where the record knows the size. The length is not proved by this, but by
// a late block: see Reader.Verify. Errors: objcrypt.ErrCorrupt,
// objcrypt.ErrVersion.
func OpenSuffix(rec *Record, h Header, suffix []byte, bodySize int64) (Late, int64, error) {
	if h.Layout == layoutFrames && !rec.SizeKnown {
		n, err := trailerSizeOf(suffix)
		if err != nil {
			return Late{}, 0, err
		}
		rec = rec.Clone()
		rec.Size = n
	}
	n, err := shape(rec, h, bodySize)
	if err != nil {
		return Late{}, 0, err
	}
	r := newReader(rec, h, nil, n, bodySize, nil)
	if !rec.Late {
		return r.own, r.n, nil
	}
	l, err := r.suffixLate(suffix)
	if err != nil {
		return Late{}, 0, err
	}
	return l, r.n, nil
}

// trailerSizeOf gives the size that the trailer at the end of suffix says.
func trailerSizeOf(suffix []byte) (int64, error) {
	if len(suffix) < trailerSize {
		return 0, fmt.Errorf("last %d bytes of the body, the trailer has %d: %w", len(suffix), trailerSize, objcrypt.ErrCorrupt)
	}
	_, n := splitTrailer(suffix)
	if n > MaxSize {
		return 0, fmt.Errorf("tail says %d bytes: %w", n, objcrypt.ErrCorrupt)
	}
	return int64(n), nil
}

// suffixLate opens the late block at the end of suffix. Where the whole tail
// is there its MAC is checked too; the block alone is bound to the body's
// generation and size by its own key and additional data.
func (r *Reader) suffixLate(suffix []byte) (Late, error) {
	n, err := trailerSizeOf(suffix)
	if err != nil {
		return Late{}, err
	}
	if size := TailSize(r.layout, r.n); int64(len(suffix)) >= size {
		if _, err := parseTail(r.dek, r.gen, r.layout, r.n, r.body, suffix[int64(len(suffix))-size:]); err != nil {
			return Late{}, err
		}
	}
	if n != r.n {
		return Late{}, fmt.Errorf("tail says %d bytes, the body's length %d: %w", n, r.n, objcrypt.ErrCorrupt)
	}
	late, _ := splitTrailer(suffix)
	return r.openLate(late)
}

// WithSuffix gives a source that serves the last bytes of a body of bodySize
// bytes from memory, as a lookup brought them, and all others from src. suffix
// is kept and must not change.
func WithSuffix(src ReaderAt, suffix []byte, bodySize int64) ReaderAt {
	return &suffixed{src: src, suffix: suffix, start: bodySize - int64(len(suffix))}
}

type suffixed struct {
	src    ReaderAt
	suffix []byte
	start  int64 // where suffix begins in the body
}

// ReadAt serves what lies wholly in the suffix from there.
func (s *suffixed) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if skip := off - s.start; skip >= 0 && skip+int64(len(p)) <= int64(len(s.suffix)) {
		return copy(p, s.suffix[skip:]), nil
	}
	return s.src.ReadAt(ctx, p, off)
}
