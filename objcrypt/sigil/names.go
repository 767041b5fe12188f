package sigil

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/tink-crypto/tink-go/v2/daead/subtle"
)

// NameKeySize is the length of a name key in bytes: AES-256-SIV has two keys.
const NameKeySize = subtle.AESSIVKeySize

// MaxName is the most bytes that a name has before it is encrypted, as NAME_MAX.
const MaxName = 255

// reserved is the component below which a volume keeps what is its own. It is never
// encoded, so no name may come out as it.
const reserved = ".sigil"

// sivSize is the synthetic IV before a ciphertext (RFC 5297, 2.6).
const sivSize = 16

// ErrName: what no directory can hold as a name, and so is not encrypted as one.
var ErrName = errors.New("not a name")

// NameKey encrypts the names of a volume. It prints as a placeholder under every
// verb.
type NameKey [NameKeySize]byte

// NewNameKey draws one.
func NewNameKey() (k NameKey) {
	random(k[:])
	return k
}

// Format implements fmt.Formatter, for all verbs.
func (NameKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[key]") }

// MarshalText keeps the key out of JSON and structured logs.
func (NameKey) MarshalText() ([]byte, error) { return []byte("[key]"), nil }

// Fingerprint tells keys apart: SHA-256 of the key.
func (k NameKey) Fingerprint() [sha256.Size]byte { return sha256.Sum256(k[:]) }

// Names encrypts the components of keys below a volume's root, one by one, with
// AES-256-SIV (RFC 5297): the same name in the same directory always gives the
// same component, so that a lookup is one request, and gives another one in any
// other directory. A component that was changed, or moved to another directory,
// does not decode. Safe for concurrent use.
type Names struct{ siv *subtle.AESSIV }

// NewNames encrypts under k.
func NewNames(k NameKey) *Names {
	siv, err := subtle.NewAESSIV(k[:])
	if err != nil {
		panic("sigil: aes-siv: " + err.Error()) // the length is always NameKeySize
	}
	return &Names{siv}
}

// EncodedLen is the length of the component that a name of n bytes becomes.
func EncodedLen(n int) int { return base64.RawURLEncoding.EncodedLen(sivSize + n) }

// DecodedLen is the length of the longest name whose component has at most n
// bytes; negative where none has.
func DecodedLen(n int) int { return base64.RawURLEncoding.DecodedLen(n) - sivSize }

// Encode gives the component for a name in the directory whose components below
// the volume root are dir, encoded and joined by "/", "" at the root. The name is
// any bytes but "/" and NUL, and not ".sigil". Errors: ErrName for what Decode would not give.
func (n *Names) Encode(dir, name string) (string, error) {
	if !isName(name) {
		return "", fmt.Errorf("%q: %w", name, ErrName)
	}
	ciphertext, err := n.siv.EncryptDeterministically([]byte(name), []byte(dir))
	if err != nil {
		return "", fmt.Errorf("%q: %w", name, err)
	}
	return base64.RawURLEncoding.EncodeToString(ciphertext), nil
}

// Decode gives the name of a component in dir, as of Encode. Errors:
// objcrypt.ErrCorrupt for all that Encode does not give there.
func (n *Names) Decode(dir, component string) (string, error) {
	if len(component) < EncodedLen(1) || len(component) > EncodedLen(MaxName) {
		return "", fmt.Errorf("component of %d bytes: %w", len(component), objcrypt.ErrCorrupt)
	}
	ciphertext, err := base64.RawURLEncoding.DecodeString(component)
	if err != nil || base64.RawURLEncoding.EncodeToString(ciphertext) != component { // line breaks, spare bits
		return "", fmt.Errorf("component is not base64url: %w", objcrypt.ErrCorrupt)
	}
	name, err := n.siv.DecryptDeterministically(ciphertext, []byte(dir))
	if err != nil || !isName(string(name)) {
		return "", fmt.Errorf("component does not authenticate: %w", objcrypt.ErrCorrupt)
	}
	return string(name), nil
}

func isName(name string) bool {
	return name != "" && name != "." && name != ".." && name != reserved && len(name) <= MaxName && !strings.ContainsAny(name, "\x00/")
}
