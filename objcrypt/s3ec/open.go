package s3ec

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// Opener opens the body of one object: its data key is unwrapped, and its
// commitment checked. It is safe for concurrent use, reads nothing by itself,
// and may be kept to open the body again without the master key.
type Opener struct {
	env   *Envelope
	block cipher.Block // under the key of the body

	// refused is what became of a data key under PKCS #1 v1.5, and comes up
	// once the body was read: a server that sees a client stop short of the
	// body would learn, key by key that it makes up, to use the private key
	// (Bleichenbacher, 1998).
	refused error
}

// Unwrap holds an object against the policy, unwraps its data key and checks
// the commitment to it: all that can be refused before the body is fetched.
// Errors: those of Policy.Check; objcrypt.ErrNoKey where no key of the ring is
// of the kind; objcrypt.ErrWrongKey where none opens it, or the encryption
// context is another; objcrypt.ErrCorrupt; KMS's own. Under RSA PKCS #1 v1.5 the
// last three come from Open instead.
func Unwrap(ctx context.Context, e *Envelope, ring Keyring, p Policy) (*Opener, error) {
	if err := p.Check(e); err != nil {
		return nil, err
	}
	key, err := ring.unwrap(ctx, e)
	defer clear(key[:])
	if err != nil {
		err = fmt.Errorf("unwrap the data key: %w", err)
		if e.wrap == WrapRSAPKCS1 && !errors.Is(err, objcrypt.ErrNoKey) {
			return &Opener{env: e, block: newAES(key[:]), refused: err}, nil
		}
		return nil, err
	}
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
		return o.cbcPlainSize(ctx, src, length)
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
	n, err := o.cbcPlainSize(ctx, src, length)
	if err != nil {
		return nil, err
	}
	return &Reader{n: n, content: o.cbc(src, length)}, nil
}

func (o *Opener) cbcPlainSize(ctx context.Context, src ReaderAt, length int64) (int64, error) {
	n, err := o.cbc(src, length).plainSize(ctx)
	if o.refused != nil {
		return 0, o.refused
	}
	return n, err
}

func (o *Opener) cbc(src ReaderAt, length int64) *cbcBody {
	return &cbcBody{block: o.block, iv: o.env.iv, src: src, length: length}
}
