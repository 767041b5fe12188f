package sigil

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// signed is a tail as who has the data key can make it.
type signed struct {
	layout byte
	n      int64
	salts  []salt
	lens   []frameLen
	late   []byte
}

func (s signed) tail(rec *Record) []byte {
	return makeTail(rec.DEK, rec.Generation, s.layout, s.n, s.salts, s.lens, s.late)
}

// lensOf gives the lengths of frames that are all compressed.
func lensOf(frames [][]byte) (lens []frameLen) {
	for _, f := range frames {
		lens = append(lens, frameLen(len(f)+TagSize))
	}
	return lens
}

// parsedTail takes the tail of an object of layout 1 apart.
func parsedTail(tail []byte, n int64) signed {
	s := signed{layout: layoutFrames, n: n, salts: saltsOf(tail, n)}
	lens := tail[saltSize*len(s.salts):]
	for f := range frames(n) {
		s.lens = append(s.lens, frameLenAt(lens, f))
	}
	s.late, _ = splitTrailer(tail)
	return s
}

// packedFrames gives the frames of a body before they were sealed, nil where they
// are stored.
func packedFrames(t testing.TB, rec *Record, body []byte, n int64) [][]byte {
	t.Helper()
	s := parsedTail(body[int64(len(body))-framedTail(n):], n)
	all := make([][]byte, len(s.lens))
	at := int64(0)
	for f, l := range s.lens {
		index := int64(f) / framesPerSegment
		nonce := chunkNonce(int64(f)%framesPerSegment, false)
		p, err := segmentAEAD(rec.DEK, s.salts[index], index).Open(nil, nonce[:], body[at:at+l.sealed()], nil)
		if err != nil {
			t.Fatal(err)
		}
		if !l.stored() {
			all[f] = p
		}
		at += l.sealed()
	}
	return all
}

// zstdStream compresses as who does not know the length.
func zstdStream(t testing.TB, p []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	e, err := zstd.NewWriter(&b, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for half := range slices.Chunk(p, len(p)/2+1) {
		if _, err := e.Write(half); err != nil {
			t.Fatal(err)
		}
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdWhole(t testing.TB, p []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(p, nil)
}

func (g *generator) tamperFrames() {
	g.Helper()
	g.tamperOneFrame()
	g.tamperLengths()
	g.tamperZstd()
	g.tamperManyFrames()
	g.tamperLayout()
	g.tamperFramedLate()
}

// opened gives an object, its record and its tail.
func (g *generator) opened(name string) (vector, *Record, signed) {
	g.Helper()
	o := g.v.object(g, name)
	h, err := ParseHeader(o.Metadata)
	if err != nil {
		g.Fatal(err)
	}
	rec, err := h.Open(g.epoch, o.Key)
	if err != nil {
		g.Fatal(err)
	}
	return o, rec, parsedTail(o.Tail, o.Size)
}

// resigned adds a case of another tail, signed anew.
func (g *generator) resigned(name, of string, change func(s *signed)) {
	g.Helper()
	o, rec, s := g.opened(of)
	change(&s)
	g.bad(name, of, "ErrCorrupt", edit{Op: "truncate", At: -int64(len(o.Tail))}, edit{Op: "append", Hex: hex.EncodeToString(s.tail(rec))})
}

// forged adds a case of one frame of the plaintext, sealed and signed anew.
func (g *generator) forged(name string, data []byte, stored frameLen) {
	g.Helper()
	const of = "compressed"
	_, rec, s := g.opened(of)
	s.lens[0] = frameLen(len(data)+TagSize) | stored
	body := append(sealFrames(rec.DEK, s.salts, make([]byte, s.n), [][]byte{data}), s.tail(rec)...)
	g.bad(name, of, "ErrCorrupt", edit{Op: "truncate"}, edit{Op: "append", Hex: hex.EncodeToString(body)})
}

func (g *generator) tamperOneFrame() {
	g.Helper()
	const of = "compressed"
	o := g.v.object(g, of)
	tail := int64(len(o.Tail))
	flip := func(name string, at int64) { g.bad(name, of, "ErrCorrupt", edit{Op: "xor", At: at, Hex: "01"}) }
	flip("frame flipped", 0)
	flip("frame's tag flipped", -tail-1)
	flip("frame's salt flipped", -tail)
	flip("frame's length flipped", -tail+saltSize+2)
	flip("frame's mark of storage flipped in", -tail+saltSize)
	flip("late block beside frames flipped", -tail+saltSize+frameLenSize+5)
	flip("size in the tail of frames flipped", -macSize-1)
	flip("MAC of frames flipped", -1)
	g.bad("frames' tail removed", of, "ErrCorrupt", edit{Op: "truncate", At: -tail})
	g.bad("frames truncated by a byte", of, "ErrCorrupt", edit{Op: "truncate", At: -1})
	g.bad("frames truncated to nothing", "frames, size unknown", "ErrCorrupt", edit{Op: "truncate"})
	g.bad("frames truncated to a trailer", "frames, size unknown", "ErrCorrupt", edit{Op: "cut", Len: o.BodySize - trailerSize})
	g.bad("frames extended by a byte", "frames, size unknown", "ErrCorrupt", edit{Op: "append", Hex: "00"})
	g.bad("frames extended before the tail", "frames, size unknown", "ErrCorrupt", edit{Op: "append", Hex: "00"},
		edit{Op: "copy", From: "frames, size unknown", Src: o.BodySize - tail, Len: tail, At: -tail})
	g.bad("frames of nothing flipped", "frames 0", "ErrCorrupt", edit{Op: "xor", At: 7, Hex: "10"})
	g.bad("frames of nothing removed", "frames 0", "ErrCorrupt", edit{Op: "truncate"})
	g.bad("frames of another object", of, "ErrCorrupt", edit{Op: "truncate"}, edit{Op: "copy", From: "compressed too", Len: g.v.object(g, "compressed too").BodySize})
}

// tamperLengths makes tails that say of frames what is not so.
func (g *generator) tamperLengths() {
	g.Helper()
	length := func(name, of string, f int, l frameLen) {
		g.resigned(name, of, func(s *signed) { s.lens[f] = l })
	}
	_, _, s := g.opened("compressed")
	length("length a byte more than the frame's", "compressed", 0, s.lens[0]+1)
	length("length a byte less than the frame's", "compressed", 0, s.lens[0]-1)
	length("length of a tag alone", "compressed", 0, TagSize)
	length("length of nothing", "compressed", 0, 0)
	length("length over a frame's", "compressed", 0, maxSealedFrame+1)
	length("compressed frame said to be stored", "compressed", 0, s.lens[0]|storedFrame)
	length("stored frame said to be compressed", "stored", 0, maxSealedFrame)
	length("stored frame a byte longer", "stored", 1, storedLen(1001))
	g.resigned("frames that end elsewhere", "frames 262145", func(s *signed) {
		s.lens[0]--
		s.lens[1]++
	})
	g.resigned("stored frames that end elsewhere", "stored", func(s *signed) { s.lens[0], s.lens[1] = maxSealedFrame-1, 1000+TagSize+1 })
	size := func(name, of string, n int64, frames int) {
		g.resigned(name, of, func(s *signed) {
			s.n = n
			s.lens = append(s.lens, minSealedFrame)[:frames]
			s.salts = s.salts[:min(1, frames)]
		})
	}
	size("size in the tail other than the record's", "compressed", 301, 1)
	size("size in the tail a byte more", "frames, size unknown", 301, 1)
	size("size in the tail a byte less", "frames, size unknown", 299, 1)
	size("size in the tail a frame more", "frames, size unknown", FrameSize+300, 2)
	size("size in the tail nothing", "frames, size unknown", 0, 0)
	size("size in the tail of 5 TB", "frames, size unknown", MaxSize, 2)
	size("size in the tail of 8 EiB", "frames, size unknown", 1<<63-1, 2)
	size("size in the tail over all sizes", "frames, size unknown", -1, 2)
}

// tamperZstd makes frames that authenticate and are not the plaintext's.
func (g *generator) tamperZstd() {
	g.Helper()
	o := g.v.object(g, "compressed")
	plain, good, none := o.plaintext(g), o.Frames[0], frameLen(0)
	bomb := make([]byte, 64<<20)
	long := append(bytes.Clone(plain), 0)
	short := plain[:len(plain)-1]
	window := zstd.WithWindowSize(2 * maxWindow)
	if good[4]&0x20 != 0 {
		g.Fatal("a single segment: there is no window before the dictionary's id")
	}
	g.forged("frame that expands to a byte more, declared", zstdWhole(g, long), none)
	g.forged("frame that expands to a byte more, not declared", zstdStream(g, long), none)
	g.forged("frame that expands to a byte less, declared", zstdWhole(g, short), none)
	g.forged("frame that expands to a byte less, not declared", zstdStream(g, short), none)
	g.forged("frame that expands to 64 MiB, declared", zstdWhole(g, bomb), none)
	g.forged("frame that expands to 64 MiB, not declared", zstdStream(g, bomb), none)
	g.forged("frame that asks for 16 MiB", zstdStream(g, plain, window), none)
	g.forged("frame that asks for 1.5 TiB", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00}, none)
	g.forged("frame that asks for a dictionary", slices.Concat(good[:4], []byte{good[4] | 1, good[5], 7}, good[6:]), none)
	g.forged("frame that is no zstd", plain[:100], none)
	g.forged("frame cut by a byte", good[:len(good)-1], none)
	g.forged("frame and a byte", append(bytes.Clone(good), 0), none)
	g.forged("frame twice", append(bytes.Clone(good), good...), none)
	g.forged("frame that only skips", []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, none)
	g.forged("frame of nothing", []byte{}, none)
	g.forged("stored frame a byte short", short, storedFrame)
	g.forged("stored frame a byte long", long, storedFrame)
}

// tamperManyFrames moves frames about.
func (g *generator) tamperManyFrames() {
	g.Helper()
	const of = "mixed"
	o, _, s := g.opened(of)
	at := func(f int) (sum int64) {
		for _, l := range s.lens[:f] {
			sum += l.sealed()
		}
		return sum
	}
	swap := func(name string, a, b int) {
		if s.lens[a] != s.lens[b] {
			g.Fatalf("%s: %x and %x", name, s.lens[a], s.lens[b])
		}
		g.bad(name, of, "ErrCorrupt", edit{Op: "swap", At: at(a), To: at(b), Len: s.lens[a].sealed()})
	}
	equal := slices.Index(s.lens[1:3], s.lens[0]) + 1
	swap("two compressed frames swapped", 0, max(1, equal))
	swap("two stored frames swapped", 3, 11)
	if !s.lens[35].stored() || !s.lens[3].stored() {
		g.Fatal("not stored")
	}
	g.bad("frame of another segment", of, "ErrCorrupt", edit{Op: "copy", From: of, Src: at(3), Len: maxSealedFrame, At: at(35)})
	g.bad("a frame repeated", of, "ErrCorrupt", edit{Op: "copy", From: of, Src: at(3), Len: maxSealedFrame, At: at(4)})
	g.bad("last frame flipped", of, "ErrCorrupt", edit{Op: "xor", At: at(37) - 3, Hex: "04"})
	g.bad("a frame cut out", of, "ErrCorrupt", edit{Op: "cut", At: at(5), Len: s.lens[5].sealed()})
	g.bad("frames cut to one segment", of, "ErrCorrupt", edit{Op: "truncate", At: at(32)})
	g.bad("lengths swapped", of, "ErrCorrupt", edit{Op: "swap", At: -framedTail(o.Size) + 2*saltSize, To: -framedTail(o.Size) + 2*saltSize + 9, Len: 3})
	g.resigned("salts of frames swapped and signed anew", of, func(s *signed) { s.salts[0], s.salts[1] = s.salts[1], s.salts[0] })
	const second = "frames, version 2"
	o, _, s = g.opened(second)
	was := g.v.object(g, "frames, version 1")
	tail := int64(len(o.Tail))
	g.bad("frames of the older version", second, "ErrCorrupt", edit{Op: "truncate"}, edit{Op: "copy", From: was.Name, Len: was.BodySize})
	g.bad("tail of frames of the older version", second, "ErrCorrupt", edit{Op: "copy", From: was.Name, Src: was.BodySize - tail, Len: tail, At: -tail})
	g.bad("a frame of the older version", second, "ErrCorrupt", edit{Op: "copy", From: was.Name, Src: at(0), Len: s.lens[0].sealed(), At: 0})
}

// tamperLayout has header, record, tail and body speak of different layouts.
func (g *generator) tamperLayout() {
	g.Helper()
	const of, unknown = "compressed", "frames, size unknown"
	o, rec, s := g.opened(unknown)
	head := o.Metadata[MetaSigil]
	g.bad("frames under a header of layout 0", unknown, "ErrCorrupt", meta(MetaSigil, "1 0"+head[3:]))
	g.bad("frames under a header of layout 2", unknown, "ErrCorrupt", meta(MetaSigil, "1 2"+head[3:]))
	plain, err := rec.encode()
	if err != nil {
		g.Fatal(err)
	}
	raw := sealRecord(g.epoch.Key, plain, "1 0"+head[3:])
	g.bad("frames under a seal of layout 0", unknown, "ErrCorrupt", meta(MetaSigil, "1 0"+head[3:]), meta(MetaSeal, base64.StdEncoding.EncodeToString(raw)))
	img := newImage(image{dek: rec.DEK, src: o.plaintext(g), end: o.Size, salts: []salt{salt(rec.Generation)}, final: true})
	g.bad("chunks under a seal of layout 1", unknown, "ErrCorrupt", edit{Op: "truncate"}, edit{Op: "append", Hex: hex.EncodeToString(readAll(g, img.section(g.Context(), 0, img.size())))})
	g.resigned("tail of frames signed for layout 0", of, func(s *signed) { s.layout = layoutChunks })
	final := chunkNonce(0, true)
	sealed := segmentAEAD(rec.DEK, s.salts[0], 0).Seal(nil, final[:], o.Frames[0], nil)
	g.bad("frame sealed as final", unknown, "ErrCorrupt", edit{Op: "set", Hex: hex.EncodeToString(sealed)})
	field := func(name string, key uint64, value any) {
		g.bad(name, of, "ErrCorrupt", g.resealed(of, func(m map[uint64]any) { m[key] = value }))
	}
	field("frames, record of a symlink", 5, typeSymlink|0o777)
	field("frames, record of a fifo", 5, typeFifo|0o600)
	field("frames, record of a directory", 5, typeDir|0o755)
	field("frames, record of a hard-link name", 17, bytes.Repeat([]byte{1}, 16))
	field("frames, record with another size", 13, 301)
	field("frames, record with a size over all sizes", 13, uint64(1)<<63)
	g.bad("frames served under another name", of, "ErrMoved", edit{Op: "key", Value: "data/elsewhere"})
	g.bad("frames' seal flipped", of, "ErrCorrupt", meta(MetaSeal, strings.Replace(o.Metadata[MetaSeal], o.Metadata[MetaSeal][100:104], "AAAA", 1)))
}

// tamperFramedLate makes late blocks under a right MAC.
func (g *generator) tamperFramedLate() {
	g.Helper()
	const of = "framed stream of nothing"
	_, rec, _ := g.opened(of)
	late := func(name string, layout byte, n int64, mode uint32) {
		l := lateAttr
		l.Mode = mode
		block, err := l.seal(rec.DEK, rec.Generation, layout, n)
		if err != nil {
			g.Fatal(err)
		}
		g.resigned(name, of, func(s *signed) { s.late = block })
	}
	late("late block of layout 0 beside frames", layoutChunks, 0, lateAttr.Mode)
	late("late block of another size beside frames", layoutFrames, 1, lateAttr.Mode)
	late("late block of a symlink beside frames", layoutFrames, 0, typeSymlink|0o777)
	g.resigned("late block of zeros beside frames", of, func(s *signed) { s.late = make([]byte, lateSize) })
}
