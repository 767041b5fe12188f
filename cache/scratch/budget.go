package scratch

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

// Budget bounds the disk space of Files, in bytes as sealed: 16 more than the
// plaintext for each block. It is safe for concurrent use.
type Budget struct {
	limit   int64
	used    atomic.Int64
	buffers sync.Pool // *[sealedSize]byte, for readers
}

// NewBudget makes one of limit bytes.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit}
	b.buffers.New = func() any { return new([sealedSize]byte) }
	return b
}

// Limit is the most that Used can become.
func (b *Budget) Limit() int64 { return b.limit }

// Used is what open Files take now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Fits tells whether a body of size plaintext bytes is within the limit, if
// nothing else takes of it.
func (b *Budget) Fits(size int64) bool { return sealedLen(size) <= uint64(max(b.limit, 0)) }

// Sealed is the disk space of a body of size plaintext bytes.
func Sealed(size int64) int64 { return int64(min(sealedLen(size), math.MaxInt64)) }

// sealedLen is the disk space of size plaintext bytes.
func sealedLen(size int64) uint64 {
	n := uint64(max(size, 0))
	return n + (n+BlockSize-1)/BlockSize*tagSize
}

// take accounts for n bytes more, or gives ErrFull and accounts for none.
func (b *Budget) take(n int64) error {
	for {
		used := b.used.Load()
		if n > b.limit-used {
			return fmt.Errorf("%w: limit of %d bytes reached", ErrFull, b.limit)
		}
		if b.used.CompareAndSwap(used, used+n) {
			return nil
		}
	}
}

func (b *Budget) give(n int64) { b.used.Add(-n) }

func (b *Budget) buffer() *[sealedSize]byte { return b.buffers.Get().(*[sealedSize]byte) }
func (b *Budget) put(buf *[sealedSize]byte) { b.buffers.Put(buf) }
