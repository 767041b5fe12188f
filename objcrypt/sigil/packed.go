package sigil

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sort"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/objcrypt/section"
	"golang.org/x/sync/errgroup"
)

// packed is what image is, of layout 1: whole segments of frames of one
// plaintext, or the last of them with the tail. How long they are is known once
// they were compressed, which measure does; what a Compressor then has no room
// for is compressed again while it is sent. It is safe for concurrent use once
// it was measured.
type packed struct {
	dek   Key
	comp  *Compressor
	src   ReaderAt
	first int64 // index of the first segment
	end   int64 // of the plaintext
	salts []salt
	old   *Reader // of the body that kept segments are in, at the same index
	kept  []bool  // segments that stay as they are stored; nil: none
	tail  []byte

	lens   []frameLen
	starts []int64 // where each segment begins, and the last ends
	held   []atomic.Pointer[[]byte]
	marks  marks
}

// newPacked gives one that is measured.
func newPacked(ctx context.Context, p packed, least int64) (*packed, error) {
	p.lens = make([]frameLen, frames(p.end-p.start()))
	p.held = make([]atomic.Pointer[[]byte], len(p.salts))
	p.marks = make(marks, len(p.salts))
	outer := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for s := range int64(len(p.salts)) {
		if p.keeps(s) {
			copy(p.segment(s), p.old.table.Load().segment(s))
			continue
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return p.measure(ctx, s) })
	}
	err := g.Wait()
	if err == nil {
		err = context.Cause(outer)
	}
	if err != nil {
		p.release()
		return nil, err
	}
	p.place()
	p.lengthen(least)
	return &p, nil
}

func (p *packed) start() int64 { return p.first * SegmentSize }

func (p *packed) keeps(s int64) bool { return p.kept != nil && p.kept[s] }

// segment gives the lengths of the frames of segment s.
func (p *packed) segment(s int64) []frameLen {
	return p.lens[s*framesPerSegment : min(int64(len(p.lens)), (s+1)*framesPerSegment)]
}

// frame is the plaintext of frame f of the packed segments.
func (p *packed) frame(f int64) (off, n int64) {
	off = p.start() + f*FrameSize
	return off, min(FrameSize, p.end-off)
}

// measure compresses segment s, and seals it where there is room to hold it.
func (p *packed) measure(ctx context.Context, s int64) error {
	r := p.comp.room()
	defer p.comp.release(r)
	lens := p.segment(s)
	most := int64(len(lens)) * maxSealedFrame
	holds := p.comp.hold(most)
	var out []byte
	a := p.cipher(s)
	var d doubt
	for i := range lens {
		off, n := p.frame(s*framesPerSegment + int64(i))
		plain := r.plain[:n]
		lens[i] = storedLen(n)
		tries := d.tries()
		if !tries && !holds {
			continue
		}
		err := context.Cause(ctx)
		if err == nil {
			err = readFull(ctx, p.src, plain, off)
		}
		if err != nil {
			if holds {
				p.comp.held.Add(-most)
			}
			return err
		}
		data := plain
		if tries {
			data, lens[i] = p.comp.pack(r, plain)
			d.learns(lens[i])
		}
		if holds {
			out = p.append(out, a, data, s, int64(i))
		}
	}
	if holds {
		out = bytes.Clone(out) // growing has left it too much room
		p.comp.held.Add(int64(len(out)) - most)
		p.held[s].Store(&out)
	}
	return nil
}

// append seals data as frame i of segment s behind out.
func (p *packed) append(out []byte, a aead, data []byte, s, i int64) []byte {
	nonce := chunkNonce(i, false)
	out = a.Seal(out, nonce[:], data, nil)
	p.marks.same(s, i, out[len(out)-TagSize:])
	return out
}

func (p *packed) cipher(s int64) aead { return segmentAEAD(p.dek, p.salts[s], p.first+s) }

// place says where the segments lie.
func (p *packed) place() {
	p.starts = make([]int64, len(p.salts)+1)
	for s := range p.salts {
		p.starts[s+1] = p.starts[s]
		for _, l := range p.segment(int64(s)) {
			p.starts[s+1] += l.sealed()
		}
	}
}

// lengthen stores frames until there are least bytes, if there can be. Their
// segments get other keys, under which nothing was sealed.
func (p *packed) lengthen(least int64) {
	missing := least - p.size()
	for s := int64(0); s < int64(len(p.salts)) && missing > 0; s++ {
		if p.keeps(s) {
			continue
		}
		for i, l := range p.segment(s) {
			if missing <= 0 || l.stored() {
				continue
			}
			_, n := p.frame(s*framesPerSegment + int64(i))
			p.segment(s)[i] = storedLen(n)
			missing -= n + TagSize - l.sealed()
		}
		p.salts[s] = newSalt()
		p.drop(s)
		p.marks.forget(s)
	}
	p.place()
}

// release lets go of what is held; it can still be made again.
func (p *packed) setTail(tail []byte) { p.tail = tail }

func (p *packed) release() {
	for s := range p.held {
		p.drop(int64(s))
	}
}

func (p *packed) drop(s int64) {
	if b := p.held[s].Swap(nil); b != nil {
		p.comp.held.Add(-int64(len(*b)))
	}
}

// sealed is the length of the frames as stored.
func (p *packed) sealed() int64 { return p.starts[len(p.salts)] }

// size is the length of everything as stored.
func (p *packed) size() int64 { return p.sealed() + int64(len(p.tail)) }

// section gives size bytes of it as stored from off on.
func (p *packed) section(ctx context.Context, off, size int64) *section.Section {
	body := section.Body{Size: p.size(), Window: maxSealedFrame, Drop: p.release}
	body.Make = func(room []byte, off, _ int64) ([]byte, int64, error) { return p.piece(ctx, room, off) }
	return section.New(body, off, size)
}

// piece is section.Body's: what is held of a segment, or one frame.
func (p *packed) piece(ctx context.Context, room []byte, off int64) ([]byte, int64, error) {
	if off >= p.sealed() {
		return p.tail, p.sealed(), nil
	}
	s := int64(sort.Search(len(p.salts), func(i int) bool { return p.starts[i+1] > off }))
	if held := p.held[s].Load(); held != nil {
		return *held, p.starts[s], nil
	}
	at := p.starts[s]
	for i, l := range p.segment(s) {
		if off < at+l.sealed() {
			made, err := p.seal(ctx, room, s, int64(i), l)
			return made, at, err
		}
		at += l.sealed()
	}
	panic("sigil: segments do not meet")
}

// seal makes frame i of segment s in room, which holds nothing if it fails.
// Errors: ErrSource, and those of the sources.
func (p *packed) seal(ctx context.Context, room []byte, s, i int64, l frameLen) (made []byte, err error) {
	defer func() {
		if err != nil {
			clear(room)
		}
	}()
	f := s*framesPerSegment + i
	if p.keeps(s) {
		return p.old.sealedFrame(ctx, room, f)
	}
	off, n := p.frame(f)
	data := room[:n]
	if l.stored() {
		err = readFull(ctx, p.src, data, off)
	} else {
		data, err = p.repack(ctx, room, off, n, l)
	}
	if err != nil {
		return nil, err
	}
	made = p.cipher(s).sealChunk(room, int64(len(data)), i, false)
	if !p.marks.same(s, i, made[len(made)-TagSize:]) {
		return nil, fmt.Errorf("frame at %d: %w", off, ErrSource)
	}
	return made, nil
}

// repack compresses a frame again, into room. It gives the same bytes.
func (p *packed) repack(ctx context.Context, room []byte, off, n int64, l frameLen) ([]byte, error) {
	r := p.comp.room()
	defer p.comp.release(r)
	plain := r.plain[:n]
	if err := readFull(ctx, p.src, plain, off); err != nil {
		return nil, err
	}
	data, again := p.comp.pack(r, plain)
	if again != l {
		return nil, fmt.Errorf("frame at %d: %w", off, ErrSource)
	}
	return room[:copy(room, data)], nil
}
