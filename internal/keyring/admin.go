package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Lister is what a Bucket also is whose epochs are administered.
type Lister interface {
	Bucket

	// List gives the names directly below prefix, in bytewise order: keys of
	// objects, and prefixes that end in a slash. ErrNotExist where the answer
	// was 403.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// AdminOptions make an Admin.
type AdminOptions struct {
	// Conditional tells that the server honours If-Match and If-None-Match of a
	// PUT. Without it nothing is changed: two hosts would undo each other's work.
	Conditional bool

	// Dry has every change worked out and none made.
	Dry bool
}

// adminAtOnce is how many epochs are asked for at a time.
const adminAtOnce = 16

// Admin looks at all epochs of a bucket and changes those that the ring opens:
// their wraps, and their state. What it reads is joined with what is remembered
// as everywhere in the ring, so that a change is made of the newest revision
// and goes back from no state. Safe for concurrent use, and beside mounts.
type Admin struct {
	ring *Ring
	list Lister
	opt  AdminOptions

	mu     sync.Mutex // guards proven
	proven map[[sha256.Size]byte]struct{}
}

// ErrNoConditions: the server does not keep the conditions of writes.
var ErrNoConditions = errors.New("the server does not honour conditional writes (If-Match)")

// Admin gives the administration of the ring's bucket, which must be a Lister.
func (r *Ring) Admin(opt AdminOptions) (*Admin, error) {
	list, ok := r.bucket.(Lister)
	if !ok {
		return nil, errors.New("administer epochs: the bucket cannot be listed")
	}
	return &Admin{ring: r, list: list, opt: opt, proven: map[[sha256.Size]byte]struct{}{}}, nil
}

// Held is an epoch object of the bucket, as an Admin found it. It holds no
// secret that prints.
type Held struct {
	ID EpochID
	At string // the prefix in whose .sigil/epochs/ it lies

	// Epoch is the newest that is known of it, nil where what lies there is no
	// epoch. Where Err is set it is only what the object says of itself.
	Epoch *Epoch

	State Phase  // the furthest seen
	Shown uint64 // the revision in the bucket; lower than Epoch's: it was rolled back
	Own   bool   // made by this host
	Err   error  // why it does not open here

	found found
}

// Newest tells whether the bucket shows everybody what is known of it here. Where
// it was rolled back, other hosts may follow what they see.
func (h Held) Newest() bool {
	f := h.found
	return f.entry != nil && !f.older && !f.unsigned && !f.lost && f.shown >= f.epoch.Revision && f.epoch.State == f.state
}

// Path is the key of the object.
func (h Held) Path() string { return epochPath(h.At, h.ID) }

// KeyIDs are the sorted ids of the keys that it is wrapped for.
func (h Held) KeyIDs() []string {
	if h.Epoch == nil {
		return nil
	}
	return h.Epoch.keyIDs()
}

// Each gives do all epochs at the places, one at a time and in no order. An
// epoch that does not open is given with its error; only those of the bucket,
// of do and of ctx end it.
func (a *Admin) Each(ctx context.Context, places []string, do func(Held) error) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(adminAtOnce)
	for _, at := range places {
		if err := a.names(ctx, at, func(id EpochID) {
			group.Go(func() error {
				h, err := a.look(ctx, at, id)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				return do(h)
			})
		}); err != nil {
			return errors.Join(err, group.Wait())
		}
	}
	return group.Wait()
}

// names lists the ids of the epochs at a place. What has no id for its name is
// none.
func (a *Admin) names(ctx context.Context, at string, each func(EpochID)) error {
	dir := at + epochsDir
	for name, err := range a.list.List(ctx, dir) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", dir, err)
		}
		if id, err := ParseEpochID(name[min(len(dir), len(name)):]); err == nil {
			each(id)
		}
	}
	return nil
}

// look is read for who wants to know: what does not open is no error.
func (a *Admin) look(ctx context.Context, at string, id EpochID) (Held, error) {
	h := Held{ID: id, At: at}
	leave, err := a.ring.enter(ctx, id.String())
	if err != nil {
		return h, err
	}
	defer leave()
	f, data, err := a.read(ctx, at, id)
	switch {
	case err != nil && (final(err) || errors.Is(err, ErrNotExist)):
		h.Err = err
		if epoch, err := ParseEpoch(id, data); err == nil {
			h.Epoch, h.State, h.Shown = epoch, epoch.State, epoch.Revision
		}
		return h, nil
	case err != nil && ctx.Err() != nil:
		return h, ctx.Err()
	case err != nil:
		return h, fmt.Errorf("read epoch %s: %w", h.Path(), err)
	}
	h.take(f)
	return h, nil
}

// Look looks at the epoch object at a key of the bucket; false: that is none by its
// name, or it has gone. What does not open is no error.
func (a *Admin) Look(ctx context.Context, key string) (h Held, ok bool, err error) {
	at, name, ok := cutPath(key)
	id, err := ParseEpochID(name)
	if !ok || err != nil {
		return h, false, nil //nolint:nilerr // what has no id for its name is no epoch
	}
	h, err = a.look(ctx, at, id)
	return h, err == nil && !errors.Is(h.Err, ErrNotExist), err
}

// cutPath is the inverse of epochPath.
func cutPath(key string) (at, name string, ok bool) {
	i := strings.LastIndex("/"+key, "/"+epochsDir)
	if i < 0 {
		return "", "", false
	}
	return key[:i], key[i+len(epochsDir):], true
}

// Missing tells whether an epoch lies neither at the volume root nor above.
func (a *Admin) Missing(ctx context.Context, id EpochID) (bool, error) {
	for _, at := range prefixes(a.ring.root) {
		_, _, err := a.ring.bucket.Get(ctx, epochPath(at, id))
		if !errors.Is(err, ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// Amiss is what is wrong with what lies in the bucket, nil if nothing is: it does
// not open (Err), is not what this host has seen before (ErrRolledBack), or
// nobody who is trusted signed it (ErrUnsigned), though what lies under it opens.
func (h Held) Amiss() error {
	e := h.found.entry
	switch {
	case h.Err != nil || e == nil:
		return h.Err
	case h.Shown < e.epoch.Revision:
		return fmt.Errorf("epoch %s is of revision %d, and this host has seen revision %d: %w", h.ID, h.Shown, e.epoch.Revision, ErrRolledBack)
	case e.older:
		return fmt.Errorf("epoch %s, revision %d, has another content than this host has seen: %w", h.ID, h.Shown, ErrRolledBack)
	case e.lost || e.unsigned:
		return fmt.Errorf("epoch %s, revision %d: %w", h.ID, h.Shown, ErrUnsigned)
	}
	return nil
}

func (h *Held) take(f found) {
	h.found, h.Epoch, h.State, h.Shown, h.Own = f, f.epoch, f.state, f.shown, f.own
}

// Way is a wrap for a configured key, and whether it opens.
type Way struct {
	KeyID string // of the configured key
	Err   error
}

// Ways tries the wrap of each configured key, and not only the first that opens:
// one call of KMS for each wrap of it. Where only the public half is here Err is
// ErrNoKey.
func (a *Admin) Ways(ctx context.Context, h Held) []Way {
	if h.Epoch == nil {
		return nil
	}
	var all []Way
	for _, o := range a.ring.openers(h.Epoch) {
		key, err := o.Unwrap(ctx, h.ID, o.wrap)
		if err == nil {
			err = h.Epoch.Verify(key)
			clear(key[:])
		}
		all = append(all, Way{o.ID(), err})
	}
	return all
}

// SameEpoch parses another version of the object of h, if it is one: an epoch
// that the key of h authenticates.
func (a *Admin) SameEpoch(h Held, stored []byte) (*Epoch, error) {
	e, err := ParseEpoch(h.ID, stored)
	if err != nil {
		return nil, err
	}
	if h.found.entry == nil {
		return nil, fmt.Errorf("epoch %s does not open: %w", h.ID, ErrNoKey)
	}
	return e, e.Verify(h.found.key)
}

// Remembered gives the ids of the epochs that this host has seen, also in earlier
// mounts, by which it is seen that one is missing.
func (a *Admin) Remembered() ([]EpochID, error) { return a.ring.dir.ids() }
