package sigil

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// Info strings of HKDF (RFC 5869), and what MAC and AAD begin with.
const (
	infoSeal    = "sigil/v1/seal"
	infoSegment = "sigil/v1/segment"
	infoLate    = "sigil/v1/late"
	infoTable   = "sigil/v1/table"
	labelTable  = "sigil/v1/table-mac"
	labelLate   = "sigil/v1/late"
	nonceSize   = 12
	commitSize  = 32
	noncePrefix = 4 // u8(final) || 0^3
	finalChunk  = 1
)

// Generation is the identity of a body: 16 random bytes, new whenever one byte
// of it differs. It is public: caches name blocks by it.
type Generation [16]byte

// salt is the HKDF salt of a segment key.
type salt [saltSize]byte

// random fills a value that is no secret in itself or becomes a key.
// crypto/rand never fails: it ends the program where the system has none.
func random(p []byte) { _, _ = rand.Read(p) }

func newSalt() (s salt) {
	random(s[:])
	return s
}

// derive is HKDF-SHA256. It panics on lengths over 8,160 bytes only, which no
// caller asks for.
func derive(secret, salt []byte, info string, size int) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, info, size)
	if err != nil {
		panic("sigil: hkdf: " + err.Error())
	}
	return key
}

// sealKeys gives the key that seals a record and the commitment to the epoch
// key (a seal must not open under two keys, which AES-GCM alone allows).
func sealKeys(epoch Key, salt []byte) (key, commitment []byte) {
	out := derive(epoch[:], salt, infoSeal, KeySize+commitSize)
	return out[:KeySize], out[KeySize:]
}

// segmentAEAD is the cipher of the segment with that index and salt.
func segmentAEAD(dek Key, s salt, index int64) aead {
	info := binary.BigEndian.AppendUint64([]byte(infoSegment), uint64(index))
	return newAEAD(derive(dek[:], s[:], string(info), KeySize))
}

func lateAEAD(dek Key, g Generation) aead {
	return newAEAD(derive(dek[:], g[:], infoLate, KeySize))
}

// aead is AES-256-GCM under one key.
type aead struct{ cipher.AEAD }

// newAEAD takes the key over and clears it.
func newAEAD(key []byte) aead {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("sigil: aes: " + err.Error()) // the length is always KeySize
	}
	clear(key)
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("sigil: gcm: " + err.Error())
	}
	return aead{gcm}
}
