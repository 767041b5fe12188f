package s3ec

import (
	"crypto/cipher"
)

// ghash computes GHASH in pieces at the speed of the processor's GCM, which
// crypto/cipher gives only whole. GHASH is linear: over blocks X1 … Xn it is
//
//	Y = X1·H^n + X2·H^(n-1) + … + Xn·H
//
// so the sum of two pieces is that of the first times H^(blocks of the second)
// plus that of the second. And the tag that GCM gives to a piece as additional
// data with no plaintext is (Y + L)·H + mask, with L the length block and mask
// the encrypted counter. What is kept of a piece is therefore not Y but
// sum = Y·H = tag + mask + L·H, and nothing has to be divided.
//
// It is safe for concurrent use. None of its values may be shown: they tell H.
type ghash struct {
	gcm   cipher.AEAD
	mask  element // the encrypted counter of the zero nonce
	h     element
	chunk element // H^(blocks of a chunk)
}

func newGHASH(block cipher.Block) *ghash {
	g := &ghash{gcm: newGCM(block)}
	var zero, first [blockSize]byte
	first[blockSize-1] = 1
	g.h = encrypt(block, zero)
	g.mask = encrypt(block, first)
	g.chunk = g.h.pow(ChunkSize / blockSize)
	return g
}

func encrypt(block cipher.Block, b [blockSize]byte) element {
	block.Encrypt(b[:], b[:])
	return newElement(b)
}

// sum gives that of one piece, zero-padded to whole blocks.
func (g *ghash) sum(piece []byte) element {
	var nonce [nonceSize]byte
	tag := g.gcm.Seal(make([]byte, 0, TagSize), nonce[:], nil, piece)
	bits := element{hi: uint64(len(piece)) * 8}
	return newElement([blockSize]byte(tag)).add(g.mask).add(bits.mul(g.h))
}

// join gives the sum of a piece of whole blocks and the n bytes behind it.
func (g *ghash) join(total, next element, n int64) element {
	power := g.chunk
	if n != ChunkSize {
		power = g.h.pow((n + blockSize - 1) / blockSize)
	}
	return total.mul(power).add(next)
}

// tag gives GCM's for what has this sum: aad and n bytes of ciphertext behind
// it. first is the encrypted first counter.
func (g *ghash) tag(total, first element, aad int, n int64) [TagSize]byte {
	lengths := element{hi: uint64(aad) * 8, lo: uint64(n) * 8}
	return total.add(first).add(lengths.mul(g.h)).bytes()
}
