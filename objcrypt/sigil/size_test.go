package sigil

import (
	"errors"
	"math"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

func TestBodySize(t *testing.T) {
	const mi = 1 << 20
	for _, c := range []struct{ n, body int64 }{
		{-1, -1},
		{math.MinInt64, -1},
		{0, 16},
		{1, 17},
		{65535, 65551},
		{65536, 65552},
		{65537, 65569},
		{8*mi - 1, 8*mi - 1 + 2048},
		{8 * mi, 8*mi + 2048},
		{8*mi + 1, 8*mi + 1 + 2048 + 16 + 32 + 296},
		{16 * mi, 16*mi + 4096 + 32 + 296},
		{16*mi + 1, 16*mi + 1 + 4096 + 16 + 48 + 296},
		{1 << 40, 1<<40 + 16<<24 + 16<<17 + 296},
		{MaxSize, maxBody},
		{MaxSize + 1, -1},
		{math.MaxInt64, -1},
	} {
		if got := BodySize(c.n); got != c.body {
			t.Errorf("BodySize(%d) = %d, want %d", c.n, got, c.body)
		}
		if c.body < 0 {
			continue
		}
		if got, err := PlainSize(c.body); err != nil || got != c.n {
			t.Errorf("PlainSize(%d) = %d, %v, want %d", c.body, got, err, c.n)
		}
	}
}

func TestMaxSizeIsTheLargestUnderFiveTiB(t *testing.T) {
	const limit = 5 << 40
	longer := int64(MaxSize + 1)
	body := longer + 16*chunks(longer) + TailSize(layoutChunks, longer)
	if BodySize(MaxSize) > limit || body <= limit {
		t.Errorf("body of MaxSize is %d, of MaxSize+1 %d", BodySize(MaxSize), body)
	}
}

func TestPlainSizeRefuses(t *testing.T) {
	const seg = sealedSegment
	for _, body := range []int64{
		math.MinInt64, -1, 0, 15, 65553, 65568, // one chunk and up to a tag more
		seg + 1, seg + 296, seg + 328, seg + 16 + 328, // behind a full segment 0
		maxBody + 1, math.MaxInt64,
	} {
		if n, err := PlainSize(body); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("PlainSize(%d) = %d, %v", body, n, err)
		}
	}
}

// Every length up to some chunks, and around every boundary of the first
// segments, is one plaintext's or none's.
func TestSizesAreInverse(t *testing.T) {
	for _, from := range []int64{0, SegmentSize - 70000, 2*SegmentSize - 70000, 9*SegmentSize - 70000, MaxSize - 140000} {
		next := BodySize(from)
		for n := from; n < from+140000; n++ {
			for ; next < BodySize(n); next++ {
				if got, err := PlainSize(next); err == nil {
					t.Fatalf("PlainSize(%d) = %d, no plaintext has this body", next, got)
				}
			}
			if got, err := PlainSize(next); err != nil || got != n {
				t.Fatalf("PlainSize(%d) = %d, %v, want %d", next, got, err, n)
			}
			next++
		}
	}
}

func TestSegmentsTileTheBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 40*SegmentSize).Draw(t, "n")
		end := int64(0)
		for i := range Segments(n) {
			off, length := segmentRange(n, i)
			if off != end || length <= 0 {
				t.Fatalf("segment %d at %d+%d, the last ended at %d", i, off, length, end)
			}
			end += length
		}
		if end+TailSize(layoutChunks, n) != BodySize(n) {
			t.Fatalf("segments end at %d of %d, tail has %d", end, BodySize(n), TailSize(layoutChunks, n))
		}
	})
}

func TestPartSegmentsReachMaxSize(t *testing.T) {
	parts, left := 0, Segments(MaxSize)
	for ; left > 0; parts++ {
		k := PartSegments(parts)
		if _, length := segmentRange(MaxSize, 0); int64(k)*length > 5<<30 {
			t.Fatalf("part %d of %d segments is over 5 GiB", parts, k)
		}
		left -= int64(k)
	}
	if parts != 9282 {
		t.Errorf("%d parts, want 9282", parts)
	}
	for p, want := range map[int]int{-1: 1, 0: 1, 999: 1, 1000: 2, 8999: 256, 9000: 512, 50000: 512} {
		if got := PartSegments(p); got != want {
			t.Errorf("PartSegments(%d) = %d, want %d", p, got, want)
		}
	}
}

func FuzzSizes(f *testing.F) {
	for _, n := range []int64{0, 16, 65552, 65553, sealedSegment, sealedSegment + 1, maxBody, math.MaxInt64, math.MinInt64} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, x int64) {
		n, err := PlainSize(x)
		if (err == nil) != (n > 0 || x == TagSize) || err == nil && BodySize(n) != x {
			t.Fatalf("PlainSize(%d) = %d, %v", x, n, err)
		}
		body := BodySize(x)
		if valid := x >= 0 && x <= MaxSize; valid && body <= x || !valid && body != -1 {
			t.Fatalf("BodySize(%d) = %d", x, body)
		}
		if back, err := PlainSize(body); body >= 0 && (err != nil || back != x) {
			t.Fatalf("PlainSize(BodySize(%d)) = %d, %v", x, back, err)
		}
		if x < MaxSize && body >= 0 && BodySize(x+1) <= body {
			t.Fatalf("BodySize is not increasing at %d", x)
		}
	})
}
