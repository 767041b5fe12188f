package volume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/errgroup"
)

// ThawState is how far an archived body is from being read.
type ThawState string

// ThawStates, from the readiest on.
const (
	ThawNeedless ThawState = "not archived"
	ThawDone     ThawState = "restored"
	ThawOngoing  ThawState = "in progress" // ordered before
	ThawOrdered  ThawState = "ordered"     // now; or, where nothing is ordered, what would be
)

// rank is the place of s among them.
func (s ThawState) rank() int {
	switch s {
	case ThawNeedless:
		return 0
	case ThawDone:
		return 1
	case ThawOngoing:
		return 2
	}
	return 3
}

// Thawed is what became of a body.
type Thawed struct {
	State ThawState
	Class string    // of storage
	Until time.Time // of ThawDone: up to then it can be read; zero where nobody says
}

// ThawOptions of NewThawer.
type ThawOptions struct {
	Path string // of a file, or of a directory and all below it
	Days int    // for how long, 1 at least; S3 Intelligent-Tiering keeps what is back
	Tier string // Standard, Bulk or Expedited
	Dry  bool   // order nothing
}

// Thawer has archived bodies restored, those of hard links by their names. It
// writes nothing of the volume, and is for one that is ReadOnly too: all it sends
// are orders. Safe for concurrent use.
type Thawer struct {
	v     *Volume
	store objstore.Restorer
	opt   ThawOptions
}

// The tiers of a restore (Amazon S3 User Guide, "Understanding archive retrieval
// options").
const (
	TierStandard  = "Standard"
	TierBulk      = "Bulk"
	TierExpedited = "Expedited"
)

// NewThawer makes one. Errors: ErrInvalid, ErrUnsupported where the store has no
// archives.
func (v *Volume) NewThawer(opt ThawOptions) (*Thawer, error) {
	store, ok := v.raw.(objstore.Restorer)
	switch {
	case !ok:
		return nil, fmt.Errorf("restore %q: %w", opt.Path, ErrUnsupported)
	case opt.Days < 1, opt.Tier != TierStandard && opt.Tier != TierBulk && opt.Tier != TierExpedited:
		return nil, fmt.Errorf("restore for %d days by %q: %w", opt.Days, opt.Tier, ErrInvalid)
	}
	if err := v.checkPath(opt.Path); err != nil {
		return nil, err
	}
	return &Thawer{v: v, store: store, opt: opt}, nil
}

// List gives the objects at and below the path, in order of their keys, from
// behind a key on.
func (x *Thawer) List(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		for _, prefix := range x.prefixes() {
			for e, err := range x.v.opt.Store.List(ctx, objstore.ListOptions{Prefix: prefix, After: after}) {
				if err == nil && e.Key != prefix && !strings.HasSuffix(prefix, "/") && prefix != x.v.opt.Prefix {
					break // the key itself is the first of those that begin with it
				}
				if err == nil && ownPart(e.Key) != partFile {
					continue // never archived by us, and inodes come by their names
				}
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

// prefixes of what is restored, in order.
func (x *Thawer) prefixes() []string {
	if x.opt.Path == "" {
		return []string{x.v.opt.Prefix}
	}
	key := x.v.fileKey(x.opt.Path)
	if x.v.instructed(key) && len(s3ec.InstructionKey(key)) <= objstore.MaxKeyLen {
		return []string{key, s3ec.InstructionKey(key), x.v.dirKey(x.opt.Path)}
	}
	return []string{key, x.v.dirKey(x.opt.Path)}
}

// Order has the body of e restored, unless that is needless, done or under way;
// of a hard link that of its inode. What has gone meanwhile needs nothing. Where
// it is back for less than the days wanted, the day is moved. Errors:
// ErrUnsupported of a tier that the class does not have, which is said before
// anything is asked, and those of the store.
func (x *Thawer) Order(ctx context.Context, e objstore.Entry) (Thawed, error) {
	return x.each(ctx, e, !x.opt.Dry)
}

// Look tells how far the body of e is, and orders nothing: ThawOrdered is one
// that is archived, and no order for it under way.
func (x *Thawer) Look(ctx context.Context, e objstore.Entry) (Thawed, error) {
	return x.each(ctx, e, false)
}

// each is for all bodies that the file e needs: the one that is farthest from
// being read counts.
func (x *Thawer) each(ctx context.Context, e objstore.Entry, order bool) (Thawed, error) {
	worst := Thawed{State: ThawNeedless, Class: e.StorageClass}
	all, err := x.bodies(ctx, e)
	if err != nil {
		return worst, err
	}
	for _, info := range all {
		t, err := x.one(ctx, info, order)
		if err != nil {
			return t, err
		}
		if t.State.rank() > worst.State.rank() || t.State == ThawDone && t.Until.Before(worst.Until) {
			worst = t
		}
	}
	return worst, nil
}

// intelligentTiering is the class whose bodies S3 puts away by itself, which a
// listing does not tell.
const intelligentTiering = "INTELLIGENT_TIERING"

// bodies asks for what may be archived of the file e. A name is an object with
// the body of an empty file, and is told by its record, which needs its key.
func (x *Thawer) bodies(ctx context.Context, e objstore.Entry) ([]objstore.Info, error) {
	cold := objstore.Archives(e.StorageClass) || e.StorageClass == intelligentTiering
	mayBeName := e.Size == sigil.BodySize(0) && !isMarker(e.Key)
	if !cold && !mayBeName {
		return nil, nil
	}
	info, err := x.v.head(ctx, e.Key)
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !mayBeName || !isSealed(info.Metadata) {
		return []objstore.Info{info}, nil
	}
	name := newObject(info)
	if _, err := x.v.openChilled(ctx, name, info); err != nil {
		return nil, err
	}
	if !name.isName() {
		return []objstore.Info{info}, nil
	}
	in, err := x.inode(ctx, name)
	return []objstore.Info{info, in}, err
}

func (x *Thawer) inode(ctx context.Context, name *object) (info objstore.Info, err error) {
	for _, key := range x.v.inodeKeys(name) {
		if info, err = x.v.head(ctx, key); !errors.Is(err, ErrNotExist) {
			return info, err
		}
	}
	return info, fmt.Errorf("%s: inode %s: %w", name.id.Key, inodeName(name.inode()), ErrNotExist)
}

func (x *Thawer) one(ctx context.Context, info objstore.Info, order bool) (Thawed, error) {
	t := Thawed{State: ThawOrdered, Class: info.StorageClass}
	now, back := x.v.opt.Now(), info.Restoring
	switch {
	case !info.Frozen():
		t.State = ThawNeedless
	case back != nil && back.Ongoing:
		t.State = ThawOngoing
	case back != nil && (back.Until.IsZero() || back.Until.After(now)):
		t.State, t.Until = ThawDone, back.Until
	}
	short := t.State == ThawDone && !t.Until.IsZero() && t.Until.Before(now.AddDate(0, 0, x.opt.Days))
	switch {
	case t.State != ThawOrdered && !short:
		return t, nil
	case x.opt.Tier == TierExpedited && deep(info) && t.State == ThawOrdered:
		return t, fmt.Errorf("%s: there is no Expedited restore from the deep archive: %w", info.Key, ErrUnsupported)
	case !order:
		return t, nil
	}
	days := x.opt.Days
	if !objstore.Archives(info.StorageClass) {
		days = 0
	}
	err := x.store.Restore(ctx, objstore.ID{Key: info.Key, VersionID: info.VersionID}, days, x.opt.Tier)
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged) { // it has gone
		return Thawed{State: ThawNeedless, Class: info.StorageClass}, nil
	}
	if err == nil && short {
		t.Until = now.AddDate(0, 0, days)
	}
	return t, err
}

// deep tells bodies that take hours even by the fastest tier they have.
func deep(info objstore.Info) bool {
	return info.StorageClass == objstore.DeepArchive || info.ArchiveStatus == "DEEP_ARCHIVE_ACCESS"
}

// ThawWait is how Await waits.
type ThawWait struct {
	Parallel    int                                                  // objects that are looked at at a time; 0 is 8
	Least, Most time.Duration                                        // the first pause, and what they grow to
	Pause       func(ctx context.Context, d time.Duration) error     // an error ends the wait
	Ready       func(e objstore.Entry, t Thawed)                     // told of each that can be read, in order
	Left        func(e objstore.Entry, err error)                    // of each that nobody restores; err: it cannot be told
	Waits       func(e objstore.Entry, cause error, d time.Duration) // before each pause, what is waited for; cause: the store did not answer
}

// Await returns when no body is being restored any more. It goes over the list
// once: what is before the first object that is being restored is not looked at
// again, and while it waits it looks at few.
func (x *Thawer) Await(ctx context.Context, w ThawWait) error {
	if w.Parallel <= 0 {
		w.Parallel = 8
	}
	after, pause := "", w.Least
	for {
		at, cause, err := x.advance(ctx, &after, w)
		if err != nil || at == nil {
			return err
		}
		w.Waits(*at, cause, pause)
		if err := w.Pause(ctx, pause); err != nil {
			return err
		}
		pause = min(w.Most, pause+pause/2)
	}
}

// advance moves after to before the first object that is being restored, and
// gives that; nil: there is none.
func (x *Thawer) advance(ctx context.Context, after *string, w ThawWait) (at *objstore.Entry, cause, err error) {
	var some []objstore.Entry
	for e, err := range x.List(ctx, *after) {
		if momentary(err) && ctx.Err() == nil {
			return &objstore.Entry{Info: objstore.Info{ID: objstore.ID{Key: *after}}}, err, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if some = append(some, e); len(some) < w.Parallel {
			continue
		}
		if at, cause, err = x.pass(ctx, some, after, w); at != nil || err != nil {
			return at, cause, err
		}
		some = some[:0]
	}
	if err := ctx.Err(); err != nil { // a listing may end quietly with its context
		return nil, nil, err
	}
	return x.pass(ctx, some, after, w)
}

// pass looks at some, and moves after behind those that nobody waits for.
func (x *Thawer) pass(ctx context.Context, some []objstore.Entry, after *string, w ThawWait) (at *objstore.Entry, cause, err error) {
	states, errs := make([]Thawed, len(some)), make([]error, len(some))
	var g errgroup.Group
	for i, e := range some {
		g.Go(func() error {
			states[i], errs[i] = x.Look(ctx, e)
			return nil
		})
	}
	_ = g.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for i, e := range some {
		switch t := states[i]; {
		case momentary(errs[i]):
			return &e, errs[i], nil
		case errs[i] == nil && t.State == ThawOngoing:
			return &e, nil, nil
		case errs[i] != nil, t.State == ThawOrdered:
			w.Left(e, errs[i])
		default:
			w.Ready(e, t)
		}
		*after = e.Key
	}
	return nil, nil, nil
}

// momentary tells the failures that who waits for hours sits out.
func momentary(err error) bool {
	return errors.Is(err, objstore.ErrUnreachable) || errors.Is(err, ErrThrottled) || errors.Is(err, objstore.ErrUnknown)
}
