package sigil

import (
	"encoding/json"
	"flag"
	"fmt"
	"testing"
	"testing/cryptotest"

	"github.com/klauspost/compress/zstd"
)

var generateFrames = flag.Bool("generate-frames", false, "write testdata/vectors-frames.json anew; only for a new format version")

// TestGenerateFrameVectors makes the vectors of layout 1, under the first epoch of
// the others.
func TestGenerateFrameVectors(t *testing.T) {
	if !*generateFrames {
		t.Skip("vectors are never regenerated; -generate-frames makes those of a new format version")
	}
	cryptotest.SetGlobalRandom(t, 0x5162)
	chunks := loadVectors(t, vectorFile)
	h, err := ParseHeader(chunks.object(t, "small").Metadata)
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{T: t, v: &vectors{Epochs: chunks.Epochs}, epoch: chunks.epoch(t, h.Epoch)}
	g.framedSizes()
	g.framedKinds()
	g.framedVersions()
	g.framedStream("framed stream", SegmentSize+100)
	g.framedStream("framed stream of nothing", 0)
	g.tamperFrames()
	out, err := json.MarshalIndent(g.v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	g.write(framesFile, append(out, '\n'))
}

// period makes content that compresses, in frames that are not the same.
const period = 251

// framed adds an object of layout 1 that is written whole.
func (g *generator) framed(name string, rec *Record, n, period int64) {
	g.Helper()
	o := vector{Name: name, Size: n, Seed: name, Period: period}
	b, err := NewBody(g.Context(), rec, testCompressor(g), o.plaintext(g), n)
	if err != nil {
		g.Fatal(err)
	}
	g.add(o, rec, whole(g, b), Late{Attr: rec.Attr, Version: rec.Version})
}

func (g *generator) framedSizes() {
	g.Helper()
	for _, n := range []int64{0, 1, FrameSize - 1, FrameSize, FrameSize + 1, SegmentSize, SegmentSize + 1} {
		g.framed(fmt.Sprintf("frames %d", n), g.record(typeRegular|0o644), n, period)
	}
	g.framed("compressed", g.record(typeRegular|0o600), 300, 20)
	g.framed("compressed too", g.record(typeRegular|0o600), 300, 20)
	g.framed("stored", g.record(typeRegular|0o600), FrameSize+1000, 0)
	g.framed("mixed", g.record(typeRegular|0o644), SegmentSize+4*FrameSize+1000, period)
}

// framedKinds adds what another writer may do.
func (g *generator) framedKinds() {
	g.Helper()
	unknown := g.record(typeRegular | 0o644)
	o := vector{Name: "frames, size unknown", Size: 300, Seed: "frames, size unknown", Period: 20}
	b, err := NewBody(g.Context(), unknown, testCompressor(g), o.plaintext(g), o.Size)
	if err != nil {
		g.Fatal(err)
	}
	unknown.SizeKnown, unknown.Size = false, 0
	g.add(o, unknown, whole(g, b), Late{Attr: unknown.Attr, Version: unknown.Version})

	// With a window of 8 MiB and a checksum, and without the length.
	o = vector{Name: "frames of another encoder", Size: FrameSize + 300, Seed: "another encoder", Period: period}
	plain := o.plaintext(g)
	o.Frames = [][]byte{zstdStream(g, plain[:FrameSize], zstd.WithWindowSize(maxWindow)), zstdStream(g, plain[FrameSize:])}
	rec := g.record(typeRegular | 0o644)
	rec.Fresh()
	rec.Layout, rec.Size, rec.SizeKnown = layoutFrames, o.Size, true
	s := signed{layout: layoutFrames, n: o.Size, salts: newSalts(1), lens: lensOf(o.Frames)}
	if s.late, err = (Late{Attr: rec.Attr, Version: rec.Version}).seal(rec.DEK, rec.Generation, layoutFrames, o.Size); err != nil {
		g.Fatal(err)
	}
	g.add(o, rec, append(sealFrames(rec.DEK, s.salts, plain, o.Frames), s.tail(rec)...), Late{Attr: rec.Attr, Version: rec.Version})
}

// framedVersions adds a body of two segments, and the same with some bytes of
// segment 0 written, so that segment 1 comes to lie elsewhere.
func (g *generator) framedVersions() {
	g.Helper()
	const n = SegmentSize + FrameSize + 10
	rec := g.record(typeRegular | 0o644)
	first := vector{Name: "frames, version 1", Key: "data/framed versions", Size: n, Seed: "framed versions", Period: period}
	b, err := NewBody(g.Context(), rec, testCompressor(g), first.plaintext(g), n)
	if err != nil {
		g.Fatal(err)
	}
	old := whole(g, b)
	g.add(first, rec, old, Late{Attr: rec.Attr, Version: rec.Version})
	r, err := NewReader(rec, Header{Layout: layoutFrames}, Bytes(old), int64(len(old)), NewFrames())
	if err != nil {
		g.Fatal(err)
	}
	second := first
	second.Name, second.Patch = "frames, version 2", []patch{{At: FrameSize + 5, Hex: "00112233445566778899"}}
	next := rec.Clone()
	next.Version++
	b, err = NewRewrite(g.Context(), next, testCompressor(g), r, second.plaintext(g), n, func(i int64) bool { return i == 0 })
	if err != nil {
		g.Fatal(err)
	}
	if kept := b.Kept(); len(kept) != 1 || kept[0].Off == kept[0].From {
		g.Fatalf("kept %v", kept)
	}
	g.add(second, next, rewriteBody(g, b, old), Late{Attr: next.Attr, Version: next.Version})
}

// framedStream adds one of unknown length, and the same after a chmod.
func (g *generator) framedStream(name string, n int64) {
	g.Helper()
	rec := g.record(typeRegular | 0o600)
	o := vector{Name: name, Size: n, Seed: name, Period: period}
	s, err := NewStream(rec, testCompressor(g), n)
	if err != nil {
		g.Fatal(err)
	}
	src, done := o.plaintext(g), n/SegmentSize*SegmentSize
	var body []byte
	if done > 0 {
		part, err := s.Seal(g.Context(), src, 0, done, 0)
		if err != nil {
			g.Fatal(err)
		}
		body = readAll(g, part)
	}
	last, _, err := s.Finish(g.Context(), src, done, n, lateAttr)
	if err != nil {
		g.Fatal(err)
	}
	body = append(body, readAll(g, last)...)
	g.add(o, rec, body, lateAttr)
	settled := rec.Clone()
	settled.Settle(lateAttr, n)
	settled.Mode, settled.Version = typeRegular|0o400, 100
	o.Key, o.Name = "data/"+name, name+", then chmod"
	g.add(o, settled, body, Late{Attr: settled.Attr, Version: settled.Version})
}
