package sigil

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

func TestReaderHoldsLengthsAgainstTheRecord(t *testing.T) {
	late := file()
	late.Late = true
	sized := file()
	sized.Size, sized.SizeKnown = 5, true
	for name, c := range map[string]struct {
		rec  *Record
		h    Header
		size int64
		want error
	}{
		"good":              {file(), Header{}, 21, nil},
		"layout 2":          {file(), Header{Layout: 2}, 21, objcrypt.ErrVersion},
		"nothing":           {file(), Header{}, 0, objcrypt.ErrCorrupt},
		"impossible":        {file(), Header{}, 65553, objcrypt.ErrCorrupt},
		"record agrees":     {sized, Header{}, 21, nil},
		"record disagrees":  {sized, Header{}, 22, objcrypt.ErrCorrupt},
		"late without tail": {late, Header{}, 21, objcrypt.ErrCorrupt},
		"late with tail":    {late, Header{}, BodySize(SegmentSize + 1), nil},
	} {
		if _, err := NewReader(c.rec, c.h, Bytes(nil), c.size, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, _, err := OpenSuffix(c.rec, c.h, nil, c.size); c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s, suffix: %v, want %v", name, err, c.want)
		}
	}
}

// watchedSource counts requests and can spoil them.
type watchedSource struct {
	body  Bytes
	mu    sync.Mutex // guards reads
	reads [][2]int64
	fail  func(off int64) error
}

func (s *watchedSource) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	s.mu.Lock()
	s.reads = append(s.reads, [2]int64{off, int64(len(p))})
	s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(off); err != nil {
			return 0, err
		}
	}
	return s.body.ReadAt(ctx, p, off)
}

// The first read fetches the tail beside the data, later ones only the chunks
// they need, in one request.
func TestReaderFetchesWhatItNeeds(t *testing.T) {
	const n = 2*SegmentSize + 100
	o := sealed(t, file(), keystream{"fetch", n}, n)
	src := &watchedSource{body: o.body}
	rec, _ := o.reader(t)
	r, err := NewReader(rec, o.header, src, int64(len(o.body)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off, size int64
		reads     int
	}{
		{SegmentSize - 10, 20, 2}, // and the tail
		{SegmentSize - 10, 20, 1}, // across two segments
		{0, 5 * ChunkSize, 1},
		{0, SegmentSize, 1},
		{1, SegmentSize, 2}, // 129 chunks are over a segment's worth
	} {
		src.reads = nil
		if _, err := r.ReadAt(t.Context(), make([]byte, c.size), c.off); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, r := range src.reads {
			total += r[1]
		}
		most := c.size + 2*ChunkSize + (c.size/ChunkSize+2)*TagSize
		if c.reads == 2 {
			most += TailSize(layoutChunks, n)
		}
		if len(src.reads) != c.reads || total > most {
			t.Errorf("%d bytes at %d: read %v", c.size, c.off, src.reads)
		}
	}
}

// No byte of a body leaves before its tail is verified, and one that failed is
// asked for again.
func TestReaderVerifiesTheTailFirst(t *testing.T) {
	const n = SegmentSize + 1
	o := sealed(t, file(), keystream{"tail", n}, n)
	boom := errors.New("boom")
	tailAt := int64(len(o.body)) - TailSize(layoutChunks, n)
	src := &watchedSource{body: o.body, fail: func(off int64) error {
		if off == tailAt {
			return boom
		}
		return nil
	}}
	rec, _ := o.reader(t)
	r, _ := NewReader(rec, o.header, src, int64(len(o.body)), nil)
	p := make([]byte, 100)
	if k, err := r.ReadAt(t.Context(), p, 0); k != 0 || !errors.Is(err, boom) || !bytes.Equal(p, make([]byte, 100)) {
		t.Fatalf("without a tail: %d, %v", k, err)
	}
	src.fail = nil
	o.body[tailAt] ^= 1
	if k, err := r.ReadAt(t.Context(), p, 0); k != 0 || !errors.Is(err, objcrypt.ErrCorrupt) || !bytes.Equal(p, make([]byte, 100)) {
		t.Fatalf("with a bad tail: %d, %v", k, err)
	}
	o.body[tailAt] ^= 1
	if k, err := r.ReadAt(t.Context(), p, 0); k != 100 || err != nil {
		t.Fatalf("with the tail again: %d, %v", k, err)
	}
}

// End-of-file is said only where it was proved.
func TestReaderProvesTheEnd(t *testing.T) {
	for _, n := range []int64{0, 100, ChunkSize, 2 * ChunkSize, SegmentSize, SegmentSize + ChunkSize} {
		o := sealed(t, file(), keystream{"end", n}, n)
		o.body[len(o.body)-1] ^= 1
		rec, r := o.reader(t)
		p := bytes.Repeat([]byte{0xee}, 10)
		if k, err := r.ReadAt(t.Context(), p, n); k != 0 || !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%d bytes, read at the end: %d, %v", n, k, err)
		}
		if err := r.Verify(t.Context()); !errors.Is(err, objcrypt.ErrCorrupt) {
			t.Errorf("%d bytes, verify: %v", n, err)
		}
		o.body[len(o.body)-1] ^= 1
		src := &watchedSource{body: o.body}
		r, _ = NewReader(rec, o.header, src, int64(len(o.body)), nil)
		for range 2 {
			if k, err := r.ReadAt(t.Context(), p, n); k != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%d bytes, read at the end: %d, %v", n, k, err)
			}
		}
		if len(src.reads) != 1 {
			t.Errorf("%d bytes: the end was proved by %v", n, src.reads)
		}
	}
}

// On a failure nothing is returned, not even what came before in the buffer.
func TestReaderReturnsNothingOfABadRead(t *testing.T) {
	const n = SegmentSize + 5*ChunkSize
	o := sealed(t, file(), keystream{"bad", n}, n)
	o.body[3*sealedChunk] ^= 1
	_, r := o.reader(t)
	p := make([]byte, SegmentSize+ChunkSize)
	if k, err := r.ReadAt(t.Context(), p, 0); k != 0 || !errors.Is(err, objcrypt.ErrCorrupt) || !bytes.Equal(p, make([]byte, len(p))) {
		t.Errorf("%d bytes, %v", k, err)
	}
	if k, err := r.ReadAt(t.Context(), p[:ChunkSize], 4*ChunkSize); k != ChunkSize || err != nil {
		t.Errorf("beside the bad chunk: %d, %v", k, err)
	}
}

func TestReaderErrorsOfTheSource(t *testing.T) {
	const n = 1000
	o := sealed(t, file(), keystream{"source", n}, n)
	rec, _ := o.reader(t)
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"ends":                {io.EOF, objcrypt.ErrCorrupt},
		"short without error": {nil, objcrypt.ErrCorrupt},
		"broken connection":   {io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
		"cancelled":           {context.Canceled, context.Canceled},
	} {
		src := sourceFunc(func(context.Context, []byte, int64) (int, error) { return 10, c.err })
		r, _ := NewReader(rec, o.header, src, int64(len(o.body)), nil)
		k, err := r.ReadAt(t.Context(), make([]byte, 5), 0)
		if k != 0 || !errors.Is(err, c.want) || errors.Is(err, objcrypt.ErrCorrupt) != (c.want == objcrypt.ErrCorrupt) {
			t.Errorf("%s: %d, %v", name, k, err)
		}
	}
}

// Who waits for another's fetch of the tail leaves with his own context, and
// the tail is fetched once for all.
func TestReaderWaitsForTheTailByContext(t *testing.T) {
	const n = SegmentSize + 1
	o := sealed(t, file(), keystream{"wait", n}, n)
	rec, _ := o.reader(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var tails atomic.Int32
	src := sourceFunc(func(ctx context.Context, p []byte, off int64) (int, error) {
		if off >= SegmentSize+2048+17 { // the tail
			if tails.Add(1) == 1 {
				close(entered)
			}
			<-release
		}
		return Bytes(o.body).ReadAt(ctx, p, off)
	})
	r, _ := NewReader(rec, o.header, src, int64(len(o.body)), nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := r.ReadAt(t.Context(), make([]byte, 10), 0); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(release)
	wg.Wait()
	if tails.Load() != 1 {
		t.Errorf("tail was fetched %d times", tails.Load())
	}
}

func TestReaderIsConcurrent(t *testing.T) {
	const n = 3*SegmentSize + 12345
	want := keystream{"many", n}.bytes(t)
	_, r := sealed(t, file(), Bytes(want), n).reader(t)
	var wg sync.WaitGroup
	for g := range int64(4) {
		wg.Go(func() {
			p := make([]byte, 100_000)
			for i := range int64(40) {
				off := (g*7_777_777 + i*1_234_567) % n
				k, err := r.ReadAt(t.Context(), p, off)
				if err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(p[:k], want[off:off+int64(k)]) {
					t.Errorf("at %d: %d, %v", off, k, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSuffixServesTheEnd(t *testing.T) {
	const n = SegmentSize + 100
	o := sealed(t, file(), keystream{"suffix", n}, n)
	rec, _ := o.reader(t)
	src := &watchedSource{body: o.body}
	size := int64(len(o.body))
	r, _ := NewReader(rec, o.header, WithSuffix(src, o.body[size-TailReadSize:], size), size, nil)
	if err := r.Verify(t.Context()); err != nil || len(src.reads) != 0 {
		t.Errorf("tail out of the suffix: %v, read %v", err, src.reads)
	}
	p, err := content(t.Context(), r)
	if err != nil || int64(len(p)) != n || len(src.reads) == 0 {
		t.Errorf("%d bytes, %v", len(p), err)
	}
}
