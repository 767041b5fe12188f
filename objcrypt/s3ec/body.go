package s3ec

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Format is which version is written.
type Format int

// The formats.
const (
	// FormatV3 commits to its key: the default. AWS's clients of version 4
	// read it, and the last of version 3.
	FormatV3 Format = iota
	// FormatV2 is for older clients.
	FormatV2
)

// Body is the sealed form of a plaintext, made as its sections are read. It is
// safe for concurrent use.
type Body struct {
	*gcmStream
	env  *Envelope
	src  ReaderAt
	n    int64
	sums []element // of the ciphertext, by chunk
	end  [TagSize]byte
}

// NewBody draws a data key under the master key, seals the n bytes that src
// gives once for the tag, and gives the body. The key is this body's alone. src
// is read again for every section and retry, and must not change; where it
// does, reading fails with ErrSource. Of a plaintext 16 bytes are kept for each
// 64 KiB. Errors: ErrTooLarge, ErrContext, ErrSource, those of src and of KMS.
func NewBody(ctx context.Context, key Sealer, f Format, src ReaderAt, n int64) (*Body, error) {
	if n < 0 || n > MaxSize {
		return nil, fmt.Errorf("body of %d bytes: %w", n, ErrTooLarge)
	}
	env, block, err := newEnvelope(ctx, key, f)
	if err != nil {
		return nil, err
	}
	b := &Body{gcmStream: newStream(block, env), env: env, src: src, n: n}
	if err := b.measure(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// measure seals every chunk once, for its sum and the tag.
func (b *Body) measure(ctx context.Context) error {
	sums := make([]element, 0, chunks(b.n))
	window := make([]byte, min(windowSize, b.n))
	for off := int64(0); off < b.n; off += windowSize {
		p := window[:min(windowSize, b.n-off)]
		if err := b.encrypt(ctx, p, off); err != nil {
			return err
		}
		for ; len(p) > 0; p = p[min(ChunkSize, len(p)):] {
			sums = append(sums, b.ghash.sum(p[:min(ChunkSize, len(p))]))
		}
	}
	b.sums, b.end = sums, b.tag(sums, b.n)
	return nil
}

// encrypt fills p with ciphertext from off on, or clears it.
func (b *Body) encrypt(ctx context.Context, p []byte, off int64) error {
	n, err := b.src.ReadAt(ctx, p, off)
	switch {
	case n == len(p):
		b.xor(p, p, off)
		return nil
	case err == nil || errors.Is(err, io.EOF):
		err = fmt.Errorf("plaintext ends at %d of %d: %w", off+int64(n), b.n, ErrSource)
	default:
		err = fmt.Errorf("plaintext at %d: %w", off, err)
	}
	clear(p)
	return err
}

// seal fills p with whole chunks of ciphertext from number c on, or clears it.
// Other bytes than before, under the same key and nonce, are not released.
func (b *Body) seal(ctx context.Context, p []byte, c int64) error {
	if err := b.encrypt(ctx, p, c*ChunkSize); err != nil {
		return err
	}
	for rest := p; len(rest) > 0; c++ {
		n := min(ChunkSize, len(rest))
		now, then := b.ghash.sum(rest[:n]).bytes(), b.sums[c].bytes()
		if subtle.ConstantTimeCompare(now[:], then[:]) != 1 {
			clear(p)
			return fmt.Errorf("plaintext at %d: %w", c*ChunkSize, ErrSource)
		}
		rest = rest[n:]
	}
	return nil
}

// Envelope is what Parse would make of the headers.
func (b *Body) Envelope() *Envelope { return b.env }

// Size is the length of the body as stored, in bytes.
func (b *Body) Size() int64 { return b.n + TagSize }

// PlainSize is the length of the plaintext in bytes.
func (b *Body) PlainSize() int64 { return b.n }
