package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// A range that is copied from the committed body of another file to the same
// place in one that holds nothing of a body yet is not read: the body lies
// under what is written to the file, as that of a file which is rewritten in
// part does. The commit then copies it inside the store, as a whole, in part,
// or, where the store or the policy does not let it, through this host.

// leastLoan is the shortest range, in bytes, that is not just read and
// written: a single request sends that too, and S3 copies no shorter parts.
// What is borrowed is cut to multiples of loanUnit.
const (
	leastLoan = objstore.MinPartSize
	loanUnit  = sigil.SegmentSize
)

// maxCopied is how much one call copies through this host, and copyPiece how
// much of it is in memory, in bytes.
const (
	maxCopied = 16 << 20
	copyPiece = 1 << 20
)

// CopyRange copies n bytes at in of from to off of f, as copy_file_range(2):
// it may copy fewer, and 0 only at the end of from. What another host makes of
// from before f is committed, in a bucket without versions, is ErrOriginGone
// then. ErrInvalid: the ranges overlap.
func (f *File) CopyRange(ctx context.Context, from *File, in, off, n int64) (int64, error) {
	switch {
	case in < 0 || off < 0 || n < 0 || from == f && in < off+n && off < in+n:
		return 0, ErrInvalid
	case off > f.limit()-n:
		return 0, ErrTooLarge
	case in >= from.Info().Size: // as the kernel has it: it does not ask then
		return 0, nil
	}
	if in == off && from != f {
		if done, err := f.borrowRange(ctx, from, off, n); done > 0 || err != nil {
			return done, err
		}
	}
	return f.copyThrough(ctx, from, in, off, min(n, maxCopied))
}

// copyThrough copies by reading and writing.
func (f *File) copyThrough(ctx context.Context, from *File, in, off, n int64) (done int64, err error) {
	p := make([]byte, min(n, copyPiece))
	for done < n && err == nil {
		var got, put int
		got, err = from.ReadAt(ctx, p[:min(n-done, copyPiece)], in+done)
		if got > 0 {
			var failed error
			if put, failed = f.WriteAt(ctx, p[:got], off+done); failed != nil {
				err = failed // an end of from beside it would tell that all is copied
			}
		}
		done += int64(put)
	}
	if done > 0 || errors.Is(err, io.EOF) {
		return done, nil // what failed fails again
	}
	return 0, err
}

// borrowRange is CopyRange at the same place without a read; 0: not this.
func (f *File) borrowRange(ctx context.Context, from *File, off, n int64) (int64, error) {
	if n < f.v.leastLoan || off%f.v.loanUnit != 0 || !f.borrows() {
		return 0, nil
	}
	l, err := from.lend(f)
	if l == nil || err != nil {
		return 0, err
	}
	if err := l.prove(ctx); err != nil {
		l.end()
		return 0, err
	}
	f.grow.Lock()
	defer f.grow.Unlock()
	n = loanLength(off, n, l.obj.attr.Size, f.Info().Size, f.v.loanUnit)
	if n < f.v.leastLoan {
		l.end()
		return 0, nil
	}
	data, err := f.overlay(ctx)
	if err != nil {
		l.end()
		return 0, err
	}
	if done, err := f.borrow(data, l, off, n); !done || err != nil {
		return 0, err
	}
	return n, nil
}

// loanLength cuts n bytes at off of a body of so many bytes to whole units, or
// the end of the body where that is to be the end of the file. Under 1: none.
func loanLength(off, n, body, file, unit int64) int64 {
	end := off + min(n, body-off)
	if end < body || end < file {
		end = end / unit * unit
	}
	return end - off
}

// borrows tells whether f may take a loan, as far as that is to be seen without
// one.
func (f *File) borrows() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := &f.growth
	return f.base == nil || g.fresh || f.ref != nil || f.attr.Size == 0 || f.data != nil && f.data.Size() == 0
}

// borrow lays l, which it takes over, under n bytes at off of data. False: it
// may not be; so while a commit is under way, after which something else lies
// there than the note would say. Content stands still meanwhile; f.grow is held.
func (f *File) borrow(data *spool.File, l *loan, off, n int64) (done bool, err error) {
	f.gate.Lock()
	defer f.gate.Unlock()
	unused := l
	defer func() { unused.end() }()
	f.mu.Lock()
	g := &f.growth
	before, fresh := f.ref, g.fresh
	again := before != nil && !fresh && before.obj.body == l.obj.body
	blank := (fresh || data.Size() == 0) && g.stream == nil
	if f.data != data || g.lost != nil || g.frozen > 0 || f.ungated.Load() > 0 || !again && !blank {
		f.mu.Unlock()
		return false, nil
	}
	if again {
		before.sent = nil // they need not have what is copied now
	} else {
		f.ref, g.fresh = l, false
	}
	f.noted.plain = false
	f.mu.Unlock()
	if err = f.begin(data); err == nil {
		done, err = data.Refer(off, n)
		f.changed(done)
	}
	if again {
		return done, err
	}
	if unused = before; done {
		return true, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ref, g.fresh, unused = before, fresh, l
	return false, err
}

// under is the body that lies under what was written, and whether that is
// borrowed. It needs f.mu.
func (f *File) under() (src *content, borrowed bool) {
	if f.ref != nil && !f.growth.fresh {
		return f.ref.content, true
	}
	return f.src, false
}

// repaid takes the loan from f, whose content has a body of its own; it needs
// f.mu, and who has it ends it without.
func (f *File) repaid() *loan {
	l := f.ref
	f.ref = nil
	return l
}

// putBorrowed writes content that lies over the body of another file, which
// somebody may move or remove meanwhile.
func (v *Volume) putBorrowed(ctx context.Context, d draft) (*object, error) {
	for range maxRetries {
		at := *d.base.id.Load()
		o, err := v.putOver(ctx, d)
		if !errors.Is(err, ErrChanged) && !errors.Is(err, ErrNotExist) {
			return o, err
		}
		if gone := d.base.stands(ctx); gone != nil {
			return nil, gone
		}
		if *d.base.id.Load() == at {
			return nil, err // it is about where the copy was to be
		}
	}
	return nil, fmt.Errorf("%s: what it was copied from moves again and again", d.key)
}

func (v *Volume) putOver(ctx context.Context, d draft) (*object, error) {
	whole := []objstore.Range{{Len: d.base.obj.attr.Size}}
	if d.attr.Size == d.base.obj.attr.Size && slices.Equal(d.same, whole) {
		if o, err := v.duplicate(ctx, d); !errors.Is(err, errAnew) {
			return o, err
		}
	}
	return v.put(ctx, d)
}

// duplicate copies the base of d, as it is, to where d is to be. errAnew: the
// rule of d does not take it so.
func (v *Volume) duplicate(ctx context.Context, d draft) (*object, error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	o := d.base.obj.bare()
	o.id = *d.base.id.Load()
	c := v.opt.Capabilities
	blind := !c.CopyConditions && (c.UploadConditions || c.PutConditions) // a copy meets others unawares
	byParts := o.length > v.maxCopy || blind && c.UploadConditions && c.CopyParts
	d = v.complete(d)
	switch {
	case !d.rule.scheme.writes(o.form), o.instruction():
		return nil, errAnew // what a rename leaves as it is, a new file is not
	case blind && o.length <= v.onePut:
		return nil, errAnew // that is one conditional PUT
	}
	w, err := o.form.restate(ctx, v, o, d)
	if err != nil {
		return nil, err
	}
	w.behind = w.obj.mark == o.mark // a copy of the same body is taken for this one
	if d.announce != nil {
		d.announce(w)
	}
	opt := v.options(d, w)
	if opt.Tags = v.newTags(d.want); opt.Tags == nil && o.tags > 0 {
		opt.Tags = map[string]string{} // not the source's
	}
	got, err := v.tagging(opt, func(opt objstore.PutOptions) (objstore.Receipt, error) {
		if byParts {
			return v.copyByParts(ctx, o, d, opt)
		}
		return v.copyBody(ctx, o, d, opt)
	})
	return v.settle(ctx, d, w, got, err)
}

// bare is a copy of o without what other tools wrote into its metadata, where
// that is none of the form's.
func (o *object) bare() *object {
	c := *o
	if _, ok := c.form.(*plainForm); ok {
		c.form = &plainForm{}
	}
	return &c
}
