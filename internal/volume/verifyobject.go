package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// sight is an object as one look at it showed it.
type sight struct {
	*object
	info   objstore.Info
	suffix []byte // the last bytes of its body
	known  before // of what lies there now: what it was held against
}

// lookAt asks the bucket what id is: past caches, and past what is known here. Of
// what lies there now its verdict says whether this host has known a newer state,
// whatever the policy: what is older is looked at like the rest, and who asked
// tells of it.
func (v *Volume) lookAt(ctx context.Context, id objstore.ID) (sight, error) {
	var s sight
	if id.VersionID == "" {
		s.known = v.knownOf(id.Key)
	}
	err := v.unlocked(ctx, id.Key, func(enc *objstore.Encryption) (err error) {
		id.Encryption = enc
		s.info, s.suffix, err = v.ends(ctx, id)
		return err
	})
	if err != nil {
		return s, err
	}
	if id.VersionID != "" {
		s.object, err = v.decodeThen(ctx, s.info, s.suffix)
		return s, err
	}
	if s.object, err = v.decode(ctx, s.info, s.suffix); err != nil {
		return s, err
	}
	s.known.rec = v.weigh(s.object, s.known)
	if s.verdict == freshness.Ahead {
		v.meet(s.object, s.known.rec)
	}
	return s, nil
}

// checkOnce looks at one object. ErrChanged: it has to be looked at anew.
func (x *Verifier) checkOnce(ctx context.Context, e objstore.Entry) (*suspicion, error) {
	part := ownPart(e.Key)
	if part == partFile && x.v.isInstruction(e.Key) {
		return nil, nil // verified with its object
	}
	s, err := x.v.lookAt(ctx, objstore.ID{Key: e.Key})
	if unopenable(err) {
		return x.suspect(s, e, Unseen, err), nil
	}
	if err != nil {
		return nil, err
	}
	x.heard(s.answered)
	if s.err != nil {
		return x.suspect(s, e, x.v.ailment(ctx, s), s.err), nil
	}
	if fault, damage, err := x.prove(ctx, s, x.opt.Data && e.Key > x.opt.After); err != nil {
		if fault == "" {
			return nil, err
		}
		bad := x.suspect(s, e, fault, err)
		bad.Damage, bad.More = damage.ranges, damage.more
		return bad, nil
	}
	bad, err := x.related(ctx, s, e, part)
	switch {
	case bad != nil || err != nil || !x.v.judged(s.object):
	case s.verdict.Bad():
		bad = x.suspect(s, e, FaultRollback, fmt.Errorf("%s: %s: %w", e.Key, s.older, ErrRollback))
	case s.known.err != nil:
		err = errUntold(e.Key, s.known.err)
	case s.known.rec.Known():
		x.remembered.Add(1)
	}
	return bad, err
}

// suspect is a Finding of what s shows.
func (x *Verifier) suspect(s sight, e objstore.Entry, fault Fault, err error) *suspicion {
	part := ownPart(e.Key)
	if part == partIndex && fault != Unseen && fault != FaultRollback {
		fault = FaultIndex
	}
	id := s.info.ID
	id.Key = e.Key
	return &suspicion{
		Finding:   Finding{Fault: fault, Key: e.Key, Path: x.path(e.Key), Err: err},
		id:        id,
		modified:  s.info.Modified,
		mayBeName: part == partFile && !isMarker(e.Key) && (s.info.ETag == "" || s.info.Size <= sigil.TagSize),
	}
}

// ailment finds out where an object fails to open.
func (v *Volume) ailment(ctx context.Context, s sight) Fault {
	fault := faultOf(s.err)
	if fault != FaultSeal && !errors.Is(s.err, ErrWrongKey) || !isSealed(s.info.Metadata) {
		return fault
	}
	h, err := sigil.ParseHeader(s.info.Metadata)
	if err != nil {
		return fault
	}
	rec, err := v.unseal(ctx, s.info.Key, h)
	if err != nil {
		return fault
	}
	if err := sigil.CheckLength(rec, h, s.info.Size); err != nil {
		return FaultSize
	}
	if _, _, err = sigil.OpenSuffix(rec, h, s.suffix, s.info.Size); err != nil {
		return FaultTail
	}
	if !isMarker(s.info.Key) && h.Layout == 0 && s.info.Size == sigil.TagSize {
		return FaultContent // the chunk of an empty file
	}
	return fault
}

// damage is where content does not authenticate.
type damage struct {
	ranges []objstore.Range
	more   bool
}

// maxDamage bounds the ranges that are told of one object.
const maxDamage = 64

// add notes a range behind those before.
func (d *damage) add(r objstore.Range) {
	if n := len(d.ranges); n > 0 && d.ranges[n-1].Off+d.ranges[n-1].Len == r.Off {
		d.ranges[n-1].Len += r.Len
		return
	}
	if len(d.ranges) == maxDamage {
		d.more = true
		return
	}
	d.ranges = append(d.ranges, r)
}

// prove verifies the body of s, which opens: its size and its table, and with
// data all of it. An error without a Fault is of the moment.
func (x *Verifier) prove(ctx context.Context, s sight, data bool) (Fault, damage, error) {
	switch f := s.form.(type) {
	case *sealedForm:
		x.opened(f.header.Epoch)
		return x.proveSealed(ctx, s, f, data)
	case *s3ecForm:
		if data {
			return x.proveS3EC(ctx, s, f)
		}
	default:
		if data {
			return x.provePlain(ctx, s)
		}
	}
	return "", damage{}, nil
}

func (x *Verifier) proveSealed(ctx context.Context, s sight, f *sealedForm, data bool) (Fault, damage, error) {
	if isMarker(s.id.Key) {
		return "", damage{}, nil
	}
	tail, err := x.tailOf(ctx, s, f)
	if err != nil {
		return "", damage{}, err
	}
	if tail != nil {
		r, err := sigil.NewReader(f.rec, f.header, sigil.WithSuffix(nil, tail, s.length), s.length, x.v.frames)
		if err != nil {
			return FaultSize, damage{}, err
		}
		if err := r.Verify(ctx); err != nil {
			return FaultTail, damage{}, fmt.Errorf("%s: %w", s.id.Key, err)
		}
	}
	if !data || s.attr.Size == 0 {
		return "", damage{}, nil
	}
	d, err := x.readSealed(ctx, s, f, tail)
	if err != nil {
		return "", d, err
	}
	if len(d.ranges) > 0 {
		return FaultContent, d, fmt.Errorf("%s: content does not authenticate: %w", s.id.Key, ErrCorrupt)
	}
	return "", d, nil
}

// tailOf gives the tail of a body; nil where it has none.
func (x *Verifier) tailOf(ctx context.Context, s sight, f *sealedForm) ([]byte, error) {
	n := sigil.TailSize(f.header.Layout, s.attr.Size)
	if n == 0 {
		return nil, nil
	}
	if n <= int64(len(s.suffix)) {
		return s.suffix[int64(len(s.suffix))-n:], nil
	}
	back, err := x.v.borrow(ctx, n)
	if err != nil {
		return nil, err
	}
	defer back()
	tail := make([]byte, n)
	return tail, x.v.readExactly(ctx, s.id, tail, s.length-n)
}

// related looks at what an object says of others.
func (x *Verifier) related(ctx context.Context, s sight, e objstore.Entry, part string) (*suspicion, error) {
	if part == partFile && s.isName() && x.links == nil {
		return x.checkName(ctx, s, e)
	}
	switch part {
	case partFile, partInode, partRoll:
		err := x.noteLink(ctx, s, part)
		if errors.Is(err, ErrCorrupt) { // a roll, which is read whatever is asked for
			return x.suspect(s, e, FaultContent, err), nil
		}
		return nil, err
	case partParked:
		if x.silentFor(s, abandonment) {
			return x.suspect(s, e, FaultParked, errForsaken), nil
		}
	case partUpload:
		if x.silentFor(s, abandonment) {
			return x.suspect(s, e, FaultUpload, errForsaken), nil
		}
	case partJournal:
		if x.silentFor(s, x.opt.Settled) {
			return x.suspect(s, e, FaultJournal, errForsaken), nil
		}
	}
	return nil, nil
}

// errForsaken: nobody goes on with it. A mount of its host ends it.
var errForsaken = errors.New("left by a host that has been silent since; the next mount that is that host's, or comes upon it, ends it")

// silentFor tells whether the object has been left alone for so long.
func (x *Verifier) silentFor(s sight, long time.Duration) bool {
	return x.clock().Sub(s.info.Modified) >= long
}
