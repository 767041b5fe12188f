package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// Recheck reads every epoch in use again, for what other hosts did to it, and
// asks KMS again where KMS alone opened it. An own epoch that may not be sealed
// under any more is left, and Current makes the next; one that KMS does not open
// any more (denied, disabled, deleted) is forgotten, so Open gives the cause
// until KMS opens it again. A KMS that does not answer takes nothing. Missing
// epoch objects are put back. It gives the first error that may pass, and goes
// on past it.
func (r *Ring) Recheck(ctx context.Context) error {
	r.mu.Lock()
	var all []*entry
	for _, entries := range r.epochs {
		all = append(all, entries...)
	}
	clear(r.misses)
	clear(r.weighed)
	clear(r.opened)
	r.mu.Unlock()
	var first error
	silent := map[string]error{}
	for _, e := range all {
		if err := r.recheck(ctx, e.epoch.ID, e.sum(), silent); err != nil && first == nil {
			first = fmt.Errorf("recheck epoch %s: %w", e.epoch.ID, err)
		}
	}
	return first
}

// recheck is of one epoch. silent are the KMS keys that were asked for in this
// round and got no answer, and why: they are not waited for again.
func (r *Ring) recheck(ctx context.Context, id EpochID, sum keySum, silent map[string]error) error {
	leave, err := r.enter(ctx, id.String())
	if err != nil {
		return err
	}
	defer leave()
	r.mu.Lock()
	before := r.lookup(id, sum)
	r.mu.Unlock()
	if before == nil {
		return nil
	}
	refused, troubled := r.ask(ctx, before, silent)
	if refused != nil {
		r.drop(before, refused)
		return nil
	}
	return errors.Join(r.again(ctx, before), troubled)
}

// again looks at a known epoch, and keeps what became of it. The caller has
// entered.
func (r *Ring) again(ctx context.Context, before *entry) error {
	f, err := r.look(ctx, before)
	if err != nil {
		return err
	}
	now, rec := r.repair(ctx, f), before.record()
	r.keep(now, &rec)
	r.tell(before, now)
	return nil
}

// renewLease looks at an own epoch that has not been looked at for too long.
func (r *Ring) renewLease(ctx context.Context, e *entry) error {
	leave, err := r.enter(ctx, e.epoch.ID.String())
	if err != nil {
		return err
	}
	defer leave()
	r.mu.Lock()
	now := r.lookup(e.epoch.ID, e.sum())
	r.mu.Unlock()
	if now == nil || !r.overdue(now) { // somebody was first
		return nil
	}
	return r.again(ctx, now)
}

// overdue tells whether an epoch was looked at too long ago to seal under it. A
// clock that was set back says nothing of how long that is.
func (r *Ring) overdue(e *entry) bool {
	age := r.wall().Sub(e.seen)
	return r.lease > 0 && (age < 0 || age > r.lease)
}

// ask opens an epoch with a wrap of KMS again, which takes KMS unless another
// key does it: refused says that it does not open, troubled that KMS did not
// say.
func (r *Ring) ask(ctx context.Context, e *entry, silent map[string]error) (refused, troubled error) {
	var asked []string
	for _, o := range r.openers(e.epoch) {
		if o.Kind() == KindKMS {
			asked = append(asked, o.ID())
			troubled = cmp.Or(troubled, silent[o.ID()])
		}
	}
	if asked == nil || troubled != nil {
		return nil, troubled
	}
	key, err := r.unwrapNow(ctx, e.epoch)
	switch {
	case err == nil:
		clear(key[:])
		return nil, nil
	case final(err):
		return err, nil
	}
	for _, id := range asked {
		silent[id] = err
	}
	return nil, err
}

// drop forgets the key of an epoch that KMS opens no more.
func (r *Ring) drop(e *entry, cause error) {
	r.mu.Lock()
	if left := r.without(e); len(left) > 0 {
		r.epochs[e.epoch.ID] = left
	} else {
		delete(r.epochs, e.epoch.ID)
	}
	clear(r.opened)
	clear(r.weighed)
	r.mu.Unlock()
	r.report(e.epoch.ID, "its key was revoked, and nothing sealed under this epoch is read any more: "+cause.Error())
	r.revoked(e.epoch.ID, cause)
}

// tell reports what became of an epoch.
func (r *Ring) tell(before, now *entry) {
	id := now.epoch.ID
	if now.state == Closed && before.state != Closed {
		r.revoked(id, errClosed(id))
	}
	if !now.own {
		return
	}
	r.mu.Lock()
	var sets []*Set
	for _, s := range r.sets {
		if s.own != nil && s.own.id == id && s.own.sum == now.sum() {
			sets = append(sets, s)
		}
	}
	r.mu.Unlock()
	for _, s := range sets {
		if why := s.unsealable(now); why != "" && s.unsealable(before) == "" {
			r.report(id, "the own epoch "+why+" and is left")
		}
	}
}

// look reads a known epoch again where it lies. Only its MAC is checked and no
// wrap is opened: this host may hold recipients only.
func (r *Ring) look(ctx context.Context, e *entry) (found, error) {
	epoch, etag, err := r.meet(ctx, e, epochPath(e.at, e.epoch.ID))
	kept := *e
	kept.seen = r.wall()
	switch {
	case errors.Is(err, ErrNotExist):
		return found{entry: &kept}, nil
	case err != nil && !final(err):
		return found{}, err
	case err != nil:
		r.report(e.epoch.ID, "something else lies in the place of this epoch; what was seen before is used: "+err.Error())
		return found{entry: &kept}, nil //nolint:nilerr // the object is wrong, not the request
	}
	shown := r.seen(e.key, epoch)
	shown.at = e.at
	return found{entry: r.join(shown, e), etag: etag, shown: epoch.Revision}, nil
}
