package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrOnlyWay: without the wrap that is to go nobody here could tell that the
// epoch still opens.
var ErrOnlyWay = errors.New("no other configured key is known to open this epoch")

// Aim is what epochs are to become. All that an Admin does is one; an epoch
// that is so already is left as it is, so every aim may be pursued again.
type Aim struct {
	// Add are keys that it is to be wrapped for. Of those with one id, such as a
	// key and its alias, the first counts.
	Add []Master

	// Drop tells of a wrap that it is to go. Nil: none.
	Drop func(w Wrap) bool

	// State is the least that its state is to be.
	State Phase
}

// Change is what an Aim means for one epoch.
type Change struct {
	Added, Dropped []string // ids of keys
	From, To       Phase
}

// None tells that the epoch is as it is to be.
func (c Change) None() bool { return len(c.Added)+len(c.Dropped) == 0 && c.From == c.To }

// Change tells what aim means for an epoch. It takes no request. A closed one is
// wrapped for other keys like any, and stays closed: else the keys of before would
// have to be kept to know that it is.
func (a Aim) Change(h Held) Change {
	if h.Epoch == nil {
		return Change{From: h.State, To: h.State}
	}
	change, _, _ := a.of(h.Epoch, h.State)
	return change
}

// of gives the change, the wraps that stay, and the keys that are to be added.
func (a Aim) of(e *Epoch, state Phase) (c Change, stay []Wrap, add []Master) {
	c = Change{From: state, To: max(state, a.State)}
	wanted := eachOnce(a.Add)
	var dropped []Wrap
	for _, w := range e.Wraps {
		switch {
		case a.Drop != nil && a.Drop(w), slices.ContainsFunc(wanted, func(m Master) bool { return m.ID() == w.Key && !Opens(m, w) }):
			dropped = append(dropped, w)
		default:
			stay = append(stay, w)
		}
	}
	for _, m := range wanted {
		if !slices.ContainsFunc(stay, func(w Wrap) bool { return Opens(m, w) }) {
			add, c.Added = append(add, m), append(c.Added, m.ID())
		}
	}
	for _, w := range dropped {
		c.Dropped = append(c.Dropped, w.Key)
		kept := func(id string) bool { return SameKey(id, w.Key) }
		if !slices.ContainsFunc(c.Added, kept) && !slices.ContainsFunc(stay, func(s Wrap) bool { return kept(s.Key) }) {
			c.To = max(c.To, Retired) // a recipient is lost
		}
	}
	return c, stay, add
}

// eachOnce gives keys without those whose id one before has.
func eachOnce(keys []Master) []Master {
	var all []Master
	for _, m := range keys {
		if !slices.ContainsFunc(all, func(have Master) bool { return have.ID() == m.ID() }) {
			all = append(all, m)
		}
	}
	return all
}

// SameKey tells whether two ids are of one master key: they are equal, or of
// replicas of one multi-Region key of KMS.
func SameKey(a, b string) bool { return a == b || replicas(a, b) }

// Opens tells whether a wrap is of this key as it is configured: a wrap of a KMS
// key under another encryption context is not. It takes no request.
func Opens(m Master, w Wrap) bool {
	if m.Kind() != w.Type || !SameKey(m.ID(), w.Key) {
		return false
	}
	k, ok := m.(*kmsMaster)
	return !ok || maps.Equal(k.context, w.Context)
}

// Apply makes the epoch of h what aim says, and h what it is then. With Dry it is
// Try. Errors: ErrOnlyWay, ErrNoConditions, ErrChanged (others change it all the
// time), those of read and of the keys.
func (a *Admin) Apply(ctx context.Context, h *Held, aim Aim) (Change, error) {
	return a.apply(ctx, h, aim, a.opt.Dry)
}

// Try looks whether Apply could be done, and changes nothing.
func (a *Admin) Try(ctx context.Context, h Held, aim Aim) (Change, error) {
	return a.apply(ctx, &h, aim, true)
}

func (a *Admin) apply(ctx context.Context, h *Held, aim Aim, dry bool) (Change, error) {
	var done Change
	made := map[string]Wrap{} // so that a race costs no second call of KMS
	f, _, err := a.change(ctx, h.At, h.ID, dry, func(ctx context.Context, e *entry) (*Epoch, error) {
		var stay []Wrap
		var add []Master
		done, stay, add = aim.of(e.epoch, e.state)
		if done.None() && e.epoch.State == e.state { // else its newest revision went back from a state
			return nil, nil
		}
		next := &Epoch{State: done.To, Wraps: stay}
		if !dry {
			for _, m := range add {
				if err := a.wrap(ctx, m, e, made); err != nil {
					return nil, err
				}
				next.Wraps = append(next.Wraps, made[m.ID()])
			}
		}
		if len(done.Dropped) == 0 {
			return next, nil
		}
		return next, a.checkWay(ctx, e, next.Wraps, dry && len(add) > 0)
	})
	if err != nil {
		return Change{}, err
	}
	h.take(f)
	return done, nil
}

// wrap makes the wrap of an epoch for a key. Of the first of each key that is
// whole here, it is seen that it opens: KMS may let us encrypt and not decrypt.
func (a *Admin) wrap(ctx context.Context, m Master, e *entry, made map[string]Wrap) error {
	if _, ok := made[m.ID()]; ok {
		return nil
	}
	w, err := m.Wrap(ctx, e.epoch.ID, e.key)
	if err != nil {
		return err
	}
	tried := sha256.Sum256([]byte("key " + m.ID()))
	if m.CanUnwrap() && !a.isProven(tried) {
		if err := a.prove(ctx, m, e, w); err != nil {
			return fmt.Errorf("what was wrapped for %s does not open with it: %w", m.ID(), err)
		}
		a.setProven(tried)
	}
	a.setProven(proof(e, w))
	made[m.ID()] = w
	return nil
}

// checkWay sees to it that wraps leave a way to the epoch: one of them opens with
// a configured key or, where only public halves are here, is for one. public: one
// more of these would be made.
func (a *Admin) checkWay(ctx context.Context, e *entry, wraps []Wrap, public bool) error {
	var why error
	for _, w := range wraps {
		if a.isProven(proof(e, w)) {
			return nil
		}
		m := a.ring.master(w)
		if m == nil || !Opens(m, w) {
			continue
		}
		if !m.CanUnwrap() {
			public = true
			continue
		}
		err := a.prove(ctx, m, e, w)
		if err == nil {
			return nil
		}
		if why == nil || !final(err) {
			why = err
		}
	}
	switch {
	case why != nil:
		return fmt.Errorf("epoch %s: %w (%w)", e.epoch.ID, ErrOnlyWay, why)
	case !public:
		return fmt.Errorf("epoch %s: %w", e.epoch.ID, ErrOnlyWay)
	}
	return nil
}

// prove opens a wrap, and sees that it holds the key of the epoch.
func (a *Admin) prove(ctx context.Context, m Master, e *entry, w Wrap) error {
	key, err := m.Unwrap(ctx, e.epoch.ID, w)
	if err != nil {
		return err
	}
	defer clear(key[:])
	if sumOf(key) != e.sum() {
		return fmt.Errorf("open wrap for %s: it holds another key: %w", m.ID(), ErrWrongKey)
	}
	a.setProven(proof(e, w))
	return nil
}

// proof names a wrap of an epoch's key.
func proof(e *entry, w Wrap) [sha256.Size]byte {
	sum := e.sum()
	return sha256.Sum256(slices.Concat([]byte("wrap "), e.epoch.ID[:], sum[:], []byte(w.Key), []byte{0}, w.Blob))
}

func (a *Admin) isProven(name [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.proven[name]
	return ok
}

func (a *Admin) setProven(name [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proven[name] = struct{}{}
}
