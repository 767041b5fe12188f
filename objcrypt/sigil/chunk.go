package sigil

import "encoding/binary"

// chunkNonce is u8(final) || 0^3 || u64be(index in the segment). The key seals
// this one segment only, so a counter never meets itself. Only the last chunk
// of a body without a tail is final: its end cannot be moved.
func chunkNonce(index int64, final bool) (n [nonceSize]byte) {
	if final {
		n[0] = finalChunk
	}
	binary.BigEndian.PutUint64(n[noncePrefix:], uint64(index))
	return n
}

// sealChunk seals buf[:n] in place; buf has room for the tag behind it. It
// gives the whole sealed chunk.
func (a aead) sealChunk(buf []byte, n, index int64, final bool) []byte {
	nonce := chunkNonce(index, final)
	return a.Seal(buf[:0], nonce[:], buf[:n], nil)
}

// openChunk opens the sealed chunk into dst, which holds the plaintext
// exactly, and is either the beginning of sealed or apart from it. Where it
// does not authenticate, dst is zero.
func (a aead) openChunk(dst, sealed []byte, index int64, final bool) bool {
	nonce := chunkNonce(index, final)
	_, err := a.Open(dst[:0], nonce[:], sealed, nil)
	return err == nil
}
