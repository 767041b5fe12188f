package volume

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/past"
	"github.com/sirupsen/logrus"
)

// BroughtBack is what came of bringing an older version back.
type BroughtBack string

// What BringBack did, or found.
const (
	Restored BroughtBack = "restored"
	Same     BroughtBack = "same"    // what is there is that version, or a copy of it
	NewSince BroughtBack = "new"     // nothing was there: what is now stays
	Nothing  BroughtBack = "nothing" // was there, and nothing is
)

// Restorer brings older versions of objects back: each is copied over what is
// there now, inside the store, as a new version, sealed again with a higher number
// than all that lie there so that no host takes it for a rollback, under the rule
// and the keys of its place, with its attributes, tags, storage class and lock.
// Nothing is deleted. Done twice it is done once. It is safe for concurrent use.
type Restorer struct {
	x *Verifier
	v *Volume

	at  time.Time // of names the inode is brought back as it was then; zero: only where it does not open
	dry bool

	inodes [64]sync.Mutex // by key: names of one inode come at once
}

// RestorerOptions of NewRestorer.
type RestorerOptions struct {
	At  time.Time // what is brought back was there then; zero: single versions are
	Dry bool      // write nothing, and say what would be done
}

// NewRestorer makes one.
func (v *Volume) NewRestorer(opt RestorerOptions) (*Restorer, error) {
	if v.opt.ReadOnly && !opt.Dry {
		return nil, ErrReadOnly
	}
	if _, ok := v.raw.(objstore.Versioner); !ok {
		return nil, fmt.Errorf("older versions: %w", objstore.ErrUnsupported)
	}
	// A path that nothing has: names are not counted by what it reads.
	x, err := v.NewVerifier(VerifyOptions{Path: "-", Dry: opt.Dry, Repair: true})
	if err != nil {
		return nil, err
	}
	return &Restorer{x: x, v: v, at: opt.At, dry: opt.Dry}, nil
}

// BringBack makes what a key was of what it is. Errors: why the version does not
// open (then nothing was touched), ErrChanged (somebody writes it now), ErrNotKept,
// and those of the store.
func (r *Restorer) BringBack(ctx context.Context, m past.Moment) (BroughtBack, error) {
	switch {
	case !m.Was() && m.Is():
		return NewSince, nil
	case !m.Was():
		return Nothing, nil
	case r.v.isInstruction(m.Key):
		return r.beside(ctx, m)
	}
	was, err := r.open(ctx, m.Then.ID)
	if err != nil {
		return "", err
	}
	if ownPart(m.Key) == partInode {
		return r.content(ctx, m, was)
	}
	did, name, err := r.over(ctx, m, was)
	if err != nil || !was.isName() {
		return did, err
	}
	linked, err := r.inode(ctx, name)
	if linked == Restored {
		did = Restored
	}
	return did, err
}

// open looks at a version that has to open.
func (r *Restorer) open(ctx context.Context, id objstore.ID) (sight, error) {
	s, err := r.v.lookAt(ctx, objstore.ID{Key: id.Key, VersionID: id.VersionID})
	if err == nil {
		err = s.err
	}
	return s, err
}

// over puts the version was, which is m's, over what is there now, and gives what
// lies there then.
func (r *Restorer) over(ctx context.Context, m past.Moment, was sight) (BroughtBack, sight, error) {
	if m.Now.VersionID == m.Then.VersionID && !was.instruction() {
		return Same, was, nil
	}
	is, err := r.now(ctx, m)
	if err != nil {
		return "", was, err
	}
	same, err := r.same(ctx, m, was, is)
	switch {
	case err != nil:
		return "", was, err
	case same:
		return Same, is, nil
	}
	if was.instruction() {
		if was, _, err = r.x.proven(ctx, was); err != nil {
			return "", was, err
		}
	}
	if err := r.x.sparesNull(ctx, m.Key, m.Then.VersionID); err != nil {
		return "", was, err
	}
	if r.dry {
		return Restored, was, nil
	}
	n, err := r.put(ctx, m, was, is)
	if err != nil {
		return "", was, err
	}
	if is.isName() && (!was.isName() || is.token() != was.token()) {
		r.v.dropName(ctx, is.object)
	}
	return Restored, sight{object: n}, nil
}

// same tells whether what is there is that version, or a copy of it. Anybody can
// put an object's metadata over another body: of two that are alike either the
// store says that they have the same bytes, or all of them are proven.
func (r *Restorer) same(ctx context.Context, m past.Moment, was, is sight) (bool, error) {
	switch {
	case is.object == nil || is.err != nil:
		return false, nil //nolint:nilerr // it is to be mended
	case alike(was.object, is.object):
		if was.id.ETag == is.id.ETag && was.length == is.length {
			return true, nil
		}
	case m.Now.VersionID != m.Then.VersionID || !is.instruction(): // else its key is wrapped otherwise now
		return false, nil
	}
	fault, _, err := r.x.prove(ctx, is, true)
	if fault != "" {
		return false, nil //nolint:nilerr // that is what is to be mended
	}
	return err == nil, err
}

// now looks at what is there. No object: nothing is, or nothing that opens.
func (r *Restorer) now(ctx context.Context, m past.Moment) (sight, error) {
	if !m.Is() {
		return sight{}, nil
	}
	is, err := r.v.lookAt(ctx, objstore.ID{Key: m.Key})
	switch {
	case unopenable(err):
		return sight{}, nil
	case errors.Is(err, ErrNotExist), err == nil && is.id.ETag != m.Now.ETag:
		return is, fmt.Errorf("%s: somebody writes it now: %w", m.Key, ErrChanged)
	}
	return is, err
}

// put makes the copy. Whoever writes meanwhile wins, as far as the server honours
// conditions.
func (r *Restorer) put(ctx context.Context, m past.Moment, was, is sight) (*object, error) {
	cond, err := r.unwritten(ctx, m)
	if err != nil {
		return nil, err
	}
	rule, err := r.v.writer(ctx, was.object)
	if err != nil {
		return nil, err
	}
	n, err := r.v.restate(ctx, was.object, m.Key, cond, func(d *draft) {
		d.rule, d.lock = rule, lockAgain(was.info.Lock, r.v.opt.Now())
		if is.object != nil && is.err == nil {
			d.above = append(d.above, is.object)
		}
	})
	if errors.Is(err, ErrChanged) {
		return nil, fmt.Errorf("%s: somebody writes it now: %w", m.Key, err)
	}
	return n, err
}

// unwritten is the condition of a copy over what m is now. Where servers honour
// none, as of a copy over nothing, it is looked at: in a listing, since who has
// put something there may have done it under a key of his own (SSE-C).
func (r *Restorer) unwritten(ctx context.Context, m past.Moment) (objstore.Condition, error) {
	if m.Is() && r.v.opt.Capabilities.CopyConditions {
		return objstore.Condition{IfMatch: m.Now.ETag}, nil
	}
	now, err := past.Of(ctx, r.v.raw.(objstore.Versioner), m.Key, r.v.opt.Now())
	if err == nil && (now.Is() != m.Is() || now.Now.VersionID != m.Now.VersionID) {
		err = fmt.Errorf("%s: somebody writes it now: %w", m.Key, ErrChanged)
	}
	return objstore.Condition{}, err
}

// lockAgain is the lock of a copy: what holds its source.
func lockAgain(l *objstore.Lock, now time.Time) *objstore.Lock {
	if l == nil || !l.Holds(now) {
		return nil
	}
	if !now.Before(l.Until) {
		return &objstore.Lock{LegalHold: l.LegalHold}
	}
	return l
}

// alike tells whether two versions are one file with one content and the same
// attributes.
func alike(a, b *object) bool {
	x, y := a.attr, b.attr
	x.Ctime, y.Ctime = 0, 0
	x.Incarnation, y.Incarnation = 0, 0
	if !reflect.DeepEqual(x, y) || len(a.xat) != len(b.xat) || len(a.xat) > 0 && !reflect.DeepEqual(a.xat, b.xat) {
		return false
	}
	if a.version() != 0 || b.version() != 0 {
		return a.body == b.body
	}
	if f, ok := a.form.(*s3ecForm); ok {
		g, too := b.form.(*s3ecForm)
		if !too || !f.env.Same(g.env) {
			return false
		}
	}
	return a.id.ETag == b.id.ETag && a.length == b.length && a.class == b.class
}

// beside brings back what lies where an instruction file would. One that is one
// stays as it is now: what it said comes back within its object, and what is
// there may be that of somebody's newer one.
func (r *Restorer) beside(ctx context.Context, m past.Moment) (BroughtBack, error) {
	if m.Now.VersionID == m.Then.VersionID || m.Is() && m.Now.ETag == m.Then.ETag && m.Now.Size == m.Then.Size {
		return Same, nil
	}
	_, file, err := r.v.readInstruction(ctx, objstore.ID{Key: m.Key, VersionID: m.Then.VersionID})
	switch {
	case err != nil:
		return "", err
	case wraps(file):
		return Same, nil
	}
	if err := r.x.sparesNull(ctx, m.Key, m.Then.VersionID); err != nil {
		return "", err
	}
	if r.dry {
		return Restored, nil
	}
	return Restored, r.asItIs(ctx, m)
}

// asItIs copies what is not looked into.
func (r *Restorer) asItIs(ctx context.Context, m past.Moment) error {
	var info objstore.Info
	err := r.v.unlocked(ctx, m.Key, func(enc *objstore.Encryption) (err error) {
		info, err = r.v.opt.Store.Head(ctx, objstore.ID{Key: m.Key, VersionID: m.Then.VersionID, Encryption: enc})
		return err
	})
	if err != nil {
		return err
	}
	cond, err := r.unwritten(ctx, m)
	if err != nil {
		return err
	}
	return r.v.copyPlain(ctx, info, m.Key, objstore.PutOptions{Condition: cond, Lock: lockAgain(info.Lock, r.v.opt.Now())})
}

// inode sees to it that a name which was brought back has its file: as it was
// then, or, for a single version, that it opens. What counts its names is only
// brought back where it does not open, since other names may have come.
func (r *Restorer) inode(ctx context.Context, name sight) (BroughtBack, error) {
	store := r.v.raw.(objstore.Versioner)
	err := fmt.Errorf("%s: its inode: %w", name.id.Key, ErrNoVersion)
	for _, key := range r.v.inodeKeys(name.object) {
		at := r.at
		if at.IsZero() {
			at = r.v.opt.Now().Add(24 * time.Hour) // whatever there is
		}
		unlock := r.alone(key)
		m, seen := past.Of(ctx, store, key, at)
		if seen != nil || m.Then.Key == "" && m.Now.Key == "" { // it is not at this prefix
			unlock()
			if seen != nil {
				return "", seen
			}
			continue
		}
		defer unlock()
		return r.inodeAt(ctx, m, name)
	}
	return "", err
}

// alone keeps others from the inode at key.
func (r *Restorer) alone(key string) (unlock func()) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	lock := &r.inodes[h.Sum32()%uint32(len(r.inodes))]
	lock.Lock()
	return lock.Unlock
}

// inodeAt is inode of one that nobody else is at.
func (r *Restorer) inodeAt(ctx context.Context, m past.Moment, name sight) (BroughtBack, error) {
	did, err := r.body(ctx, m)
	if err != nil || r.dry {
		return did, err
	}
	in, err := r.v.fetchInode(ctx, m.Key, r.v.rule(name.id.Key))
	if err == nil {
		err = in.err
	}
	if err == nil && in.attr.FileID != name.attr.FileID {
		err = fmt.Errorf("%s: is of another file: %w", m.Key, ErrCorrupt)
	}
	if err == nil {
		err = r.roll(ctx, in)
	}
	if err == nil && !r.v.counted(ctx, in, name.object) {
		err = r.x.countAnew(ctx, in, name, nil)
	}
	return did, err
}

// counted tells whether an inode counts a name, and no more than it has.
func (v *Volume) counted(ctx context.Context, in, name *object) bool {
	roll, err := v.readRoll(ctx, in)
	return err == nil && slices.Contains(roll.names, name.token()) && int(in.attr.Nlink) == len(roll.names)
}

// body brings back the inode itself.
func (r *Restorer) body(ctx context.Context, m past.Moment) (BroughtBack, error) {
	if !r.at.IsZero() && m.Was() {
		was, err := r.open(ctx, m.Then.ID)
		if err != nil {
			return "", err
		}
		did, _, err := r.overInode(ctx, m, was)
		return did, err
	}
	if is, err := r.now(ctx, m); err != nil {
		return "", err
	} else if is.object != nil && is.err == nil {
		return Same, nil
	}
	return Restored, r.newest(ctx, m.Key)
}

// overInode is over, but that an inode keeps the names that it has now.
func (r *Restorer) overInode(ctx context.Context, m past.Moment, was sight) (BroughtBack, sight, error) {
	if is, err := r.now(ctx, m); err == nil && is.object != nil && is.err == nil {
		was.attr.Nlink = is.attr.Nlink
	}
	return r.over(ctx, m, was)
}

// content brings back a version of an inode, for all its names.
func (r *Restorer) content(ctx context.Context, m past.Moment, was sight) (BroughtBack, error) {
	defer r.alone(m.Key)()
	did, in, err := r.overInode(ctx, m, was)
	if err != nil || did != Restored || r.dry {
		return did, err
	}
	unlock, err := r.v.names.lock(ctx, one(inodePath(m.Key)))
	if err != nil {
		return did, err
	}
	defer unlock()
	counted, err := r.v.readRoll(ctx, in.object)
	if err == nil && int(in.attr.Nlink) != len(counted.names) {
		_, err = r.v.recount(ctx, in.object, len(counted.names))
	}
	if errors.Is(err, ErrNotExist) { // verify says so
		err = nil
	}
	return did, err
}

// newest puts the newest version of key that is whole over what is there and is
// not, whatever lies between: the volume needs it. What it passes over since it
// does not open now, the one that is there too, it tells of.
func (r *Restorer) newest(ctx context.Context, key string) error {
	m := past.Moment{Key: key}
	var passed passedOver
	for ver, err := range r.v.raw.(objstore.Versioner).Versions(ctx, objstore.ListOptions{Prefix: key}) {
		if err != nil {
			return err
		}
		if ver.Key != key {
			break
		}
		if ver.Latest {
			m.Now = ver
		}
		if ver.Deleted {
			continue
		}
		if ver.Latest {
			if _, err := r.open(ctx, ver.ID); unopenable(err) {
				passed.note(faultOf(err), err)
			}
			continue
		}
		was, fault, err := r.x.whole(ctx, ver.ID, "")
		if err != nil && fault == "" { // of the moment: it may be whole
			return err
		}
		if err != nil {
			passed.note(fault, err)
			continue
		}
		m.Then = ver
		r.tell(key, ver, passed)
		if !r.dry {
			_, _, err = r.over(ctx, m, was)
		}
		return err
	}
	return passed.none(fmt.Errorf("%s: %w", key, ErrNoVersion))
}

// tell tells what was passed over before a version was taken.
func (r *Restorer) tell(key string, ver objstore.Version, passed passedOver) {
	if passed.n == 0 {
		return
	}
	r.v.opt.Log.WithFields(logrus.Fields{"key": key, "version": ver.VersionID, "passed": passed.n}).WithError(passed.why).
		Warn("newer versions of what a hard link needs do not open now: an older one was taken")
}

// roll brings back what counts the names of an inode, where it is damaged; what is
// missing is made anew.
func (r *Restorer) roll(ctx context.Context, in *object) error {
	_, err := r.v.readRoll(ctx, in)
	if err == nil || !unopenable(err) {
		if errors.Is(err, ErrNotExist) {
			return nil
		}
		return err
	}
	return r.newest(ctx, rollKey(in.id.Key))
}
