package sigil

import (
	"context"
	"fmt"
)

// NewRewrite begins a body that differs from old in part: src gives all of its
// n bytes, changed tells for which segments they are not old's. Those, and all
// where either body has no tail, get fresh salts and are sealed; the others
// keep salt and ciphertext (Body.Kept), at the same offset as before, and are
// for the store to copy (SegmentRange). A segment whose length differs counts
// as changed.
//
// rec is old's record, settled (Record.Settle) and with the attributes and
// version of the new commit: the data key stays, the generation is drawn anew.
// It verifies old first, which bounds it by ctx. Errors: objcrypt.ErrCorrupt,
// ErrRecord.
func NewRewrite(ctx context.Context, rec *Record, old *Reader, src ReaderAt, n int64, changed func(segment int64) bool) (*Body, error) {
	if rec.DEK != old.dek || rec.DEK.IsZero() {
		return nil, fmt.Errorf("rewrite under another data key: %w", ErrRecord)
	}
	if err := old.Verify(ctx); err != nil {
		return nil, fmt.Errorf("rewrite: %w", err)
	}
	if !hasTail(n) || !hasTail(old.n) {
		return NewBody(rec, src, n)
	}
	if err := begin(rec, n); err != nil {
		return nil, err
	}
	was := old.table.Load().salts
	salts, kept := newSalts(segments(n)), make([]bool, segments(n))
	for i := range min(segments(n), segments(old.n)) {
		if segmentLen(n, i) == segmentLen(old.n, i) && !changed(i) {
			salts[i], kept[i] = was[i], true
		}
	}
	return newBody(rec, src, n, salts, kept)
}
