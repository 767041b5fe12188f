package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// ErrOriginGone: what a file was copied from inside the store is not there any
// more, and was not read: another host has replaced or removed it before the
// copy was committed, and the bucket keeps no versions. Nothing is committed.
var ErrOriginGone = errors.New("what it was copied from is gone")

// loan is the committed body of a file that lies under the content of another
// one, of which it was copied, until that one is committed too. It keeps the
// lender open, so that an unlink does not take the body, and goes wherever this
// host moves that.
type loan struct {
	*content
	of   *File
	to   *File    // whose content lies over it
	doom string   // key to remove with it, or with the last that has the same; guarded by of.mu
	sent []string // marks of the bodies that were sent of content that lies over it; guarded by the borrower's mu
}

// lend gives the body of f to another file; nil where that is not all that f
// holds.
func (f *File) lend(to *File) (*loan, error) {
	v := f.v
	v.mu.Lock()
	defer v.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base == nil || f.seq != f.done && !f.onlyAttrs() || f.growth.lost != nil {
		return nil, nil
	}
	o := *f.base
	o.rule = v.ruleOf(f.base) // wherever it moves to
	src, err := v.contentOf(&o)
	if err != nil {
		return nil, err
	}
	src.moved(*f.src.id.Load())
	l := &loan{content: src, of: f, to: to}
	f.loans = append(f.loans, l)
	f.refs++
	return l, nil
}

// prove is for whoever goes by the size of l, as Verify is. A body that is
// proven by every read of it, and fetched whole for that, is not read.
func (l *loan) prove(ctx context.Context) error {
	if err := l.allowed(ctx); err != nil {
		return err
	}
	if _, ok := l.current().(wholeBody); ok {
		return nil
	}
	return l.Verify(ctx)
}

// end gives l back; a nil l is none. It needs no lock.
func (l *loan) end() {
	if l == nil {
		return
	}
	f := l.of
	f.mu.Lock()
	f.loans = slices.DeleteFunc(f.loans, func(other *loan) bool { return other == l })
	last := l.doom != "" && !slices.ContainsFunc(f.loans, func(other *loan) bool { return other.doom == l.doom })
	f.mu.Unlock()
	if last {
		f.v.condemn(l.doom)
		f.v.wakeUp()
	}
	f.Release()
}

// carryLoans says where the body that o has lies now, but for what lies where no
// name is. It needs f.mu.
func (f *File) carryLoans(o *object) {
	for _, l := range f.loans {
		if l.obj.body == o.body && l.doom == "" {
			l.moved(o.id)
		}
	}
}

// tellLoans has noted where the bodies are that are lent of f, which may be nil.
func (f *File) tellLoans() {
	if f == nil {
		return
	}
	f.mu.Lock()
	loans := slices.Clone(f.loans)
	f.mu.Unlock()
	for _, l := range loans {
		l.to.retell()
	}
}

// lent tells whether the body of old is lent out, and goes with its place. It
// needs f.mu.
func (f *File) lent(old *object) bool {
	return slices.ContainsFunc(f.loans, func(l *loan) bool {
		return l.obj.body == old.body && l.doom == "" && l.id.Load().VersionID == ""
	})
}

// yieldLoans comes before old, which was or is the object of f, is removed or
// replaced: what is lent of it lies in now, or is copied to where no name is.
func (f *File) yieldLoans(ctx context.Context, old, now *object) error {
	if f == nil || old == nil {
		return nil
	}
	defer f.tellLoans()
	f.mu.Lock()
	if now != nil {
		f.carryLoans(now)
	}
	due := f.lent(old) && (now == nil || now.body != old.body)
	f.mu.Unlock()
	if !due {
		return nil
	}
	v := f.v
	o, err := v.parkBody(ctx, old)
	if err != nil || o == nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.loans {
		if l.obj.body == old.body && l.doom == "" {
			l.doom = o.id.Key
			l.moved(o.id)
		}
	}
	return nil
}

// parkBody copies the body of o to where no name is; nil where that has gone.
func (v *Volume) parkBody(ctx context.Context, o *object) (*object, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	key := v.parked() + hex.EncodeToString(id[:])
	parked, err := v.restate(ctx, o, key, objstore.Condition{IfNone: true}, func(d *draft) { d.rule = v.ruleOf(o) })
	if errors.Is(err, objstore.ErrUnknown) {
		v.condemn(key)
	}
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged) {
		return nil, nil // another host was first: there is nothing left to keep
	}
	return parked, err
}

// stands proves that the body is in the bucket, and goes after it.
func (c *content) stands(ctx context.Context) error {
	err := c.located(ctx, func(id objstore.ID) error {
		_, err := c.v.opt.Store.Head(ctx, id)
		return err
	})
	if errors.Is(err, ErrChanged) || errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", c.id.Load().Key, ErrOriginGone)
	}
	return err
}
