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
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
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
	if _, ok := v.opt.Store.(objstore.Versioner); !ok {
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
// open (then nothing was touched), ErrChanged (somebody writes it now), and those
// of the store.
func (r *Restorer) BringBack(ctx context.Context, m past.Moment) (BroughtBack, error) {
	switch {
	case !m.Was() && m.Is():
		return NewSince, nil
	case !m.Was():
		return Nothing, nil
	case r.v.isInstruction(m.Key):
		return r.asItIs(ctx, m)
	}
	was, err := r.open(ctx, m.Then.ID)
	if err != nil {
		return "", err
	}
	if was.instruction() {
		if err := r.instruction(ctx, m); err != nil {
			return "", err
		}
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
	if m.Now.VersionID == m.Then.VersionID {
		return Same, was, nil
	}
	is, err := r.now(ctx, m)
	if err != nil {
		return "", was, err
	}
	switch {
	case is.object != nil && is.err == nil && alike(was.object, is.object):
		return Same, is, nil
	case r.dry:
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
	cond := objstore.Condition{IfNone: true}
	if m.Is() {
		cond = objstore.Condition{IfMatch: m.Now.ETag}
	}
	if err := r.v.guard(ctx, r.v.opt.Capabilities.CopyConditions && m.Is(), m.Key, cond); err != nil {
		return nil, err
	}
	if !m.Is() {
		cond = objstore.Condition{} // a copy over nothing has no condition on most servers
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
	return a.id.ETag == b.id.ETag && a.length == b.length && a.class == b.class
}

// asItIs brings back what is not looked into.
func (r *Restorer) asItIs(ctx context.Context, m past.Moment) (BroughtBack, error) {
	if m.Now.VersionID == m.Then.VersionID || m.Is() && m.Now.ETag == m.Then.ETag && m.Now.Size == m.Then.Size {
		return Same, nil
	}
	if r.dry {
		return Restored, nil
	}
	var info objstore.Info
	err := r.v.unlocked(ctx, m.Key, func(enc *objstore.Encryption) (err error) {
		info, err = r.v.opt.Store.Head(ctx, objstore.ID{Key: m.Key, VersionID: m.Then.VersionID, Encryption: enc})
		return err
	})
	if err != nil {
		return "", err
	}
	return Restored, r.v.copyPlain(ctx, info, m.Key)
}

// instruction brings back the instruction file of an object: it has to be there
// before.
func (r *Restorer) instruction(ctx context.Context, m past.Moment) error {
	at := m.Then.Modified
	if r.at.After(at) {
		at = r.at
	}
	of, err := past.Of(ctx, r.v.opt.Store.(objstore.Versioner), s3ec.InstructionKey(m.Key), at)
	if err == nil {
		_, err = r.asItIs(ctx, of)
	}
	return err
}

// inode sees to it that a name which was brought back has its file: as it was
// then, or, for a single version, that it opens. What counts its names is only
// brought back where it does not open, since other names may have come.
func (r *Restorer) inode(ctx context.Context, name sight) (BroughtBack, error) {
	store := r.v.opt.Store.(objstore.Versioner)
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
		if is, err := r.now(ctx, m); err == nil && is.object != nil && is.err == nil {
			was.attr.Nlink = is.attr.Nlink // that of now: it is counted anew
		}
		did, _, err := r.over(ctx, m, was)
		return did, err
	}
	if is, err := r.now(ctx, m); err != nil {
		return "", err
	} else if is.object != nil && is.err == nil {
		return Same, nil
	}
	return Restored, r.newest(ctx, m.Key)
}

// newest puts the newest version of key that is whole over what is there and is
// not, whatever lies between: the volume needs it.
func (r *Restorer) newest(ctx context.Context, key string) error {
	m := past.Moment{Key: key}
	for ver, err := range r.v.opt.Store.(objstore.Versioner).Versions(ctx, objstore.ListOptions{Prefix: key}) {
		if err != nil {
			return err
		}
		if ver.Key != key {
			break
		}
		if ver.Latest {
			m.Now = ver
		}
		if ver.Latest || ver.Deleted {
			continue
		}
		s, err := r.open(ctx, ver.ID)
		if err == nil {
			_, _, err = r.x.prove(ctx, s, true)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			m.Then = ver
			if !r.dry {
				_, _, err = r.over(ctx, m, s)
			}
			return err
		}
	}
	return fmt.Errorf("%s: %w", key, ErrNoVersion)
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
