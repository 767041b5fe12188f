package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// checkParts holds a cut against the limits of S3.
func checkParts(t *testing.T, length int64) {
	t.Helper()
	var off int64
	cut := parts(length)
	if len(cut) > objstore.MaxParts || len(cut) == 0 {
		t.Fatalf("%d bytes in %d parts", length, len(cut))
	}
	for i, r := range cut {
		if r.Off != off || r.Len <= 0 || r.Len > objstore.MaxPartSize {
			t.Fatalf("%d bytes: part %d is %+v, expected at %d", length, i, r, off)
		}
		if i < len(cut)-1 && (r.Len < objstore.MinPartSize || r.Len%sealedSegment != 0) {
			t.Fatalf("%d bytes: part %d of %d has %d", length, i, len(cut), r.Len)
		}
		off += r.Len
	}
	if off != length {
		t.Fatalf("%d bytes: parts hold %d", length, off)
	}
}

func TestParts(t *testing.T) {
	for _, n := range []int64{
		onePut, onePut + 1, 2 * sigil.SegmentSize, 2*sigil.SegmentSize + 1, 3 * sigil.SegmentSize, 3*sigil.SegmentSize - 1, 1 << 30, 8 << 30,
		1000 * sigil.SegmentSize, 1001*sigil.SegmentSize + 1, 1 << 40, sigil.MaxSize - 1, sigil.MaxSize,
	} {
		checkParts(t, sigil.BodySize(n))
	}
}

func FuzzParts(f *testing.F) {
	for _, n := range []int64{1, 5 << 20, 13<<20 + 5, 1 << 36, sigil.MaxSize} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 || n > sigil.MaxSize {
			return
		}
		checkParts(t, sigil.BodySize(n))
	})
}

func TestMultipartCommit(t *testing.T) {
	f := mount(t, bucket())
	text := noise(21<<20, 9) // 8 + 8 + 5 MiB and the tail
	f.put("a", text)
	if got := f.s.Counts().Requests; got[faulty.Upload] != 1 || got[faulty.Part] != 3 || got[faulty.Complete] != 1 || got[faulty.Put] != 1 || got[faulty.Delete] != 1 { // with a record put and removed
		t.Errorf("%v", got)
	}
	mount(t, f.mem).has("a", text)
	file := f.open("a")
	f.write(file, "changed", 10<<20)
	f.must(file.Commit(f.ctx))
	text = text[:10<<20] + "changed" + text[10<<20+7:]
	mount(t, f.mem).has("a", text)
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
	f.reads(file, text)
	f.rename("a", "b")
	f.reads(file, text)
	f.must(f.Remove(f.ctx, "b"))
	f.reads(file, text)
	file.Release()
	f.settle()
	f.noLeftovers()
}

// TestMultipartFails: nothing of an upload that failed is left, whichever
// request fails; the data stays here.
func TestMultipartFails(t *testing.T) {
	text := noise(200<<10, 2)
	for _, verb := range []faulty.Verb{faulty.Upload, faulty.Part, faulty.Complete} {
		f := mount(t, bucket(), inParts)
		f.put("a", "old")
		file := f.open("a")
		f.write(file, text, 0)
		f.failing(objstore.ErrQuota, false, verb)
		wants(t, file.Commit(f.ctx), ErrQuota)
		f.noLeftovers()
		mount(t, f.mem).has("a", "old")
		f.healed()
		f.reads(file, text)
		f.must(file.Commit(f.ctx))
		file.Release()
		mount(t, f.mem).has("a", text)
	}
}

func TestMultipartConflict(t *testing.T) {
	f := mount(t, bucket(), inParts)
	text := noise(200<<10, 2)
	f.put("a", "old")
	file := f.open("a")
	f.write(file, text, 0)
	mount(t, f.mem, host("there")).put("a", "theirs")
	wants(t, file.Commit(f.ctx), ErrChanged)
	file.Release()
	f.has("a", "theirs")
	if _, got := f.conflictCopy(); got != text {
		t.Error("the copy is not what was written")
	}
	f.noLeftovers()
}
