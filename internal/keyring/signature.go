package keyring

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/edwards25519"
)

// Signer is the public half of a key that signs epochs (Ed25519, RFC 8032), by
// which a host knows what was made by those whom it trusts.
type Signer [ed25519.PublicKeySize]byte

// signerScheme stands before the base64 of a Signer as text, so that it is not
// taken for a secret key of the same length, nor the other way.
const signerScheme = "ed25519:"

// String is ed25519: and the 32 bytes in base64.
func (s Signer) String() string { return signerScheme + base64.StdEncoding.EncodeToString(s[:]) }

// ParseSigner reads what String gives. A point that is none of the curve's is
// refused, and so is one of small order: anybody could sign for that.
func ParseSigner(text string) (Signer, error) {
	body, ok := strings.CutPrefix(text, signerScheme)
	if !ok {
		return Signer{}, errors.New("a signer is ed25519: and 44 characters of base64, as `sigilfs keygen --kind sign` prints it")
	}
	raw, err := parseBase64(body)
	if err != nil || len(raw) != len(Signer{}) {
		return Signer{}, errors.New("what stands after ed25519: is not base64 of 32 bytes")
	}
	point, err := new(edwards25519.Point).SetBytes(raw)
	if err != nil || string(point.Bytes()) != string(raw) ||
		new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return Signer{}, errors.New("what stands after ed25519: is no public key")
	}
	return Signer(raw), nil
}

// SigningKey is the secret half of a Signer. It holds the key by pointer, so
// that printing what holds one shows no key.
type SigningKey struct{ seed *[ed25519.SeedSize]byte }

// Signer gives the public half.
func (k SigningKey) Signer() Signer {
	pub, _ := ed25519.NewKeyFromSeed(k.seed[:]).Public().(ed25519.PublicKey)
	return Signer(pub)
}

// Format shows the public half in every verb.
func (k SigningKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.Signer().String()) }

// is tells whether a master key is the same secret.
func (k SigningKey) is(m Master) bool {
	secret, ok := AESKey(m)
	defer clear(secret[:])
	return ok && subtle.ConstantTimeCompare(secret[:], k.seed[:]) == 1
}

// sign adds the third line to an epoch that was marshalled.
func (e *Epoch) sign(k *SigningKey) {
	e.Signature = ed25519.Sign(ed25519.NewKeyFromSeed(k.seed[:]), e.signedMessage())
	line := base64.StdEncoding.AppendEncode(nil, e.Signature)
	e.stored = append(append(e.stored[:len(e.stored):len(e.stored)], line...), '\n')
}

// SignedBy tells whether the object is signed by s.
func (e *Epoch) SignedBy(s Signer) bool {
	return e.Signature != nil && ed25519.Verify(s[:], e.signedMessage(), e.Signature)
}

// signedMessage is what a signature of the object is over: its payload and MAC,
// each with its LF.
func (e *Epoch) signedMessage() []byte {
	lines := e.stored[:len(e.payload)+len("\n")+2*len(e.mac)+len("\n")]
	sum := sha256.Sum256(lines)
	return append([]byte("sigil/v1/epoch-sig"), sum[:]...)
}
