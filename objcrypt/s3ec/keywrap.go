package s3ec

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// unwrapKW opens the AES key wrap of RFC 3394, section 2.2.2, of a 32-byte
// key: A || R1 … R4, 8 bytes each.
func unwrapKW(block cipher.Block, wrapped []byte) (key dataKey, ok bool) {
	var b [blockSize]byte // A || R[i]
	copy(b[:8], wrapped)
	copy(key[:], wrapped[8:])
	const n = keySize / 8
	for t := uint64(6 * n); t > 0; t-- {
		r := key[(t-1)%n*8:][:8]
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
		copy(b[8:], r)
		block.Decrypt(b[:], b[:])
		copy(r, b[8:])
	}
	integrity := bytes.Repeat([]byte{0xa6}, 8)
	if subtle.ConstantTimeCompare(b[:8], integrity) != 1 {
		return dataKey{}, false
	}
	return key, true
}

// unwrapECB opens three blocks: a key, and the padding of PKCS #5.
func unwrapECB(block cipher.Block, wrapped []byte) (key dataKey, ok bool) {
	var plain [wrappedECB]byte
	for i := 0; i < len(plain); i += blockSize {
		block.Decrypt(plain[i:i+blockSize], wrapped[i:i+blockSize])
	}
	padding := bytes.Repeat([]byte{blockSize}, blockSize)
	if subtle.ConstantTimeCompare(plain[keySize:], padding) != 1 {
		return dataKey{}, false
	}
	return dataKey(plain[:keySize]), true
}
