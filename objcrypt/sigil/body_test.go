package sigil

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/sigilfs/sigilfs/objcrypt"
	"pgregory.net/rapid"
)

// Lengths around every boundary of the format.
var boundaries = []int64{
	0, 1, ChunkSize - 1, ChunkSize, ChunkSize + 1, 3*ChunkSize + 5,
	SegmentSize - 1, SegmentSize, SegmentSize + 1, SegmentSize + ChunkSize,
	2*SegmentSize - 1, 2 * SegmentSize, 2*SegmentSize + 1,
}

func TestBodiesComeBack(t *testing.T) {
	for _, n := range boundaries {
		src := keystream{"body", n}
		rec := file()
		o := sealed(t, rec, src, n)
		if int64(len(o.body)) != BodySize(n) {
			t.Fatalf("%d bytes: body of %d, want %d", n, len(o.body), BodySize(n))
		}
		got, r := o.reader(t)
		if r.Size() != n || !got.SizeKnown || got.Size != n || got.Late {
			t.Errorf("%d bytes: reader says %d, record %v, %d", n, r.Size(), got.SizeKnown, got.Size)
		}
		p, err := content(t.Context(), r)
		if err != nil || !bytes.Equal(p, src.bytes(t)) {
			t.Errorf("%d bytes come back as %d others, %v", n, len(p), err)
		}
	}
}

// Whatever range is read, it is the plaintext's, with io.EOF where it ends.
func TestReadAtIsThatOfThePlaintext(t *testing.T) {
	for _, n := range []int64{0, 1, 200_000, SegmentSize, 2*SegmentSize + 70_000} {
		src := keystream{"random access", n}
		want := bytes.NewReader(src.bytes(t))
		o := sealed(t, file(), src, n)
		rapid.Check(t, func(t *rapid.T) {
			_, r := o.reader(t)
			for range rapid.IntRange(1, 4).Draw(t, "reads") {
				off := rapid.Int64Range(0, n+5).Draw(t, "off")
				if edge := rapid.SampledFrom([]int64{0, ChunkSize, SegmentSize, n}).Draw(t, "edge"); rapid.Bool().Draw(t, "at an edge") {
					off = max(0, edge+rapid.Int64Range(-2, 2).Draw(t, "by"))
				}
				size := rapid.SampledFrom([]int{0, 1, 2, 100, ChunkSize, ChunkSize + 1, 200_000, SegmentSize + 1}).Draw(t, "size")
				got, exp := make([]byte, size), make([]byte, size)
				k, err := r.ReadAt(context.Background(), got, off)
				wantK, wantErr := want.ReadAt(exp, off)
				if size == 0 {
					wantErr = nil
				}
				if k != wantK || !errors.Is(err, wantErr) || !bytes.Equal(got, exp) {
					t.Fatalf("%d bytes at %d of %d: %d, %v, want %d, %v", size, off, n, k, err, wantK, wantErr)
				}
			}
		})
	}
}

func TestReadBeforeTheBeginning(t *testing.T) {
	_, r := sealed(t, file(), Bytes("abc"), 3).reader(t)
	if n, err := r.ReadAt(t.Context(), make([]byte, 1), -1); n != 0 || err == nil || errors.Is(err, objcrypt.ErrCorrupt) {
		t.Errorf("read at -1: %d, %v", n, err)
	}
}

// A section gives the bytes of the body, in whatever pieces, and the same
// again after a seek; several can be read at once.
func TestSectionsAreTheBody(t *testing.T) {
	const n = SegmentSize + 3*ChunkSize + 77
	rec := file()
	b, err := NewBody(t.Context(), rec, nil, keystream{"sections", n}, n)
	if err != nil {
		t.Fatal(err)
	}
	whole := readAll(t, b.Section(t.Context(), 0, b.Size()))
	if b.PlainSize() != n || b.Size() != int64(len(whole)) || b.Kept() != nil {
		t.Errorf("sizes %d, %d", b.PlainSize(), b.Size())
	}
	if err := iotest.TestReader(b.Section(t.Context(), SegmentSize-100_000, 299_000), whole[SegmentSize-100_000:][:299_000]); err != nil {
		t.Error(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.Int64Range(-5, b.Size()+5).Draw(t, "off")
		size := rapid.Int64Range(-5, b.Size()).Draw(t, "size")
		s := b.Section(context.Background(), off, size)
		from := max(0, min(off, b.Size()))
		want := whole[from : from+max(0, min(size, b.Size()-from))]
		if s.Size() != int64(len(want)) || !bytes.Equal(readAll(t, s), want) {
			t.Fatalf("section %d+%d differs", off, size)
		}
		at := rapid.Int64Range(0, s.Size()).Draw(t, "seek")
		if _, err := s.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, min(1000, s.Size()-at))
		if _, err := io.ReadFull(s, p); err != nil || !bytes.Equal(p, want[at:][:len(p)]) {
			t.Fatalf("section %d+%d differs at its %d, %v", off, size, at, err)
		}
		_ = s.Close()
	})
}

// One plaintext under one key and nonce: where the source changed, the second
// ciphertext is not released.
func TestSourceThatChanges(t *testing.T) {
	src := Bytes(bytes.Repeat([]byte("a"), 3*ChunkSize))
	b, err := NewBody(t.Context(), file(), nil, src, int64(len(src)))
	if err != nil {
		t.Fatal(err)
	}
	s := b.Section(t.Context(), 0, b.Size())
	first := readAll(t, s)
	src[ChunkSize] = 'b'
	_, _ = s.Seek(0, io.SeekStart)
	p, err := io.ReadAll(s)
	if !errors.Is(err, ErrSource) || len(p) != 0 {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	src[ChunkSize] = 'a'
	if again := readAll(t, b.Section(t.Context(), 0, b.Size())); !bytes.Equal(again, first) {
		t.Error("a retry gives other bytes")
	}
}

func TestSourceThatFails(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		src  ReaderAt
		want error
	}{
		"ends early":      {Bytes("ab"), ErrSource},
		"ends without it": {sourceFunc(func(context.Context, []byte, int64) (int, error) { return 1, nil }), ErrSource},
		"fails":           {sourceFunc(func(context.Context, []byte, int64) (int, error) { return 1, boom }), boom},
		"is cancelled":    {sourceFunc(func(ctx context.Context, _ []byte, _ int64) (int, error) { return 0, ctx.Err() }), context.Canceled},
	} {
		b, err := NewBody(t.Context(), file(), nil, c.src, 3)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if p, err := io.ReadAll(b.Section(ctx, 0, b.Size())); len(p) != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
	}
}

func TestBodiesThatCannotBe(t *testing.T) {
	dir, fifo, link := file(), file(), file()
	dir.Mode, fifo.Mode, link.Inode = typeDir|0o755, typeFifo|0o600, [16]byte{1}
	for name, c := range map[string]struct {
		rec *Record
		n   int64
	}{
		"negative": {file(), -1}, "too long": {file(), MaxSize + 1},
		"directory": {dir, 1}, "fifo": {fifo, 1}, "hard-link name": {link, 1},
	} {
		if _, err := NewBody(t.Context(), c.rec, nil, Bytes("x"), c.n); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKindsOfFiles(t *testing.T) {
	for name, c := range map[string]struct {
		mode  uint32
		inode byte
		body  int64
	}{
		"directory": {typeDir | 0o755, 0, 0}, "fifo": {typeFifo | 0o600, 0, 16}, "socket": {typeSocket | 0o600, 0, 16},
		"device": {typeChar | 0o600, 0, 16}, "disk": {typeBlock | 0o600, 0, 16}, "hard-link name": {typeRegular | 0o600, 7, 16},
	} {
		rec := file()
		rec.Mode, rec.Inode[3] = c.mode, c.inode
		o := sealed(t, rec, nil, 0)
		if int64(len(o.body)) != c.body {
			t.Errorf("%s: body of %d bytes", name, len(o.body))
		}
		got, r := o.reader(t)
		if p, err := content(t.Context(), r); err != nil || len(p) != 0 {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
		if err := r.Verify(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, size := range []int64{0, 16, 17} {
			if _, err := NewReader(got, o.header, Bytes(nil), size, nil); (err == nil) != (size == c.body) || err != nil && !errors.Is(err, objcrypt.ErrCorrupt) {
				t.Errorf("%s with a body of %d bytes: %v", name, size, err)
			}
		}
	}
}
