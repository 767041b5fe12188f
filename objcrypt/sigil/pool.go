package sigil

import (
	"math/bits"
	"sync"
)

// buffers hands out buffers for sealed chunks, in sizes of 2^k chunks up to a
// segment. They hold ciphertext, or plaintext on its way: who opens in a
// buffer clears it.
var buffers [8]sync.Pool

// buffer is one to be given back.
type buffer struct {
	b     []byte // n sealed chunks long
	class int
}

// newBuffer gives room for n sealed chunks, 1 <= n <= chunksPerSegment. Its
// content is undefined.
func newBuffer(n int64) *buffer {
	class := bits.Len64(uint64(n - 1))
	if b, ok := buffers[class].Get().(*buffer); ok {
		b.b = b.b[:n*sealedChunk]
		return b
	}
	return &buffer{b: make([]byte, n*sealedChunk, (int64(1)<<class)*sealedChunk), class: class}
}

// release gives the buffer back. Nil is fine.
func (b *buffer) release() {
	if b != nil {
		buffers[b.class].Put(b)
	}
}
