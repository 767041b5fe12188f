package keyring

import (
	"context"
	"slices"
	"time"
)

// weighing names a question of MayKeep, weighed is its answer.
type weighing struct {
	set *Set
	id  EpochID
}

type weighed struct {
	keep  bool
	until time.Time
}

// MayKeep tells whether a data key sealed under id may carry changed content of
// objectKey: the epoch opens here, is open, and is wrapped for exactly this key
// set. An error is the bucket's or a Master's and may pass.
func (s *Set) MayKeep(ctx context.Context, objectKey string, id EpochID) (bool, error) {
	r, name := s.ring, weighing{s, id}
	if known := r.known(id); known != nil {
		return !slices.ContainsFunc(known, func(e *entry) bool { return !s.fits(e) }), nil
	}
	r.mu.Lock()
	w, ok := r.weighed[name]
	r.mu.Unlock()
	if ok && !r.now().After(w.until) {
		return w.keep, nil
	}
	keep, err := s.weigh(ctx, objectKey, id)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.weighed) >= maxMisses {
		clear(r.weighed)
	}
	r.weighed[name] = weighed{keep, r.now().Add(missLife)}
	return keep, nil
}

// weigh looks for the epoch without a seal to tell which is the right one, so
// all that is remembered under its id must fit too. Nothing is kept of it.
func (s *Set) weigh(ctx context.Context, objectKey string, id EpochID) (bool, error) {
	r := s.ring
	records, err := r.dir.records(id)
	if err != nil {
		r.report(id, err.Error())
	}
	for _, rec := range records {
		epoch, err := ParseEpoch(id, rec.Object)
		if err != nil || rec.State != Live || epoch.State != Live || !epoch.wrappedFor(s.ids) {
			return false, nil //nolint:nilerr // what cannot be read does not fit
		}
	}
	f, err := r.find(ctx, id, prefixes(objectKey), func(*[KeySize]byte) bool { return true })
	if err != nil && !final(err) {
		return false, err
	}
	return err == nil && s.fits(f.entry), nil
}

func (s *Set) fits(e *entry) bool { return e.state == Live && !e.unsigned && e.epoch.wrappedFor(s.ids) }
