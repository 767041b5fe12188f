package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// Kinds of master keys, as in a wrap's "type".
const (
	KindAES = "aes"
	KindAge = "age"
	KindKMS = "kms"
)

// Master is one key of the configuration: it wraps epoch keys and, where its
// secret half is here, opens them. Safe for concurrent use.
type Master interface {
	// ID is the key's global name, as it stands in Wrap.Key.
	ID() string

	// Kind is KindAES, KindAge or KindKMS.
	Kind() string

	// CanUnwrap is false where only public recipients are held.
	CanUnwrap() bool

	// Wrap seals key for the epoch id.
	Wrap(ctx context.Context, id EpochID, key *[KeySize]byte) (Wrap, error)

	// Unwrap opens a wrap whose Key is ID and whose Type is Kind. ErrNoKey:
	// the secret half is not here, or w's context is not the configured one.
	// ErrWrongKey: it does not open. Any other error may pass.
	Unwrap(ctx context.Context, id EpochID, w Wrap) (*[KeySize]byte, error)
}

var _ Master = (*aesMaster)(nil)

// aesMaster is a 32-byte AES-256 master key. It holds the key by pointer, so
// that printing what holds an aesMaster shows no key.
type aesMaster struct {
	key  *[KeySize]byte
	id   string
	made time.Time // zero: not known
}

func newAES(key [KeySize]byte) *aesMaster {
	sum := derive(key[:], nil, "sigil/v1/key-id")
	return &aesMaster{key: &key, id: "aes:" + hex.EncodeToString(sum[:16])}
}

func (m *aesMaster) ID() string      { return m.id }
func (m *aesMaster) Kind() string    { return KindAES }
func (m *aesMaster) CanUnwrap() bool { return true }

// Format keeps the key out of every verb.
func (m aesMaster) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.id) }

// Wrap gives nonce(12) || AES-256-GCM(key).
func (m *aesMaster) Wrap(_ context.Context, id EpochID, key *[KeySize]byte) (Wrap, error) {
	aead := m.aead(id)
	blob := make([]byte, aead.NonceSize(), aead.NonceSize()+KeySize+aead.Overhead())
	_, _ = rand.Read(blob)
	blob = aead.Seal(blob, blob, key[:], wrapAAD(id, m.id))
	return Wrap{Key: m.id, Type: KindAES, Blob: blob}, nil
}

func (m *aesMaster) Unwrap(_ context.Context, id EpochID, w Wrap) (*[KeySize]byte, error) {
	aead := m.aead(id)
	if len(w.Blob) != aead.NonceSize()+KeySize+aead.Overhead() {
		return nil, fmt.Errorf("open wrap for %s: %d bytes: %w", m.id, len(w.Blob), ErrWrongKey)
	}
	nonce, sealed := w.Blob[:aead.NonceSize()], w.Blob[aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, sealed, wrapAAD(id, m.id))
	if err != nil {
		return nil, fmt.Errorf("open wrap for %s: %w", m.id, ErrWrongKey)
	}
	defer clear(plain)
	key := [KeySize]byte(plain)
	return &key, nil
}

// aead is the cipher for the wraps of one epoch.
func (m *aesMaster) aead(id EpochID) cipher.AEAD {
	key := derive(m.key[:], id[:], "sigil/v1/wrap")
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("keyring: aes: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("keyring: gcm: " + err.Error())
	}
	return aead
}

// wrapAAD binds a wrap to its epoch and its key.
func wrapAAD(id EpochID, keyID string) []byte {
	aad := append([]byte("sigil/v1/wrap"), id[:]...)
	aad = binary.BigEndian.AppendUint16(aad, uint16(len(keyID)))
	return append(aad, keyID...)
}
