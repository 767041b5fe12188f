package sigil

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// rewriteBody puts a rewrite together as the store does: kept segments from the
// old body, the others and the tail sealed.
func rewriteBody(t tb, b *Body, old []byte) []byte {
	t.Helper()
	var body []byte
	for _, k := range b.Kept() {
		body = append(body, readAll(t, b.Section(context.Background(), int64(len(body)), k.Off-int64(len(body))))...)
		body = append(body, old[k.From:k.From+k.Len]...)
	}
	return append(body, readAll(t, b.Section(context.Background(), int64(len(body)), b.Size()))...)
}

// keeps tells whether segment i of a body of layout 0 is kept.
func keeps(b *Body, i int64) bool {
	off, size := segmentRange(b.PlainSize(), i)
	return slices.ContainsFunc(b.Kept(), func(k Kept) bool { return k.Off == k.From && k.Off <= off && off+size <= k.Off+k.Len })
}

func TestRewrites(t *testing.T) {
	const oldN = 2*SegmentSize + 1000
	was := keystream{"old", oldN}.bytes(t)
	original := file()
	o := sealed(t, original, Bytes(was), oldN)
	for _, c := range []struct {
		name    string
		n       int64
		changed []int64 // bytes that are written
		kept    []bool
	}{
		{"nothing changes", oldN, nil, []bool{true, true, true}},
		{"first segment", oldN, []int64{5}, []bool{false, true, true}},
		{"last byte", oldN, []int64{oldN - 1}, []bool{true, true, false}},
		{"longer in the last segment", oldN + 1, nil, []bool{true, true, false}},
		{"longer by a segment", oldN + SegmentSize, nil, []bool{true, true, false, false}},
		{"shorter in the last segment", oldN - 1, nil, []bool{true, true, false}},
		{"shorter by the last segment", 2 * SegmentSize, nil, []bool{true, true}},
		{"shorter into the second", SegmentSize + 1, nil, []bool{true, false}},
		{"to one segment", SegmentSize, nil, []bool{false}},
		{"to nothing", 0, nil, []bool{false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec, r := o.reader(t)
			src := make(Bytes, c.n)
			copy(src, was)
			dirty := map[int64]bool{}
			for _, at := range c.changed {
				src[at] ^= 0xff
				dirty[at/SegmentSize] = true
			}
			rec.Version++
			b, err := NewRewrite(t.Context(), rec, nil, r, src, c.n, func(i int64) bool { return dirty[i] })
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.kept {
				if keeps(b, int64(i)) != want {
					t.Errorf("segment %d is kept: %v", i, !want)
				}
			}
			if rec.DEK != original.DEK || rec.Generation == original.Generation {
				t.Error("data key changed, or generation stayed")
			}
			_, again := finish(t, rec, rewriteBody(t, b, o.body)).reader(t)
			if p, err := content(t.Context(), again); err != nil || !bytes.Equal(p, src) {
				t.Errorf("%d bytes, %v", len(p), err)
			}
		})
	}
}

// Nothing of one version opens in another.
func TestVersionsDoNotMix(t *testing.T) {
	const n = 2*SegmentSize + 1000
	was := Bytes(keystream{"old", n}.bytes(t))
	o := sealed(t, file(), was, n)
	rec, r := o.reader(t)
	src := bytes.Clone(was)
	src[0] ^= 1
	b, err := NewRewrite(t.Context(), rec, nil, r, Bytes(src), n, func(i int64) bool { return i == 0 })
	if err != nil {
		t.Fatal(err)
	}
	body := rewriteBody(t, b, o.body)
	size := int64(len(body))
	for name, spoilt := range map[string][]byte{
		"old segment": append(bytes.Clone(o.body[:sealedSegment]), body[sealedSegment:]...),
		"old chunk":   append(bytes.Clone(o.body[:sealedChunk]), body[sealedChunk:]...),
		"old tail":    append(bytes.Clone(body[:size-TailSize(layoutChunks, n)]), o.body[size-TailSize(layoutChunks, n):]...),
		"old body":    o.body,
	} {
		_, r := finish(t, rec, spoilt).reader(t)
		if p, err := content(t.Context(), r); !errors.Is(err, objcrypt.ErrCorrupt) || len(p) != 0 {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
	}
}

func TestRewriteRefuses(t *testing.T) {
	const n = SegmentSize + 1
	src := keystream{"x", n}
	o := sealed(t, file(), src, n)
	never := func(int64) bool { return false }
	rec, r := o.reader(t)
	other := rec.Clone()
	other.DEK[0] ^= 1
	if _, err := NewRewrite(t.Context(), other, nil, r, src, n, never); !errors.Is(err, ErrRecord) {
		t.Errorf("another data key: %v", err)
	}
	if _, err := NewRewrite(t.Context(), rec, nil, r, src, MaxSize+1, never); !errors.Is(err, ErrRecord) {
		t.Errorf("too long: %v", err)
	}
	b, err := NewRewrite(t.Context(), rec, nil, r, src, n, never)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Section(t.Context(), 0, 10).Read(make([]byte, 1)); !errors.Is(err, ErrRecord) {
		t.Errorf("section over a kept segment: %v", err)
	}
	o.body[len(o.body)-1] ^= 1
	rec, r = o.reader(t)
	if _, err := NewRewrite(t.Context(), rec, nil, r, src, n, never); !errors.Is(err, objcrypt.ErrCorrupt) {
		t.Errorf("over a bad tail: %v", err)
	}
}

// Whatever is rewritten, any number of times, comes back.
func TestRewritesComeBack(t *testing.T) {
	if testing.Short() {
		t.Skip("seals many segments")
	}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(SegmentSize-2, 3*SegmentSize+2)
		was := Bytes(make([]byte, size.Draw(t, "size")))
		o := sealed(t, file(), was, int64(len(was)))
		for range rapid.IntRange(1, 3).Draw(t, "rewrites") {
			rec, r := o.reader(t)
			now := make(Bytes, size.Draw(t, "size"))
			copy(now, was)
			dirty := map[int64]bool{}
			for range rapid.IntRange(0, 3).Draw(t, "writes") {
				at := rapid.Int64Range(0, int64(len(now))-1).Draw(t, "at")
				now[at]++
				dirty[at/SegmentSize] = true
			}
			b, err := NewRewrite(context.Background(), rec, nil, r, now, int64(len(now)), func(i int64) bool { return dirty[i] })
			if err != nil {
				t.Fatal(err)
			}
			o = finish(t, rec, rewriteBody(t, b, o.body))
			was = now
			_, r = o.reader(t)
			if p, err := content(context.Background(), r); err != nil || !bytes.Equal(p, now) {
				t.Fatalf("%d bytes, %v", len(p), err)
			}
		}
	})
}
