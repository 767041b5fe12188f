package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// miss names a search: the epoch and the directory of the object.
type miss struct {
	id  EpochID
	dir string
}

// found is an epoch that opens, and what the bucket shows of it.
type found struct {
	*entry
	rec   *record // what was remembered of it, or nil
	etag  string  // of the object in the bucket
	shown uint64  // its revision; 0: it is missing, or etag is of something else in its place
}

// epochsDir is where epochs lie below a prefix.
const epochsDir = ".sigil/epochs/"

// epochPath is the key of an epoch object below prefix.
func epochPath(prefix string, id EpochID) string { return prefix + epochsDir + id.String() }

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
// not for a key whose secret half is here, or KMS does not know that key.
// ErrWrongKey: for one of ours, and does not open; or closed; or KMS has the key
// disabled. ErrAccess: KMS denies it. ErrUnsigned: nobody who is trusted signed
// it. ErrCorrupt: an epoch opens and does not fit the seal (one of them was
// tampered with), or is malformed. ErrVersion. Any other error is the bucket's or
// a Master's and may pass.
func (r *Ring) Open(ctx context.Context, objectKey string, id EpochID, check func(key *[KeySize]byte) bool) ([KeySize]byte, error) {
	if e := r.fitting(id, check); e != nil { // no request: the usual case
		return keyOf(e)
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

// fitting gives the known entry of id that passes check, or nil.
func (r *Ring) fitting(id EpochID, check func(*[KeySize]byte) bool) *entry {
	for _, e := range r.known(id) {
		probe := *e.key // a copy: check must not change ours
		if check(&probe) {
			return e
		}
	}
	return nil
}

// keyOf gives the key of an entry, if it may open.
func keyOf(e *entry) ([KeySize]byte, error) {
	if e.state == Closed {
		return [KeySize]byte{}, errClosed(e.epoch.ID)
	}
	return *e.key, nil
}

func errClosed(id EpochID) error { return fmt.Errorf("epoch %s is closed: %w", id, ErrWrongKey) }

func errUnfit(id EpochID) error {
	return fmt.Errorf("epoch %s does not fit what was sealed under its id: %w", id, ErrCorrupt)
}

// open gives the entry of id, which passed check and is not closed.
func (r *Ring) open(ctx context.Context, id EpochID, prefixes []string, check func(*[KeySize]byte) bool) (*entry, error) {
	e, err := r.entry(ctx, id, prefixes, check)
	if err != nil {
		return nil, err
	}
	_, err = keyOf(e)
	return e, err
}

// entry gives the entry of id, which passed check, closed or not.
func (r *Ring) entry(ctx context.Context, id EpochID, prefixes []string, check func(*[KeySize]byte) bool) (*entry, error) {
	leave, err := r.enter(ctx, id.String())
	if err != nil {
		return nil, err
	}
	defer leave()
	e := r.fitting(id, check)
	if e == nil {
		f, err := r.find(ctx, id, prefixes, check)
		if err != nil {
			return nil, err
		}
		e = r.repair(ctx, f)
		r.keep(e, f.rec)
	}
	return e, nil
}

// find searches the epoch under the prefixes in their order, then what lay there
// before, then our own memory, and joins what bucket and memory know of it.
func (r *Ring) find(ctx context.Context, id EpochID, prefixes []string, check func(*[KeySize]byte) bool) (found, error) {
	var why error
	damaged := "" // what lies at the volume root
	for _, p := range prefixes {
		data, etag, err := r.bucket.Get(ctx, epochPath(p, id))
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return found{}, fmt.Errorf("read epoch %s: %w", epochPath(p, id), err)
		}
		e, err := r.examine(ctx, id, data, check)
		if err == nil {
			e.at = p
			rec := r.recall(e)
			return found{r.join(e, r.remembered(e, rec)), rec, etag, e.epoch.Revision}, nil
		}
		if !final(err) {
			return found{}, err
		}
		why = cmp.Or(why, err)
		if p == r.root && !isEpoch(id, data) {
			damaged = etag
		}
	}
	f, err := r.findOlder(ctx, id, prefixes, damaged, check)
	if err == nil && f.entry == nil {
		f, err = r.findOwn(ctx, id, check)
	}
	switch {
	case err != nil && !final(err):
		return f, err
	case err != nil:
		return f, cmp.Or(why, err)
	case f.entry != nil:
		return f, nil
	case why == nil:
		why = fmt.Errorf("epoch %s is not in the bucket (.sigil/epochs/ was removed, or may not be read): %w", id, ErrNoKey)
	}
	return found{}, why
}

// findOwn searches our own memory, for what is lost from the bucket or has
// something else in its place. No entry and no error: nothing is remembered.
func (r *Ring) findOwn(ctx context.Context, id EpochID, check func(*[KeySize]byte) bool) (found, error) {
	records, err := r.dir.records(id)
	if err != nil {
		r.report(id, err.Error())
	}
	var why error
	for _, rec := range records {
		e, err := r.examine(ctx, id, rec.Object, check)
		if err == nil && e.sum() != rec.Sum {
			err = errUnfit(id)
		}
		if err == nil {
			e.at = r.root
			return found{r.join(e, r.remembered(e, rec)), rec, "", 0}, nil
		}
		if !final(err) {
			return found{}, err
		}
		why = cmp.Or(why, err)
	}
	return found{}, why
}

// recall gives the record of an entry, nil where there is none, and reports an
// id that was seen with another key: one of the two was planted.
func (r *Ring) recall(e *entry) *record {
	id := e.epoch.ID
	rec, err := r.dir.record(id, e.sum())
	if err != nil {
		r.report(id, err.Error())
	}
	if rec != nil || err != nil {
		return rec
	}
	if others, _ := r.dir.records(id); len(others) > 0 || len(r.known(id)) > 0 {
		r.report(id, "the bucket shows this epoch under another key than before; each opens what was sealed under it")
	}
	return nil
}

// final tells an error that will stay from one that may pass.
func final(err error) bool {
	for _, target := range []error{ErrNoKey, ErrWrongKey, ErrAccess, ErrUnsigned, ErrCorrupt, ErrVersion} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// examine opens an epoch object, and holds it to the seal that is to be opened.
// One that is not believed is opened for a key that this host vouches for, and
// says nothing more; what somebody planted costs no question to KMS.
func (r *Ring) examine(ctx context.Context, id EpochID, data []byte, check func(*[KeySize]byte) bool) (*entry, error) {
	epoch, err := ParseEpoch(id, data)
	if err != nil {
		return nil, err
	}
	var vouched []keySum
	believed := r.trusted(epoch)
	if !believed {
		if vouched = r.vouched(id); vouched == nil {
			return nil, r.errUnsigned(epoch)
		}
	}
	key, err := r.unwrap(ctx, epoch)
	if err != nil {
		return nil, err
	}
	probe := *key
	if !check(&probe) {
		return nil, errUnfit(id)
	}
	if !believed && !slices.Contains(vouched, sumOf(key)) {
		return nil, r.errUnsigned(epoch)
	}
	return r.seen(key, epoch), nil
}

// seen is an epoch as the bucket shows it.
func (r *Ring) seen(key *[KeySize]byte, epoch *Epoch) *entry {
	e := &entry{key: key, epoch: epoch, state: epoch.State, seen: r.wall()}
	if !r.trusted(epoch) {
		e.state, e.unsigned = Live, true
	}
	return e
}

// wall is the time without the part that stands still while a machine sleeps.
func (r *Ring) wall() time.Time { return r.now().Round(0) }

func (r *Ring) missedLately(name miss) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.misses[name].lately(r.now())
}

// noteMiss keeps a crowd of readers from asking the bucket the same again.
// What depends on one object's seal is not noted.
func (r *Ring) noteMiss(name miss, err error) {
	if !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrAccess) && !errors.Is(err, ErrUnsigned) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.misses) >= maxMisses {
		clear(r.misses)
	}
	r.misses[name] = trouble{err, r.now().Add(missLife)}
}

// trouble is an error that is remembered for a while, so that a crowd does not
// meet it one after another.
type trouble struct {
	err   error
	until time.Time
}

func (t trouble) lately(now time.Time) error {
	if t.err == nil || !now.Before(t.until) {
		return nil
	}
	return t.err
}
