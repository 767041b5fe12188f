package disk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/sigilfs/sigilfs/cache"
)

const (
	nameSize = 16
	saltSize = 16
)

// key is what a slot is found by.
type key struct {
	name   [nameSize]byte
	extent uint32
}

// tag tells keys apart and says nothing about them.
type tag [8]byte

// secrets are what is derived of a cache key (RFC 5869).
type secrets struct {
	prk    []byte
	names  []byte // key of the HMACs
	volume tag
}

// from derives all of k, and clears k.
func (s *secrets) from(k *[KeySize]byte) error {
	defer clear(k[:])
	prk, err := hkdf.Extract(sha256.New, k[:], nil)
	if err != nil {
		return err
	}
	names, err := hkdf.Expand(sha256.New, prk, "sigil/v1/cache-name", sha256.Size)
	if err != nil {
		return err
	}
	volume, err := hkdf.Expand(sha256.New, prk, "sigil/v1/cache-tag", len(tag{}))
	if err != nil {
		return err
	}
	s.prk, s.names, s.volume = prk, names, tag(volume)
	return nil
}

// nameOf names a body: all that is said of it, lengths before texts.
func (s *secrets) nameOf(b cache.Body) (name [nameSize]byte) {
	text := make([]byte, 0, 256)
	text = append(text, 'b', 0)
	if b.Clear {
		text[1] = 1
	}
	text = binary.LittleEndian.AppendUint64(text, uint64(b.Size))
	text = binary.LittleEndian.AppendUint64(text, uint64(b.Block))
	text = binary.LittleEndian.AppendUint64(text, uint64(len(b.ID.Body)))
	text = append(text, b.ID.Body...)
	text = append(text, b.ID.KeyID...)
	sum := s.mac(text)
	return [nameSize]byte(sum[:nameSize])
}

func (s *secrets) tagOf(keyID string) tag {
	return tag(s.mac(append([]byte{'k'}, keyID...))[:len(tag{})])
}

func (s *secrets) mac(text []byte) []byte {
	h := hmac.New(sha256.New, s.names)
	h.Write(text)
	return h.Sum(nil)
}

// aead is for the blocks of one extent.
func (s *secrets) aead(k key, salt [saltSize]byte) (cipher.AEAD, error) {
	info := append([]byte("sigil/v1/cache-block"), salt[:]...)
	secret, err := hkdf.Expand(sha256.New, s.prk, string(k.bytes(info)), 32)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bytes appends the key to p.
func (k key) bytes(p []byte) []byte {
	return binary.LittleEndian.AppendUint32(append(p, k.name[:]...), k.extent)
}

func (k key) aad(number int) []byte {
	return binary.LittleEndian.AppendUint32(k.bytes(make([]byte, 0, nameSize+8)), uint32(number))
}

// buffer has room for one stored block.
type buffer [maxStored]byte

// hold copies a block of a body to where store leaves it.
func (b *buffer) hold(p []byte, inClear bool) {
	if inClear {
		copy(b[nonceSize:], p)
		return
	}
	copy(b[:], p)
}

// store makes of the n bytes that b holds what is written.
func (s *secrets) store(b *buffer, n int, inClear bool, k key, salt [saltSize]byte, number int) ([]byte, error) {
	if !inClear {
		binary.LittleEndian.PutUint32(b[n:], sumOf(salt, number, b[:n]))
		return b[:n+sumSize], nil
	}
	aead, err := s.aead(k, salt)
	if err != nil {
		return nil, err
	}
	nonce := b[:nonceSize]
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	plain := b[nonceSize : nonceSize+n]
	return b[:nonceSize+len(aead.Seal(plain[:0], nonce, plain, k.aad(number)))], nil
}

// open gives p what was sealed. False: it was not sealed so.
func (s *secrets) open(p, sealed []byte, k key, salt [saltSize]byte, number int) bool {
	if len(sealed) != len(p)+nonceSize+tagSize {
		return false
	}
	aead, err := s.aead(k, salt)
	if err != nil {
		return false
	}
	_, err = aead.Open(p[:0], sealed[:nonceSize], sealed[nonceSize:], k.aad(number))
	return err == nil
}

// sumOf is the checksum of a block of ciphertext. It finds damage; who would
// forge meets the authentication of the format itself.
func sumOf(salt [saltSize]byte, number int, p []byte) uint32 {
	head := append(salt[:], byte(number))
	return crc32.Update(crc32.Checksum(head, castagnoli()), castagnoli(), p)
}
