package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// generator is a Master that draws epoch keys itself, in the call that wraps
// them.
type generator interface {
	Master
	generate(ctx context.Context) (*[KeySize]byte, Wrap, error)
}

// create makes an epoch, stores it, and pins it before anything is sealed
// under it.
func (s *Set) create(ctx context.Context) (*entry, error) {
	r := s.ring
	epoch := &Epoch{ID: NewEpochID(), Revision: 1, State: Live, Created: r.now().UTC(), Host: strings.ToValidUTF8(r.host, "?")}
	key, wraps, err := s.draw(ctx, epoch.ID)
	if err != nil {
		return nil, fmt.Errorf("make epoch: %w", err)
	}
	epoch.Wraps = wraps
	if err := r.write(epoch, key, nil); err != nil {
		return nil, err
	}
	if err := r.store(ctx, epoch); err != nil {
		return nil, fmt.Errorf("make epoch: %w", err)
	}
	e := &entry{key: key, epoch: epoch, own: true, at: r.root, seen: r.wall()}
	r.keep(e, nil)
	if err := r.dir.setPin(s.name, pin{epoch.ID, e.sum()}); err != nil {
		r.report(epoch.ID, "the own epoch is not remembered: "+err.Error())
	}
	return e, nil
}

// draw gives a new epoch key and its wraps, in the order of the set. The key is
// of the first master that draws keys itself, or our own.
func (s *Set) draw(ctx context.Context, id EpochID) (*[KeySize]byte, []Wrap, error) {
	wraps := make([]Wrap, len(s.write))
	var key *[KeySize]byte
	from := slices.IndexFunc(s.write, func(m Master) bool { _, ok := m.(generator); return ok })
	if from < 0 {
		key = new([KeySize]byte)
		_, _ = rand.Read(key[:])
	} else {
		g, _ := s.write[from].(generator)
		var err error
		if key, wraps[from], err = g.generate(ctx); err != nil {
			return nil, nil, err
		}
	}
	for i, m := range s.write {
		if i == from {
			continue
		}
		var err error
		if wraps[i], err = m.Wrap(ctx, id, key); err != nil {
			clear(key[:])
			return nil, nil, err
		}
	}
	return key, wraps, nil
}

// store creates an epoch object at the volume root. A retried request finds
// its own first attempt, which is no failure.
func (r *Ring) store(ctx context.Context, e *Epoch) error {
	key := epochPath(r.root, e.ID)
	err := r.bucket.Create(ctx, key, e.stored)
	if !errors.Is(err, ErrExist) {
		return err
	}
	data, _, getErr := r.bucket.Get(ctx, key)
	switch {
	case errors.Is(getErr, ErrNotExist): // it is there, and this host may only write
		return nil
	case getErr != nil:
		return getErr
	}
	if string(data) != string(e.stored) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
