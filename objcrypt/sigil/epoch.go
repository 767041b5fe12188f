package sigil

import (
	"encoding/base32"
	"fmt"
	"io"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// KeySize is the length of every symmetric key in bytes.
const KeySize = 32

// Key is a symmetric key. It prints as a placeholder under every verb.
type Key [KeySize]byte

// Format implements fmt.Formatter, for all verbs.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[key]") }

// MarshalText keeps the key out of JSON and structured logs.
func (Key) MarshalText() ([]byte, error) { return []byte("[key]"), nil }

// IsZero tells whether no key was drawn yet.
func (k Key) IsZero() bool { return k == Key{} }

// EpochID names an epoch: 16 random bytes.
type EpochID [16]byte

// epochText is RFC 4648 base32 in lower case without padding.
var epochText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// epochTextLen is the length of an epoch id as text.
const epochTextLen = 26

// String gives the 26 lower-case base32 characters of the name.
func (id EpochID) String() string { return epochText.EncodeToString(id[:]) }

// IsZero tells whether id names no epoch.
func (id EpochID) IsZero() bool { return id == EpochID{} }

// ParseEpochID reads the text form, strictly: 26 characters of lower-case
// base32 whose spare bits are zero. Anything else is objcrypt.ErrCorrupt.
func ParseEpochID(s string) (EpochID, error) {
	var id EpochID
	if len(s) != epochTextLen {
		return EpochID{}, fmt.Errorf("epoch id of %d characters, not %d: %w", len(s), epochTextLen, objcrypt.ErrCorrupt)
	}
	// The length is checked first: the decoder passes over CR and LF, and
	// ignores spare bits. Encoding again catches both.
	if n, err := epochText.Decode(id[:], []byte(s)); err != nil || n != len(id) || id.String() != s {
		return EpochID{}, fmt.Errorf("epoch id %q is not canonical base32: %w", s, objcrypt.ErrCorrupt)
	}
	return id, nil
}

// Epoch is an epoch key with its name. It prints without the key.
type Epoch struct {
	ID  EpochID
	Key Key
}

// Format implements fmt.Formatter, for all verbs.
func (e Epoch) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "epoch "+e.ID.String()) }

// MarshalText keeps the key out of JSON and structured logs.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.ID.String()), nil }
