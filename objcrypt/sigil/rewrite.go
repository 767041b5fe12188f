package sigil

import (
	"context"
	"fmt"
)

// NewRewrite begins a body that differs from old in part: src gives all of its
// n bytes, changed tells for which segments they are not old's. Those, and all
// where either body has no tail, get fresh salts and are sealed; the others
// keep salt and ciphertext, and are for the store to copy (Body.Kept). A segment
// whose length differs counts as changed.
//
// rec is old's record, settled (Record.Settle) and with the attributes and
// version of the new commit: the data key stays, the generation is drawn anew.
// Where both bodies have a tail the layout stays too, whatever c is, which must
// not be nil for layout 1. It verifies old first, which bounds it by ctx. Errors:
// objcrypt.ErrCorrupt, ErrRecord.
func NewRewrite(ctx context.Context, rec *Record, c *Compressor, old *Reader, src ReaderAt, n int64, changed func(segment int64) bool) (*Body, error) {
	if rec.DEK != old.dek || rec.DEK.IsZero() {
		return nil, fmt.Errorf("rewrite under another data key: %w", ErrRecord)
	}
	if err := old.Verify(ctx); err != nil {
		return nil, fmt.Errorf("rewrite: %w", err)
	}
	framed := old.layout == layoutFrames
	if !framed && (!hasTail(n) || !hasTail(old.n)) {
		return NewBody(ctx, rec, c, src, n)
	}
	if framed && c == nil {
		return nil, fmt.Errorf("rewrite of compressed frames without a compressor: %w", ErrRecord)
	}
	if err := begin(rec, n); err != nil {
		return nil, err
	}
	rec.Layout = old.layout
	salts, kept := old.keep(n, changed)
	if framed {
		return newFramed(ctx, rec, packed{comp: c, src: src, end: n, salts: salts, old: old, kept: kept})
	}
	return newBody(rec, src, n, salts, kept)
}

// keep gives the salts of n bytes, of which those of segments that did not change
// are the body's own.
func (r *Reader) keep(n int64, changed func(int64) bool) ([]salt, []bool) {
	was, count := r.table.Load().salts, ceil(n, SegmentSize)
	salts, kept := newSalts(count), make([]bool, count)
	for i := range min(count, int64(len(was))) {
		if segmentLen(n, i) == segmentLen(r.n, i) && !changed(i) {
			salts[i], kept[i] = was[i], true
		}
	}
	return salts, kept
}
