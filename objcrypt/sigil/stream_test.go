package sigil

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/section"
)

var lateAttr = Late{Version: 99, Attr: Attr{Mode: 0o104755, UID: 7, GID: 8, Mtime: -1, Ctime: 1 << 62}}

// parts puts the sections of a stream together.
func concat(t tb, sections ...*section.Section) []byte {
	t.Helper()
	var b []byte
	for _, s := range sections {
		b = append(b, readAll(t, s)...)
	}
	return b
}

// mustSeal is for what has no errors here: a section or an image.
func mustSeal[S any](t tb) func(S, error) S {
	return func(s S, err error) S {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// finished is mustSeal of the last section.
func finished(t tb) func(*section.Section, int64, error) *section.Section {
	return func(s *section.Section, _ int64, err error) *section.Section {
		t.Helper()
		return mustSeal[*section.Section](t)(s, err)
	}
}

func TestStream(t *testing.T) {
	for _, n := range []int64{SegmentSize + 1, 2 * SegmentSize, 2*SegmentSize + 5, 3*SegmentSize - 1} {
		src := keystream{"stream", n}
		rec := file()
		s, err := NewStream(rec, nil, SegmentSize+1)
		if err != nil {
			t.Fatal(err)
		}
		o := finish(t, rec, nil) // the metadata is fixed before the first part
		must := mustSeal[*section.Section](t)
		first := must(s.Seal(t.Context(), src, 0, SegmentSize, 0))
		rest := finished(t)(s.Finish(t.Context(), src, SegmentSize, n, lateAttr))
		o.body = concat(t, first, rest)
		got, r := o.reader(t)
		if !got.Late || got.SizeKnown || r.Size() != n {
			t.Errorf("record late %v, size known %v, %d bytes", got.Late, got.SizeKnown, r.Size())
		}
		if p, err := content(t.Context(), r); err != nil || !bytes.Equal(p, src.bytes(t)) {
			t.Errorf("%d bytes, %v", len(p), err)
		}
		if l, err := r.Late(t.Context()); err != nil || l != lateAttr {
			t.Errorf("late attributes %v, %v", l, err)
		}
		for _, size := range []int64{trailerSize, TailSize(layoutChunks, n), TailReadSize} {
			l, m, err := OpenSuffix(got, o.header, o.body[int64(len(o.body))-size:], int64(len(o.body)))
			if err != nil || l != lateAttr || m != n {
				t.Errorf("suffix of %d: %v, %d, %v", size, l, m, err)
			}
		}
		got.Settle(lateAttr, n)
		again := finish(t, got, o.body)
		if _, r := again.reader(t); true {
			if l, err := r.Late(t.Context()); err != nil || l != lateAttr {
				t.Errorf("settled attributes %v, %v", l, err)
			}
		}
	}
}

// A segment that changed after it was sealed, and one that a truncation cut
// and a write filled again, get other keys; the last state stands.
func TestStreamSealsAgain(t *testing.T) {
	const n = 2*SegmentSize + 3
	rec := file()
	s, err := NewStream(rec, nil, n)
	if err != nil {
		t.Fatal(err)
	}
	must := mustSeal[*section.Section](t)
	old := keystream{"before", n}
	seg0 := readAll(t, must(s.Seal(t.Context(), old, 0, SegmentSize, 0)))
	seg1 := must(s.Seal(t.Context(), old, SegmentSize, 1000, 0)) // a file of one segment and a bit, then longer
	if s.Segments() != 2 {
		t.Fatalf("%d segments", s.Segments())
	}
	if _, _, err := s.Finish(t.Context(), nil, n, n, lateAttr); !errors.Is(err, ErrRecord) {
		t.Fatalf("finished without segment 2: %v", err)
	}
	src := keystream{"after", n}
	again := readAll(t, must(s.Seal(t.Context(), src, 0, SegmentSize, 0)))
	same := readAll(t, must(s.Seal(t.Context(), src, 0, SegmentSize, 0)))
	if bytes.Equal(again[:100], same[:100]) || bytes.Equal(seg0[:100], again[:100]) {
		t.Error("a segment was sealed twice under one key")
	}
	_ = seg1
	body := concat(t, must(s.Seal(t.Context(), src, 0, 2*SegmentSize, 0)), must(s.Seal(t.Context(), src, 2*SegmentSize, 3, 0)),
		finished(t)(s.Finish(t.Context(), nil, n, n, lateAttr)))
	_, r := finish(t, rec, body).reader(t)
	if p, err := content(t.Context(), r); err != nil || !bytes.Equal(p, src.bytes(t)) {
		t.Errorf("%d bytes, %v", len(p), err)
	}
	// An old segment under the new tail is noticed.
	copy(body, seg0)
	_, r = finish(t, rec, body).reader(t)
	if _, err := content(t.Context(), r); !errors.Is(err, objcrypt.ErrCorrupt) {
		t.Errorf("old segment 0: %v", err)
	}
}

func TestStreamRefuses(t *testing.T) {
	dir := file()
	dir.Mode = typeDir
	for name, c := range map[string]struct {
		rec  *Record
		have int64
	}{"one segment": {file(), SegmentSize}, "too long": {file(), MaxSize + 1}, "directory": {dir, 2 * SegmentSize}} {
		if _, err := NewStream(c.rec, nil, c.have); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, _ := NewStream(file(), nil, SegmentSize+1)
	src := keystream{"x", 4 * SegmentSize}
	for _, c := range [][2]int64{{1, 5}, {-SegmentSize, 5}, {0, 0}, {0, -1}, {0, MaxSize + 1}} {
		if _, err := s.Seal(t.Context(), src, c[0], c[1], 0); !errors.Is(err, ErrRecord) {
			t.Errorf("seal %d bytes at %d: %v", c[1], c[0], err)
		}
	}
	for _, c := range [][2]int64{{0, SegmentSize}, {0, -1}, {2 * SegmentSize, SegmentSize + 1}, {0, MaxSize + 1}, {SegmentSize, 2 * SegmentSize}} {
		if _, _, err := s.Finish(t.Context(), src, c[0], c[1], lateAttr); !errors.Is(err, ErrRecord) {
			t.Errorf("finish %d bytes from %d: %v", c[1], c[0], err)
		}
	}
}

// No reader would take attributes of another file type than the record's.
func TestStreamKeepsTheFileType(t *testing.T) {
	const n = SegmentSize + 1
	s, _ := NewStream(file(), nil, n)
	for _, mode := range []uint32{typeSymlink | 0o777, 0o644, 1<<16 | typeRegular} {
		late := lateAttr
		late.Mode = mode
		if _, _, err := s.Finish(t.Context(), keystream{"x", n}, 0, n, late); !errors.Is(err, ErrRecord) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

// A partial last segment that was sealed, then grew, must be sealed again.
func TestStreamNoticesAStaleLength(t *testing.T) {
	s, _ := NewStream(file(), nil, SegmentSize+1)
	src := keystream{"x", 4 * SegmentSize}
	must := mustSeal[*section.Section](t)
	must(s.Seal(t.Context(), src, 0, SegmentSize+1, 0))
	if _, _, err := s.Finish(t.Context(), src, SegmentSize+2, SegmentSize+2, lateAttr); !errors.Is(err, ErrRecord) {
		t.Errorf("stale segment 1: %v", err)
	}
	finished(t)(s.Finish(t.Context(), src, SegmentSize+1, SegmentSize+1, lateAttr))
}

func TestLateAttributesAreChecked(t *testing.T) {
	const n = SegmentSize + 1
	src := keystream{"late", n}
	written := func(l Late) (object, *Record) {
		rec := file()
		s, _ := NewStream(rec, nil, n)
		s.kind = l.Mode & typeMask // past the check of Finish
		body := readAll(t, finished(t)(s.Finish(context.Background(), src, 0, n, l)))
		return finish(t, rec, body), rec
	}
	other := lateAttr
	other.Mode = typeSymlink | 0o777
	bad, _ := written(other)
	_, r := bad.reader(t)
	if _, err := r.Late(t.Context()); !errors.Is(err, objcrypt.ErrCorrupt) {
		t.Errorf("another file type: %v", err)
	}
	o, rec := written(lateAttr)
	size := int64(len(o.body))
	for name, suffix := range map[string][]byte{
		"short": o.body[size-trailerSize+1:],
		"flip":  append([]byte{o.body[size-trailerSize] ^ 1}, o.body[size-trailerSize+1:]...),
		"salt":  append([]byte{o.body[size-TailSize(layoutChunks, n)] ^ 1}, o.body[size-TailSize(layoutChunks, n)+1:]...),
		"size":  func() []byte { b := bytes.Clone(o.body[size-trailerSize:]); b[lateSize+7] ^= 1; return b }(),
	} {
		if _, _, err := OpenSuffix(rec, o.header, suffix, size); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseLateIsStrict(t *testing.T) {
	build := func(change func(m map[uint64]any), padding ...byte) []byte {
		m := map[uint64]any{}
		lateAttr.fields(m)
		change(m)
		b, err := encoding.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(b, padding...), make([]byte, max(0, latePlain-len(b)-len(padding)))...)
	}
	same := func(map[uint64]any) {}
	if l, err := parseLate(build(same)); err != nil || l != lateAttr {
		t.Fatalf("%v, %v", l, err)
	}
	for name, b := range map[string][]byte{
		"padding":       build(same, 0, 0, 1),
		"another field": build(func(m map[uint64]any) { m[15] = 1 }),
		"unknown field": build(func(m map[uint64]any) { m[64] = 1 }),
		"no version":    build(func(m map[uint64]any) { delete(m, 3) }),
		"no type":       build(func(m map[uint64]any) { m[5] = 0o644 }),
		"zeros":         make([]byte, latePlain),
		"nothing":       nil,
	} {
		if _, err := parseLate(b); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLate(f *testing.F) {
	m := map[uint64]any{}
	lateAttr.fields(m)
	b, _ := encoding.Marshal(m)
	f.Add(append(b, make([]byte, latePlain-len(b))...))
	f.Add(make([]byte, latePlain))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLate(b)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) && !errors.Is(err, objcrypt.ErrVersion) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		m := map[uint64]any{}
		l.fields(m)
		again, err := encoding.Marshal(m)
		if err != nil || !bytes.Equal(bytes.TrimRight(again, "\x00"), bytes.TrimRight(b, "\x00")) {
			t.Fatalf("%x comes back as %x", b, again)
		}
	})
}
