package volume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/semaphore"
)

// A bucket that keeps versions keeps what was there before an object was brought
// to its rule, as weak as it was. Who asks for it is told how many such versions
// there are, and can have them removed: for good, so never the current one, none
// that Object Lock holds, and none whose key has no current version that is as
// it should be and whole to its last byte. What does not open here is left, too:
// nobody knows what it is.

// History is a key of which older versions are kept. A key with very many has
// several, of the same Now.
type History struct {
	Now objstore.Version // the newest, which may be a delete marker
	Old []objstore.Version
}

// maxHistory bounds the versions of one History.
const maxHistory = 1000

// OldVersions counts versions that are not current, and not as the rule of their
// key says.
type OldVersions struct {
	Found   int64 `json:"found"`
	Bytes   int64 `json:"bytes"`
	Removed int64 `json:"removed"` // or would be, in a dry run

	// Why others were not, where they were to be.
	Locked  int64 `json:"locked"`  // Object Lock holds them
	Deleted int64 `json:"deleted"` // the object was deleted, and they are the way back
	Needed  int64 `json:"needed"`  // the current version is not as it should be, or not whole

	// Unopened do not open here, and may be anything. Found has none of them.
	Unopened int64 `json:"unopened"`
}

// Add counts those of n, too.
func (o *OldVersions) Add(n OldVersions) {
	o.Found, o.Bytes, o.Removed = o.Found+n.Found, o.Bytes+n.Bytes, o.Removed+n.Removed
	o.Locked, o.Deleted, o.Needed = o.Locked+n.Locked, o.Deleted+n.Deleted, o.Needed+n.Needed
	o.Unopened += n.Unopened
}

// Histories lists the keys at prefix, or below it, that have any, in order.
// ErrUnsupported: the store does not tell.
func (r *Reencryption) Histories(ctx context.Context, prefix string) iter.Seq2[History, error] {
	return func(yield func(History, error) bool) {
		store, ok := r.v.raw.(objstore.Versioner)
		if !ok {
			yield(History{}, objstore.ErrUnsupported)
			return
		}
		var h History
		for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: prefix}) {
			if err != nil {
				yield(History{}, err)
				return
			}
			if !Within(ver.Key, prefix) {
				continue
			}
			if ver.Key != h.Now.Key || len(h.Old) == maxHistory {
				if len(h.Old) > 0 && !yield(h, nil) {
					return
				}
				h.Old = nil
			}
			if ver.Key != h.Now.Key {
				h.Now = ver
			} else {
				h.Old = append(h.Old, ver)
			}
		}
		if len(h.Old) > 0 {
			yield(h, nil)
		}
	}
}

// Old counts the versions of h that are not as their rule says, and with remove
// removes them. It bears being done twice.
func (r *Reencryption) Old(ctx context.Context, h History, remove bool) (OldVersions, error) {
	var n OldVersions
	if remove && r.v.opt.ReadOnly && !r.opt.Dry {
		return n, ErrReadOnly
	}
	rule, ok := r.ruleOfOld(h.Now.Key)
	if !ok {
		return n, nil
	}
	var weak []objstore.Version
	for _, ver := range h.Old {
		if ver.Deleted {
			continue
		}
		is, err := r.weak(ctx, objstore.ID{Key: ver.Key, VersionID: ver.VersionID}, rule)
		switch {
		case errors.Is(err, ErrNotExist), errors.Is(err, ErrChanged): // it has gone
		case unopenable(err):
			n.Unopened++
		case err != nil:
			return n, err
		case is:
			weak = append(weak, ver)
			n.Found, n.Bytes = n.Found+1, n.Bytes+ver.Size
		}
	}
	if !remove || len(weak) == 0 {
		return n, nil
	}
	return n, r.purge(ctx, h.Now, weak, rule, &n)
}

// ruleOfOld is the rule that versions of key are held against. Others of the
// volume's own hold no content.
func (r *Reencryption) ruleOfOld(key string) (*Rule, bool) {
	v := r.v
	rest := strings.TrimPrefix(key, v.opt.Root)
	switch {
	case !v.own(key):
		return v.rule(key), !v.isInstruction(key) && !strings.Contains("/"+key, "/"+hidden+"/")
	case strings.HasPrefix(key, v.indexDir()):
		return v.policy.internal, true
	case strings.HasPrefix(rest, inodeDir) && !strings.Contains(rest[len(inodeDir):], "/"):
		return v.policy.onlySealed()
	}
	return nil, false
}

// weak tells whether a version is not as rule says.
func (r *Reencryption) weak(ctx context.Context, id objstore.ID, rule *Rule) (bool, error) {
	s, err := r.v.lookAt(ctx, id)
	if err == nil {
		err = s.err
	}
	if err != nil {
		return false, err
	}
	if len(r.opt.From) > 0 && !slices.Contains(r.opt.From, s.form.mode(s.object)) {
		return false, nil
	}
	ok, err := r.fits(ctx, s.object, rule)
	return !ok, err
}

// fits is asWanted, whatever kind of object o is, and without Fresh.
func (r *Reencryption) fits(ctx context.Context, o *object, rule *Rule) (bool, error) {
	f, sealed := o.form.(*sealedForm)
	switch {
	case !r.served(o.state, rule):
		return false, nil
	case !sealed:
		return r.asWanted(ctx, o, rule)
	case rule.Keys == nil:
		return false, nil
	case o.isName(): // see rename
		return rule.Keys.MayKeep(ctx, o.id.Key, f.header.Epoch)
	}
	return f.mayKeep(ctx, rule.Keys, o)
}

// purge removes those of one key that may go.
func (r *Reencryption) purge(ctx context.Context, now objstore.Version, weak []objstore.Version, rule *Rule, n *OldVersions) error {
	if now.Deleted {
		n.Deleted += int64(len(weak))
		return nil
	}
	locker, ok := r.v.raw.(objstore.Locker)
	if !ok {
		return fmt.Errorf("%s: nobody tells whether its versions are locked: %w", now.Key, objstore.ErrUnsupported)
	}
	stands, err := r.stands(ctx, now.Key, rule)
	if err != nil {
		return err
	}
	for i, ver := range weak {
		id := objstore.ID{Key: ver.Key, VersionID: ver.VersionID}
		switch still, err := stands.still(ctx, r.v, id); {
		case err != nil:
			return err
		case !still:
			n.Needed += int64(len(weak) - i)
			return nil
		}
		lock, err := locker.Lock(ctx, id)
		switch {
		case errors.Is(err, ErrNotExist), errors.Is(err, ErrChanged):
			continue
		case err != nil:
			return fmt.Errorf("%s: whether version %s is locked: %w", ver.Key, ver.VersionID, err)
		case lock.Holds(r.v.opt.Now()):
			n.Locked++
			continue
		}
		if !r.opt.Dry {
			if err := r.v.opt.Store.Delete(ctx, id, objstore.Condition{}); err != nil && !errors.Is(err, ErrNotExist) {
				return fmt.Errorf("%s: remove version %s: %w", ver.Key, ver.VersionID, err)
			}
		}
		n.Removed++
	}
	return nil
}

// standing is a current version that is as it should be and whole; the zero one
// is none.
type standing struct{ id objstore.ID }

// still tells whether it is the current one yet, and not the one at old: while a
// bucket keeps no versions a write takes the place of the one without an ID.
func (s standing) still(ctx context.Context, v *Volume, old objstore.ID) (bool, error) {
	if s.id.Key == "" {
		return false, nil
	}
	info, err := v.opt.Store.Head(ctx, objstore.ID{Key: s.id.Key, Encryption: s.id.Encryption})
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	is := info.VersionID
	if is == "" {
		is = objstore.NullVersion
	}
	return info.ETag == s.id.ETag && info.VersionID == s.id.VersionID && is != old.VersionID, nil
}

// stands gives the current version of key if it is as rule says and every byte
// of it authenticates, that of the inode behind a name, too.
func (r *Reencryption) stands(ctx context.Context, key string, rule *Rule) (standing, error) {
	s, ok, err := r.proves(ctx, key, rule)
	if err != nil || !ok {
		return standing{}, err
	}
	if s.isName() {
		in, err := r.v.inodeBehind(ctx, s.object)
		if errors.Is(err, ErrNotExist) {
			return standing{}, nil
		}
		if err != nil {
			return standing{}, err
		}
		if _, ok, err = r.proves(ctx, in.id.Key, rule); err != nil || !ok {
			return standing{}, err
		}
	}
	return standing{s.info.ID}, nil
}

// proves reads the object at key whole, from the store.
func (r *Reencryption) proves(ctx context.Context, key string, rule *Rule) (sight, bool, error) {
	s, err := r.v.lookAt(ctx, objstore.ID{Key: key})
	if err == nil {
		err = s.err
	}
	if unopenable(err) || errors.Is(err, ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	if ok, err := r.fits(ctx, s.object, rule); err != nil || !ok || s.verdict.Bad() { // an older state was put there
		return s, false, err
	}
	x := &Verifier{v: r.v, opt: VerifyOptions{Data: true}, extra: semaphore.NewWeighted(1), epochs: map[sigil.EpochID]int64{}}
	fault, _, err := x.prove(ctx, s, true)
	if fault != "" || unopenable(err) {
		return s, false, nil
	}
	return s, err == nil, err
}
