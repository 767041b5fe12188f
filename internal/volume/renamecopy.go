package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sync/errgroup"
)

// moved is an object copied to its new name.
type moved struct {
	src  string // its old key
	etag string // of what was copied
	key  string

	name *object // what was copied, if it is a hard-link name
	file string  // the ETag of the instruction file that goes with it; "" is none

	from, to *object // nil where only the keys matter: nobody here knows the file
}

func (v *Volume) copyAll(ctx context.Context, j *journal, t *tally) error {
	return v.pages(ctx, j.From, "", func(page []objstore.Entry) error {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelMoves)
		done := make([]moved, len(page))
		for i, e := range page {
			g.Go(func() (err error) {
				done[i], err = v.copyOne(gctx, j, e.Key)
				j.copied.Add(1)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		t.add(page[len(page)-1].Key, slices.DeleteFunc(done, func(m moved) bool { return m.key == "" }))
		return nil
	})
}

// copyOne makes sure that the object at src is under its new name too.
func (v *Volume) copyOne(ctx context.Context, j *journal, src string) (moved, error) {
	dst, err := v.rekey(src, j.From, j.To)
	if err != nil {
		return moved{}, err
	}
	if v.isInstruction(src) {
		return v.copyInstruction(ctx, j, src, dst)
	}
	var before *object
	for range maxRetries {
		o, err := v.fetch(ctx, src)
		if errors.Is(err, ErrNotExist) {
			return moved{}, nil // removed meanwhile
		}
		if err != nil {
			return moved{}, err
		}
		if before.refiled(o) {
			return moved{}, errOtherFile(o)
		}
		before = o
		m, err := v.copyWhole(ctx, j, o, dst)
		if !errors.Is(err, ErrChanged) {
			return m, err
		}
	}
	return moved{}, fmt.Errorf("%s: replaced again and again: %w", src, ErrChanged)
}

// copyWhole copies o with its instruction file, if it has one.
func (v *Volume) copyWhole(ctx context.Context, j *journal, o *object, dst string) (moved, error) {
	file, err := v.fileOf(ctx, o, dst)
	if err != nil {
		return moved{}, err
	}
	to, err := v.copyTo(ctx, j, o, dst)
	m, err := v.remembered(o, to, dst, err)
	m.file = file
	return m, err
}

// remembered keeps of a copy what the end of the rename needs.
func (v *Volume) remembered(o, to *object, dst string, err error) (moved, error) {
	if err != nil {
		return moved{}, err
	}
	m := moved{src: o.id.Key, etag: o.id.ETag, key: dst}
	if o.isName() {
		m.name = o
	}
	if p := strings.TrimPrefix(m.src, v.opt.Prefix); v.fileAt(p) != nil || v.recall(strings.TrimSuffix(p, "/")) != nil {
		m.from, m.to = o, to
	}
	return m, nil
}

// copyTo copies o to dst. In a resumed rename a copy made before is recognised,
// and not made over a newer state of it.
func (v *Volume) copyTo(ctx context.Context, j *journal, o *object, dst string) (*object, error) {
	mark := func(d *draft) {
		d.mark = j.mark(o, dst)
		d.trace = d.mark
	}
	copyIf := func(cond objstore.Condition) (*object, error) {
		if o.isName() {
			return v.copyName(ctx, o, dst, cond, nil)
		}
		return v.restate(ctx, o, dst, cond, mark)
	}
	if !j.resumed {
		return copyIf(objstore.Condition{IfNone: true})
	}
	there, err := v.fetch(ctx, dst)
	if errors.Is(err, ErrNotExist) {
		return copyIf(objstore.Condition{IfNone: true})
	}
	if err != nil {
		return nil, err
	}
	ours, current := j.made(o, there)
	if !ours {
		return nil, fmt.Errorf("%s: %w", dst, ErrExist)
	}
	if !current && j.hides && o.version() <= there.version() { // or an older one has come back
		return nil, fmt.Errorf("%s: is not newer than what was made of it at %s: %w", o.id.Key, dst, ErrExist)
	}
	if !current { // written to under its old name since
		return copyIf(objstore.Condition{IfMatch: there.id.ETag})
	}
	return there, nil
}

// mark is that of the copy of o at dst in this rename: the first half says where
// it is the copy, and so of which object, the second of which state of that. It
// can be read by all, so no key goes into it that may be a readable name.
func (j *journal) mark(o *object, dst string) string {
	which := sha256.Sum256([]byte(j.key + "\x00" + dst))
	state := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", o.id.ETag, o.version()))
	return hex.EncodeToString(which[:8]) + hex.EncodeToString(state[:8])
}

// made tells whether there is a copy of o that this rename made, and of what
// o is now. Clocks do not tell: those of the hosts that write may differ.
func (j *journal) made(o, there *object) (ours, current bool) {
	mark := j.mark(o, there.id.Key)
	of := func(trace string) bool { return len(trace) == len(mark) && trace[:16] == mark[:16] }
	switch {
	case o.err != nil || there.err != nil:
		return false, false
	case there.version() == 0:
		return of(there.mark), there.mark == mark
	case of(there.trace):
		return true, there.trace == mark
	case o.version() == 0: // sealed on its way; what did that may have known another file id
		current = o.alike(there)
		return current || o.attr.FileID == there.attr.FileID, current
	}
	if o.isName() && there.isName() && o.inode() == there.inode() {
		return true, true
	}
	return o.attr.FileID == there.attr.FileID, o.version() <= there.version() // changed since
}

// alike tells whether a copy of o that was written anew, and not touched since,
// has these attributes.
func (o *object) alike(there *object) bool {
	a, b := o.attr, there.attr
	return a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime
}
