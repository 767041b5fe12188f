package keyring

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
)

// idLen is the length of an EpochID in text.
const idLen = 26

// idText is RFC 4648 base32, in lower case and without padding.
var idText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// EpochID names an epoch: 16 random bytes. The zero EpochID names none.
type EpochID [16]byte

// NewEpochID draws an id.
func NewEpochID() EpochID {
	var id EpochID
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// ParseEpochID reads the 26 characters of an id; ErrCorrupt unless they are
// exactly those that String writes, spare bits zero.
func ParseEpochID(s string) (EpochID, error) {
	if len(s) != idLen {
		return EpochID{}, fmt.Errorf("parse epoch id: %d characters, not %d: %w", len(s), idLen, ErrCorrupt)
	}
	raw, err := idText.DecodeString(s)
	if err != nil || len(raw) != len(EpochID{}) || idText.EncodeToString(raw) != s {
		return EpochID{}, fmt.Errorf("parse epoch id: not canonical base32: %w", ErrCorrupt)
	}
	return EpochID(raw), nil
}

// String gives the 26 characters.
func (id EpochID) String() string { return idText.EncodeToString(id[:]) }
