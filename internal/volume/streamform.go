package volume

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// streamer is a scheme whose bodies may be begun before their length is known.
type streamer interface {
	// stream begins a body of which have bytes are there, now: src.
	stream(ctx context.Context, v *Volume, d draft, src sigil.ReaderAt, have int64) (flow, error)

	// eager: it costs nothing to begin early.
	eager() bool
}

// flow is a body that is sent while it is written. It is safe for concurrent use,
// but for two that seal one range; the sections of what it gives are independent.
type flow interface {
	// begun is the object as its upload is to begin.
	begun() *stored

	// segments is how many part i should have, most at the most, but for the last.
	segments(i int, most int64) int64

	// seal gives the n > 0 bytes of src from off on, whole segments, as they
	// are to be stored: enough for a part. It may do so again, when they have
	// changed.
	seal(ctx context.Context, src sigil.ReaderAt, off, n int64) (load, error)

	// finish gives what is left from off on, of size 0 for nothing, and the
	// object that the parts make; d has its size and its last attributes.
	finish(ctx context.Context, v *Volume, d draft, src sigil.ReaderAt, off int64) (*stored, load, error)

	// behind tells whether attributes of d are not in that object.
	behind(d draft) bool
}

// load is what one request sends; it is read under the context of its seal.
type load struct {
	io.ReadSeeker
	size int64
}

// done is said when l has been sent, or is not to be.
func (l load) done() {
	if c, ok := l.ReadSeeker.(io.Closer); ok {
		_ = c.Close() // of a section, which never fails
	}
}

// sealedFlow is a sigil stream. Its record says that mode, owner and times come
// late; extended attributes cannot.
type sealedFlow struct {
	w     *stored
	rec   *sigil.Record
	s     *sigil.Stream
	ratio atomic.Uint64 // bits of a float64: what is stored of a byte
}

func (sealedScheme) eager() bool { return true }

func (s sealedScheme) stream(ctx context.Context, v *Volume, d draft, src sigil.ReaderAt, have int64) (flow, error) {
	epoch, err := s.keys.Current(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: current epoch: %w", d.key, err)
	}
	rec := &sigil.Record{}
	d.describe(v, rec)
	comp := s.compressor(v, d.key)
	st, err := sigil.NewStream(rec, comp, have)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.key, err)
	}
	w, err := sealRecord(d, rec, epoch, body{})
	if err != nil {
		return nil, err
	}
	f := &sealedFlow{w: w, rec: rec, s: st}
	f.learn(comp.Ratio(ctx, src, 0, min(have, streamFrom)))
	return f, nil
}

// maxPartSegments bounds what a part that compresses well takes, 512 MiB of
// plaintext: so much must come together before it goes up.
const maxPartSegments = 64

// segments follows the schedule of sigil.PartSegments, and takes more where less
// than a part would come of them.
func (f *sealedFlow) segments(i int, most int64) int64 {
	ratio := math.Float64frombits(f.ratio.Load())
	n := int64(math.Ceil(1.1 * objstore.MinPartSize / (ratio * sigil.SegmentSize)))
	return max(1, min(max(min(n, maxPartSegments), int64(sigil.PartSegments(i))), most))
}

// learn notes what is stored of a byte.
func (f *sealedFlow) learn(ratio float64) { f.ratio.Store(math.Float64bits(max(ratio, 1e-3))) }

func (f *sealedFlow) begun() *stored { return f.w }

func (f *sealedFlow) seal(ctx context.Context, src sigil.ReaderAt, off, n int64) (load, error) {
	s, err := f.s.Seal(ctx, src, off, n, objstore.MinPartSize)
	if err != nil {
		return load{}, err
	}
	switch is := float64(s.Size()) / float64(n); {
	case s.Size() > objstore.MinPartSize+sigil.FrameSize:
		f.learn(is)
	default: // it is that long because it must be
		f.learn(min(is, math.Float64frombits(f.ratio.Load())) / 2)
	}
	return load{s, s.Size()}, nil
}

func (f *sealedFlow) finish(ctx context.Context, v *Volume, d draft, src sigil.ReaderAt, off int64) (*stored, load, error) {
	a := d.attr
	late := sigil.Late{
		Version: v.version(d.key, d.above...),
		Attr:    sigil.Attr{Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Ctime: a.Ctime},
	}
	s, length, err := f.s.Finish(ctx, src, off, a.Size, late)
	if err != nil {
		return nil, load{}, fmt.Errorf("%s: %w", d.key, err)
	}
	rec := f.rec.Clone()
	rec.Settle(late, a.Size)
	o := d.object(length)
	(&sealedForm{header: f.w.obj.form.(*sealedForm).header, rec: rec}).settle(o, a.Size)
	return &stored{obj: o, metadata: f.w.metadata}, load{s, s.Size()}, nil
}

func (f *sealedFlow) behind(d draft) bool { return !sameXattrs(d.xat, f.rec.Xattrs) }

func sameXattrs(a, b map[string][]byte) bool {
	return maps.EqualFunc(a, b, func(x, y []byte) bool { return string(x) == string(y) })
}

// plainFlow is a stream of plaintext. All attributes are fixed when it begins,
// so a metadata copy has to follow; it is not begun before the spool needs room.
type plainFlow struct {
	w *stored
	d draft
}

func (plainScheme) eager() bool { return false }

func (s plainScheme) stream(ctx context.Context, v *Volume, d draft, _ sigil.ReaderAt, _ int64) (flow, error) {
	w, err := s.store(ctx, v, d)
	if err != nil {
		return nil, err
	}
	return &plainFlow{w: w, d: d}, nil
}

func (f *plainFlow) begun() *stored { return f.w }

func (f *plainFlow) segments(i int, most int64) int64 { return min(int64(sigil.PartSegments(i)), most) }

func (f *plainFlow) seal(ctx context.Context, src sigil.ReaderAt, off, n int64) (load, error) {
	return load{newSection(ctx, src, off, n), n}, nil
}

func (f *plainFlow) finish(ctx context.Context, _ *Volume, d draft, src sigil.ReaderAt, off int64) (*stored, load, error) {
	d.xat, d.attr = f.d.xat, withSize(f.d.attr, d.attr.Size)
	o := d.object(d.attr.Size)
	o.form, o.mark = &plainForm{metadata: f.w.metadata}, f.w.obj.mark
	b, err := f.seal(ctx, src, off, d.attr.Size-off)
	return &stored{obj: o, metadata: f.w.metadata}, b, err
}

func withSize(a Attr, size int64) Attr {
	a.Size = size
	return a
}

func (f *plainFlow) behind(d draft) bool {
	return withSize(f.d.attr, 0) != withSize(d.attr, 0) || !sameXattrs(f.d.xat, d.xat)
}

var (
	_ streamer = sealedScheme{}
	_ streamer = plainScheme{}
	_ flow     = (*sealedFlow)(nil)
	_ flow     = (*plainFlow)(nil)
)
