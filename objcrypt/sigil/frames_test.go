package sigil

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/section"
	"pgregory.net/rapid"
)

// framedSizes are where layout 1 changes its shape.
func framedSizes() []int64 {
	return []int64{0, 1, FrameSize - 1, FrameSize, FrameSize + 1, SegmentSize - 1, SegmentSize, SegmentSize + 1, SegmentSize + 5*FrameSize + 9}
}

// A body of layout 1 comes back as it went in, from metadata and body alone,
// whatever its content, and is as long as docs/FORMAT.md says.
func TestFramedBodies(t *testing.T) {
	c := testCompressor(t)
	for name, source := range map[string]func(n int64) ReaderAt{
		"text":  func(n int64) ReaderAt { return thin{keystream{"framed", n}} },
		"noise": func(n int64) ReaderAt { return keystream{"framed", n} },
		"zeros": func(n int64) ReaderAt { return make(Bytes, n) },
	} {
		for _, n := range framedSizes() {
			want := make([]byte, n)
			if _, err := source(n).ReadAt(t.Context(), want, 0); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			rec := file()
			o := sealedBy(t, c, rec, source(n), n)
			got, r := o.reader(t)
			if got.Layout != 1 || r.Size() != n || got.Size != n || !got.SizeKnown {
				t.Errorf("%s, %d bytes: layout %d, %d bytes, the record knows %d, %v", name, n, got.Layout, r.Size(), got.Size, got.SizeKnown)
			}
			if p, err := content(t.Context(), r); err != nil || !bytes.Equal(p, want) {
				t.Errorf("%s, %d bytes: read %d, %v", name, n, len(p), err)
			}
			tail := 16*ceil(n, 8<<20) + 3*ceil(n, 256<<10) + 296
			least, most := tail, tail+n+16*ceil(n, 256<<10)
			if size := int64(len(o.body)); size > most || size < least || name == "noise" && size != most || name == "text" && n > FrameSize && size > most*3/4 {
				t.Errorf("%s, %d bytes: a body of %d, from %d to %d are possible", name, n, size, least, most)
			}
		}
	}
	if held := c.held.Load(); held == 0 || held > heldBytes {
		t.Errorf("%d bytes are held of bodies that nobody has closed", held)
	}
}

// Only regular files are compressed: what else has content has layout 0.
func TestFramesAreForFiles(t *testing.T) {
	link := file()
	link.Mode = typeSymlink | 0o777
	name := file()
	name.Inode[3] = 1
	for kind, rec := range map[string]*Record{"symlink": link, "hard-link name": name} {
		n := int64(0)
		if kind == "symlink" {
			n = 6
		}
		o := sealedBy(t, testCompressor(t), rec, Bytes("target"), n)
		if got, r := o.reader(t); got.Layout != 0 || r.Size() != n {
			t.Errorf("%s: layout %d, %d bytes", kind, got.Layout, r.Size())
		}
		rec.Layout = 1
		forged := finish(t, rec, o.body)
		if _, err := forged.header.Open(testEpoch("test"), testKey); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s in layout 1: %v", kind, err)
		}
	}
	if _, err := NewStream(link, testCompressor(t), 5); !errors.Is(err, ErrRecord) {
		t.Errorf("stream of a symlink: %v", err)
	}
}

// Reads of any range are those of the plaintext, and one of a part of a frame
// makes the next one cheap.
func TestFramedReadAtIsThatOfThePlaintext(t *testing.T) {
	const n = SegmentSize + 3*FrameSize + 77
	want := thin{keystream{"reads", n}}.bytes(t)
	o := sealedBy(t, testCompressor(t), file(), Bytes(want), n)
	rec, _ := o.reader(t)
	src := &watchedSource{body: o.body}
	r, err := NewReader(rec, o.header, src, int64(len(o.body)), NewFrames())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.Int64Range(0, n+10).Draw(t, "off")
		p := make([]byte, rapid.IntRange(1, 600_000).Draw(t, "size"))
		k, err := r.ReadAt(context.Background(), p, off)
		end := min(n, off+int64(len(p)))
		if int64(k) != max(0, end-off) || (err != nil) != (end-off < int64(len(p))) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), off, k, err)
		}
		if k > 0 && !bytes.Equal(p[:k], want[off:end]) {
			t.Fatalf("%d bytes at %d are others", len(p), off)
		}
	})
	r, _ = NewReader(rec, o.header, src, int64(len(o.body)), NewFrames())
	src.reads = nil
	for off := int64(0); off < FrameSize; off += 4096 {
		if _, err := r.ReadAt(t.Context(), make([]byte, 4096), off); err != nil {
			t.Fatal(err)
		}
	}
	if len(src.reads) != 2 { // the tail, and the frame
		t.Errorf("a frame read bit by bit: %v", src.reads)
	}
}

// What is longer than a segment is read with one request for each segment's worth.
func TestFramedReaderFetchesWhatItNeeds(t *testing.T) {
	const n = 2*SegmentSize + 100
	o := sealedBy(t, testCompressor(t), file(), thin{keystream{"fetch", n}}, n)
	rec, _ := o.reader(t)
	src := &watchedSource{body: o.body}
	r, _ := NewReader(rec, o.header, src, int64(len(o.body)), NewFrames())
	for _, c := range []struct {
		off, size int64
		reads     int
	}{
		{SegmentSize - 10, 20, 2}, // and the tail
		{SegmentSize - 10, 20, 0}, // both frames are remembered
		{0, 4 * FrameSize, 1},
		{1, SegmentSize, 1}, // and the frame behind is one of those
	} {
		src.reads = nil
		if _, err := r.ReadAt(t.Context(), make([]byte, c.size), c.off); err != nil {
			t.Fatal(err)
		}
		if len(src.reads) != c.reads {
			t.Errorf("%d bytes at %d: read %v", c.size, c.off, src.reads)
		}
	}
}

// Whatever byte of a body is another, nothing is read of what it touches, and
// never another content.
func TestFramedBodiesTampered(t *testing.T) {
	const n = SegmentSize + 2*FrameSize + 5
	want := thin{keystream{"flips", n}}.bytes(t)
	o := sealedBy(t, testCompressor(t), file(), Bytes(want), n)
	tail := framedTail(n)
	rapid.Check(t, func(t *rapid.T) {
		bad := o
		bad.body = bytes.Clone(o.body)
		at := rapid.IntRange(0, len(o.body)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "in the tail") {
			at = len(o.body) - 1 - rapid.IntRange(0, int(tail)-1).Draw(t, "before the end")
		}
		switch rapid.SampledFrom([]string{"flip", "cut", "extend"}).Draw(t, "how") {
		case "flip":
			bad.body[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "cut":
			bad.body = append(bad.body[:at], bad.body[at+1:]...)
		case "extend":
			bad.body = append(bad.body[:at], append([]byte{0}, bad.body[at:]...)...)
		}
		rec, err := bad.header.Open(testEpoch("test"), testKey)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(rec, bad.header, Bytes(bad.body), int64(len(bad.body)), NewFrames())
		if err == nil {
			var p []byte
			if p, err = content(context.Background(), r); len(p) != 0 && err != nil {
				t.Fatalf("%d bytes are released with %v", len(p), err)
			}
		}
		if !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Fatalf("read with %v", err)
		}
	})
}

// forged is a body of one frame, sealed by who has the keys.
func forged(t testing.TB, n int64, packed []byte, l frameLen) (*Record, Header, []byte) {
	t.Helper()
	rec := file()
	rec.Fresh()
	rec.Layout, rec.Size, rec.SizeKnown = layoutFrames, n, true
	salts := newSalts(1)
	a := segmentAEAD(rec.DEK, salts[0], 0)
	nonce := chunkNonce(0, false)
	body := a.Seal(nil, nonce[:], packed, nil)
	late, err := Late{Attr: rec.Attr, Version: rec.Version}.seal(rec.DEK, rec.Generation, layoutFrames, n)
	if err != nil {
		t.Fatal(err)
	}
	return rec, Header{Layout: layoutFrames}, append(body, makeTail(rec.DEK, rec.Generation, layoutFrames, n, salts, []frameLen{l}, late)...)
}

// A hostile frame expands to no more than a frame and takes no more memory,
// whatever it says and does, although it was sealed under the right key.
func TestBombs(t *testing.T) {
	packed := func(p []byte, opts ...zstd.EOption) []byte {
		e, err := zstd.NewWriter(nil, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(p, nil)
	}
	streamed := func(p []byte, opts ...zstd.EOption) []byte {
		var b bytes.Buffer
		e, err := zstd.NewWriter(&b, opts...)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = e.Write(p)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	zeros := make([]byte, 64<<20)
	good := packed(zeros[:FrameSize])
	frames := NewFrames()
	for name, c := range map[string]struct {
		packed []byte
		n      int64
		ok     bool
	}{
		"good":                          {good, FrameSize, true},
		"another encoder's window":      {streamed(zeros[:FrameSize], zstd.WithWindowSize(8<<20)), FrameSize, true},
		"64 MiB, declared":              {packed(zeros), FrameSize, false},
		"64 MiB, not declared":          {streamed(zeros), FrameSize, false},
		"one byte more":                 {packed(zeros[:FrameSize+1]), FrameSize, false},
		"one byte more, not declared":   {streamed(zeros[:FrameSize+1]), FrameSize, false},
		"one byte less":                 {packed(zeros[:FrameSize-1]), FrameSize, false},
		"two frames":                    {append(bytes.Clone(good), good...), FrameSize, false},
		"more than the last one's rest": {good, 100, false},
		"a window of 1.5 TiB":           {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00}, FrameSize, false},
		"16 EiB declared":               {append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, bytes.Repeat([]byte{0xff}, 8)...), FrameSize, false},
		"a dictionary":                  {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0x21, 0x07, 0x01, 0x01, 0x00, 0x00}, 1, false},
		"no frame":                      {[]byte("no frame at all"), FrameSize, false},
		"skippable only":                {[]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, FrameSize, false},
		"nothing":                       {[]byte{0}, FrameSize, false},
	} {
		rec, h, body := forged(t, c.n, c.packed, frameLen(len(c.packed)+TagSize))
		read := func() ([]byte, error) {
			r, err := NewReader(rec, h, Bytes(body), int64(len(body)), frames)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			p := make([]byte, c.n)
			n, err := r.ReadAt(t.Context(), p, 0)
			return p[:n], err
		}
		_, _ = read() // whatever is pooled is there now
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := read()
		runtime.ReadMemStats(&after)
		if c.ok != (err == nil) || err != nil && (!errors.Is(err, objcrypt.ErrCorrupt) || len(p) > 0) {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 16*FrameSize {
			t.Errorf("%s took %d bytes of memory", name, took)
		}
	}
}

// The tail's lengths are held against what can be before anything is allocated
// or read by them.
func TestFrameLengthsAreChecked(t *testing.T) {
	rec, h, good := forged(t, FrameSize, []byte("abcdefg"), 23)
	if _, err := NewReader(rec, h, Bytes(good), int64(len(good)), nil); !errors.Is(err, objcrypt.ErrVersion) {
		t.Errorf("without decoders: %v", err)
	}
	for name, l := range map[string]frameLen{
		"16 bytes": 16, "none": 0, "longer than a frame": maxSealedFrame + 1, "all bits": 1<<23 - 1,
		"stored, shorter": storedFrame | 23, "one byte off": 24,
	} {
		rec, h, body := forged(t, FrameSize, []byte("abcdefg"), l)
		r, err := NewReader(rec, h, Bytes(body), int64(len(body)), NewFrames())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(t.Context()); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, n := range map[string]int64{"5 TB in 319 bytes": MaxSize, "negative": -1, "beyond": MaxSize + 1, "a frame more": FrameSize + 1} {
		rec, h, body := forged(t, FrameSize, []byte("abcdefg"), 23)
		rec.Size = n
		if _, err := NewReader(rec, h, Bytes(body), int64(len(body)), NewFrames()); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		rec.SizeKnown = false
		binary.BigEndian.PutUint64(body[len(body)-40:], uint64(n))
		if _, _, err := OpenSuffix(rec, h, body, int64(len(body))); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s, as the trailer says: %v", name, err)
		}
	}
}

// A rewrite of layout 1 keeps the segments that did not change, wherever they come
// to lie, and sends as they are those that nobody copies.
func TestFramedRewritesComeBack(t *testing.T) {
	c := testCompressor(t)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int64{0, 5, FrameSize, FrameSize + 1}) // compressing takes its time
		if rapid.IntRange(0, 39).Draw(t, "long") == 0 {
			size = rapid.SampledFrom([]int64{5, SegmentSize, SegmentSize + 9, SegmentSize + FrameSize + 3})
		}
		was := make(Bytes, size.Draw(t, "size"))
		_, _ = thin{keystream{"was", int64(len(was))}}.ReadAt(context.Background(), was, 0)
		o := sealedBy(t, c, file(), was, int64(len(was)))
		rec, r := o.reader(t)
		gen := rec.Generation
		now := make(Bytes, size.Draw(t, "new size"))
		copy(now, was)
		dirty := map[int64]bool{}
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			if len(now) > 0 {
				at := rapid.IntRange(0, len(now)-1).Draw(t, "at")
				now[at] ^= 0xff
				dirty[int64(at)/SegmentSize] = true
			}
		}
		if len(now) > len(was) && len(was)%SegmentSize != 0 {
			dirty[int64(len(was))/SegmentSize] = true
		}
		b, err := NewRewrite(context.Background(), rec, c, r, now, int64(len(now)), func(i int64) bool { return dirty[i] })
		if err != nil {
			t.Fatal(err)
		}
		if rec.Generation == gen || rec.Layout != 1 {
			t.Fatalf("layout %d, generation drawn: %v", rec.Layout, rec.Generation != gen)
		}
		kept := int64(0)
		for i := range min(ceil(int64(len(now)), SegmentSize), ceil(int64(len(was)), SegmentSize)) {
			if segmentLen(int64(len(now)), i) == segmentLen(int64(len(was)), i) && !dirty[i] {
				t := r.table.Load()
				kept += t.starts[i+1] - t.starts[i]
			}
		}
		for _, k := range b.Kept() {
			kept -= k.Len
		}
		if kept != 0 {
			t.Fatalf("%d bytes more were to be kept than %v", kept, b.Kept())
		}
		sent := readAll(t, b.Section(context.Background(), 0, b.Size()))
		if !bytes.Equal(sent, rewriteBody(t, b, o.body)) {
			t.Fatal("what is sent is not what is copied")
		}
		b.Close()
		again := finish(t, rec, sent)
		_, r = again.reader(t)
		if p, err := content(context.Background(), r); err != nil || !bytes.Equal(p, now) {
			t.Fatalf("%d bytes, %v", len(p), err)
		}
	})
	if held := c.held.Load(); held < 0 {
		t.Errorf("%d bytes are held", held)
	}
}

// Stored segments that are spoilt are not sent on under a tail that vouches for
// their lengths.
func TestFramedRewriteVerifiesWhatItSends(t *testing.T) {
	const n = 2 * SegmentSize
	was := thin{keystream{"spoilt", n}}.bytes(t)
	o := sealedBy(t, testCompressor(t), file(), Bytes(was), n)
	rec, r := o.reader(t)
	b, err := NewRewrite(t.Context(), rec, testCompressor(t), r, Bytes(was), n, func(i int64) bool { return i == 1 })
	if err != nil {
		t.Fatal(err)
	}
	o.body[1000] ^= 1
	if _, err := io.ReadAll(b.Section(t.Context(), 0, b.Size())); !errors.Is(err, objcrypt.ErrCorrupt) {
		t.Errorf("sent with %v", err)
	}
	if _, err := NewRewrite(t.Context(), rec, nil, r, Bytes(was), n, func(int64) bool { return true }); !errors.Is(err, ErrRecord) {
		t.Errorf("without a compressor: %v", err)
	}
}

// A stream seals its segments in any order, some again, and as long as a part must
// be.
func TestFramedStream(t *testing.T) {
	for _, n := range []int64{0, 5, SegmentSize, 3*SegmentSize + 77} {
		c := testCompressor(t)
		src := thin{keystream{"stream", n}}
		rec := file()
		s, err := NewStream(rec, c, n)
		if err != nil {
			t.Fatal(err)
		}
		o := finish(t, rec, nil)
		must := mustSeal[*section.Section](t)
		var parts []*section.Section
		if n > 3*SegmentSize {
			const least = 5 << 20
			second := must(s.Seal(t.Context(), src, SegmentSize, 2*SegmentSize, least))
			must(s.Seal(t.Context(), keystream{"before", n}, 0, SegmentSize, 0))
			parts = append(parts, must(s.Seal(t.Context(), src, 0, SegmentSize, least)), second)
			for _, p := range parts {
				if p.Size() < least || p.Size() > SegmentSize+SegmentSize/2 {
					t.Errorf("a part of %d bytes", p.Size())
				}
			}
		}
		done := int64(len(parts)) / 2 * 3 * SegmentSize
		last, body, err := s.Finish(t.Context(), src, done, n, lateAttr)
		o.body = concat(t, append(parts, finished(t)(last, body, err))...)
		if int64(len(o.body)) != body {
			t.Errorf("%d bytes: a body of %d, said to be %d", n, len(o.body), body)
		}
		if got, err := o.header.Open(testEpoch("test"), testKey); err != nil || !got.Late || got.SizeKnown {
			t.Errorf("record late %v, size known %v, %v", got.Late, got.SizeKnown, err)
		}
		got, r := o.reader(t)
		if l, err := r.Late(t.Context()); err != nil || l != lateAttr || !got.SizeKnown || got.Size != n {
			t.Errorf("%d bytes: %v, known %v, %d, %v", n, l, got.SizeKnown, got.Size, err)
		}
		if p, err := content(t.Context(), r); err != nil || !bytes.Equal(p, src.bytes(t)) {
			t.Errorf("%d bytes: read %d, %v", n, len(p), err)
		}
		again := finish(t, got, o.body) // a chmod: the size stays known
		if got, r := again.reader(t); got.Late || got.Size != n || r.Size() != n {
			t.Errorf("settled: late %v, %d bytes, %d", got.Late, got.Size, r.Size())
		}
		for _, p := range parts {
			_ = p.Close()
		}
	}
}

// The late block proves the size; a trailer that says another is refused.
func TestFramedSuffix(t *testing.T) {
	const n = SegmentSize + 5
	rec := file()
	s, _ := NewStream(rec, testCompressor(t), n)
	body := readAll(t, finished(t)(s.Finish(t.Context(), thin{keystream{"suffix", n}}, 0, n, lateAttr)))
	o := finish(t, rec, body)
	size := int64(len(body))
	for _, k := range []int64{trailerSize, framedTail(n), TailReadSize} {
		if l, m, err := OpenSuffix(rec, o.header, body[size-k:], size); err != nil || l != lateAttr || m != n {
			t.Errorf("suffix of %d: %v, %d, %v", k, l, m, err)
		}
	}
	for name, at := range map[string]int64{"size": size - 33, "late": size - 100, "lengths": size - 300, "salt": size - framedTail(n)} {
		bad := bytes.Clone(body[size-TailReadSize:])
		bad[TailReadSize-(size-at)] ^= 1
		if _, _, err := OpenSuffix(rec, o.header, bad, size); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := OpenSuffix(rec, o.header, body[size-trailerSize+1:], size); !errors.Is(err, objcrypt.ErrCorrupt) {
		t.Errorf("short: %v", err)
	}
	known := file()
	o = sealedBy(t, testCompressor(t), known, make(Bytes, n), n)
	if l, m, err := OpenSuffix(known, o.header, nil, int64(len(o.body))); err != nil || m != n || l.Version != known.Version {
		t.Errorf("of metadata alone: %v, %d, %v", l, m, err)
	}
}

// What was let go of before it was sent is made again, byte by byte; where the
// plaintext has changed since, nothing of it leaves.
func TestFramesAreMadeAgain(t *testing.T) {
	const n = SegmentSize + 3*FrameSize + 1
	src := Bytes(thin{keystream{"again", n}}.bytes(t))
	c := testCompressor(t)
	b, err := NewBody(t.Context(), file(), c, src, n)
	if err != nil {
		t.Fatal(err)
	}
	first := readAll(t, b.Section(t.Context(), 0, b.Size()))
	b.Close()
	if held := c.held.Load(); held != 0 {
		t.Errorf("%d bytes are held of what was closed", held)
	}
	if again := readAll(t, b.Section(t.Context(), 0, b.Size())); !bytes.Equal(first, again) {
		t.Error("made again it is another")
	}
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.Int64Range(0, b.Size()).Draw(t, "off")
		n := rapid.Int64Range(0, 1<<20).Draw(t, "size")
		if got := readAll(t, b.Section(context.Background(), off, n)); !bytes.Equal(got, first[off:min(b.Size(), off+n)]) {
			t.Fatalf("%d bytes at %d", n, off)
		}
	})
	for _, at := range []int64{3*FrameSize + 100, 5} { // stored and compressed
		src[at] ^= 1
		p, err := io.ReadAll(b.Section(t.Context(), 0, b.Size()))
		if !errors.Is(err, ErrSource) || !bytes.Equal(p, first[:len(p)]) {
			t.Errorf("changed at %d: %d bytes, %v", at, len(p), err)
		}
		src[at] ^= 1
	}
}

// What has no room is not held, and comes all the same.
func TestHeldBytesAreBounded(t *testing.T) {
	const n = SegmentSize
	c := testCompressor(t)
	var all []*Body
	for i := range 6 {
		b, err := NewBody(t.Context(), file(), c, keystream{fmt.Sprint("held", i), n}, n)
		if err != nil {
			t.Fatal(err)
		}
		if held := c.held.Load(); held > heldBytes {
			t.Errorf("%d bytes are held", held)
		}
		all = append(all, b)
	}
	for _, b := range all {
		if p := readAll(t, b.Section(t.Context(), 0, b.Size())); int64(len(p)) != b.Size() {
			t.Errorf("%d bytes", len(p))
		}
		b.Close()
		b.Close()
	}
	if held := c.held.Load(); held != 0 {
		t.Errorf("%d bytes are held in the end", held)
	}
}

// Noise is found out by few tries, and text behind it within a segment.
func TestNoiseIsFoundOut(t *testing.T) {
	c := testCompressor(t)
	var reads atomic.Int64
	const n = SegmentSize
	mixed := sourceFunc(func(ctx context.Context, p []byte, off int64) (int, error) {
		reads.Add(1)
		if off >= n/2 {
			return copy(p, bytes.Repeat([]byte("text "), len(p)/5+1)), nil
		}
		return keystream{"noise", n}.ReadAt(ctx, p, off)
	})
	b, err := NewBody(t.Context(), file(), c, mixed, n)
	if err != nil {
		t.Fatal(err)
	}
	if b.Size() < n/2 || b.Size() > n/2+(maxSkip+1)*FrameSize {
		t.Errorf("half noise, half text: %d bytes", b.Size())
	}
	c.held.Store(heldBytes) // no room: what is stored unseen is not read
	reads.Store(0)
	if _, err = NewBody(t.Context(), file(), c, keystreamCounted(&reads, n), n); err != nil {
		t.Fatal(err)
	}
	if tries := reads.Load(); tries > 7 {
		t.Errorf("%d of %d frames were tried", tries, n/FrameSize)
	}
}

func keystreamCounted(reads *atomic.Int64, n int64) ReaderAt {
	return sourceFunc(func(ctx context.Context, p []byte, off int64) (int, error) {
		reads.Add(1)
		return keystream{"counted", n}.ReadAt(ctx, p, off)
	})
}

func TestRatio(t *testing.T) {
	c := testCompressor(t)
	for name, r := range map[string]struct {
		src         ReaderAt
		least, most float64
	}{
		"text":    {Bytes(strings.Repeat("all work and no play ", 1<<20)), 0, 0.01},
		"noise":   {keystream{"ratio", 8 << 20}, 1, 1.001},
		"nothing": {Bytes(nil), 1, 1},
	} {
		if got := c.Ratio(t.Context(), r.src, 0, 8<<20); got < r.least || got > r.most {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := (*Compressor)(nil).Ratio(t.Context(), Bytes("aaaaaaaaaaaa"), 0, 12); got != 1 {
		t.Errorf("layout 0: %v", got)
	}
}

func TestCompressorLevels(t *testing.T) {
	for _, level := range []int{-1, 0, 23} {
		if _, err := NewCompressor(level); !errors.Is(err, ErrRecord) {
			t.Errorf("level %d: %v", level, err)
		}
	}
	text := Bytes(strings.Repeat("some text, some more text, and text that is not the same as the text before\n", 1<<12))
	for i := range text {
		text[i] += byte(i * i % 7)
	}
	last := int64(1 << 60)
	for _, level := range []int{MinLevel, DefaultLevel, 9, MaxLevel} {
		c, err := NewCompressor(level)
		if err != nil {
			t.Fatal(err)
		}
		o := sealedBy(t, c, file(), text, int64(len(text)))
		if size := int64(len(o.body)); size > last+last/20 {
			t.Errorf("level %d: %d bytes, the level before %d", level, size, last)
		} else {
			last = size
		}
	}
}

func FuzzFramedTail(f *testing.F) {
	const n = SegmentSize + FrameSize + 1
	rec := file()
	rec.Fresh()
	late, _ := lateAttr.seal(rec.DEK, rec.Generation, layoutFrames, n)
	lens := make([]frameLen, frames(n))
	body := framedTail(n)
	for i := range lens {
		lens[i] = frameLen(100 + i)
		body += lens[i].sealed()
	}
	f.Add(makeTail(rec.DEK, rec.Generation, layoutFrames, n, newSalts(2), lens, late), body)
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, tail []byte, body int64) {
		if int64(len(tail)) == framedTail(n) { // as who has the key signs it
			copy(tail[len(tail)-macSize-8:], binary.BigEndian.AppendUint64(nil, n))
			copy(tail[len(tail)-macSize:], tailMAC(rec.DEK, rec.Generation, layoutFrames, tail[:len(tail)-macSize]))
		}
		table, err := parseTail(rec.DEK, rec.Generation, layoutFrames, n, body, tail)
		if err != nil {
			if !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		if end := table.starts[len(table.starts)-1]; end+int64(len(tail)) != body || table.frameAt(frames(n)-1) >= end {
			t.Fatalf("frames end at %d of %d", end, body)
		}
	})
}

// What is compressed in a hostile way is refused, or is the frame.
func FuzzFrame(f *testing.F) {
	c := testCompressor(f)
	r := c.room()
	packed, _ := c.pack(r, bytes.Repeat([]byte("frame "), 1000))
	f.Add(bytes.Clone(packed), 6000)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00}, 1)
	frames := NewFrames()
	f.Fuzz(func(t *testing.T, packed []byte, n int) {
		if n < 0 || n > FrameSize {
			return
		}
		dst := make([]byte, n)
		if err := frames.unpack(dst, packed); err != nil && !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Fatalf("unnamed error: %v", err)
		}
	})
}
