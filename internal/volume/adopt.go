package volume

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// AdoptOptions of NewAdopter.
type AdoptOptions struct {
	Path string // of the file or directory in the volume that is adopted; "" is all of it

	// From is the key of what lies at Path now as it was before, without a slash
	// at its end; with Mapped. An object is then adopted only if it was sealed for
	// the key that has the same place below From: nobody can have exchanged two.
	// Without Mapped whatever this host's keys have sealed is taken as it lies.
	From   string
	Mapped bool

	Dry bool // nothing is written
}

// Adoption is what came of an object.
type Adoption struct {
	Key   string
	From  string // for which key it was sealed; where nobody knows, the hash of that: "sha256:…"
	Moved bool   // it was sealed for another key
}

// Adopter seals objects anew for where they lie, which another tool has moved or
// copied there: the body stays as it is, and only what authenticates in all else
// is taken. Adopt is safe for concurrent use, and does nothing about what is as
// it should be, so that all can be begun again.
type Adopter struct {
	v   *Volume
	opt AdoptOptions
}

// ErrNotAdopted: an object that lies elsewhere than it was sealed for, and stays
// so. The text says why.
var ErrNotAdopted = errors.New("not adopted")

// NewAdopter begins. Errors: ErrReadOnly, those of a path.
func (v *Volume) NewAdopter(opt AdoptOptions) (*Adopter, error) {
	if v.opt.ReadOnly && !opt.Dry {
		return nil, ErrReadOnly
	}
	if err := v.checkPath(opt.Path); err != nil {
		return nil, err
	}
	return &Adopter{v, opt}, nil
}

// Lists gives the listings whose entries are to be adopted, one after the other:
// names of hard links come after what they point to.
func (a *Adopter) Lists() []func(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
	files := &Verifier{v: a.v, opt: VerifyOptions{Path: a.opt.Path}}
	if !files.Whole() {
		return []func(context.Context, string) iter.Seq2[objstore.Entry, error]{files.List}
	}
	inodes := func(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
		return a.v.opt.Store.List(ctx, objstore.ListOptions{Prefix: a.v.opt.Root + inodeDir, After: after})
	}
	rest := func(ctx context.Context, after string) iter.Seq2[objstore.Entry, error] {
		return func(yield func(objstore.Entry, error) bool) {
			for e, err := range files.List(ctx, after) {
				if err == nil && strings.HasPrefix(e.Key, a.v.opt.Root+inodeDir) {
					continue
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
	return []func(context.Context, string) iter.Seq2[objstore.Entry, error]{inodes, rest}
}

// Adopt adopts what is at e.Key now, if that was moved. ErrNotAdopted: it stays
// as it is. ErrNotExist: it has gone.
func (a *Adopter) Adopt(ctx context.Context, e objstore.Entry) (Adoption, error) {
	switch ownPart(e.Key) {
	case partFile, partInode, partRoll:
	default: // what is left of work that was done elsewhere, and is made anew
		return Adoption{Key: e.Key}, nil
	}
	err := error(nil)
	for range maxChanged {
		var done Adoption
		if done, err = a.once(ctx, e.Key); !errors.Is(err, ErrChanged) {
			return done, err
		}
	}
	return Adoption{Key: e.Key}, err
}

// once is one try of Adopt.
func (a *Adopter) once(ctx context.Context, key string) (Adoption, error) {
	done := Adoption{Key: key}
	s, err := a.v.lookAt(ctx, objstore.ID{Key: key})
	switch {
	case err != nil:
		return done, err
	case s.err == nil:
		return done, nil
	case !errors.Is(s.err, objcrypt.ErrMoved):
		return done, s.err
	}
	done.Moved = true
	o, from, err := a.reopen(ctx, s)
	done.From = from
	if err != nil {
		return done, err
	}
	if err := a.newest(ctx, o, from); err != nil {
		return done, err
	}
	if fault, _, err := (&Verifier{v: a.v, epochs: map[sigil.EpochID]int64{}}).prove(ctx, sight{object: o, info: s.info, suffix: s.suffix}, false); err != nil {
		if fault == "" {
			return done, err
		}
		return done, fmt.Errorf("%w: %w", ErrNotAdopted, err)
	}
	if o.isName() {
		return done, a.name(ctx, o)
	}
	return done, a.body(ctx, o, ownPart(key))
}

// former is the key that key had.
func (a *Adopter) former(key string) string {
	if base := a.v.dirKey(a.opt.Path); strings.HasPrefix(key, base) {
		from := a.opt.From
		if from != "" {
			from += "/"
		}
		return from + key[len(base):]
	}
	return a.opt.From // the file itself
}

// reopen opens an object as the one that was elsewhere, and tells where.
func (a *Adopter) reopen(ctx context.Context, s sight) (o *object, from string, err error) {
	key, former := s.info.Key, ""
	if a.opt.Mapped {
		former = a.former(key)
	}
	h, err := sigil.ParseHeader(s.info.Metadata)
	if err != nil {
		return nil, former, err
	}
	epoch, err := a.v.opt.Keys.Open(ctx, key, h.Epoch, h.Commits)
	if errors.Is(err, ErrNoKey) && former != "" { // perhaps where it was
		epoch, err = a.v.opt.Keys.Open(ctx, former, h.Epoch, h.Commits)
	}
	if err != nil {
		return nil, former, fmt.Errorf("%s: epoch %s: %w", key, h.Epoch, err)
	}
	rec, err := h.OpenMoved(epoch)
	if err != nil {
		return nil, former, fmt.Errorf("%s: %w", key, err)
	}
	hash := sigil.KeyHash(former)
	if a.opt.Mapped && rec.KeyHash != hash {
		return nil, "sha256:" + hex.EncodeToString(rec.KeyHash[:]), fmt.Errorf("%s: %w: it was not sealed for %s, but for another key", key, ErrNotAdopted, former)
	}
	if from = former; !a.opt.Mapped {
		from = "sha256:" + hex.EncodeToString(rec.KeyHash[:])
	}
	o = newObject(s.info)
	err = (&sealedForm{header: h, rec: rec}).openBody(ctx, a.v, o, s.info, s.suffix)
	if err == nil {
		err = o.checkType()
	}
	if err != nil {
		return nil, from, fmt.Errorf("%s: %w: %w", key, ErrNotAdopted, err)
	}
	o.rule = a.ruleThen(former)
	return o, from, nil
}

// newest refuses what is older than what this host has known where it was: who
// moves an object takes it as it is. What is still there as well may have been
// copied before it was changed.
func (a *Adopter) newest(ctx context.Context, o *object, from string) error {
	if !a.opt.Mapped {
		return nil
	}
	known := a.v.knownOf(from)
	if known.err != nil { // the new seal would wash it off
		return errUntold(o.id.Key, known.err)
	}
	last := known.rec
	if last.Gone { // by this host, once it was copied
		last = freshness.Record{Version: last.Last, Seal: last.Seal}
	}
	version, seal, _ := o.stateOf()
	if !freshness.Judge(last, version, seal, a.v.opt.Now()).Bad() {
		return nil
	}
	left, err := a.left(ctx, o)
	if err != nil || left {
		return err
	}
	return fmt.Errorf("%s: %w: of what was at %s this host has known version %d, and this is %d: %w", o.id.Key, ErrNotAdopted, from, last.Version, version, ErrRollback)
}

// ruleThen is the rule under which what was at a key was written; one of its own
// where that is not known, so that nothing is taken for granted.
func (a *Adopter) ruleThen(former string) *Rule {
	if a.opt.Mapped && strings.HasPrefix(former, a.v.opt.Root) {
		return a.v.rule(former)
	}
	return &Rule{Mode: "client"}
}

// body seals what is not a name.
func (a *Adopter) body(ctx context.Context, o *object, part string) error {
	to, err := a.ruleNow(ctx, o, part)
	if err != nil {
		return err
	}
	id := o.attr.FileID
	if a.opt.Mapped && part == partFile {
		left, err := a.left(ctx, o)
		if err != nil {
			return err
		}
		if left { // a copy: another file
			id = newFileID()
		}
	}
	if a.opt.Dry {
		return nil
	}
	_, err = a.v.restate(ctx, o, o.id.Key, objstore.Condition{IfMatch: o.id.ETag}, func(d *draft) {
		d.rule, d.attr.FileID = to, id
	})
	return err
}

// ruleNow is the rule of what o becomes: that of its key, or of an inode and its
// roll the one whose keys these have.
func (a *Adopter) ruleNow(ctx context.Context, o *object, part string) (*Rule, error) {
	f, _ := o.form.(*sealedForm) // it was moved
	if part == partFile {
		to := a.v.rule(o.id.Key)
		if to.Keys == nil && o.rule != to {
			return nil, fmt.Errorf("%s: %w: the rule of its prefix is %s, which seals nothing", o.id.Key, ErrNotAdopted, to.Mode)
		}
		return to, nil
	}
	for _, r := range a.v.policy.rules {
		if r.Keys == nil {
			continue
		}
		if ok, err := f.mayKeep(ctx, r.Keys, o); err != nil || ok {
			return r, err
		}
	}
	return nil, fmt.Errorf("%s: %w: it is sealed for other keys than any rule has", o.id.Key, ErrNotAdopted)
}

// left tells whether there is still something where o was.
func (a *Adopter) left(ctx context.Context, o *object) (bool, error) {
	_, err := a.v.head(ctx, a.former(o.id.Key))
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	if unopenable(err) || errors.Is(err, ErrAccess) {
		return true, nil
	}
	return err == nil, err
}

// name seals a hard-link name. If the one it was is surely gone it stays the name
// that its inode counts; else it becomes another one, counted first: two that
// count as one would lose the file with the first that is removed.
func (a *Adopter) name(ctx context.Context, o *object) error {
	in, err := a.v.inodeBehind(ctx, o)
	switch {
	case errors.Is(err, ErrNotExist):
		return fmt.Errorf("%s: %w: it is a name of a file that is not in this volume: %w", o.id.Key, ErrNotAdopted, err)
	case err != nil:
		return err
	case in.err != nil && a.opt.Dry && errors.Is(in.err, objcrypt.ErrMoved): // it comes before
		return nil
	case in.err != nil:
		return fmt.Errorf("%s: %w: %w", o.id.Key, ErrNotAdopted, in.err)
	case in.attr.FileID != o.attr.FileID:
		return fmt.Errorf("%s: %w: inode %s is of another file", o.id.Key, ErrNotAdopted, in.id.Key)
	}
	if err := a.sameKeys(ctx, o, in); err != nil || a.opt.Dry {
		return err
	}
	ip := inodePath(in.id.Key)
	unlock, err := a.v.names.lock(ctx, one(ip))
	if err != nil {
		return err
	}
	defer unlock()
	cond := objstore.Condition{IfMatch: o.id.ETag}
	if a.opt.Mapped {
		left, err := a.left(ctx, o)
		if err != nil {
			return err
		}
		if !left {
			return a.keepName(ctx, in, o, cond)
		}
	}
	if _, err := a.v.copyHeld(ctx, in, o, o.id.Key, cond, nil); err != nil {
		return err
	}
	r, _, err := a.v.rollOf(ctx, in)
	if err == nil {
		_, err = a.v.recount(ctx, a.v.latest(in), len(r.names))
	}
	return err
}

// keepName seals a name whose place on the roll stands.
func (a *Adopter) keepName(ctx context.Context, in, o *object, cond objstore.Condition) error {
	if _, err := a.v.enrol(ctx, in, o.token()); err != nil {
		return fmt.Errorf("%s: %w: %w", o.id.Key, ErrNotAdopted, err)
	}
	r := a.v.rule(o.id.Key)
	o.rule = r // sameKeys has seen to that: the body must stay, its generation is what is counted
	_, err := a.v.restate(ctx, o, o.id.Key, cond, func(d *draft) { d.rule = r })
	return err
}

// sameKeys refuses a name under a rule that is not its inode's.
func (a *Adopter) sameKeys(ctx context.Context, o, in *object) error {
	r := a.v.rule(o.id.Key)
	f, sealed := in.form.(*sealedForm)
	if r.Keys == nil || !sealed {
		return fmt.Errorf("%s: %w: a hard link under rule %s: %w", o.id.Key, ErrNotAdopted, r.Mode, ErrCrossing)
	}
	ok, err := f.mayKeep(ctx, r.Keys, in)
	if err == nil && !ok {
		err = fmt.Errorf("%s: %w: a hard link under other keys than its file: %w", o.id.Key, ErrNotAdopted, ErrCrossing)
	}
	return err
}
