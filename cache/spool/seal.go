package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// sealer seals and opens what belongs to one file.
type sealer struct {
	id   fileID
	aead cipher.AEAD
	late cipher.AEAD // nil but in newLateSealer
}

func newSealer(key *[32]byte, id fileID) (*sealer, error) {
	aead, err := fileAEAD(key, id, "sigil/v1/spool/file")
	if err != nil {
		return nil, err
	}
	return &sealer{id: id, aead: aead}, nil
}

// newLateSealer is newSealer for a process that comes after the one that wrote
// the file.
func newLateSealer(key *[32]byte, id fileID) (*sealer, error) {
	s, err := newSealer(key, id)
	if err != nil {
		return nil, err
	}
	s.late, err = fileAEAD(key, id, "sigil/v1/spool/after")
	return s, err
}

func fileAEAD(key *[32]byte, id fileID, info string) (cipher.AEAD, error) {
	sub, err := hkdf.Key(sha256.New, key[:], id[:], info, 32)
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
	return aead, nil
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

// lateMeta seals the meta record of a later process. It does not know which
// sequences were used, so these have a key of their own, and random ones: a few
// for each attempt at a replay.
func (s *sealer) lateMeta(b []byte) []byte {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	h := header{part: partAfter, file: s.id, seq: binary.LittleEndian.Uint64(random[:]) | 1}
	out := make([]byte, headSize, headSize+len(b)+tagSize)
	h.put(out)
	return s.late.Seal(out, nonce(h.seq), b, out[:headSize])
}

func (s *sealer) openMeta(b []byte) ([]byte, header, error) {
	if len(b) < headSize+tagSize || len(b) > metaMax {
		return nil, header{}, fmt.Errorf("%w: meta record of %d bytes", ErrDamaged, len(b))
	}
	h, err := parseHeader(b[:headSize])
	if err != nil {
		return nil, h, err
	}
	aead := s.aead
	if h.part == partAfter && s.late != nil {
		aead = s.late
	} else if h.part != partMeta {
		return nil, h, fmt.Errorf("%w: no meta record", ErrDamaged)
	}
	if h.file != s.id {
		return nil, h, fmt.Errorf("%w: a meta record of another file", ErrDamaged)
	}
	plain, err := aead.Open(nil, nonce(h.seq), b[headSize:], b[:headSize])
	if err != nil {
		return nil, h, fmt.Errorf("%w: meta record does not authenticate", ErrDamaged)
	}
	return plain, h, nil
}
