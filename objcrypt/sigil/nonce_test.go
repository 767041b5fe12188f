package sigil

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// ledger holds every use of a key and nonce, as what came out shows it: it says
// under which pair docs/FORMAT.md has the bytes sealed, and holds them to that
// by opening them.
type ledger map[string][sha256.Size]byte

// add fails the test where the pair sealed something else before, or where
// sealed does not open under it. The same chunk sealed again for a retry is the
// same bytes; records and late blocks, which have additional data, are sealed
// once each.
func (l ledger) add(t tb, key, nonce, sealed, aad []byte) {
	t.Helper()
	pair := fmt.Sprintf("%x/%x", sha256.Sum256(key), nonce)
	if _, err := newAEAD(bytes.Clone(key)).Open(nil, nonce, sealed, aad); err != nil {
		t.Fatalf("%d bytes were not sealed under the key and nonce of their place, aad %q", len(sealed), aad)
	}
	is := sha256.Sum256(sealed)
	if was, ok := l[pair]; ok && (was != is || len(aad) > 0) {
		t.Fatalf("(key, nonce) %s used again, aad %q", pair, aad)
	}
	l[pair] = is
}

// chunk adds the sealed chunk c of an image.
func (l ledger) chunk(t tb, i *image, c int64, sealed []byte) {
	t.Helper()
	s := c / chunksPerSegment
	info := binary.BigEndian.AppendUint64([]byte("sigil/v1/segment"), uint64(i.first+s))
	nonce := make([]byte, 4, 12)
	if i.final && c == i.chunks()-1 {
		nonce[0] = 1
	}
	nonce = binary.BigEndian.AppendUint64(nonce, uint64(c%chunksPerSegment))
	l.add(t, derive(i.dek[:], i.salts[s][:], string(info), 32), nonce, sealed, nil)
}

// frames adds those of segment s of what is packed, in sealed.
func (l ledger) frames(t tb, p *packed, s int64, sealed []byte) {
	t.Helper()
	info := binary.BigEndian.AppendUint64([]byte("sigil/v1/segment"), uint64(p.first+s))
	key := derive(p.dek[:], p.salts[s][:], string(info), 32)
	for i, size := range p.segment(s) {
		nonce := binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(i))
		l.add(t, key, nonce, sealed[:size.sealed()], nil)
		sealed = sealed[size.sealed():]
	}
}

// late adds the late block of a tail.
func (l ledger) late(t tb, dek Key, g Generation, layout byte, n int64, tail []byte) {
	t.Helper()
	block := tail[len(tail)-trailerSize:][:lateSize]
	aad := binary.BigEndian.AppendUint64(append([]byte("sigil/v1/late"), layout), uint64(n))
	l.add(t, derive(dek[:], g[:], "sigil/v1/late", 32), block[:12], block[12:], aad)
}

// record adds a header's.
func (l ledger) record(t tb, e Epoch, h Header) {
	t.Helper()
	key := derive(e.Key[:], []byte(h.seal[:16]), "sigil/v1/seal", 64)[:32]
	l.add(t, key, make([]byte, 12), []byte(h.seal[48:]), []byte(h.Metadata()[MetaSigil]))
}

// life is one file under random operations. Only some windows of each section
// are read: what was never read was never sealed.
type life struct {
	t      *rapid.T
	uses   ledger
	epoch  int
	rec    *Record
	comp   *Compressor // nil for layout 0
	frames *Frames
	n      int64
	state  int // changes with the content
	old    *Reader
}

// source is content that differs from state to state in one segment.
func (l *life) source() ReaderAt {
	all := keystream{fmt.Sprint("state ", l.state), l.n}
	if l.comp == nil {
		return all
	}
	return thin{all}
}

func (l *life) size() int64 {
	if l.comp != nil && rapid.IntRange(0, 29).Draw(l.t, "short") > 0 { // compressing takes its time
		return rapid.SampledFrom([]int64{0, 1, FrameSize, FrameSize + 1}).Draw(l.t, "size")
	} else if l.comp != nil {
		return SegmentSize + 5
	}
	return rapid.SampledFrom([]int64{0, 1, ChunkSize, ChunkSize + 1, SegmentSize, SegmentSize + 1, 2*SegmentSize + 7}).Draw(l.t, "size")
}

// read takes some of what was made into the ledger, from off on.
func (l *life) read(made ciphertext, off int64) {
	switch c := made.(type) {
	case *image:
		l.readChunks(c, off)
	case *packed:
		l.readFrames(c)
	}
}

// readFrames reads whole segments, as they were held or made again.
func (l *life) readFrames(p *packed) {
	for range rapid.IntRange(0, 3).Draw(l.t, "reads") {
		if len(p.salts) == 0 {
			return
		}
		s := rapid.Int64Range(0, int64(len(p.salts))-1).Draw(l.t, "at")
		if p.keeps(s) {
			continue
		}
		if rapid.Bool().Draw(l.t, "let go") {
			p.release()
		}
		l.uses.frames(l.t, p, s, readAll(l.t, p.section(context.Background(), p.starts[s], p.starts[s+1]-p.starts[s])))
	}
}

// readChunks takes windows out of a section, and each whole chunk of them into the
// ledger. The section is all of img from off on.
func (l *life) readChunks(img *image, off int64) {
	s := img.section(context.Background(), off, img.size())
	first, chunks := ceil(off, sealedChunk), img.chunks()
	for range rapid.IntRange(0, 3).Draw(l.t, "windows") {
		if first >= chunks {
			break
		}
		c := rapid.Int64Range(first, chunks-1).Draw(l.t, "at")
		end := min(c+windowChunks, chunks)
		p := make([]byte, min(end*sealedChunk, img.sealed())-c*sealedChunk)
		n, err := s.ReadAt(p, c*sealedChunk-off)
		if n != len(p) && !errors.Is(err, ErrRecord) {
			l.t.Fatal(n, err)
		}
		for ; c < end && n == len(p); c++ {
			size := min(sealedChunk, len(p))
			l.uses.chunk(l.t, img, c, p[:size])
			p, n = p[size:], n-size
		}
	}
	_ = s.Close()
}

func (l *life) seal() {
	if l.rec.DEK.IsZero() {
		return
	}
	l.rec.Version++
	e := testEpoch(fmt.Sprint(l.epoch))
	h, err := l.rec.Seal(e, testKey)
	if err != nil {
		l.t.Fatal(err)
	}
	l.uses.record(l.t, e, h)
}

func (l *life) body() {
	l.n = l.size()
	l.state++
	if rapid.Bool().Draw(l.t, "new data key") {
		l.rec.DEK = Key{}
	}
	b, err := NewBody(context.Background(), l.rec, l.comp, l.source(), l.n)
	l.took(b, err)
}

func (l *life) took(b *Body, err error) {
	if err != nil {
		l.t.Fatal(err)
	}
	tail := tailOf(b.made)
	if tail != nil {
		l.uses.late(l.t, l.rec.DEK, l.rec.Generation, l.rec.Layout, l.n, tail)
	}
	for range rapid.IntRange(1, 2).Draw(l.t, "sections") {
		l.read(b.made, rapid.Int64Range(0, b.Size()).Draw(l.t, "off"))
	}
	l.remember(b.Size(), tail)
}

func tailOf(made ciphertext) []byte {
	if p, ok := made.(*packed); ok {
		return p.tail
	}
	return made.(*image).tail
}

// remember gives the reader of what was written last, as if it were stored.
func (l *life) remember(body int64, tail []byte) {
	l.rec.Settle(Late{Attr: l.rec.Attr, Version: l.rec.Version}, l.n)
	r, err := NewReader(l.rec, Header{Layout: l.rec.Layout}, Bytes(nil), body, l.frames)
	if err != nil {
		l.t.Fatal(err)
	}
	if tail != nil {
		t, err := parseTail(r.dek, r.gen, r.layout, l.n, body, tail)
		if err != nil {
			l.t.Fatal(err)
		}
		r.table.Store(t)
	}
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
	b, err := NewRewrite(context.Background(), l.rec, l.comp, l.old, l.source(), l.n, func(i int64) bool { return i == dirty })
	l.took(b, err)
}

func (l *life) stream() {
	if l.n = rapid.SampledFrom([]int64{SegmentSize + 1, 2 * SegmentSize, 2*SegmentSize + 9}).Draw(l.t, "size"); l.comp != nil {
		l.n = l.size()
	}
	s, err := NewStream(l.rec, l.comp, SegmentSize+1)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx := context.Background()
	for range rapid.IntRange(0, 3).Draw(l.t, "seals") {
		l.state++ // the segment changes after it was sealed
		off := rapid.Int64Range(0, s.Segments()).Draw(l.t, "segment") * SegmentSize
		if off < l.n {
			least := rapid.SampledFrom([]int64{0, 100 << 10, 5 << 20}).Draw(l.t, "least")
			made, err := s.seal(ctx, l.source(), off, min(SegmentSize, l.n-off), least)
			l.read(mustSeal[ciphertext](l.t)(made, err), 0)
		}
	}
	for range rapid.IntRange(1, 2).Draw(l.t, "finishes") {
		l.state++
		end, body, err := s.finish(ctx, l.source(), 0, l.n, Late{Attr: l.rec.Attr, Version: uint64(l.state)})
		mustSeal[ciphertext](l.t)(end, err)
		l.uses.late(l.t, l.rec.DEK, l.rec.Generation, l.rec.Layout, l.n, tailOf(end))
		l.read(end, 0)
		l.remember(body, tailOf(end))
	}
}

// However bodies, rewrites, streams, seals and retries follow one another
// under one record, no key and nonce ever seal two plaintexts.
func TestNoKeyAndNonceIsUsedTwice(t *testing.T) {
	uses, comp, frames := ledger{}, testCompressor(t), NewFrames()
	rapid.Check(t, func(t *rapid.T) {
		f := &life{t: t, uses: uses, rec: file(), frames: frames}
		if rapid.IntRange(0, 24).Draw(t, "compressed") == 0 {
			f.comp = comp
		}
		t.Repeat(map[string]func(*rapid.T){
			"body":    func(t *rapid.T) { f.t = t; f.body() },
			"rewrite": func(t *rapid.T) { f.t = t; f.rewrite() },
			"stream":  func(t *rapid.T) { f.t = t; f.stream() },
			"seal":    func(t *rapid.T) { f.t = t; f.seal() },
			"rekey":   func(t *rapid.T) { f.t = t; f.epoch++; f.seal() },
		})
	})
	if len(uses) < 1000 {
		t.Errorf("only %d uses were seen", len(uses))
	}
}
