package sigil

import (
	"math/bits"
	"sync"
)

// buffers hand out room for sealed chunks, in sizes of 2^k chunks up to a
// segment. It holds ciphertext, or plaintext on its way: who opens in a buffer
// clears it. The zero value is ready, and safe for concurrent use.
type buffers [8]sync.Pool

// buffer is one to be given back.
type buffer struct {
	b    []byte // n sealed chunks long
	home *sync.Pool
}

// get gives room for n sealed chunks, 1 <= n <= chunksPerSegment. Its content
// is undefined.
func (p *buffers) get(n int64) *buffer {
	class := bits.Len64(uint64(n - 1))
	if b, ok := p[class].Get().(*buffer); ok {
		b.b = b.b[:n*sealedChunk]
		return b
	}
	return &buffer{b: make([]byte, n*sealedChunk, (int64(1)<<class)*sealedChunk), home: &p[class]}
}

// release gives the buffer back.
func (b *buffer) release() { b.home.Put(b) }
