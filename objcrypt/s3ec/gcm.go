package s3ec

import (
	"context"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"sync"
)

// gcmStream is AES-256-GCM over one body under one key and nonce, in chunks of
// ChunkSize that can be taken in any order.
type gcmStream struct {
	block cipher.Block
	nonce [nonceSize]byte
	aad   string
	ghash *ghash
}

// newStream takes the cipher under the body's key, not the data key's, where
// those differ.
func newStream(block cipher.Block, e *Envelope) *gcmStream {
	s := &gcmStream{block: block, ghash: newGHASH(block)}
	if e.Committing() {
		copy(s.nonce[:], committingNonce)
		s.aad = suiteID
		return s
	}
	copy(s.nonce[:], e.iv)
	return s
}

// counter is the block that is encrypted for the one with that index; 1 is the
// tag's. It does not wrap below MaxSize.
func (s *gcmStream) counter(i int64) (b [blockSize]byte) {
	copy(b[:], s.nonce[:])
	binary.BigEndian.PutUint32(b[nonceSize:], uint32(i))
	return b
}

// xor encrypts or decrypts src, which lies at off of the body, into dst.
func (s *gcmStream) xor(dst, src []byte, off int64) {
	iv := s.counter(firstCounter + off/blockSize)
	ctr := cipher.NewCTR(s.block, iv[:])
	if skip := off % blockSize; skip != 0 {
		var drop [blockSize]byte
		ctr.XORKeyStream(drop[:skip], drop[:skip])
	}
	ctr.XORKeyStream(dst, src)
}

// tag gives the body's from the sums of its chunks.
func (s *gcmStream) tag(sums []element, n int64) [TagSize]byte {
	total := element{}
	if s.aad != "" {
		total = s.ghash.sum([]byte(s.aad))
	}
	for c, sum := range sums {
		total = s.ghash.join(total, sum, chunkLen(n, int64(c)))
	}
	return s.ghash.tag(total, encrypt(s.block, s.counter(firstCounter-1)), len(s.aad), n)
}

// gcmBody is a stored body whose tag was verified, and the sums of its chunks
// as they were then.
type gcmBody struct {
	*gcmStream
	src  ReaderAt
	n    int64
	sums []element

	windows sync.Pool // of *[]byte, each a window long or the body, if that is shorter
}

var _ content = (*gcmBody)(nil)

// verify reads the n bytes of ciphertext and the tag behind them.
func (s *gcmStream) verify(ctx context.Context, src ReaderAt, n int64) (*gcmBody, error) {
	var stored [TagSize]byte
	if err := readFull(ctx, src, stored[:], n); err != nil {
		return nil, err
	}
	sums := make([]element, 0, chunks(n))
	window := make([]byte, min(windowSize, n))
	for off := int64(0); off < n; off += windowSize {
		p := window[:min(windowSize, n-off)]
		if err := readFull(ctx, src, p, off); err != nil {
			return nil, err
		}
		for ; len(p) > 0; p = p[min(ChunkSize, len(p)):] {
			sums = append(sums, s.ghash.sum(p[:min(ChunkSize, len(p))]))
		}
	}
	tag := s.tag(sums, n)
	if subtle.ConstantTimeCompare(tag[:], stored[:]) != 1 {
		return nil, corrupt("body does not authenticate")
	}
	return &gcmBody{gcmStream: s, src: src, n: n, sums: sums}, nil
}

// readAt reads the chunks that p begins in, a window at most.
func (b *gcmBody) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	from := off / ChunkSize * ChunkSize
	end := min(off+int64(len(p)), from+windowSize)
	window := b.window()
	defer b.windows.Put(window)
	sealed := (*window)[:min(chunks(end)*ChunkSize, b.n)-from]
	if err := readFull(ctx, b.src, sealed, from); err != nil {
		return 0, err
	}
	if err := b.check(sealed, from/ChunkSize); err != nil {
		return 0, err
	}
	p = p[:end-off]
	b.xor(p, sealed[off-from:end-from], off)
	return len(p), nil
}

// window is room for the ciphertext of one read.
func (b *gcmBody) window() *[]byte {
	if w, ok := b.windows.Get().(*[]byte); ok {
		return w
	}
	w := make([]byte, min(windowSize, b.n))
	return &w
}

// check holds chunks from number c on against what was verified.
func (b *gcmBody) check(sealed []byte, c int64) error {
	for ; len(sealed) > 0; c++ {
		n := min(ChunkSize, len(sealed))
		now, then := b.ghash.sum(sealed[:n]).bytes(), b.sums[c].bytes()
		if subtle.ConstantTimeCompare(now[:], then[:]) != 1 {
			return corrupt("body at %d is not what was verified", c*ChunkSize)
		}
		sealed = sealed[n:]
	}
	return nil
}
