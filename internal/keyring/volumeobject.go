package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// MaxVolumeSize is the most bytes that a volume object may have.
const MaxVolumeSize = 64 << 10

// NameKeySize is the length in bytes of the key that encrypts a volume's names.
const NameKeySize = 64

// Sizes and labels of the sealed name key.
const (
	nameSalt   = 16
	nameCommit = 32
	nameTag    = 16
	sealedName = nameSalt + nameCommit + NameKeySize + nameTag
	labelNames = "sigil/v1/volume"
)

// nameNonce is zero: every seal has a key of its own, from a fresh salt.
var nameNonce [12]byte

// VolumeObject is `.sigil/volume` of a volume root: what the volume is called
// and, where its names are encrypted, the key of that, sealed under an epoch key.
// As stored it is one JSON line,
//
//	{"version":1,"id":"<26 characters>","epoch":"<26 characters>","names":"<base64>"}
//
// the last two together or neither. It holds no secret.
type VolumeObject struct {
	ID    EpochID // 16 random bytes, written as those of epochs are
	Epoch EpochID // zero: names are not encrypted

	// names is salt(16) || commitment(32) || AES-256-GCM(name key), where
	// key || commitment = HKDF-SHA256(epoch key, salt, "sigil/v1/volume", 64),
	// the nonce is 0 and the AAD "sigil/v1/volume" || raw ID.
	names []byte
}

// NewVolumeObject draws an id. Names are not encrypted.
func NewVolumeObject() VolumeObject { return VolumeObject{ID: NewEpochID()} }

// Encrypted tells whether the volume's names are.
func (o VolumeObject) Encrypted() bool { return o.Epoch != EpochID{} }

// Same tells whether both are the same to the byte.
func (o VolumeObject) Same(other VolumeObject) bool {
	return o.ID == other.ID && o.Epoch == other.Epoch && bytes.Equal(o.names, other.names)
}

// Sealed gives o with the name key sealed under an epoch, with a fresh salt.
func (o VolumeObject) Sealed(epoch EpochID, key *[KeySize]byte, names *[NameKeySize]byte) VolumeObject {
	out := make([]byte, nameSalt, sealedName)
	_, _ = rand.Read(out) // never fails (crypto/rand)
	gcm, commitment := o.cipher(key, out)
	out = append(out, commitment...)
	o.Epoch, o.names = epoch, gcm.Seal(out, nameNonce[:], names[:], o.aad()) //nolint:gosec // see nameNonce
	return o
}

// Opens tells whether the name key was sealed under this epoch key. It compares
// in constant time and decrypts nothing.
func (o VolumeObject) Opens(key *[KeySize]byte) bool {
	if len(o.names) != sealedName {
		return false
	}
	_, commitment := o.cipher(key, o.names[:nameSalt])
	return subtle.ConstantTimeCompare(commitment, o.names[nameSalt:nameSalt+nameCommit]) == 1
}

// NameKey opens the name key. The caller clears it. Errors: ErrWrongKey where it
// was not sealed under this epoch key, ErrCorrupt.
func (o VolumeObject) NameKey(key *[KeySize]byte) (*[NameKeySize]byte, error) {
	if !o.Opens(key) {
		return nil, fmt.Errorf("name key of volume %s was not sealed under the key of epoch %s: %w", o.ID, o.Epoch, ErrWrongKey)
	}
	gcm, _ := o.cipher(key, o.names[:nameSalt])
	plain, err := gcm.Open(nil, nameNonce[:], o.names[nameSalt+nameCommit:], o.aad())
	if err != nil {
		return nil, fmt.Errorf("name key of volume %s does not authenticate: %w", o.ID, ErrCorrupt)
	}
	defer clear(plain)
	names := [NameKeySize]byte(plain)
	return &names, nil
}

func (o VolumeObject) aad() []byte { return append([]byte(labelNames), o.ID[:]...) }

// cipher gives what seals the name key, and the commitment to the epoch key.
func (o VolumeObject) cipher(epoch *[KeySize]byte, salt []byte) (cipher.AEAD, []byte) {
	out, err := hkdf.Key(sha256.New, epoch[:], salt, labelNames, KeySize+nameCommit)
	if err != nil {
		panic("keyring: hkdf: " + err.Error()) // as in derive
	}
	defer clear(out[:KeySize])
	block, err := aes.NewCipher(out[:KeySize])
	if err != nil {
		panic("keyring: aes: " + err.Error()) // the length is always KeySize
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("keyring: gcm: " + err.Error())
	}
	return gcm, out[KeySize:]
}

// volumeJSON is the line as it is written.
type volumeJSON struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Epoch   string `json:"epoch,omitempty"`
	Names   string `json:"names,omitempty"`
}

// Marshal gives the object as stored.
func (o VolumeObject) Marshal() []byte {
	line := volumeJSON{Version: 1, ID: o.ID.String()}
	if o.Encrypted() {
		line.Epoch, line.Names = o.Epoch.String(), base64.StdEncoding.EncodeToString(o.names)
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic("keyring: volume object: " + err.Error()) // strings and a number
	}
	return append(text, '\n')
}

// ParseVolumeObject reads what Marshal writes. Errors: ErrVersion for a version
// or a member that this program does not know, ErrCorrupt.
func ParseVolumeObject(stored []byte) (VolumeObject, error) {
	o, err := parseVolumeObject(stored)
	if err != nil {
		return VolumeObject{}, fmt.Errorf("parse volume object: %w", err)
	}
	return o, nil
}

func parseVolumeObject(stored []byte) (o VolumeObject, err error) {
	line, one := bytes.CutSuffix(stored, []byte("\n"))
	if len(stored) > MaxVolumeSize || !one || bytes.IndexByte(line, '\n') >= 0 || !utf8.Valid(line) {
		return o, fmt.Errorf("not one line of UTF-8: %w", ErrCorrupt)
	}
	m, err := parseObject(line)
	if err != nil {
		return o, err
	}
	var version uint64
	if err := m.take("version", &version); err != nil {
		return o, err
	}
	if version != 1 {
		return o, fmt.Errorf("version %d: %w", version, ErrVersion)
	}
	var id, epoch, names string
	fields := []field{{"id", &id}}
	if _, ok := m["epoch"]; ok || m["names"] != nil {
		fields = append(fields, field{"epoch", &epoch}, field{"names", &names})
	}
	if err := m.takeAll(fields...); err != nil {
		return o, err
	}
	if o.ID, err = ParseEpochID(id); err != nil || len(fields) == 1 {
		return o, err
	}
	if o.Epoch, err = ParseEpochID(epoch); err != nil {
		return o, err
	}
	if o.names, err = parseBase64(names); err != nil {
		return o, err
	}
	if len(o.names) != sealedName || !o.Encrypted() {
		return o, fmt.Errorf("name key of %d bytes, or epoch of zeros: %w", len(o.names), ErrCorrupt)
	}
	return o, nil
}
