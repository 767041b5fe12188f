package s3ec

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
	"crypto/subtle"
)

// suiteID is the committing suite's number: the AAD, and how the info strings
// of HKDF (RFC 5869) begin.
const (
	suiteID        = "\x00\x73"
	infoCommitment = suiteID + "COMMITKEY"
	infoKey        = suiteID + "DERIVEKEY"

	// committingNonce is fixed: every body has a key of its own.
	committingNonce = "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
)

// extract is HKDF-Extract with SHA-512 under the message ID.
func extract(key dataKey, id [idSize]byte) []byte {
	prk, err := hkdf.Extract(sha512.New, key[:], id[:])
	if err != nil {
		panic("s3ec: hkdf: " + err.Error())
	}
	return prk
}

// expand panics on lengths that no caller asks for only.
func expand(prk []byte, info string, size int) []byte {
	out, err := hkdf.Expand(sha512.New, prk, info, size)
	if err != nil {
		panic("s3ec: hkdf: " + err.Error())
	}
	return out
}

// commit gives the commitment to a data key, and its cipher.
func commit(key dataKey, id [idSize]byte) (commitment [commitSize]byte, block cipher.Block) {
	prk := extract(key, id)
	defer clear(prk)
	return [commitSize]byte(expand(prk, infoCommitment, commitSize)), bodyCipher(prk)
}

// openCommitted gives the cipher of the data key that the commitment is to. It
// derives nothing from another one.
func openCommitted(key dataKey, e *Envelope) (cipher.Block, error) {
	prk := extract(key, e.id)
	defer clear(prk)
	if subtle.ConstantTimeCompare(expand(prk, infoCommitment, commitSize), e.commitment[:]) != 1 {
		return nil, corrupt("data key is not the one that the object commits to")
	}
	return bodyCipher(prk), nil
}

func bodyCipher(prk []byte) cipher.Block {
	key := expand(prk, infoKey, keySize)
	defer clear(key)
	return newAES(key)
}
