package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// sealer seals and opens what belongs to one file.
type sealer struct {
	id   fileID
	aead cipher.AEAD
}

func newSealer(key *[32]byte, id fileID) (*sealer, error) {
	sub, err := hkdf.Key(sha256.New, key[:], id[:], "sigil/v1/spool/file", 32)
	if err != nil {
		return nil, fmt.Errorf("derive a spool file key: %w", err)
	}
	defer clear(sub)
	block, err := aes.NewCipher(sub)
	if err != nil {
		return nil, fmt.Errorf("derive a spool file key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive a spool file key: %w", err)
	}
	return &sealer{id, aead}, nil
}

// nonce is the sequence: the key is the file's own and no sequence of a file
// is used twice, whatever part it numbers.
func nonce(seq uint64) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[4:], seq)
	return b
}

// block seals plain, one block, into slot[:slotUsed].
func (s *sealer) block(slot, plain []byte, index int64, seq uint64, size int64) {
	h := header{partBlock, s.id, index, seq, size}
	head := slot[BlockSize+tagSize : slotUsed]
	h.put(head)
	s.aead.Seal(slot[:0], nonce(seq), plain, head)
}

// openBlock opens slot[:slotUsed] in place; the plaintext is slot[:BlockSize].
// The header must name this file and, unless it is negative, block want.
func (s *sealer) openBlock(slot []byte, want int64) (header, error) {
	head := slot[BlockSize+tagSize : slotUsed]
	h, err := parseHeader(head)
	if err != nil {
		return h, err
	}
	if h.part != partBlock || h.file != s.id || want >= 0 && h.block != want {
		return h, fmt.Errorf("%w: a slot of another place", ErrDamaged)
	}
	if _, err := s.aead.Open(slot[:0], nonce(h.seq), slot[:BlockSize+tagSize], head); err != nil {
		return h, fmt.Errorf("%w: block %d does not authenticate", ErrDamaged, h.block)
	}
	return h, nil
}

// meta seals the owner's record: header, then ciphertext and tag.
func (s *sealer) meta(b []byte, seq uint64, size int64) []byte {
	h := header{partMeta, s.id, 0, seq, size}
	out := make([]byte, headSize, headSize+len(b)+tagSize)
	h.put(out)
	return s.aead.Seal(out, nonce(seq), b, out[:headSize])
}

func (s *sealer) openMeta(b []byte) ([]byte, header, error) {
	if len(b) < headSize+tagSize || len(b) > metaMax {
		return nil, header{}, fmt.Errorf("%w: meta record of %d bytes", ErrDamaged, len(b))
	}
	h, err := parseHeader(b[:headSize])
	if err != nil {
		return nil, h, err
	}
	if h.part != partMeta || h.file != s.id {
		return nil, h, fmt.Errorf("%w: a meta record of another file", ErrDamaged)
	}
	plain, err := s.aead.Open(nil, nonce(h.seq), b[headSize:], b[:headSize])
	if err != nil {
		return nil, h, fmt.Errorf("%w: meta record does not authenticate", ErrDamaged)
	}
	return plain, h, nil
}
