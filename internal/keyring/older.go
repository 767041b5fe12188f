package keyring

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Older gives what lay at the key of an epoch object before, the newest first: as
// much of it as a bucket that keeps versions has, and is to be looked at.
type Older func(ctx context.Context, key string) iter.Seq2[[]byte, error]

// findOlder searches what lay under the prefixes before, for an epoch that was
// removed since or has something else in its place. What was planted may lie there
// too, so that each version is held to the seal. damaged is the ETag of what lies
// at the volume root and is no epoch. No entry and no error: nothing fits.
func (r *Ring) findOlder(ctx context.Context, id EpochID, prefixes []string, damaged string, check func(*[KeySize]byte) bool) (found, error) {
	if r.older == nil {
		return found{}, nil
	}
	for _, p := range prefixes {
		for data, err := range r.older(ctx, epochPath(p, id)) {
			if err != nil {
				return found{}, fmt.Errorf("read older versions of epoch %s: %w", epochPath(p, id), err)
			}
			e, err := r.examine(ctx, id, data, check)
			if err == nil {
				e.at = p
				rec := r.recall(e)
				return found{r.join(e, r.remembered(e, rec)), rec, damaged, 0}, nil
			}
			if !final(err) {
				return found{}, err
			}
		}
	}
	return found{}, nil
}

// isEpoch tells whether data has the form of an epoch object, be it of a later
// version of the format.
func isEpoch(id EpochID, data []byte) bool {
	_, err := ParseEpoch(id, data)
	return !errors.Is(err, ErrCorrupt)
}

// putOver puts an epoch in place of what lies at its key in the volume root and is
// no epoch. What has the form of one stays, whatever it is: it may be another
// host's, of which this one only has no key.
func (r *Ring) putOver(ctx context.Context, e *entry, etag string) *entry {
	id, key := e.epoch.ID, epochPath(r.root, e.epoch.ID)
	back := *e
	back.at, back.lost = r.root, false
	if err := r.bucket.Replace(ctx, key, e.epoch.stored, etag); err != nil {
		r.report(id, "the epoch has something else in its place and could not be put back: "+err.Error())
		back.at, back.lost = e.at, true
		return &back
	}
	r.report(id, "the epoch had something else in its place and was put back at "+key)
	return &back
}
