package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// maxRaces is how often a change is made anew because somebody else was first.
const maxRaces = 16

// read gets an epoch as it lies at a place, opens it, and joins it with what is
// remembered of it. One of this id under another key than the remembered one
// was planted, or is not the one that was meant: ErrCorrupt.
func (a *Admin) read(ctx context.Context, at string, id EpochID) (f found, data []byte, err error) {
	r := a.ring
	data, etag, err := r.bucket.Get(ctx, epochPath(at, id))
	if err != nil {
		return found{}, nil, err
	}
	e, err := r.recognise(ctx, id, data)
	if err != nil {
		return found{}, data, err
	}
	e.at = at
	shown := e.epoch.Revision
	rec, others, err := r.recollect(id, e.sum())
	switch {
	case err != nil:
		r.report(id, err.Error())
	case rec == nil && others:
		return found{}, data, fmt.Errorf("epoch %s has another key in the bucket than this host remembers: one of them was planted: %w", id, ErrCorrupt)
	}
	f = found{r.join(e, r.remembered(e, rec)), rec, etag, shown}
	r.learn(f)
	return f, data, nil
}

// learn has what is remembered of an epoch go on to what an Admin saw of it:
// nobody goes back from a state that he has seen. What was not remembered is not
// by this: no object is here to show that it is the right one.
func (r *Ring) learn(f found) {
	if f.rec == nil || f.unsigned {
		return
	}
	now := *f.entry
	r.mu.Lock()
	if have := r.lookup(now.epoch.ID, now.sum()); have != nil {
		now.at, now.lost, now.older = have.at, have.lost, have.older // where it was found is where it is looked for
	}
	r.mu.Unlock()
	r.keep(&now, f.rec)
}

// recognise opens an epoch object. One whose key is known shows that by its MAC,
// and no wrap of it is opened.
func (r *Ring) recognise(ctx context.Context, id EpochID, data []byte) (*entry, error) {
	if epoch, err := ParseEpoch(id, data); err == nil {
		for _, e := range r.known(id) {
			if epoch.Verify(e.key) == nil {
				return r.seen(e.key, epoch), nil
			}
		}
	}
	return r.examine(ctx, id, data, func(*[KeySize]byte) bool { return true })
}

// recollect gives what is known of id under a key, in memory or on disk, and
// whether it is known under others.
func (r *Ring) recollect(id EpochID, sum keySum) (rec *record, others bool, err error) {
	for _, e := range r.known(id) {
		if e.sum() != sum {
			others = true
			continue
		}
		known := e.record()
		rec = &known
	}
	onDisk, err := r.dir.records(id)
	for _, d := range onDisk {
		switch {
		case d.Sum != sum:
			others = true
		case rec == nil:
			rec = d
		default: // another process may know more by now, or this one
			joined := rec.atLeast(id, d)
			rec = &joined
		}
	}
	return rec, others, err
}

// edit gives what is to become of an epoch: its wraps and its state; nil where
// it is so already.
type edit func(ctx context.Context, e *entry) (*Epoch, error)

// change makes an epoch what edit says, as a new revision over the object that
// was read. Where somebody else was first it begins again with theirs. put tells
// that something was written or, in a dry run, would be.
func (a *Admin) change(ctx context.Context, at string, id EpochID, dry bool, do edit) (f found, put bool, err error) {
	r := a.ring
	leave, err := r.enter(ctx, id.String())
	if err != nil {
		return found{}, false, err
	}
	defer leave()
	for range maxRaces {
		if f, _, err = a.read(ctx, at, id); err != nil {
			return f, false, err
		}
		next, err := do(ctx, f.entry)
		if err != nil {
			return f, false, err
		}
		if next == nil && f.shown >= f.epoch.Revision {
			return f, false, nil
		}
		if next != nil {
			if err := r.mayChange(f.epoch); err != nil {
				return f, false, err
			}
		}
		if dry {
			return f, true, nil
		}
		if !a.opt.Conditional {
			return f, false, fmt.Errorf("change epoch %s: %w", id, ErrNoConditions)
		}
		now, err := a.write(ctx, f, next)
		if err == nil {
			f.entry, f.shown = now, now.epoch.Revision
			return f, true, nil
		}
		if !errors.Is(err, ErrChanged) {
			return f, false, fmt.Errorf("change epoch %s: %w", id, err)
		}
	}
	return f, false, fmt.Errorf("change epoch %s: %w, %d times", id, ErrChanged, maxRaces)
}

// write puts the next revision of an epoch in the place of what f shows; a nil
// next puts back the remembered one, which is newer. ErrChanged: something else
// lies there by now.
func (a *Admin) write(ctx context.Context, f found, next *Epoch) (*entry, error) {
	r, now := a.ring, *f.entry
	if next != nil {
		if err := r.revise(&now, next, f.shown); err != nil {
			return nil, err
		}
	}
	path := epochPath(f.at, now.epoch.ID)
	err := r.bucket.Replace(ctx, path, now.epoch.stored, f.etag)
	if err != nil {
		// The answer may be of a repetition that met its own success, or be lost:
		// what lies there tells.
		data, etag, getErr := r.bucket.Get(ctx, path)
		switch {
		case getErr == nil && bytes.Equal(data, now.epoch.stored):
		case getErr == nil && etag != f.etag, errors.Is(getErr, ErrNotExist):
			return nil, fmt.Errorf("%w (%w)", ErrChanged, err)
		default:
			return nil, err
		}
	}
	r.keep(&now, f.rec)
	return &now, nil
}

// revise makes next the revision of e after all that are known, the one that is
// shown among them.
func (r *Ring) revise(e *entry, next *Epoch, shown uint64) error {
	next.ID, next.Revision = e.epoch.ID, max(e.epoch.Revision, shown)+1
	next.Created, next.Host = e.epoch.Created, e.epoch.Host
	next.State = max(next.State, e.state)
	switch {
	case len(next.Wraps) == 0:
		return fmt.Errorf("epoch %s would have no wraps: %w", e.epoch.ID, ErrOnlyWay)
	case next.Revision == 0:
		return fmt.Errorf("epoch %s has the last revision there is: %w", e.epoch.ID, ErrCorrupt)
	}
	if err := r.write(next, e.key, e.epoch); err != nil {
		return err
	}
	e.epoch, e.state, e.unsigned, e.lost = next, next.State, false, false
	return nil
}
