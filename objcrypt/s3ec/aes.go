package s3ec

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"maps"
)

// AESKey is a master key of 256 bits that its owner holds.
type AESKey struct {
	block       cipher.Block
	description map[string]string
}

var _ Sealer = (*AESKey)(nil)

// NewAESKey takes a key, and the material description that is stored beside
// what is written under it: a hint for other clients, not compared on reading;
// nil is the empty one. ErrContext where it cannot be a header, or holds a
// reserved name.
func NewAESKey(key [32]byte, description map[string]string) (*AESKey, error) {
	if err := checkContext(description); err != nil {
		return nil, err
	}
	if err := checkWritable(description); err != nil {
		return nil, err
	}
	return &AESKey{block: newAES(key[:]), description: maps.Clone(description)}, nil
}

// String is "AES key".
func (k *AESKey) String() string { return "AES key" }

func (k *AESKey) unwraps(w Wrap) bool {
	return w == WrapAESGCM || w == WrapAESKW || w == WrapAESECB
}

func (k *AESKey) unwrap(_ context.Context, e *Envelope) (dataKey, error) {
	var key dataKey
	var ok bool
	switch e.wrap {
	case WrapAESGCM:
		key, ok = k.openGCM(e.wrapped, e.suite.cek())
	case WrapAESKW:
		key, ok = unwrapKW(k.block, e.wrapped)
	default:
		key, ok = unwrapECB(k.block, e.wrapped)
	}
	if !ok {
		return dataKey{}, wrong("wrapped key does not open")
	}
	return key, nil
}

// openGCM opens nonce(12) || ciphertext(32) || tag(16), whose AAD names the
// suite.
func (k *AESKey) openGCM(wrapped []byte, cek string) (key dataKey, ok bool) {
	plain, err := newGCM(k.block).Open(nil, wrapped[:nonceSize], wrapped[nonceSize:], []byte(cek))
	if err != nil || len(plain) != keySize {
		return key, false
	}
	defer clear(plain)
	return dataKey(plain), true
}

func (k *AESKey) seal(ctx context.Context, cek string) (sealed, error) {
	var key dataKey
	defer clear(key[:])
	random(key[:])
	s, err := k.wrap(ctx, &key, cek)
	s.key = key
	return s, err
}

// wrap draws the nonce at random: under one master key that is good for 2^32
// objects (NIST SP 800-38D, 8.3), and the formats leave no choice.
func (k *AESKey) wrap(_ context.Context, key *dataKey, cek string) (sealed, error) {
	s := sealed{wrap: WrapAESGCM, context: k.description}
	s.wrapped = make([]byte, nonceSize, wrappedGCM)
	random(s.wrapped)
	s.wrapped = newGCM(k.block).Seal(s.wrapped, s.wrapped, key[:], []byte(cek))
	return s, nil
}

// random fills a value. crypto/rand never fails: it ends the program where the
// system has none.
func random(p []byte) { _, _ = rand.Read(p) }

// newAES makes a cipher of a 32-byte key.
func newAES(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("s3ec: aes: " + err.Error()) // the length is always keySize
	}
	return block
}

func newGCM(block cipher.Block) cipher.AEAD {
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("s3ec: gcm: " + err.Error()) // AES has the block size that it needs
	}
	return gcm
}
