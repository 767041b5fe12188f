package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/cache/spool"
)

// Why something that was left is not replayed. The first two are for a person
// to decide; of the others what can be read may be exported.
var (
	ErrStillOpen = errOpen
	ErrOtherRule = errors.New("its name is encrypted otherwise now than when it was written")

	ErrUnnamed   = errors.New("nothing tells which file it was")
	ErrPartial   = errors.New("a part of it is not here")
	ErrUnproved  = errors.New("the machine went down before all of it was on disk")
	ErrElsewhere = errors.New("it is not below what is mounted")
	ErrDamaged   = spool.ErrDamaged
)

// Recovery is what dead mounts of this host have left of files that were not
// committed. It is safe for concurrent use, for different files.
type Recovery struct {
	v    *Volume // nil of a local one
	boot string  // as in Options
	left []*spool.Remains
}

// NewRecovery looks at spools of dead mounts, which the caller holds and closes.
// v need not be started.
func NewRecovery(v *Volume, left []*spool.Remains) *Recovery {
	r := &Recovery{v: v, left: left}
	if v != nil {
		r.boot = v.opt.Boot
	}
	return r
}

// NewLocalRecovery is one without a bucket: it describes what is here, by whole
// keys, and discards it. boot is as in Options.
func NewLocalRecovery(boot string, left []*spool.Remains) *Recovery {
	return &Recovery{boot: boot, left: left}
}

// Leftover is one file that was left.
type Leftover struct {
	ID   string
	Path string // relative to the mount, or the whole key where Err is ErrElsewhere; "" is not known
	Open bool   // nobody had closed it: perhaps half-written

	Size int64 // bytes of the file
	Here int64 // of these, how many are here; the others are in the bucket, or zeros

	At    time.Time // when that was known; zero is not known
	Cause string    // why it was not committed; "" where no commit had failed
	Err   error     // why the next mount will not replay it; nil: it will
	Void  bool      // nothing is lost with it: all is committed, or was removed
}

// leftover is a Leftover that is open for reading.
type leftover struct {
	Leftover
	in   *spool.Remains
	left *spool.Left
	note note
	path string // relative to the mount

	ordered bool // a person wants it replayed
	whole   bool // what was uploaded of it is in the object that stands
}

// IDs lists what is there.
func (r *Recovery) IDs() ([]string, error) {
	var all []string
	for _, in := range r.left {
		ids, err := in.Files()
		if err != nil {
			return all, err
		}
		all = append(all, ids...)
	}
	return all, nil
}

// Describe reads all that is here of one file, and says what it is.
func (r *Recovery) Describe(id string) (Leftover, error) {
	l, err := r.open(id)
	if err != nil {
		return Leftover{}, err
	}
	return l.Leftover, l.left.Close()
}

// Discard removes what is left of a file.
func (r *Recovery) Discard(id string) error {
	in, err := r.find(id)
	if err != nil {
		return err
	}
	return in.Remove(id)
}

func (r *Recovery) find(id string) (*spool.Remains, error) {
	for _, in := range r.left {
		ids, err := in.Files()
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, id) {
			return in, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", id, ErrNotExist)
}

// open gives a file that was left; its reader is to be closed.
func (r *Recovery) open(id string) (*leftover, error) {
	in, err := r.find(id)
	if err != nil {
		return nil, err
	}
	left, err := in.Open(id)
	if err != nil {
		return nil, err
	}
	l := &leftover{Leftover: Leftover{ID: id, Size: left.Size(), Here: left.Here()}, in: in, left: left}
	l.Err = l.identify(r)
	return l, nil
}

// identify fills in what the note says, and gives the first reason why l is not
// replayed by itself.
func (l *leftover) identify(r *Recovery) error {
	meta, err := l.left.Meta()
	if err == nil && meta == nil {
		l.Void = l.Here == 0 && l.left.Intact() == nil // committed, or nothing was written yet
		return ErrUnnamed
	}
	if err == nil {
		l.note, err = parseNote(meta)
	}
	if err != nil {
		return err
	}
	n := l.note
	l.Open, l.Cause, l.Void = n.Open, n.Cause, n.Gone
	if n.At != 0 {
		l.At = time.Unix(0, n.At)
	}
	if r.v == nil {
		l.Path = n.name()
		return l.unfit(r)
	}
	ok := false
	if l.Path, l.path, ok = n.place(r.v.opt.Prefix, r.v.checkPath); !ok {
		l.Path = n.Key
		return ErrElsewhere
	}
	return l.unfit(r)
}

// unfit gives the reason why what is here is not committed without a question.
func (l *leftover) unfit(r *Recovery) error {
	if err := l.left.Intact(); err != nil {
		return err
	}
	if l.lacks(spool.Sent) {
		return errUploaded
	}
	return l.undecided(r)
}

// undecided is unfit of what is all here.
func (l *leftover) undecided(r *Recovery) error {
	n := l.note
	switch {
	case !n.Synced && (n.Boot == "" || n.Boot != r.boot):
		return ErrUnproved
	case n.Open:
		return ErrStillOpen
	case r.v != nil && n.Mode != r.v.rule(n.name()).Mode:
		return fmt.Errorf("%w: %s, not %s", ErrOtherRule, r.v.rule(n.name()).Mode, n.Mode)
	}
	return nil
}

// errUploaded: unless that made an object in the end, which the bucket knows.
var errUploaded = fmt.Errorf("%w: it was uploaded already, and nobody heard that this was completed", ErrPartial)

// maybeThere tells whether the bucket may have what is to be asked for l.Err.
func (l *leftover) maybeThere() bool {
	return l.path != "" && len(l.note.Last) > 0 || errors.Is(l.Err, errUploaded) && len(l.note.Sent) > 0
}

// content is what is to be committed.
func (l *leftover) content() frozen {
	if l.whole {
		return uploadedThere{l.left}
	}
	return l.left
}

// uploadedThere is what was left of a file whose uploaded parts are in its base.
type uploadedThere struct{ *spool.Left }

// Extent is frozen's.
func (u uploadedThere) Extent(off int64) (spool.Kind, int64) {
	kind, end := u.Left.Extent(off)
	if kind == spool.Sent {
		kind = spool.Base
	}
	return kind, end
}

// lacks tells whether any of the file is of this kind.
func (l *leftover) lacks(want spool.Kind) bool {
	for off := int64(0); off < l.Size; {
		kind, end := l.left.Extent(off)
		if kind == want {
			return true
		}
		off = end
	}
	return false
}

// unasked tells whether a person may order a replay although it is not done by
// itself.
func unasked(err error) bool { return errors.Is(err, ErrStillOpen) || errors.Is(err, ErrOtherRule) }

// Replayed is what became of a file.
type Replayed struct {
	Path string // where it is now: where it was, or the name of a conflict copy
	Done bool   // it was in the bucket already
}

// Replay commits one file, open or not, under the condition that its commit
// would have had, and removes what was left of it. What another host has
// replaced since is left alone: then it is saved beside it, as by a commit.
// Where that is not possible the error says why, and all is kept.
func (r *Recovery) Replay(ctx context.Context, id string) (Replayed, error) {
	l, err := r.open(id)
	if err != nil {
		return Replayed{}, err
	}
	defer func() { _ = l.left.Close() }() // it was only read
	if l.Err != nil && !unasked(l.Err) && !l.maybeThere() {
		return Replayed{}, named(l.Err, "replay", l.name())
	}
	l.ordered = true
	return r.replay(ctx, l)
}

// name is how l is called in messages.
func (l *leftover) name() string {
	if l.Path == "" {
		return l.ID
	}
	return l.Path
}

// replay commits l, unless l.Err forbids that, and removes it.
func (r *Recovery) replay(ctx context.Context, l *leftover) (Replayed, error) {
	unlock, err := r.v.names.lock(ctx, one(l.path))
	if err != nil {
		return Replayed{}, err
	}
	defer unlock()
	if r.v.fileAt(l.path) != nil {
		return Replayed{}, named(errInUse, "replay", l.path)
	}
	if err := r.endUploads(ctx, l); err != nil {
		return Replayed{}, named(err, "replay", l.path)
	}
	done, err := r.commit(ctx, l)
	if err == nil {
		err = l.in.Remove(l.ID)
	}
	return done, named(err, "replay", l.path)
}

// errInUse: a commit of what somebody here writes would meet the replay, and
// lose.
var errInUse = errors.New("it is open here")
