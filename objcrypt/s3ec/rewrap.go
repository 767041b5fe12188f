package s3ec

import (
	"context"
	"fmt"
	"maps"
)

// Rewrappable tells whether the data key can be put under another master key
// while the body stays as it is: the body is authenticated, and the wrapping
// binds the suite. What else there is has to be read and written anew, lest an
// edited header be made to look as if it had been bound.
func (e *Envelope) Rewrappable() bool { return e.Authenticated() && !e.wrap.Legacy() }

// Rewrap gives the envelope of the same body with its data key under another
// master key. Where the object commits to its key, that is checked; the body is
// not looked at. Who knew the data key before knows it still. Errors: those of
// Unwrap; objcrypt.ErrCorrupt if e is not Rewrappable; ErrContext, KMS's own.
func Rewrap(ctx context.Context, e *Envelope, ring Keyring, p Policy, to Sealer) (*Envelope, error) {
	if !e.Rewrappable() {
		return nil, corrupt("the wrapping of %s cannot be changed alone", e)
	}
	if err := p.Check(e); err != nil {
		return nil, err
	}
	key, err := ring.unwrap(ctx, e)
	defer clear(key[:])
	if err != nil {
		return nil, fmt.Errorf("unwrap the data key: %w", err)
	}
	if e.Committing() {
		if _, err := openCommitted(key, e); err != nil {
			return nil, err
		}
	}
	s, err := to.wrap(ctx, &key, e.suite.cek())
	if err != nil {
		return nil, err
	}
	n := *e
	n.wrap, n.wrapped, n.context = s.wrap, s.wrapped, s.context
	return &n, nil
}

// Over gives md, the metadata or the fields of an instruction file that held the
// wrapped key of the same body, with that of e in its place. All else stays.
func (e *Envelope) Over(md Metadata) Metadata {
	n := maps.Clone(md)
	for _, name := range []string{nameKeyV3, nameWrapV3, nameContextV3, nameMatdescV3, nameKeyV2, nameWrapAlg, nameMatdesc} {
		delete(n, name)
	}
	maps.Copy(n, e.apart())
	return n
}

// OverFile is Over of the content of an instruction file.
func (e *Envelope) OverFile(file []byte) ([]byte, error) {
	md, err := ParseInstruction(file)
	if err != nil {
		return nil, err
	}
	return []byte(formatMap(e.Over(md))), nil
}
