package disk

import (
	"slices"
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"pgregory.net/rapid"
)

// Every block has a place of its own in its slot, and what an extent takes is
// the pages that its blocks touch.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := cache.Body{
			Block: rapid.OneOf(rapid.Just[int64](cache.MaxBlock), rapid.Int64Range(1, cache.MaxBlock)).Draw(r, "block"),
			Clear: rapid.Bool().Draw(r, "clear"),
		}
		b.Size = rapid.OneOf(rapid.Int64Range(1, 40*b.Block), rapid.Int64Range(1, 1<<43)).Draw(r, "size")
		index := rapid.Int64Range(0, (b.Size-1)/b.Block).Draw(r, "index")
		extent, s, number, ok := place(b, index)
		if !ok {
			if index/extentBlocks < 1<<32 {
				r.Fatal("has no place")
			}
			return
		}
		if int64(extent)*extentBlocks+int64(number) != index || int64(extent) >= extents(b) {
			r.Fatalf("extent %d of %d, block %d", extent, extents(b), number)
		}
		var sum int64
		end := int64(0)
		for i := range s.blocks() {
			off, n := s.at(i)
			want := min(b.Block, b.Size-(int64(extent)*extentBlocks+int64(i))*b.Block) + overhead(b.Clear)
			if off != end || n != want {
				r.Fatalf("block %d lies at %d with %d bytes, after %d; %d are right", i, off, n, end, want)
			}
			end, sum = off+n, sum+n
		}
		if sum != int64(s.length) || end > stride {
			r.Fatalf("%d bytes in all, %d in the shape", sum, s.length)
		}
		held := rapid.Uint16().Draw(r, "held") & uint16(1<<s.blocks()-1)
		rec := record{shape: s, held: held, clear: b.Clear}
		if rec.valid() != (held != 0) {
			r.Fatal("not valid, or valid with nothing")
		}
		touched := make([]bool, stride/page)
		for i := range s.blocks() {
			if off, n := s.at(i); held>>i&1 == 1 {
				for p := off / page; p <= (off+n-1)/page; p++ {
					touched[p] = true
				}
			}
		}
		count := int64(0)
		for _, is := range touched {
			if is {
				count++
			}
		}
		if got := s.taken(held); got != count*page {
			r.Fatalf("takes %d, touches %d", got, count*page)
		}
		s.holes(held, func(off, n int64) {
			if off%page != 0 || n%page != 0 || n <= 0 || slices.Contains(touched[off/page:(off+n)/page], true) {
				r.Fatalf("a hole of %d bytes at %d", n, off)
			}
			count += n / page
		})
		if count != stride/page {
			r.Fatal("holes and blocks are not all there is")
		}
	})
}

func TestSlotsFor(t *testing.T) {
	for _, tt := range []struct {
		size int64
		want int
	}{
		{MinSize, 128}, {1 << 30, 16384}, {20 << 30, manySlots}, {1 << 40, 1<<40/stride + 1}, {1 << 62, maxSlots},
	} {
		if got := slotsFor(tt.size); got != tt.want {
			t.Errorf("%d bytes: %d slots, not %d", tt.size, got, tt.want)
		}
	}
	if longest := int64(maxSlots)*stride + page; longest > 1<<44-page {
		t.Errorf("the blocks may take a file of %d bytes, and ext4 has none", longest)
	}
	if stride != 1_052_672 {
		t.Error("the layout is another: raise its number")
	}
}
