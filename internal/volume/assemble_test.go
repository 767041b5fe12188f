package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"pgregory.net/rapid"
)

// TestPieces: whatever stays, the parts cover the body once, in order, as S3
// takes them; only what is kept is copied, and little more than the rest is sent.
func TestPieces(t *testing.T) {
	const most = int64(5) << 40
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, most).Draw(t, "size")
		if rapid.Bool().Draw(t, "small") {
			size = rapid.Int64Range(1, 100<<20).Draw(t, "small size")
		}
		var kept []sigil.Kept
		sent, gaps := size, int64(1)
		for at := int64(0); at < size && len(kept) < 200; {
			off := min(size, at+rapid.Int64Range(0, max(1, size/8)).Draw(t, "gap"))
			end := min(size, off+rapid.Int64Range(1, max(2, size/4)).Draw(t, "kept"))
			if off >= end {
				break
			}
			kept = append(kept, sigil.Kept{Off: off, Len: end - off, From: rapid.Int64Range(0, 2*size).Draw(t, "from")})
			if end-off >= objstore.MinPartSize {
				sent -= end - off
			}
			gaps++
			at = end
		}
		checkPieces(t, size, kept, sent+2*gaps*objstore.MinPartSize)
	})
}

func checkPieces(t interface{ Fatalf(string, ...any) }, size int64, kept []sigil.Kept, most int64) {
	within := func(p piece) bool {
		for _, k := range kept {
			if p.Off >= k.Off && p.Off+p.Len <= k.Off+k.Len {
				return p.from-k.From == p.Off-k.Off
			}
		}
		return false
	}
	at, sent := int64(0), int64(0)
	cut := pieces(size, kept)
	for i, p := range cut {
		switch {
		case p.Off != at || p.Len <= 0:
			t.Fatalf("part %d is %+v, not at %d", i, p, at)
		case p.Len < objstore.MinPartSize && i < len(cut)-1, p.Len > objstore.MaxPartSize:
			t.Fatalf("part %d has %d bytes", i, p.Len)
		case p.copied && !within(p):
			t.Fatalf("part %d copies what has changed", i)
		case !p.copied:
			sent += p.Len
		}
		at += p.Len
	}
	if at != size || len(cut) > objstore.MaxParts {
		t.Fatalf("%d parts cover %d of %d bytes", len(cut), at, size)
	}
	if sent > most {
		t.Fatalf("%d bytes are sent, at most %d are due", sent, most)
	}
}

// TestPiecesOfOneChange: four kilobytes in a gigabyte cost one segment.
func TestPiecesOfOneChange(t *testing.T) {
	const size = 128*sealedSegment + 2344
	at := int64(77) * sealedSegment
	cut := pieces(size, []sigil.Kept{{Off: 0, Len: at, From: 5}, {Off: at + sealedSegment, Len: 50 * sealedSegment, From: at + 9}})
	want := []piece{
		{objstore.Range{Off: 0, Len: at}, true, 5},
		{objstore.Range{Off: at, Len: sealedSegment}, false, 0},
		{objstore.Range{Off: at + sealedSegment, Len: 50 * sealedSegment}, true, at + 9},
		{objstore.Range{Off: 128 * sealedSegment, Len: 2344}, false, 0},
	}
	if len(cut) != len(want) {
		t.Fatalf("%+v", cut)
	}
	for i := range want {
		if cut[i] != want[i] {
			t.Errorf("part %d is %+v, want %+v", i, cut[i], want[i])
		}
	}
}
