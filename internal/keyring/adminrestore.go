package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ErrOther: something else lies in the place of an epoch that is to be put back.
var ErrOther = errors.New("something else lies in its place")

// Restored is what became of an epoch of a recovery file.
type Restored struct {
	Held
	Created  bool   // it was missing
	Replaced uint64 // the older revision that lay there; 0: none
	Over     bool   // something else lay there, and was replaced
	Added    []string
}

// Restore sees to it that the bucket has an epoch of a recovery file, at a place:
// a missing one is put back (If-None-Match), an older revision replaced by the
// newest that is known, from no state is gone back. add are keys that it is to be
// wrapped for besides. Where something else lies, which this epoch's key does not
// authenticate or none of the signers signed, it is ErrOther, unless over has that
// replaced; and so it is where this host remembers the epoch under another key.
func (a *Admin) Restore(ctx context.Context, at string, from Recovered, add []Master, over bool) (Restored, error) {
	done := Restored{Held: Held{ID: from.ID, At: at}}
	r := a.ring
	if !r.trusted(from.Epoch) {
		return done, r.errUnsigned(from.Epoch)
	}
	e := r.seen(from.key, from.Epoch)
	e.at = at
	rec, others, err := r.recollect(from.ID, e.sum())
	switch {
	case err != nil:
		r.report(from.ID, err.Error())
	case rec == nil && others && !over:
		return done, fmt.Errorf("put back epoch %s: this host remembers it under another key than the file has, and one of them was planted: %w", from.ID, ErrOther)
	}
	e = r.join(e, r.remembered(e, rec))
	r.put(e) // by which it is recognised, whoever holds the keys of its wraps
	for range maxRaces {
		again, err := a.place(ctx, e, over, &done)
		if err != nil {
			return done, fmt.Errorf("put back epoch %s: %w", from.ID, err)
		}
		if !again {
			return done, a.bringUp(ctx, &done, add)
		}
	}
	return done, fmt.Errorf("put back epoch %s: %w, %d times", from.ID, ErrChanged, maxRaces)
}

// Recover has the ring open an epoch of a recovery file without the bucket, for as
// long as it lives. Nothing is stored. ErrUnsigned: none of the signers signed it.
func (r *Ring) Recover(from Recovered) error {
	if !r.trusted(from.Epoch) {
		return r.errUnsigned(from.Epoch)
	}
	e := r.seen(from.key, from.Epoch)
	e.at = r.root
	for _, have := range r.known(from.ID) { // it may be in the file more than once
		if have.sum() != e.sum() {
			continue
		}
		e.own, e.state = have.own, max(e.state, have.state)
		if have.epoch.Revision > e.epoch.Revision {
			e.epoch = have.epoch
		}
	}
	r.put(e)
	return nil
}

// place puts e where nothing is, or something else; again tells that somebody
// else was first.
func (a *Admin) place(ctx context.Context, e *entry, over bool, done *Restored) (again bool, err error) {
	r, path := a.ring, epochPath(e.at, e.epoch.ID)
	data, etag, err := r.bucket.Get(ctx, path)
	absent := errors.Is(err, ErrNotExist)
	if err != nil && !absent {
		return false, err
	}
	if !absent {
		if there, err := ParseEpoch(e.epoch.ID, data); err == nil && there.Verify(e.key) == nil && r.trusted(there) {
			done.Shown = there.Revision
			return false, nil
		}
		if !over {
			return false, ErrOther
		}
	}
	done.Created, done.Over, done.Shown = absent, !absent, e.epoch.Revision
	done.Epoch, done.State = e.epoch, e.state
	switch {
	case a.opt.Dry:
		return false, nil
	case !a.opt.Conditional:
		return false, ErrNoConditions
	case absent:
		err = r.bucket.Create(ctx, path, e.epoch.stored)
	default:
		err = r.bucket.Replace(ctx, path, e.epoch.stored, etag)
	}
	if err == nil {
		return false, nil
	}
	now, _, getErr := r.bucket.Get(ctx, path)
	switch {
	case getErr == nil && bytes.Equal(now, e.epoch.stored): // the answer was lost
		return false, nil
	case errors.Is(err, ErrExist) && errors.Is(getErr, ErrNotExist):
		return false, fmt.Errorf("%s is there and may not be read: %w", path, err)
	case errors.Is(err, ErrExist), errors.Is(err, ErrChanged):
		done.Created, done.Over = false, false
		return true, nil
	}
	return false, err
}

// bringUp has an epoch that is there be the newest revision, with the wraps that
// were asked for.
func (a *Admin) bringUp(ctx context.Context, done *Restored, add []Master) error {
	if a.opt.Dry && (done.Created || done.Over) {
		c := Aim{Add: add}.Change(done.Held)
		done.Added = c.Added
		return nil
	}
	before := done.Shown
	c, err := a.Apply(ctx, &done.Held, Aim{Add: add})
	if err != nil {
		return err
	}
	done.Added = c.Added
	if newer := max(done.Shown, done.Epoch.Revision) > before; newer && !done.Created && !done.Over { // of a dry run Shown stays
		done.Replaced = before
	}
	return nil
}
