package volume

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// patch seals only the segments in which d differs from its base, under the
// base's data key; the others are copied. Nil: all is to be written anew.
func (s sealedScheme) patch(ctx context.Context, v *Volume, d draft, epoch sigil.Epoch) (*stored, error) {
	old, ok := s.patchable(v, d)
	if !ok {
		return nil, nil
	}
	f := d.base.obj.form.(*sealedForm)
	if ok, err := f.mayKeep(ctx, s.keys, d.base.obj); err != nil || !ok {
		return nil, err // nil: former holders of the data key must not read what comes now
	}
	rec := f.rec.Clone()
	d.describe(v, rec)
	b, err := sigil.NewRewrite(ctx, rec, old, d.src, d.attr.Size, d.changed())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.key, err)
	}
	return sealRecord(d, rec, epoch, body{
		size: b.Size(), kept: keptRanges(b), from: *d.base.id.Load(),
		section: func(ctx context.Context, off, n int64) io.ReadSeeker { return b.Section(ctx, off, n) },
	})
}

// patchable gives the base's reader where both bodies have segments and enough
// of them stays.
func (s sealedScheme) patchable(v *Volume, d draft) (*sigil.Reader, bool) {
	if d.base == nil || d.isDir() || d.attr.Size <= sigil.SegmentSize || d.base.obj.attr.Size <= sigil.SegmentSize {
		return nil, false
	}
	old, ok := d.base.current().(*sigil.Reader)
	return old, ok && v.patchable(sigil.BodySize(d.attr.Size), d.whole())
}

// whole gives the stored ranges of the segments that stay.
func (d draft) whole() []objstore.Range {
	changed := d.changed()
	var all []objstore.Range
	for i := range sigil.Segments(d.attr.Size) {
		off, n := sigil.SegmentRange(d.attr.Size, i)
		was := int64(0)
		if i < sigil.Segments(d.base.obj.attr.Size) {
			_, was = sigil.SegmentRange(d.base.obj.attr.Size, i)
		}
		if n == was && !changed(i) {
			all = joined(all, objstore.Range{Off: off, Len: n})
		}
	}
	return all
}

// changed tells the segments of the draft that are not wholly as in the base.
// A last one that is too short for a copy of its own goes with its predecessor.
func (d draft) changed() func(int64) bool {
	last := sigil.Segments(d.attr.Size) - 1
	kept := func(i int64) bool {
		off := i * sigil.SegmentSize
		end := min(off+sigil.SegmentSize, d.attr.Size)
		at, _ := slices.BinarySearchFunc(d.same, off, func(r objstore.Range, off int64) int {
			return cmp.Compare(r.Off+r.Len, off+1)
		})
		return at < len(d.same) && d.same[at].Off <= off && d.same[at].Off+d.same[at].Len >= end
	}
	short := d.attr.Size-last*sigil.SegmentSize < objstore.MinPartSize
	return func(i int64) bool { return !kept(i) || i == last && short && i > 0 && !kept(i-1) }
}

// keptRanges gives the segments that b keeps, neighbours as one.
func keptRanges(b *sigil.Body) []objstore.Range {
	var all []objstore.Range
	for i := range sigil.Segments(b.PlainSize()) {
		if b.Kept(i) {
			off, n := sigil.SegmentRange(b.PlainSize(), i)
			all = joined(all, objstore.Range{Off: off, Len: n})
		}
	}
	return all
}

// joined appends r, as one range with the last where they meet.
func joined(all []objstore.Range, r objstore.Range) []objstore.Range {
	if n := len(all); n > 0 && all[n-1].Off+all[n-1].Len == r.Off {
		all[n-1].Len += r.Len
		return all
	}
	return append(all, r)
}
