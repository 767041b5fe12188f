package s3ec

import (
	"context"
	"crypto/cipher"
	"fmt"
)

// Opener opens the body of one object: its data key is unwrapped, and its
// commitment checked. It is safe for concurrent use, reads nothing by itself,
// and may be kept to open the body again without the master key.
type Opener struct {
	env   *Envelope
	block cipher.Block // under the key of the body
}

// Unwrap holds an object against the policy, unwraps its data key and checks
// the commitment to it: all that can be refused before the body is fetched.
// Errors: those of Policy.Check; objcrypt.ErrNoKey where no key of the ring is
// of the kind; objcrypt.ErrWrongKey where none opens it, or the encryption
// context is another; objcrypt.ErrCorrupt; KMS's own.
func Unwrap(ctx context.Context, e *Envelope, ring Keyring, p Policy) (*Opener, error) {
	if err := p.Check(e); err != nil {
		return nil, err
	}
	key, err := ring.unwrap(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("unwrap the data key: %w", err)
	}
	defer clear(key[:])
	if !e.Committing() {
		return &Opener{env: e, block: newAES(key[:])}, nil
	}
	block, err := openCommitted(key, e)
	if err != nil {
		return nil, err
	}
	return &Opener{env: e, block: block}, nil
}

// Open is Unwrap and Opener.Open.
func Open(ctx context.Context, e *Envelope, ring Keyring, p Policy, src ReaderAt, length int64) (*Reader, error) {
	o, err := Unwrap(ctx, e, ring, p)
	if err != nil {
		return nil, err
	}
	return o.Open(ctx, src, length)
}

// Envelope is what the Opener was made of.
func (o *Opener) Envelope() *Envelope { return o.env }

// PlainSize gives the exact length of the plaintext of a body of length bytes.
// Under CBC it reads the last 32 bytes of src (one request where src is the
// object itself), and the answer is as good as CBC is; under GCM src is not
// used and may be nil.
func (o *Opener) PlainSize(ctx context.Context, src ReaderAt, length int64) (int64, error) {
	if o.env.suite == SuiteCBC {
		return o.cbc(src, length).plainSize(ctx)
	}
	return gcmPlainSize(length)
}

// Open verifies the body of length bytes that src gives, whole, in windows of
// 256 KiB, and gives a Reader of it. Under CBC it checks the padding, which is
// all there is. Errors: objcrypt.ErrCorrupt, and those of the source.
func (o *Opener) Open(ctx context.Context, src ReaderAt, length int64) (*Reader, error) {
	if o.env.suite == SuiteCBC {
		return o.openCBC(ctx, src, length)
	}
	n, err := gcmPlainSize(length)
	if err != nil {
		return nil, err
	}
	s, err := o.stream().verify(ctx, src, n)
	if err != nil {
		return nil, err
	}
	return &Reader{n: n, content: s}, nil
}

func (o *Opener) stream() *gcmStream { return newStream(o.block, o.env) }

func (o *Opener) openCBC(ctx context.Context, src ReaderAt, length int64) (*Reader, error) {
	c := o.cbc(src, length)
	n, err := c.plainSize(ctx)
	if err != nil {
		return nil, err
	}
	return &Reader{n: n, content: c}, nil
}

func (o *Opener) cbc(src ReaderAt, length int64) *cbcBody {
	return &cbcBody{block: o.block, iv: o.env.iv, src: src, length: length}
}
