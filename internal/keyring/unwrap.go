package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// unwrapped is what became of an epoch object's wraps: the key that they gave,
// or why they gave none.
type unwrapped struct {
	key *[KeySize]byte
	trouble
}

// opener is a wrap, and a configured key that is to open it.
type opener struct {
	Master
	wrap Wrap
}

// openers gives the wraps for configured keys, those of KMS last: they cost a
// request, and may hang.
func (r *Ring) openers(epoch *Epoch) []opener {
	var near, far []opener
	for _, w := range epoch.Wraps {
		switch m := r.master(w); {
		case m == nil || m.Kind() != w.Type:
		case w.Type == KindKMS:
			far = append(far, opener{m, w})
		default:
			near = append(near, opener{m, w})
		}
	}
	return slices.Concat(near, far)
}

// master is the configured key that opens a wrap: its own, or a replica of it
// in another region.
func (r *Ring) master(w Wrap) Master {
	if m := r.masters[w.Key]; m != nil || w.Type != KindKMS {
		return m
	}
	for id, m := range r.masters {
		if replicas(id, w.Key) {
			return m
		}
	}
	return nil
}

// unwrap gives the key of an epoch object. The same bytes are not opened again
// until the next Recheck, so KMS is asked once for an epoch, however many look
// for it and from wherever.
func (r *Ring) unwrap(ctx context.Context, epoch *Epoch) (*[KeySize]byte, error) {
	name := sha256.Sum256(append(epoch.ID[:], epoch.stored...))
	r.mu.Lock()
	have, ok := r.opened[name]
	r.mu.Unlock()
	if ok && have.key != nil {
		return have.key, nil
	}
	if err := have.lately(r.now()); err != nil {
		return nil, err
	}
	key, err := r.unwrapNow(ctx, epoch)
	if err != nil && ctx.Err() != nil { // the caller's own end says nothing of the key
		return nil, err
	}
	life := missLife
	if !final(err) {
		life = troubleLife
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.opened) >= maxMisses {
		clear(r.opened)
	}
	r.opened[name] = unwrapped{key, trouble{err, r.now().Add(life)}}
	return key, err
}

// unwrapNow tries the wraps for configured keys, and no others. The error is of
// the wrap that says most.
func (r *Ring) unwrapNow(ctx context.Context, epoch *Epoch) (*[KeySize]byte, error) {
	var why error
	for _, o := range r.openers(epoch) {
		key, err := o.Unwrap(ctx, epoch.ID, o.wrap)
		if err == nil {
			err = epoch.Verify(key)
		}
		if err == nil {
			return key, nil
		}
		if why == nil || errors.Is(why, ErrNoKey) || !final(err) {
			why = fmt.Errorf("open epoch %s: %w", epoch.ID, err)
		}
	}
	if why == nil {
		why = fmt.Errorf("epoch %s is wrapped for %s, and none of these is configured: %w",
			epoch.ID, some(epoch.keyIDs()), ErrNoKey)
	}
	return nil, why
}

// some lists ids for a message, not all of very many.
func some(ids []string) string {
	const most = 8
	if len(ids) <= most {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
}
