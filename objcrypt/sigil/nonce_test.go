package sigil

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// ledger holds every use of a key and nonce for sealing.
type ledger struct {
	mu     sync.Mutex // guards seen, reused
	seen   map[string][sha256.Size]byte
	reused error
}

// watchSeals fails the test where one (key, nonce) seals two things. The same
// chunk sealed again for a retry is one thing; records and late blocks, which
// have additional data, are sealed once each.
func watchSeals(t *testing.T) *ledger {
	l := &ledger{seen: map[string][sha256.Size]byte{}}
	sealHook = l.use
	t.Cleanup(func() { sealHook = nil })
	return l
}

func (l *ledger) use(key any, nonce, aad, plaintext []byte) {
	pair := fmt.Sprintf("%x/%x", key, nonce)
	is := sha256.Sum256(plaintext)
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, ok := l.seen[pair]; ok && (was != is || len(aad) > 0) {
		l.reused = fmt.Errorf("(key, nonce) %s used again, aad %q", pair, aad)
	}
	l.seen[pair] = is
}

// life is one file under random operations. Only some windows of each section
// are read: what was never read was never sealed.
type life struct {
	t     *rapid.T
	epoch int
	rec   *Record
	n     int64
	state int // changes with the content
	old   *Reader
}

// source is content that differs from state to state in one segment.
func (l *life) source() ReaderAt {
	return keystream{fmt.Sprint("state ", l.state), l.n}
}

func (l *life) size() int64 {
	return rapid.SampledFrom([]int64{0, 1, ChunkSize, ChunkSize + 1, SegmentSize, SegmentSize + 1, 2*SegmentSize + 7}).Draw(l.t, "size")
}

func (l *life) read(s *Section) {
	for range rapid.IntRange(0, 3).Draw(l.t, "windows") {
		_, _ = s.Seek(rapid.Int64Range(0, s.Size()).Draw(l.t, "at"), io.SeekStart)
		if _, err := s.Read(make([]byte, 10)); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, ErrRecord) {
			l.t.Fatal(err)
		}
	}
	_ = s.Close()
}

func (l *life) seal() {
	if l.rec.DEK.IsZero() {
		return
	}
	l.rec.Version++
	_, err := l.rec.Seal(testEpoch(fmt.Sprint(l.epoch)), testKey)
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) body() {
	l.n = l.size()
	l.state++
	if rapid.Bool().Draw(l.t, "new data key") {
		l.rec.DEK = Key{}
	}
	b, err := NewBody(l.rec, l.source(), l.n)
	l.took(b, err)
}

func (l *life) took(b *Body, err error) {
	if err != nil {
		l.t.Fatal(err)
	}
	for range rapid.IntRange(1, 2).Draw(l.t, "sections") {
		off := rapid.Int64Range(0, b.Size()).Draw(l.t, "off")
		l.read(b.Section(context.Background(), off, b.Size()))
	}
	l.remember(b.img.salts)
}

// remember gives the reader of what was written last, as if it were stored.
func (l *life) remember(salts []salt) {
	r, err := NewReader(l.rec, Header{}, Bytes(nil), BodySize(l.n))
	if err != nil {
		l.t.Fatal(err)
	}
	r.table.Store(&table{salts: salts})
	r.final.Store(true)
	l.old = r
}

func (l *life) rewrite() {
	if l.old == nil || l.rec.DEK != l.old.dek {
		return
	}
	l.n = l.size()
	l.state++ // all content differs; kept segments are copied, not sealed
	dirty := rapid.Int64Range(0, 3).Draw(l.t, "changed")
	l.rec.Late = false
	b, err := NewRewrite(context.Background(), l.rec, l.old, l.source(), l.n, func(i int64) bool { return i == dirty })
	l.took(b, err)
}

func (l *life) stream() {
	l.n = rapid.SampledFrom([]int64{SegmentSize + 1, 2 * SegmentSize, 2*SegmentSize + 9}).Draw(l.t, "size")
	s, err := NewStream(l.rec, SegmentSize+1)
	if err != nil {
		l.t.Fatal(err)
	}
	must := mustSection(l.t)
	for range rapid.IntRange(0, 3).Draw(l.t, "seals") {
		l.state++ // the segment changes after it was sealed
		off := rapid.Int64Range(0, s.Segments()).Draw(l.t, "segment") * SegmentSize
		if off < l.n {
			l.read(must(s.Seal(context.Background(), l.source(), off, min(SegmentSize, l.n-off))))
		}
	}
	for range rapid.IntRange(1, 2).Draw(l.t, "finishes") {
		l.state++
		l.read(must(s.Finish(context.Background(), l.source(), 0, l.n, Late{Attr: l.rec.Attr, Version: uint64(l.state)})))
	}
	l.remember(s.salts[:segments(l.n)])
}

// However bodies, rewrites, streams, seals and retries follow one another
// under one record, no key and nonce ever seal two plaintexts.
func TestNoKeyAndNonceIsUsedTwice(t *testing.T) {
	l := watchSeals(t)
	rapid.Check(t, func(t *rapid.T) {
		f := &life{t: t, rec: file()}
		t.Repeat(map[string]func(*rapid.T){
			"body":    func(t *rapid.T) { f.t = t; f.body() },
			"rewrite": func(t *rapid.T) { f.t = t; f.rewrite() },
			"stream":  func(t *rapid.T) { f.t = t; f.stream() },
			"seal":    func(t *rapid.T) { f.t = t; f.seal() },
			"rekey":   func(t *rapid.T) { f.t = t; f.epoch++; f.seal() },
			"": func(t *rapid.T) {
				l.mu.Lock()
				defer l.mu.Unlock()
				if l.reused != nil {
					t.Fatal(l.reused)
				}
			},
		})
	})
	if len(l.seen) < 1000 {
		t.Errorf("only %d uses were seen", len(l.seen))
	}
}
