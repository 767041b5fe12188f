package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// enter waits until nobody else works on name (an epoch id, or "current"), or
// ctx ends. leave lets the next one in.
func (r *Ring) enter(ctx context.Context, name string) (leave func(), err error) {
	for {
		r.mu.Lock()
		wait, taken := r.busy[name]
		if !taken {
			done := make(chan struct{})
			r.busy[name] = done
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.busy, name)
				r.mu.Unlock()
				close(done)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for epoch %s: %w", name, ctx.Err())
		}
	}
}

// maxKeys bounds the keys that one id is remembered with in a mount.
const maxKeys = 16

// known gives the entries of an id. The slice is never changed.
func (r *Ring) known(id EpochID) []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epochs[id]
}

// lookup gives the entry of an id with one key, or nil. r.mu is held.
func (r *Ring) lookup(id EpochID, sum keySum) *entry {
	for _, e := range r.epochs[id] {
		if e.sum() == sum {
			return e
		}
	}
	return nil
}

// put makes e the entry of its id and key.
func (r *Ring) put(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.without(e)
	if len(all) >= maxKeys { // planted ones, but for one
		if i := slices.IndexFunc(all, func(e *entry) bool { return !e.own }); i >= 0 {
			all = slices.Delete(all, i, i+1)
		}
	}
	r.epochs[e.epoch.ID] = append(all, e)
}

// without gives the entries of e's id but the one with its key, in a new slice.
// r.mu is held.
func (r *Ring) without(e *entry) []*entry {
	sum := e.sum()
	return slices.DeleteFunc(slices.Clone(r.epochs[e.epoch.ID]), func(have *entry) bool { return have.sum() == sum })
}

// keep makes e what is known of its epoch, in memory and, where it tells more
// than rec, on disk. A disk that fails costs memory across mounts, no access.
func (r *Ring) keep(e *entry, rec *record) {
	r.put(e)
	if e.unsigned { // what it says is not to be believed later either
		return
	}
	now := e.record()
	if rec != nil && rec.State == now.State && rec.Own == now.Own && bytes.Equal(rec.Object, now.Object) {
		return
	}
	if err := r.dir.setRecord(e.epoch.ID, now); err != nil {
		r.report(e.epoch.ID, "the epoch is not remembered: "+err.Error())
	}
}

// record is what is remembered of an entry.
func (e *entry) record() record {
	return record{Sum: e.sum(), State: e.state, Own: e.own, Object: e.epoch.stored}
}

// remembered gives what a record says of the epoch of e, whose key it is. A nil
// record says nothing more than e, and so does one of what is not believed.
func (r *Ring) remembered(e *entry, rec *record) *entry {
	mine := *e
	if rec == nil {
		return &mine
	}
	mine.own = rec.Own
	mine.state = max(mine.state, rec.State)
	epoch, err := ParseEpoch(e.epoch.ID, rec.Object)
	if err == nil && epoch.Verify(e.key) == nil && r.trusted(epoch) {
		mine.epoch, mine.unsigned = epoch, false
		mine.state = max(mine.state, epoch.State)
	}
	return &mine
}

// join gives, of what the bucket shows and what we know, the higher revision
// and the further state.
func (r *Ring) join(theirs, mine *entry) *entry {
	joined := *theirs
	joined.own = mine.own
	joined.state = max(theirs.state, mine.state)
	switch {
	case theirs.unsigned && !mine.unsigned:
		return r.passOver(theirs, mine)
	case mine.unsigned:
	case mine.epoch.Revision == theirs.epoch.Revision && !bytes.Equal(mine.epoch.stored, theirs.epoch.stored):
		joined.epoch, joined.older = mine.epoch, true
		r.report(mine.epoch.ID, "the bucket shows another content of the same revision than was seen before; the one seen before is used")
	case mine.epoch.Revision > theirs.epoch.Revision:
		joined.epoch, joined.older = mine.epoch, true
		r.report(mine.epoch.ID, fmt.Sprintf("the bucket shows revision %d of this epoch and revision %d was seen before; the newer one is used",
			theirs.epoch.Revision, mine.epoch.Revision))
	}
	return &joined
}

// repair puts a missing epoch object back at the volume root, or our newer
// revision over an older one there, and gives the entry as it is then. What
// fails is reported and tried again when the epoch is next read.
func (r *Ring) repair(ctx context.Context, f found) *entry {
	switch {
	case r.readOnly:
	case f.shown == 0 && f.etag != "":
		return r.putOver(ctx, f.entry, f.etag)
	case f.shown == 0:
		return r.putBack(ctx, f.entry)
	case f.at == r.root && f.shown < f.epoch.Revision:
		r.replace(ctx, f.entry, f.etag)
	}
	return f.entry
}

func (r *Ring) replace(ctx context.Context, e *entry, etag string) {
	err := r.bucket.Replace(ctx, epochPath(r.root, e.epoch.ID), e.epoch.stored, etag)
	if err != nil && !errors.Is(err, ErrChanged) {
		r.report(e.epoch.ID, "the older revision in the bucket could not be replaced: "+err.Error())
	}
}

// putBack creates the epoch object at the volume root. One that is there
// already will do: it was put back before, or this host may not read it.
func (r *Ring) putBack(ctx context.Context, e *entry) *entry {
	id, key := e.epoch.ID, epochPath(r.root, e.epoch.ID)
	back := *e
	back.at, back.lost = r.root, false
	err := r.bucket.Create(ctx, key, e.epoch.stored)
	switch {
	case err == nil:
		r.report(id, "the epoch was missing from the bucket and was put back at "+key)
		return &back
	case errors.Is(err, ErrExist):
		there, etag, seen := r.meet(ctx, &back, key)
		if there != nil {
			if there.Revision < back.epoch.Revision {
				r.replace(ctx, &back, etag)
			}
			shown := r.seen(e.key, there)
			shown.at = r.root
			return r.join(shown, &back)
		}
		if errors.Is(seen, ErrNotExist) {
			return &back
		}
		err = seen
	}
	r.report(id, "the epoch is not in the bucket any more and could not be put back: "+err.Error())
	back.at, back.lost = e.at, true
	return &back
}

// meet reads what lies at key in the place of e, whose key it must have.
func (r *Ring) meet(ctx context.Context, e *entry, key string) (*Epoch, string, error) {
	data, etag, err := r.bucket.Get(ctx, key)
	if err != nil {
		return nil, "", err
	}
	epoch, err := ParseEpoch(e.epoch.ID, data)
	if err == nil {
		err = epoch.Verify(e.key)
	}
	if err != nil {
		return nil, "", err
	}
	return epoch, etag, nil
}
