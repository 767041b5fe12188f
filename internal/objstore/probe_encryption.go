package objstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
)

// Confirmation is how it is known that what a request made is encrypted as it
// asked.
type Confirmation uint8

// The ways.
const (
	Unconfirmed Confirmation = iota // it is not, or the request was refused
	ByHead                          // the answer is silent, only a HEAD tells
	ByAnswer
)

// EncryptionSupport is which kinds of writes honour an Encryption.
type EncryptionSupport struct {
	Put    Confirmation // never Unconfirmed
	Copy   Confirmation // of an object onto itself
	Upload Confirmation // in parts
}

// ProbeEncryption sees whether the server encrypts as enc asks, by an object
// under dir (".sigil/doctor/" of the volume root) that it deletes again.
// confirm judges the headers of an answer. Six requests, and one more for each
// of the three writes whose answer is silent.
//
// A Put that is refused or not confirmed is an error, with confirm's error in
// it. Copies and uploads that are refused as such are Unconfirmed.
func ProbeEncryption(ctx context.Context, s Store, dir string, enc *Encryption, confirm func(Header) error) (EncryptionSupport, error) {
	name := make([]byte, 16)
	if _, err := rand.Read(name); err != nil {
		return EncryptionSupport{}, err
	}
	p := &probe{s: s, dir: dir + hex.EncodeToString(name)}
	e := encryptionProbe{probe: p, key: p.key("-encryption"), opt: PutOptions{Metadata: probeMetadata, Encryption: enc}, confirm: confirm}
	got, err := e.all(ctx)
	if err != nil {
		err = fmt.Errorf("probe: %w", err)
	}
	return got, errors.Join(err, p.clean(ctx))
}

// encryptionProbe writes one key in three ways.
type encryptionProbe struct {
	*probe
	key     string
	opt     PutOptions
	confirm func(Header) error
}

var probeBody = []byte("sigilfs probe: this object may be deleted\n")

func (e encryptionProbe) all(ctx context.Context) (got EncryptionSupport, err error) {
	made, err := e.s.Put(ctx, e.key, bytes.NewReader(probeBody), int64(len(probeBody)), e.opt)
	if err != nil {
		return got, err
	}
	if got.Put, err = e.judge(ctx, made); err != nil {
		return got, err
	}
	if got.Copy, err = e.bearable(e.copy(ctx, made.ID)); err != nil {
		return got, err
	}
	got.Upload, err = e.bearable(e.upload(ctx))
	return got, err
}

// judge looks at what an answer says, and asks where it says nothing.
func (e encryptionProbe) judge(ctx context.Context, made Receipt) (Confirmation, error) {
	told, by := made.Encrypted, ByAnswer
	if len(told) == 0 {
		info, err := e.s.Head(ctx, made.ID)
		if err != nil {
			return Unconfirmed, err
		}
		told, by = info.Encrypted, ByHead
	}
	if err := e.confirm(told); err != nil {
		return Unconfirmed, unconfirmedError{fmt.Errorf("%q: %w", e.key, err)}
	}
	return by, nil
}

// unconfirmedError tells what confirm says from the errors of requests.
type unconfirmedError struct{ error }

func (e unconfirmedError) Unwrap() error { return e.error }

// bearable takes a refusal for an answer: the Put was confirmed.
func (e encryptionProbe) bearable(by Confirmation, err error) (Confirmation, error) {
	var not unconfirmedError
	if errors.As(err, &not) || errors.Is(err, ErrAccess) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported) {
		return Unconfirmed, nil
	}
	return by, err
}

func (e encryptionProbe) copy(ctx context.Context, src ID) (Confirmation, error) {
	made, err := e.s.Copy(ctx, src, e.key, e.opt)
	if err != nil {
		return Unconfirmed, err
	}
	return e.judge(ctx, made)
}

func (e encryptionProbe) upload(ctx context.Context) (Confirmation, error) {
	up, err := e.s.Upload(ctx, e.key, e.opt)
	if err != nil {
		return Unconfirmed, err
	}
	err = up.Part(ctx, 1, bytes.NewReader(probeBody), int64(len(probeBody)))
	if err != nil {
		return Unconfirmed, errors.Join(err, e.drop(ctx, up))
	}
	made, err := up.Complete(ctx, Condition{})
	if err != nil {
		return Unconfirmed, errors.Join(err, e.drop(ctx, up))
	}
	return e.judge(ctx, made)
}
