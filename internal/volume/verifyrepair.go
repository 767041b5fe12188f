package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Why a Finding is not mended.
var (
	// ErrNoVersion: the bucket keeps no version of the object that is whole, or
	// none at all.
	ErrNoVersion = errors.New("no version of it that is whole is kept: it can only be had from a backup")

	// ErrWasRemoved: before something was put in its place the object had been
	// removed, and that is no damage.
	ErrWasRemoved = errors.New("the object had been removed before: nothing is to be brought back")

	// ErrNoNewer: an older state was put in place of a newer one, and no version that
	// is as new as this host has known is kept.
	ErrNoNewer = errors.New("no version is kept that is as new as what this host has known")

	errNotOurs  = errors.New("this is not mended here")
	errNamesSay = errors.New("its names say what it should be, once all were looked at")
)

// repair mends what s is of, if it can. An error is of the context alone: what
// keeps something from being mended is said in the Finding.
func (x *Verifier) repair(ctx context.Context, s *suspicion) error {
	part := ownPart(s.Key)
	switch {
	case part == partIndex:
		s.Mended, s.Unmended = x.drop(ctx, s.Key, s.id.ETag, "removed; it is made again")
	case part == partRoll:
		s.Unmended = errNamesSay
	case s.Fault == FaultJournal, s.Fault == FaultUpload, s.Fault == FaultParked:
		s.Unmended = errNotOurs
	case s.Fault == FaultDangling:
		if now, err := x.v.lookAt(ctx, s.id); err != nil {
			s.Unmended = err
		} else {
			s.Mended, s.Unmended = x.mendDangling(ctx, now, nil)
		}
	default:
		s.Mended, s.Unmended = x.bringBack(ctx, s.Key, s.id.ETag, s.Fault)
		if s.Mended != "" && !x.opt.Dry {
			s.Unmended = x.noteMended(ctx, s.Key, part)
		}
	}
	return ctx.Err()
}

// noteMended notes what an object says of links that opens again.
func (x *Verifier) noteMended(ctx context.Context, key, part string) error {
	now, err := x.v.lookAt(ctx, objstore.ID{Key: key})
	if err == nil && now.err == nil {
		err = x.noteLink(ctx, now, part)
	}
	return err
}

// drop removes what nobody needs, if it has that ETag still.
func (x *Verifier) drop(ctx context.Context, key, etag, said string) (string, error) {
	if x.opt.Dry {
		return said, nil
	}
	cond := objstore.Condition{IfMatch: etag}
	if err := x.v.guard(ctx, x.v.opt.Capabilities.DeleteConditions, key, cond); err != nil {
		return "", err
	}
	return said, x.v.delete(ctx, key, etag)
}

// bringBack puts the newest version of an object that is whole, data included,
// over what has that ETag now; "" is nothing. It is sealed again, so that it is
// newer than all that hosts remember of it: of one that this host has known to be
// older that is said, and in place of an older one none such is taken. Whoever
// writes meanwhile wins.
func (x *Verifier) bringBack(ctx context.Context, key, etag string, fault Fault) (string, error) {
	good, passed, err := x.newestGood(ctx, key, etag, fault)
	if err == nil {
		err = x.sparesNull(ctx, key, good.id.VersionID)
	}
	if err != nil {
		return "", err
	}
	said := fmt.Sprintf("version %s of %s is taken", good.id.VersionID, good.info.Modified.UTC().Format(time.RFC3339))
	switch old, err := x.outdated(good); {
	case err != nil:
		said += ", and " + err.Error()
	case old:
		said += ", which is older than what this host has known: what was written since is lost"
	}
	said = passed.said(said)
	if x.opt.Dry {
		return said, nil
	}
	cond := objstore.Condition{IfMatch: etag, IfNone: etag == ""}
	if err := x.v.guard(ctx, x.v.opt.Capabilities.CopyConditions && etag != "", key, cond); err != nil {
		return "", err
	}
	if etag == "" {
		cond = objstore.Condition{} // a copy over nothing has no condition on most servers
	}
	rule, err := x.v.writer(ctx, good.object)
	if err != nil {
		return "", err
	}
	_, err = x.v.restate(ctx, good.object, key, cond, func(d *draft) { d.rule = rule })
	if errors.Is(err, ErrChanged) {
		return "", fmt.Errorf("somebody wrote it meanwhile: %w", err)
	}
	return said, err
}

// writer is the rule by which what is at the place of o is written: of an inode
// that of its names, which has the keys that it is sealed for.
func (v *Volume) writer(ctx context.Context, o *object) (*Rule, error) {
	f, sealed := o.form.(*sealedForm)
	if part := ownPart(o.id.Key); !sealed || part != partInode && part != partRoll {
		return v.ruleOf(o), nil
	}
	for _, r := range v.policy.rules {
		if r.Keys == nil {
			continue
		}
		if ok, err := f.mayKeep(ctx, r.Keys, o); err != nil || ok {
			return r, err
		}
	}
	return v.policy.internal, nil
}

// newestGood finds the newest version of key that is whole, but for the one that
// is there now, which has that ETag; of none that lies before a removal, but
// where the object is missing now. Every byte of it is verified. What is newer and
// does not open now is passed over, and told; what cannot be asked in this moment
// is an error.
func (x *Verifier) newestGood(ctx context.Context, key, etag string, fault Fault) (good sight, passed passedOver, err error) {
	none := ErrNoVersion
	if fault == FaultRollback {
		none = ErrNoNewer
	}
	store, ok := x.v.raw.(objstore.Versioner)
	if !ok {
		return good, passed, fmt.Errorf("%s: %w", key, ErrNoVersion)
	}
	for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: key}) {
		switch {
		case err != nil:
			return good, passed, err
		case ver.Key != key || ver.Prefix != "":
			return good, passed, passed.none(fmt.Errorf("%s: %w", key, none))
		case ver.Latest && ver.ETag != etag:
			return good, passed, fmt.Errorf("%s: %w", key, ErrChanged)
		case ver.Deleted && etag != "":
			return good, passed, fmt.Errorf("%s: %w", key, ErrWasRemoved)
		case ver.Latest, ver.Deleted:
			continue
		}
		good, fault, err := x.whole(ctx, ver.ID, fault)
		if err == nil || fault == "" {
			return good, passed, err
		}
		passed.note(fault, err)
	}
	return good, passed, passed.none(fmt.Errorf("%s: %w", key, none))
}

// whole looks at a version, and at every byte of it. What is wrong with it is a
// Fault; an error without is of the moment.
func (x *Verifier) whole(ctx context.Context, id objstore.ID, mended Fault) (sight, Fault, error) {
	s, err := x.v.lookAt(ctx, objstore.ID{Key: id.Key, VersionID: id.VersionID})
	switch {
	case errors.Is(err, ErrNotExist), errors.Is(err, ErrChanged): // removed for good meanwhile
		return s, FaultSeal, err
	case unopenable(err):
		return s, faultOf(err), err
	case err != nil:
		return s, "", err
	case s.err != nil:
		return s, faultOf(s.err), s.err
	}
	if mended == FaultRollback {
		if old, err := x.outdated(s); err != nil {
			return s, "", err
		} else if old {
			return s, FaultRollback, fmt.Errorf("%s: %w", id.Key, ErrRollback)
		}
	}
	return x.proven(ctx, s)
}

// outdated tells whether this host has known a newer state of what s is a version of.
func (x *Verifier) outdated(s sight) (bool, error) {
	version, seal, sealed := s.stateOf()
	if !sealed {
		return false, nil
	}
	known := x.v.knownOf(s.id.Key)
	if known.err != nil {
		return false, errUntold(s.id.Key, known.err)
	}
	return freshness.Judge(known.rec, version, seal, x.v.opt.Now()).Bad(), nil
}

// mendDangling brings back the inode that a name has lost, and has its names
// counted: those that all objects have shown, or else this one.
func (x *Verifier) mendDangling(ctx context.Context, name sight, met []token) (string, error) {
	if name.object == nil || !name.isName() {
		return "", errNotOurs
	}
	none := ErrNoVersion
	for _, key := range x.v.inodeKeys(name.object) {
		said, err := x.bringBack(ctx, key, "", FaultDangling)
		if errors.Is(err, ErrNoVersion) {
			if unopenable(err) { // there are some
				none = err
			}
			continue
		}
		if err != nil || x.opt.Dry {
			return said, err
		}
		in, err := x.v.fetchInode(ctx, key, x.v.rule(name.id.Key))
		if err == nil {
			err = in.err
		}
		if err == nil && in.attr.FileID != name.attr.FileID {
			err = fmt.Errorf("%s: is of another file: %w", key, ErrCorrupt)
		}
		if err != nil {
			return "", err
		}
		return said, x.countAnew(ctx, in, name, met)
	}
	return "", fmt.Errorf("%s: its inode: %w", name.id.Key, none)
}

// countAnew has all names that are known counted by an inode that was missing.
func (x *Verifier) countAnew(ctx context.Context, in *object, name sight, met []token) error {
	if len(met) == 0 {
		met = []token{name.token()}
	}
	unlock, err := x.v.names.lock(ctx, one(inodePath(in.id.Key)))
	if err != nil {
		return err
	}
	defer unlock()
	r, err := x.v.readRoll(ctx, in)
	if errors.Is(err, ErrNotExist) {
		r, err = nil, nil
	}
	if err != nil {
		return err
	}
	if r != nil { // those are counted already
		for _, t := range r.names {
			met = (&roll{names: met}).with(t)
		}
	}
	if r == nil || len(met) != len(r.names) {
		if err := x.v.writeRoll(ctx, in, r, met); err != nil {
			return err
		}
	}
	_, err = x.v.recount(ctx, in, len(met))
	return err
}
