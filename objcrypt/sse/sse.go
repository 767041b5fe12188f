// Package sse is server-side encryption as S3 requests and answers carry it:
// the headers that ask for a mode, with every kind of request, and what the
// headers of an answer say that an object is. It sends nothing and knows no
// server; names of headers are in lower case.
//
// Sources: AWS S3 API Reference (PutObject, GetObject, CopyObject,
// CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload)
// and AWS S3 User Guide, "Protecting data with server-side encryption".
package sse

import (
	"errors"
	"fmt"
	"io"
	"maps"
)

// KeyTag names the object tag that holds the ID of an SSE-C object's key. S3
// does not remember the key, but tells tags without it.
const KeyTag = "sigil-key-id"

// Sentinel errors, matched with errors.Is.
var (
	// ErrInvalid: a mode that S3 would not take.
	ErrInvalid = errors.New("invalid server-side encryption")

	// ErrUnconfirmed: an answer does not say that the body is encrypted as was
	// asked.
	ErrUnconfirmed = errors.New("the server does not confirm the encryption")

	// ErrUnknown: an object is encrypted in a way that requests cannot ask for
	// again by what its answer says.
	ErrUnknown = errors.New("encryption cannot be repeated")
)

// Algorithm is a way in which S3 encrypts at rest.
type Algorithm uint8

// The algorithms. Unknown is one that S3 did not have when this was written,
// or an answer that contradicts itself.
const (
	None Algorithm = iota
	SSES3
	SSEKMS
	DSSEKMS
	SSEC
	Unknown
)

// String gives the name that configurations and listings use.
func (a Algorithm) String() string {
	switch a {
	case None:
		return "none"
	case SSES3:
		return "sse-s3"
	case SSEKMS:
		return "sse-kms"
	case DSSEKMS:
		return "dsse-kms"
	case SSEC:
		return "sse-c"
	}
	return "unknown"
}

// Mode is what requests ask for. It does not change, and is safe for concurrent
// use. Nil asks for nothing: the server does what the bucket is configured to.
type Mode struct {
	algorithm Algorithm
	keyID     string // KMS: as given, "" is the AWS-managed key of S3
	context   map[string]string
	encoded   string // the context as its header has it
	bucketKey *bool  // KMS: nil is as the bucket has it
	key       CustomerKey
}

// S3 asks for SSE-S3: keys that S3 keeps.
func S3() *Mode { return &Mode{algorithm: SSES3} }

// KMS asks for SSE-KMS. keyID is a key's ID, ARN, alias ("alias/NAME") or alias
// ARN; empty is the AWS-managed key of S3. context is the additional encryption
// context, printable ASCII, which is neither secret nor told again by S3.
// bucketKey is whether to use an S3 Bucket Key; nil is as the bucket has it.
// Errors: ErrInvalid.
func KMS(keyID string, context map[string]string, bucketKey *bool) (*Mode, error) {
	if bucketKey != nil {
		b := *bucketKey
		bucketKey = &b
	}
	return (&Mode{algorithm: SSEKMS, keyID: keyID, bucketKey: bucketKey}).with(context)
}

// DSSE asks for dual-layer encryption with a KMS key, which has no bucket keys.
// Its arguments are those of KMS.
func DSSE(keyID string, context map[string]string) (*Mode, error) {
	return (&Mode{algorithm: DSSEKMS, keyID: keyID}).with(context)
}

// Customer asks for SSE-C under key. Errors: ErrInvalid of the zero key.
func Customer(key CustomerKey) (*Mode, error) {
	if key.IsZero() {
		return nil, fmt.Errorf("sse-c without a key: %w", ErrInvalid)
	}
	return &Mode{algorithm: SSEC, key: key}, nil
}

// with completes a mode of KMS.
func (m *Mode) with(context map[string]string) (*Mode, error) {
	if err := checkKeyID(m.keyID); err != nil {
		return nil, err
	}
	var err error
	m.context = maps.Clone(context)
	m.encoded, err = encodeContext(context)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Algorithm is None of the nil mode.
func (m *Mode) Algorithm() Algorithm {
	if m == nil {
		return None
	}
	return m.algorithm
}

// KeyID names the key: as it was given for KMS, by CustomerKey.ID for SSE-C.
// It is empty where S3 chooses.
func (m *Mode) KeyID() string {
	switch {
	case m == nil:
		return ""
	case m.algorithm == SSEC:
		return m.key.ID()
	}
	return m.keyID
}

// Context is a copy of the encryption context.
func (m *Mode) Context() map[string]string {
	if m == nil {
		return nil
	}
	return maps.Clone(m.context)
}

// String names the mode and its key's ID.
func (m *Mode) String() string {
	if id := m.KeyID(); id != "" {
		return m.Algorithm().String() + " with key " + id
	}
	return m.Algorithm().String()
}

// Format is String under every verb, so that no key is ever printed.
func (m *Mode) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }
