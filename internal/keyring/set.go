package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Set is one key set of a ring's policy: every epoch that is made for it is
// wrapped for exactly its keys, and this host has one current epoch for it.
// Safe for concurrent use.
type Set struct {
	ring  *Ring
	write []Master
	ids   []string // sorted
	name  string   // of root and key set in Dir

	// Guarded by ring.mu.
	own    *ownEpoch // sealed under at present; nil: none yet
	failed trouble   // of the last attempt to make one
}

// ownEpoch names an entry: an id alone may have several keys.
type ownEpoch struct {
	id  EpochID
	sum keySum
}

// Set gives the key set of these keys, which are among the ring's. The order
// does not matter but for this: of several KMS keys the first draws epoch keys
// (GenerateDataKey), the others encrypt them. The same keys give the same Set.
func (r *Ring) Set(write []Master) (*Set, error) {
	s := &Set{ring: r}
	for _, m := range write {
		switch {
		case r.masters[m.ID()] == nil:
			return nil, fmt.Errorf("make key set: %s is none of the ring's keys", m.ID())
		case !slices.Contains(s.ids, m.ID()):
			s.write, s.ids = append(s.write, m), append(s.ids, m.ID())
		}
	}
	if len(s.write) == 0 {
		return nil, errors.New("make key set: no key to write with")
	}
	slices.Sort(s.ids)
	sum := sha256.Sum256([]byte(r.root + "\x00" + strings.Join(s.ids, "\n")))
	s.name = hex.EncodeToString(sum[:16])
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.sets[s.name]; have != nil {
		return have, nil
	}
	r.sets[s.name] = s
	return s, nil
}

// KeyIDs gives the sorted global ids of the keys.
func (s *Set) KeyIDs() []string { return slices.Clone(s.ids) }

// CanReopen tells whether this host can open the epochs it makes in a later
// mount; where not, what must outlive the mount needs another key.
func (s *Set) CanReopen() bool {
	return slices.ContainsFunc(s.ids, func(id string) bool { return s.ring.masters[id].CanUnwrap() })
}

// Format prints the keys' ids.
func (s *Set) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "keyring.Set("+strings.Join(s.ids, ",")+")")
}

// Current gives the epoch to seal under: this host's own, for this key set. The
// first call finds or makes it, and so does one after it aged, was retired or
// lost its exact wraps, and one after Options.Lease looks whether it may be sealed
// under yet; the others take no request. Errors: ErrReadOnly, a
// Master's or the bucket's.
func (s *Set) Current(ctx context.Context) (EpochID, [KeySize]byte, error) {
	e := s.current()
	if e != nil && s.ring.overdue(e) {
		if err := s.ring.renewLease(ctx, e); err != nil {
			return EpochID{}, [KeySize]byte{}, fmt.Errorf("look at the own epoch: %w", err)
		}
		e = s.current()
	}
	if e == nil {
		var err error
		if e, err = s.renew(ctx); err != nil {
			return EpochID{}, [KeySize]byte{}, err
		}
	}
	return e.epoch.ID, *e.key, nil
}

// current is the own epoch while it may be sealed under, or nil.
func (s *Set) current() *entry {
	s.ring.mu.Lock()
	var e *entry
	if s.own != nil {
		e = s.ring.lookup(s.own.id, s.own.sum)
	}
	s.ring.mu.Unlock()
	if e == nil || s.unsealable(e) != "" {
		return nil
	}
	return e
}

// unsealable says why an epoch may not be sealed under, "" if it may.
func (s *Set) unsealable(e *entry) string {
	age := s.ring.now().Sub(e.epoch.Created)
	switch {
	case !e.own:
		return "was not made by this host"
	case e.state != Live:
		return "is " + e.state.String()
	case e.lost:
		return "is lost from the bucket"
	case e.unsigned:
		return "has wraps and a state that none of the signers signed"
	case !e.epoch.wrappedFor(s.ids):
		return "is wrapped for other keys than configured"
	case age >= ownEpochLife:
		return "is over 30 days old"
	case age < -maxClockSkew:
		return "was made in the future"
	}
	return ""
}

// renew takes up the pinned epoch, or makes a new one.
func (s *Set) renew(ctx context.Context) (*entry, error) {
	r := s.ring
	if r.readOnly {
		return nil, fmt.Errorf("current epoch: %w", ErrReadOnly)
	}
	leave, err := r.enter(ctx, "current "+s.name)
	if err != nil {
		return nil, err
	}
	defer leave()
	if e := s.current(); e != nil {
		return e, nil
	}
	if err := s.failedLately(); err != nil { // those who waited for the one that failed
		return nil, err
	}
	e, err := s.reopen(ctx)
	if err == nil && e == nil {
		e, err = s.create(ctx)
	}
	if err != nil {
		err = fmt.Errorf("current epoch: %w", err)
		s.noteFailure(ctx, err)
		return nil, err
	}
	r.mu.Lock()
	s.own = &ownEpoch{e.epoch.ID, e.sum()}
	r.mu.Unlock()
	return e, nil
}

func (s *Set) failedLately() error {
	s.ring.mu.Lock()
	defer s.ring.mu.Unlock()
	return s.failed.lately(s.ring.now())
}

func (s *Set) noteFailure(ctx context.Context, err error) {
	if ctx.Err() != nil { // one caller's own end
		return
	}
	s.ring.mu.Lock()
	defer s.ring.mu.Unlock()
	s.failed = trouble{err, s.ring.now().Add(troubleLife)}
}

// reopen gives the pinned epoch, nil where a new one must be made.
func (s *Set) reopen(ctx context.Context) (*entry, error) {
	r := s.ring
	p, err := r.dir.pin(s.name)
	if err != nil {
		r.report(EpochID{}, err.Error()+"; a new epoch is made")
	}
	if p == nil || !s.CanReopen() {
		return nil, nil
	}
	e, err := r.open(ctx, p.ID, []string{r.root}, func(key *[KeySize]byte) bool { return sumOf(key) == p.Sum })
	switch {
	case errors.Is(err, ErrAccess): // it would seal what nobody here may open
		return nil, err
	case final(err):
		r.report(p.ID, "the own epoch does not open, a new one is made: "+err.Error())
		return nil, nil
	case err != nil:
		return nil, err
	}
	if !e.own { // the record was lost, the pin was not
		mine := *e
		mine.own = true
		e = &mine
		r.keep(e, nil)
	}
	if why := s.unsealable(e); why != "" {
		r.report(p.ID, "the own epoch "+why+", a new one is made")
		return nil, nil
	}
	return e, nil
}
