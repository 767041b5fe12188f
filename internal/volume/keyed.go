package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// MinIO looks at the condition of a PUT, and of the end of an upload, only once
// the request brings a key of SSE-C where what is there has one, although it asks
// for no more than the ETag; and the key it brings is that of what is written. So
// who writes over such an object what is not to be under SSE-C writes it under the
// key of that object first, on condition, and has the store copy it over itself as
// it should be, on condition that it is that still. It is never less protected
// than one of the two, and who comes between wins.

// wantsKey tells the answers of a server that did not look at a condition.
func wantsKey(err error) bool {
	return errors.Is(err, ErrKeyNeeded) || errors.Is(err, objstore.ErrKeyUnwanted)
}

// replacedKey is the key of SSE-C of what d replaces, if d is to have none.
func (v *Volume) replacedKey(d draft) *customer {
	if v.customerOf(d.want.headers()) != nil {
		return nil
	}
	for _, o := range d.above {
		if o != nil && o.id.Key == d.key && o.id.ETag == d.cond.IfMatch {
			return v.customerOf(o.id.Encryption)
		}
	}
	return nil
}

// sendKeyed is send after the server has refused it with cause for want of a key.
func (v *Volume) sendKeyed(ctx context.Context, d draft, w *stored, cause error) (*object, error) {
	v.suspect(v.pathOf(d.key)) // something is there, or it would not want one
	if d.cond.IfNone {
		return nil, fmt.Errorf("%w: %w", ErrExist, cause)
	}
	c := v.replacedKey(d)
	if c == nil { // another object, or one that this host cannot look at
		if err := v.guard(ctx, false, d.key, d.cond); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: the server does not look at the condition: %w", d.key, cause)
	}
	first := d
	first.want = c.want
	opt := v.options(first, w)
	opt.Tags = withTags(d.tags, v.newTags(c.want))
	got, err := v.taggingOf(first, opt, func(opt objstore.PutOptions) (objstore.Receipt, error) { return v.transmit(ctx, first, w, opt) })
	o, err := v.settle(ctx, first, w, got, err)
	if err != nil {
		return nil, err
	}
	n, err := v.unkey(ctx, o, d, w)
	switch {
	case err == nil:
		return n, nil
	case conflict(err), errors.Is(err, ErrNotExist): // another host has replaced it already
		return o, nil
	}
	return nil, &unsettled{error: fmt.Errorf("%s: written, but under the key of what it replaced: %w", d.key, err), mark: o.mark, kept: o}
}

// unkey copies o, which is w under a key of SSE-C, over itself as d has it.
func (v *Volume) unkey(ctx context.Context, o *object, d draft, w *stored) (*object, error) {
	d.cond, d.self, d.still, d.jot = objstore.Condition{IfMatch: o.id.ETag}, true, nil, nil
	opt := v.options(d, w)
	if !v.untagged.Load() || len(d.tags) > 0 {
		opt.Tags = withTags(d.tags, map[string]string{}) // not that which names the key
	}
	n, next := *w.obj, *w
	next.obj = &n
	got, err := v.taggingOf(d, opt, func(opt objstore.PutOptions) (objstore.Receipt, error) { return v.copyBody(ctx, o, d, opt) })
	return v.settle(ctx, d, &next, got, err)
}
