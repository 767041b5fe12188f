package sse

import (
	"crypto/md5" //nolint:gosec // what S3 checks a customer's key by; no security rests on it
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
)

// KeyLen is the length of a customer's key in bytes.
const KeyLen = 32

// idLabel separates the hash that names a key from all others.
const idLabel = "sigil/ssec-id"

// CustomerKey is a key of SSE-C. It prints as its ID under every verb. The zero
// CustomerKey is none.
type CustomerKey struct {
	// A function, into which fmt cannot look: inside of other types it calls no
	// methods, and under some verbs follows pointers.
	secret func() [KeyLen]byte
}

// NewCustomerKey takes a copy of KeyLen bytes. Errors: ErrInvalid.
func NewCustomerKey(key []byte) (CustomerKey, error) {
	if len(key) != KeyLen {
		return CustomerKey{}, fmt.Errorf("a key of sse-c has %d bytes, not %d: %w", KeyLen, len(key), ErrInvalid)
	}
	secret := [KeyLen]byte(key)
	return CustomerKey{secret: func() [KeyLen]byte { return secret }}, nil
}

// IsZero tells whether there is no key.
func (k CustomerKey) IsZero() bool { return k.secret == nil }

// ID names the key: the first 16 hex digits of SHA-256("sigil/ssec-id" || key).
// It tells nothing of the key. Empty for the zero key.
func (k CustomerKey) ID() string {
	if k.IsZero() {
		return ""
	}
	secret := k.secret()
	sum := sha256.Sum256(append([]byte(idLabel), secret[:]...))
	return hex.EncodeToString(sum[:8])
}

// Equal compares in constant time.
func (k CustomerKey) Equal(other CustomerKey) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() == other.IsZero()
	}
	a, b := k.secret(), other.secret()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// MD5 is the base64 of the key's MD5, by which S3 checks it; empty for the zero
// key.
func (k CustomerKey) MD5() string {
	if k.IsZero() {
		return ""
	}
	secret := k.secret()
	sum := md5.Sum(secret[:]) //nolint:gosec // see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}

// String gives the ID.
func (k CustomerKey) String() string { return k.ID() }

// Format is String under every verb.
func (k CustomerKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// headers gives the three headers of the key behind prefix or sourcePrefix.
func (k CustomerKey) headers(prefix string) map[string]string {
	secret := k.secret()
	return map[string]string{
		prefix + customerAlgorithm: aes256,
		prefix + customerKey:       base64.StdEncoding.EncodeToString(secret[:]),
		prefix + customerMD5:       k.MD5(),
	}
}
