package sigil

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// ReaderAt is io.ReaderAt with a context, and by the same rules: fewer bytes
// than asked for come with an error, io.EOF where the content ends.
type ReaderAt interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// Viewer is what a source of NewReader may also be, which then need not copy:
// View gives use the n bytes from off on, which lie within the body, where they
// are, in order. Its pieces end at multiples of ChunkSize+TagSize and with the
// range. They are not changed, nor kept beyond the call of use, which waits for
// nothing.
type Viewer interface {
	ReaderAt
	View(ctx context.Context, off, n int64, use func(p []byte) error) error
}

var _ ReaderAt = (*Reader)(nil)

// errOffset is a caller's mistake.
var errOffset = errors.New("negative offset")

// Reader reads the plaintext of one body. Nothing that did not authenticate
// leaves it, and nothing at all of a body with a tail before that is verified.
// It is safe for concurrent use and needs no closing.
type Reader struct {
	dek    Key
	gen    Generation
	layout byte
	own    Late // what the record says
	late   bool // the tail's late block stands instead
	none   bool // a directory, which has no body

	n, body int64 // lengths of plaintext and body
	src     ReaderAt
	frames  *Frames  // of layout 1
	name    [32]byte // of the body in frames

	loading chan struct{}         // held by the one that reads the tail
	table   atomic.Pointer[table] // once verified; of a body without a tail, at once
	final   atomic.Bool           // the final chunk of a body without a tail was verified
	last    atomic.Pointer[keyed] // the cipher used last
	buffers buffers
}

// keyed is a segment's cipher.
type keyed struct {
	index int64
	aead  aead
}

// NewReader reads the body of bodySize bytes that src gives. A length that does
// not fit the record is objcrypt.ErrCorrupt; in layout 1 the record holds the
// plaintext's length, or was settled (Record.Settle). frames is for layout 1,
// which without it is objcrypt.ErrVersion. It reads nothing yet.
func NewReader(rec *Record, h Header, src ReaderAt, bodySize int64, frames *Frames) (*Reader, error) {
	n, err := shape(rec, h, bodySize)
	if err != nil {
		return nil, err
	}
	if h.Layout == layoutFrames && frames == nil {
		return nil, fmt.Errorf("layout %d: %w", h.Layout, objcrypt.ErrVersion)
	}
	return newReader(rec, h, src, n, bodySize, frames), nil
}

func newReader(rec *Record, h Header, src ReaderAt, n, bodySize int64, frames *Frames) *Reader {
	r := &Reader{
		dek: rec.DEK, gen: rec.Generation, layout: h.Layout,
		own: Late{Attr: rec.Attr, Version: rec.Version}, late: rec.Late, none: rec.isDir(),
		n: n, body: bodySize, src: src, frames: frames,
		loading: make(chan struct{}, 1),
	}
	if r.layout == layoutFrames {
		r.name = frameBody(r.dek, r.gen, n)
	}
	if !r.hasTail() {
		r.table.Store(&table{salts: []salt{salt(rec.Generation)}})
	}
	return r
}

func (r *Reader) hasTail() bool { return r.layout == layoutFrames || hasTail(r.n) }

// CheckLength holds the length of a body against its record, as far as the two
// alone tell. Errors: objcrypt.ErrCorrupt, objcrypt.ErrVersion.
func CheckLength(rec *Record, h Header, bodySize int64) error {
	if h.Layout == layoutFrames && !rec.SizeKnown {
		return nil
	}
	_, err := shape(rec, h, bodySize)
	return err
}

// shape holds a body's length against the record, and gives the plaintext's.
func shape(rec *Record, h Header, bodySize int64) (int64, error) {
	n, err := int64(0), error(nil)
	switch {
	case h.Layout > layoutFrames:
		err = fmt.Errorf("layout %d: %w", h.Layout, objcrypt.ErrVersion)
	case h.Layout == layoutFrames:
		return rec.Size, framed(rec, bodySize)
	case !rec.isDir():
		n, err = PlainSize(bodySize)
	case bodySize != 0:
		err = fmt.Errorf("directory with a body of %d bytes: %w", bodySize, objcrypt.ErrCorrupt)
	}
	if err != nil {
		return 0, err
	}
	switch {
	case n != 0 && rec.isEmptyKind():
		return 0, fmt.Errorf("file of mode %o with %d bytes of content: %w", rec.Mode, n, objcrypt.ErrCorrupt)
	case rec.SizeKnown && rec.Size != n:
		return 0, fmt.Errorf("body of %d bytes, the record says %d: %w", n, rec.Size, objcrypt.ErrCorrupt)
	case rec.Late && !hasTail(n):
		return 0, fmt.Errorf("late attributes without a tail: %w", objcrypt.ErrCorrupt)
	}
	return n, nil
}

// framed holds the length of a body of layout 1 against that of its plaintext.
func framed(rec *Record, bodySize int64) error {
	if !rec.mayFrame() {
		return fmt.Errorf("file of mode %o in layout 1: %w", rec.Mode, objcrypt.ErrCorrupt)
	}
	if rec.Size < 0 || rec.Size > MaxSize {
		return fmt.Errorf("plaintext of %d bytes: %w", rec.Size, objcrypt.ErrCorrupt)
	}
	if least, most := framedRange(rec.Size); bodySize < least || bodySize > most {
		return fmt.Errorf("body of %d bytes where %d of plaintext have from %d to %d: %w", bodySize, rec.Size, least, most, objcrypt.ErrCorrupt)
	}
	return nil
}

// Size is the length of the plaintext in bytes, as the body's length says, or in
// layout 1 the record. It is proved once Verify, or a read that reached the end, has succeeded.
func (r *Reader) Size() int64 { return r.n }

// Unit is how much plaintext is sealed as one, in bytes: a chunk or a frame.
func (r *Reader) Unit() int64 {
	if r.layout == layoutFrames {
		return FrameSize
	}
	return ChunkSize
}

// Stored tells where in the body the n > 0 bytes of plaintext at off lie, a
// multiple of Unit as their end is, or else Size. In layout 1 the table was
// verified before (Verify).
func (r *Reader) Stored(off, n int64) (at, length int64) {
	if r.layout == layoutFrames {
		t := r.table.Load()
		last := ceil(off+n, FrameSize) - 1
		at = t.frameAt(off / FrameSize)
		return at, t.frameAt(last) + frameLenAt(t.lens, last).sealed() - at
	}
	return off / ChunkSize * sealedChunk, n + TagSize*chunks(n)
}

// ReadAt reads plaintext as io.ReaderAt does. io.EOF comes only after the tail
// or the final chunk was verified. On any other error p holds nothing of the
// object and the count is 0. Errors: objcrypt.ErrCorrupt, and those of the
// source.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: %w", off, errOffset)
	}
	if len(p) == 0 {
		return 0, nil
	}
	want := p[:max(0, min(int64(len(p)), r.n-off))]
	window := r.window
	if r.layout == layoutFrames {
		window = r.windowFrames
	}
	for done := 0; done < len(want); {
		n, err := window(ctx, want[done:], off+int64(done))
		if err != nil {
			clear(want)
			return 0, err
		}
		done += n
	}
	if len(want) == len(p) {
		return len(p), nil
	}
	if err := r.Verify(ctx); err != nil {
		clear(want)
		return 0, err
	}
	return len(want), io.EOF
}

// Verify proves the size: the tail, or the final chunk, was sealed for a body
// of exactly this length. Until then nothing may be appended, truncated,
// sought from the end, or committed over it.
func (r *Reader) Verify(ctx context.Context) error {
	switch {
	case r.none:
		return nil
	case r.hasTail():
		_, err := r.tail(ctx)
		return err
	case r.final.Load():
		return nil
	}
	b := r.buffers.get(1)
	defer b.release()
	c := chunks(r.n) - 1
	size := chunkLen(r.n, c)
	sealed := b.b[:size+TagSize]
	if err := r.read(ctx, sealed, c*sealedChunk); err != nil {
		return err
	}
	defer clear(sealed)
	return r.open(sealed[:size], sealed, c)
}

// Late gives the attributes and the version that stand: the tail's where the
// record says so, else the record's.
func (r *Reader) Late(ctx context.Context) (Late, error) {
	if !r.late {
		return r.own, nil
	}
	t, err := r.tail(ctx)
	if err != nil {
		return Late{}, err
	}
	return r.openLate(t.late)
}

func (r *Reader) openLate(block []byte) (Late, error) {
	l, err := openLate(r.dek, r.gen, r.layout, r.n, block)
	if err != nil {
		return Late{}, err
	}
	if l.Mode&typeMask != r.own.Mode&typeMask {
		return Late{}, fmt.Errorf("late block of file type %o, the record says %o: %w", l.Mode&typeMask, r.own.Mode&typeMask, objcrypt.ErrCorrupt)
	}
	return l, nil
}

// window reads the beginning of p, up to a segment's worth of chunks, in one
// request.
func (r *Reader) window(ctx context.Context, p []byte, off int64) (int, error) {
	first := off / ChunkSize
	count := min((off+int64(len(p))-1)/ChunkSize-first+1, chunksPerSegment)
	p = p[:min(int64(len(p)), (first+count)*ChunkSize-off)]
	last := first + count - 1
	size := (count-1)*sealedChunk + chunkLen(r.n, last) + TagSize
	if v, ok := r.src.(Viewer); ok && r.table.Load() != nil {
		return len(p), r.view(ctx, v, p, off, size)
	}
	b := r.buffers.get(count)
	defer b.release()
	sealed := b.b[:size]
	if err := r.fetch(ctx, sealed, first*sealedChunk); err != nil {
		return 0, err
	}
	for c, done := first, 0; c <= last; c++ {
		chunk := sealed[(c-first)*sealedChunk:][:chunkLen(r.n, c)+TagSize]
		n, err := r.copyChunk(p[done:], chunk, chunk, c, off+int64(done)-c*ChunkSize)
		if err != nil {
			return 0, err
		}
		done += n
	}
	return len(p), nil
}

// view opens chunks where the source has them: size bytes of the body, from the
// chunk on in which off is.
func (r *Reader) view(ctx context.Context, v Viewer, p []byte, off, size int64) error {
	var mine error
	c, done := off/ChunkSize, 0
	first := c * sealedChunk
	err := v.View(ctx, first, size, func(sealed []byte) error {
		n, err := r.viewChunk(p[done:], sealed, c, off+int64(done)-c*ChunkSize)
		mine, done = err, done+n
		c++
		return err
	})
	switch {
	case err == nil && done < len(p):
		return fmt.Errorf("body ends before %d: %w", first+size, objcrypt.ErrCorrupt)
	case err != nil && mine == nil:
		return fmt.Errorf("body at %d: %w", first, err)
	}
	return err
}

// errPiece is a source's mistake.
var errPiece = errors.New("piece of a body is not one chunk")

// viewChunk is copyChunk of what is not ours to change.
func (r *Reader) viewChunk(p, sealed []byte, c, skip int64) (int, error) {
	size := chunkLen(r.n, c)
	if int64(len(sealed)) != size+TagSize {
		return 0, fmt.Errorf("%w: %d bytes", errPiece, len(sealed))
	}
	if skip == 0 && int64(len(p)) >= size {
		return r.copyChunk(p, nil, sealed, c, skip)
	}
	b := r.buffers.get(1)
	defer b.release()
	return r.copyChunk(p, b.b, sealed, c, skip)
}

// copyChunk opens chunk c and copies what p has room for, from skip on, by way
// of room, which may be where sealed is. A chunk that is wanted whole is opened
// where it belongs.
func (r *Reader) copyChunk(p, room, sealed []byte, c, skip int64) (int, error) {
	size := len(sealed) - TagSize
	if skip == 0 && len(p) >= size {
		return size, r.open(p[:size], sealed, c)
	}
	plain := room[:size]
	if err := r.open(plain, sealed, c); err != nil {
		return 0, err
	}
	defer clear(plain)
	return copy(p, plain[skip:]), nil
}

// open opens chunk c of the body into dst. The table is verified.
func (r *Reader) open(dst, sealed []byte, c int64) error {
	final := !hasTail(r.n) && c == chunks(r.n)-1
	index := c % chunksPerSegment
	if !r.segment(c/chunksPerSegment).openChunk(dst, sealed, index, final) {
		return fmt.Errorf("chunk %d of segment %d, at %d of the body, does not authenticate: %w",
			index, c/chunksPerSegment, c*sealedChunk, objcrypt.ErrCorrupt)
	}
	if final {
		r.final.Store(true)
	}
	return nil
}

// segment is the cipher of segment i.
func (r *Reader) segment(i int64) aead {
	if k := r.last.Load(); k != nil && k.index == i {
		return k.aead
	}
	k := &keyed{index: i, aead: segmentAEAD(r.dek, r.table.Load().salts[i], i)}
	r.last.Store(k)
	return k.aead
}
