package sigil

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// windowFrames reads the beginning of p in layout 1, up to a segment's worth of
// frames in one request. The tail comes first: it says where they lie.
func (r *Reader) windowFrames(ctx context.Context, p []byte, off int64) (int, error) {
	t, err := r.tail(ctx)
	if err != nil {
		return 0, err
	}
	first := off / FrameSize
	if n, ok := r.frames.copyOut(p, r.name, first, off-first*FrameSize); ok {
		return n, nil
	}
	count := min((off+int64(len(p))-1)/FrameSize-first+1, framesPerSegment)
	p = p[:min(int64(len(p)), (first+count)*FrameSize-off)]
	last := first + count - 1
	start := t.frameAt(first)
	size := t.frameAt(last) + frameLenAt(t.lens, last).sealed() - start
	b := r.buffers.get(ceil(size, sealedChunk))
	defer b.release()
	sealed := b.b[:size]
	if err := r.read(ctx, sealed, start); err != nil {
		return 0, err
	}
	defer clear(sealed) // what is compressed is opened in place
	for f, done := first, 0; ; f++ {
		at := t.frameAt(f) - start
		frame := sealed[at:][:frameLenAt(t.lens, f).sealed()]
		n, err := r.copyFrame(p[done:], frame, f, off+int64(done)-f*FrameSize)
		if err != nil {
			return 0, err
		}
		if done += n; f == last {
			return done, nil
		}
	}
}

// copyFrame opens frame f, in sealed, and copies what p has room for from skip
// on. A frame that is wanted in part is remembered: the rest comes next.
func (r *Reader) copyFrame(p, sealed []byte, f, skip int64) (int, error) {
	n := plainFrame(r.n, f)
	if skip == 0 && int64(len(p)) >= n {
		return int(n), r.openFrame(p[:n], sealed, f)
	}
	room := r.frames.room()
	if err := r.openFrame(room[:n], sealed, f); err != nil {
		r.frames.giveBack(room)
		return 0, err
	}
	done := copy(p, room[skip:n])
	r.frames.keep(r.name, f, room, n)
	return done, nil
}

// openFrame opens frame f into dst, which holds its plaintext exactly, by way of
// sealed. The table is verified.
func (r *Reader) openFrame(dst, sealed []byte, f int64) error {
	s, i := f/framesPerSegment, f%framesPerSegment
	l := frameLenAt(r.table.Load().lens, f)
	packed := sealed[:len(sealed)-TagSize]
	if l.stored() {
		packed = dst
	}
	if !r.segment(s).openChunk(packed, sealed, i, false) {
		return fmt.Errorf("frame %d of segment %d, at %d of the body, does not authenticate: %w", i, s, r.table.Load().frameAt(f), objcrypt.ErrCorrupt)
	}
	if l.stored() {
		return nil
	}
	if err := r.frames.unpack(dst, packed); err != nil {
		clear(dst)
		return fmt.Errorf("frame %d of segment %d, at %d of the body: %w", i, s, r.table.Load().frameAt(f), err)
	}
	return nil
}

// sealedFrame gives frame f as it is stored, in room, where it authenticates.
func (r *Reader) sealedFrame(ctx context.Context, room []byte, f int64) ([]byte, error) {
	t := r.table.Load()
	sealed := room[:frameLenAt(t.lens, f).sealed()]
	if err := r.read(ctx, sealed, t.frameAt(f)); err != nil {
		return nil, err
	}
	b := r.buffers.get(ceil(int64(len(sealed)), sealedChunk))
	defer b.release()
	plain := b.b[:len(sealed)-TagSize]
	defer clear(plain)
	if !r.segment(f/framesPerSegment).openChunk(plain, sealed, f%framesPerSegment, false) {
		return nil, fmt.Errorf("frame %d of the body, at %d, does not authenticate: %w", f, t.frameAt(f), objcrypt.ErrCorrupt)
	}
	return sealed, nil
}
