package disk

import (
	"math/bits"

	"github.com/sigilfs/sigilfs/cache"
)

const (
	extentBlocks = 16
	page         = 4096 // what files take is counted in

	sumSize   = 4 // CRC-32C after a block of ciphertext
	nonceSize = 12
	tagSize   = 16
	maxStored = cache.MaxBlock + nonceSize + tagSize

	stride     = (extentBlocks*maxStored + page - 1) / page * page
	headerSize = page
)

// shape is how the blocks of an extent lie in its slot.
type shape struct {
	block  uint32 // stored length of a full block, in bytes; 1 to maxStored
	length uint32 // of all blocks; the last may be shorter
}

// overhead is by how many bytes a block is longer on disk.
func overhead(inClear bool) int64 {
	if inClear {
		return nonceSize + tagSize
	}
	return sumSize
}

// place gives where block index of b lies: the extent, its shape and the number
// in it. ok is false for what is not a block that can be kept.
func place(b cache.Body, index int64) (extent uint32, s shape, number int, ok bool) {
	if b.Block < 1 || b.Block > cache.MaxBlock || b.Size < 1 || index < 0 || index > (b.Size-1)/b.Block {
		return 0, shape{}, 0, false
	}
	at := index / extentBlocks
	if at > 1<<32-1 {
		return 0, shape{}, 0, false
	}
	return uint32(at), shapeOf(b, at), int(index % extentBlocks), true
}

// shapeOf is of an extent that b has.
func shapeOf(b cache.Body, extent int64) shape {
	over := overhead(b.Clear)
	left := b.Size - extent*extentBlocks*b.Block // plaintext from here on
	left = min(left, extentBlocks*b.Block)
	blocks := (left + b.Block - 1) / b.Block
	return shape{block: uint32(b.Block + over), length: uint32(left + blocks*over)}
}

// extents is how many b has; 0 for one that cannot be kept.
func extents(b cache.Body) int64 {
	if b.Block < 1 || b.Size < 1 {
		return 0
	}
	return (b.Size-1)/b.Block/extentBlocks + 1
}

// blocks is how many there are; at most extentBlocks in a valid shape.
func (s shape) blocks() int { return int((int64(s.length) + int64(s.block) - 1) / int64(s.block)) }

// at gives the stored block of that number, relative to the slot. 0 bytes where
// there is none.
func (s shape) at(number int) (off, n int64) {
	off = int64(number) * int64(s.block)
	return off, max(0, min(int64(s.block), int64(s.length)-off))
}

// taken is how many bytes the blocks in held take on disk: whole pages, one
// that two blocks share once.
func (s shape) taken(held uint16) int64 {
	var pages, next int64 // next is the first page that is not counted yet
	for left := held; left != 0; left &= left - 1 {
		off, n := s.at(bits.TrailingZeros16(left))
		if n == 0 {
			continue
		}
		first, end := max(off/page, next), (off+n+page-1)/page
		if end > first {
			pages += end - first
			next = end
		}
	}
	return pages * page
}

// holes calls punch for each run of whole pages of a slot that no block of held
// touches, relative to the slot.
func (s shape) holes(held uint16, punch func(off, n int64)) {
	var next int64
	for left := held; left != 0; left &= left - 1 {
		off, n := s.at(bits.TrailingZeros16(left))
		if from := off / page * page; from > next {
			punch(next, from-next)
		}
		next = max(next, (off+n+page-1)/page*page)
	}
	if next < stride {
		punch(next, stride-next)
	}
}

// Bounds of the number of slots.
const (
	smallExtent = 64 << 10          // that extents have on average, at the least that is reckoned with
	manySlots   = 1 << 18           // more only where all of them full are within the size
	maxSlots    = 16<<40/stride - 1 // with a page behind them, the longest file of ext4
)

// slotsFor is how many slots a cache of size bytes may have.
func slotsFor(size int64) int {
	full := size/stride + 1
	return int(min(maxSlots, max(full, min(size/smallExtent, manySlots))))
}

// indexTaken is what an index of n slots takes on disk, in bytes.
func indexTaken(n int) int64 {
	return headerSize + (int64(n)*recordSize+page-1)/page*page
}
