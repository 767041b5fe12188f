package volume

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// patch seals only the segments in which d differs from its base, under the
// base's data key; the others are copied. Nil: all is to be written anew.
func (s sealedScheme) patch(ctx context.Context, v *Volume, d draft, epoch sigil.Epoch) (*stored, error) {
	old, ok, err := s.patchable(ctx, v, d)
	if err != nil || !ok {
		return nil, err
	}
	f := d.base.obj.form.(*sealedForm)
	if ok, err := f.mayKeep(ctx, s.keys, d.base.obj); err != nil || !ok {
		return nil, err // nil: former holders of the data key must not read what comes now
	}
	rec := f.rec.Clone()
	d.describe(v, rec)
	comp := s.comp
	if comp == nil && rec.Layout != 0 { // the rule has none any more: what is compressed stays so
		if comp, err = v.packer(); err != nil {
			return nil, err
		}
	}
	b, err := sigil.NewRewrite(ctx, rec, comp, old, d.src, d.attr.Size, d.changed())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.key, err)
	}
	w, err := sealBody(d, rec, epoch, b)
	if err == nil {
		w.body.from = *d.base.id.Load()
	}
	return w, err
}

// patchable gives the base's reader where both bodies have segments and enough
// of them stays. How long the new body will be is not known in layout 1: about as
// long as the old one.
func (s sealedScheme) patchable(ctx context.Context, v *Volume, d draft) (*sigil.Reader, bool, error) {
	if d.base == nil || d.isDir() || d.attr.Size <= sigil.SegmentSize || d.base.obj.attr.Size <= sigil.SegmentSize {
		return nil, false, nil
	}
	old, ok := d.base.current().(*sigil.Reader)
	if !ok {
		return nil, false, nil
	}
	size := d.base.obj.length
	if old.Unit() == sigil.ChunkSize {
		size = sigil.BodySize(d.attr.Size)
	} else if err := old.Verify(ctx); err != nil {
		return nil, false, err
	}
	return old, v.patchable(size, d.whole(old)), nil
}

// whole gives where the segments that stay are stored in the base.
func (d draft) whole(old *sigil.Reader) []sigil.Kept {
	changed := d.changed()
	var all []objstore.Range
	for off := int64(0); off < min(d.attr.Size, old.Size()); off += sigil.SegmentSize {
		n := min(sigil.SegmentSize, d.attr.Size-off)
		if n == min(sigil.SegmentSize, old.Size()-off) && !changed(off/sigil.SegmentSize) {
			at, length := old.Stored(off, n)
			all = joined(all, objstore.Range{Off: at, Len: length})
		}
	}
	return inPlace(all)
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

// joined appends r, as one range with the last where they meet.
func joined(all []objstore.Range, r objstore.Range) []objstore.Range {
	if n := len(all); n > 0 && all[n-1].Off+all[n-1].Len == r.Off {
		all[n-1].Len += r.Len
		return all
	}
	return append(all, r)
}
