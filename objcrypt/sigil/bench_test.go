package sigil

import (
	"io"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt/internal/gcmbench"
)

// BenchmarkSealChunk seals 64 KiB chunks in place, one segment key for 128.
func BenchmarkSealChunk(b *testing.B) {
	buf := make([]byte, sealedChunk)
	var a aead
	i := int64(0)
	for b.Loop() {
		if i%chunksPerSegment == 0 {
			a = segmentAEAD(Key{1}, salt{2}, i/chunksPerSegment)
		}
		a.sealChunk(buf, ChunkSize, i%chunksPerSegment, false)
		i++
	}
	gcmbench.Report(b, false, ChunkSize)
}

// BenchmarkOpenChunk opens 64 KiB chunks in place.
func BenchmarkOpenChunk(b *testing.B) {
	a := segmentAEAD(Key{1}, salt{2}, 0)
	kept := make([]byte, sealedChunk)
	a.sealChunk(kept, ChunkSize, 0, false)
	buf := make([]byte, sealedChunk)
	i := int64(0)
	for b.Loop() {
		if i%chunksPerSegment == 0 {
			a = segmentAEAD(Key{1}, salt{2}, 0)
		}
		copy(buf, kept)
		if !a.openChunk(buf[:ChunkSize], buf, 0, false) {
			b.Fatal("does not open")
		}
		i++
	}
	gcmbench.Report(b, true, ChunkSize)
}

// BenchmarkSection reads a whole body of four segments as an upload does, the
// copies from the source and to the socket included.
func BenchmarkSection(b *testing.B) {
	const n = 4 * SegmentSize
	src := make(Bytes, n)
	sink := make([]byte, 1<<20)
	for b.Loop() {
		body, err := NewBody(b.Context(), file(), nil, src, n)
		if err != nil {
			b.Fatal(err)
		}
		s := body.Section(b.Context(), 0, body.Size())
		for err == nil {
			_, err = s.Read(sink)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
	gcmbench.Report(b, false, n)
}

// BenchmarkReadAt reads a body in pieces of 1 MiB, as the kernel does.
func BenchmarkReadAt(b *testing.B) {
	const n = 4 * SegmentSize
	rec := file()
	body, err := NewBody(b.Context(), rec, nil, make(Bytes, n), n)
	if err != nil {
		b.Fatal(err)
	}
	stored := make(Bytes, body.Size())
	if _, err := io.ReadFull(body.Section(b.Context(), 0, body.Size()), stored); err != nil {
		b.Fatal(err)
	}
	r, err := NewReader(rec, Header{}, stored, body.Size(), nil)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 1<<20)
	for b.Loop() {
		for off := int64(0); off < n; off += int64(len(p)) {
			if _, err := r.ReadAt(b.Context(), p, off); err != nil {
				b.Fatal(err)
			}
		}
	}
	gcmbench.Report(b, true, n)
}
