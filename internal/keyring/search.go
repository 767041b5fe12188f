package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// miss names a search: the epoch and the directory of the object.
type miss struct {
	id  EpochID
	dir string
}

type missed struct {
	err   error
	until time.Time
}

// weighed is an answer of MayKeep.
type weighed struct {
	keep  bool
	until time.Time
}

// found is an epoch that opens, and what the bucket shows of it.
type found struct {
	*entry
	rec   *record // what was remembered of it, or nil
	etag  string  // of the object in the bucket
	shown uint64  // its revision; 0: it is missing, or something else lies in its place
}

// epochPath is the key of an epoch object below prefix.
func epochPath(prefix string, id EpochID) string { return prefix + ".sigil/epochs/" + id.String() }

// prefixes gives every prefix of an object's key that may hold its epoch,
// longest first; the last is "", the bucket itself.
func prefixes(objectKey string) []string {
	var all []string
	for i := len(objectKey); i > 0; i-- {
		if objectKey[i-1] == '/' {
			all = append(all, objectKey[:i])
		}
	}
	return append(all, "")
}

// Open gives the key of the epoch id under which the object objectKey is
// sealed. check tells whether a key gives the commitment of the object's seal;
// a candidate that fails it is passed over. It may be called several times,
// and by one goroutine at a time.
//
// An epoch once opened takes no further request. ErrNoKey: found nowhere, or
// not for a key whose secret half is here. ErrWrongKey: for one of ours, and
// does not open; or closed. ErrCorrupt: an epoch opens and does not fit the
// seal (one of them was tampered with), or is malformed. ErrVersion. Any other
// error is the bucket's or a Master's and may pass.
func (r *Ring) Open(ctx context.Context, objectKey string, id EpochID, check func(key *[KeySize]byte) bool) ([KeySize]byte, error) {
	if e := r.known(id); e != nil { // no request: the usual case
		return keyOf(e, check)
	}
	name := miss{id, objectKey[:strings.LastIndexByte(objectKey, '/')+1]}
	if err := r.missedLately(name); err != nil {
		return [KeySize]byte{}, err
	}
	e, err := r.open(ctx, id, prefixes(objectKey), check)
	if err != nil {
		r.noteMiss(name, err)
		return [KeySize]byte{}, err
	}
	return *e.key, nil
}

// MayKeep tells whether a data key sealed under id may carry changed content of
// objectKey: the epoch opens here, is open, and is wrapped for exactly the key
// set. An error is the bucket's or a Master's and may pass.
func (r *Ring) MayKeep(ctx context.Context, objectKey string, id EpochID) (bool, error) {
	if e := r.known(id); e != nil {
		return r.mayKeep(e), nil
	}
	r.mu.Lock()
	w, ok := r.weighed[id]
	r.mu.Unlock()
	if ok && !r.now().After(w.until) {
		return w.keep, nil
	}
	f, err := r.find(ctx, id, prefixes(objectKey), func(*[KeySize]byte) bool { return true })
	if err != nil && !final(err) {
		return false, err
	}
	keep := err == nil && r.mayKeep(f.entry) // f is not kept: no object has shown yet that it fits
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.weighed) >= maxMisses {
		clear(r.weighed)
	}
	r.weighed[id] = weighed{keep, r.now().Add(missLife)}
	return keep, nil
}

func (r *Ring) mayKeep(e *entry) bool { return e.state == Live && e.epoch.wrappedFor(r.writeIDs) }

func (r *Ring) known(id EpochID) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epochs[id]
}

// keyOf gives the key of a known epoch, if it may open and fits.
func keyOf(e *entry, check func(*[KeySize]byte) bool) ([KeySize]byte, error) {
	key := *e.key // a copy: check must not change ours
	switch {
	case e.state == Closed:
		return [KeySize]byte{}, fmt.Errorf("epoch %s is closed: %w", e.epoch.ID, ErrWrongKey)
	case !check(&key):
		return [KeySize]byte{}, errUnfit(e.epoch.ID)
	}
	return *e.key, nil
}

func errUnfit(id EpochID) error {
	return fmt.Errorf("epoch %s does not fit what was sealed under its id: %w", id, ErrCorrupt)
}

// open gives the entry of id, which passed check and is not closed.
func (r *Ring) open(ctx context.Context, id EpochID, prefixes []string, check func(*[KeySize]byte) bool) (*entry, error) {
	leave, err := r.enter(ctx, id.String())
	if err != nil {
		return nil, err
	}
	defer leave()
	e := r.known(id)
	if e == nil {
		f, err := r.find(ctx, id, prefixes, check)
		if err != nil {
			return nil, err
		}
		e = r.repair(ctx, f)
		r.keep(e, f.rec)
	}
	_, err = keyOf(e, check)
	return e, err
}

// find searches the epoch under the prefixes in their order, then in our own
// memory, and joins what the two know of it.
func (r *Ring) find(ctx context.Context, id EpochID, prefixes []string, check func(*[KeySize]byte) bool) (found, error) {
	rec, err := r.dir.record(id)
	if err != nil {
		r.report(id, err.Error())
	}
	var why error
	for _, p := range prefixes {
		data, etag, err := r.bucket.Get(ctx, epochPath(p, id))
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return found{}, fmt.Errorf("read epoch %s: %w", epochPath(p, id), err)
		}
		e, err := r.examine(ctx, id, data, rec, check)
		if err == nil {
			e.at = p
			return found{r.join(e, rec.entry(e)), rec, etag, e.epoch.Revision}, nil
		}
		if !final(err) {
			return found{}, err
		}
		why = cmp.Or(why, err)
	}
	if rec != nil { // lost from the bucket, or something else lies in its place
		e, err := r.examine(ctx, id, rec.Object, rec, check)
		if err == nil {
			e.at = r.root
			return found{r.join(e, rec.entry(e)), rec, "", 0}, nil
		}
		why = cmp.Or(why, err)
	}
	if why == nil {
		why = fmt.Errorf("epoch %s is not in the bucket (.sigil/epochs/ was removed, or may not be read): %w", id, ErrNoKey)
	}
	return found{}, why
}

// final tells an error that will stay from one that may pass.
func final(err error) bool {
	for _, target := range []error{ErrNoKey, ErrWrongKey, ErrCorrupt, ErrVersion} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// examine opens an epoch object, and holds it to what is remembered of it and
// to the seal that is to be opened.
func (r *Ring) examine(ctx context.Context, id EpochID, data []byte, rec *record, check func(*[KeySize]byte) bool) (*entry, error) {
	epoch, err := ParseEpoch(id, data)
	if err != nil {
		return nil, err
	}
	key, err := r.unwrap(ctx, epoch)
	if err != nil {
		return nil, err
	}
	e := &entry{key: key, epoch: epoch, state: epoch.State}
	if rec != nil && rec.Sum != e.sum() {
		r.report(id, "the bucket shows this epoch under another key than before; it is passed over")
		return nil, errUnfit(id)
	}
	probe := *key
	if !check(&probe) {
		return nil, errUnfit(id)
	}
	return e, nil
}

// unwrap tries the wraps for configured keys, and no others.
func (r *Ring) unwrap(ctx context.Context, epoch *Epoch) (*[KeySize]byte, error) {
	var why error
	for _, w := range epoch.Wraps {
		m := r.masters[w.Key]
		if m == nil || m.Kind() != w.Type {
			continue
		}
		key, err := m.Unwrap(ctx, epoch.ID, w)
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

func (r *Ring) missedLately(name miss) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.misses[name]
	if !ok || r.now().After(m.until) {
		return nil
	}
	return m.err
}

// noteMiss keeps a crowd of readers from asking the bucket the same again.
// What depends on one object's seal is not noted.
func (r *Ring) noteMiss(name miss, err error) {
	if !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrWrongKey) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.misses) >= maxMisses {
		clear(r.misses)
	}
	r.misses[name] = missed{err, r.now().Add(missLife)}
}
