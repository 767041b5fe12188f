package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume/attrmeta"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// elsewhere stands for the rule by which an object was written that another one
// is to be written by: nothing of it is taken for granted.
func elsewhere() *Rule { return &Rule{scheme: plainScheme{}} }

// write has o, whose form is to be taken for f, written as rule says, and tells
// how.
func (r *Reencryption) write(ctx context.Context, o *object, f form, rule *Rule) (string, error) {
	v, from := r.v, *o
	from.rule, from.form = elsewhere(), f
	d := v.complete(draft{
		key: o.id.Key, rule: rule, attr: o.attr, xat: o.xat, class: o.class, system: o.system,
		cond: objstore.Condition{IfMatch: o.id.ETag}, above: []*object{o}, only: true, self: true,
		older: v.isOlder(o),
		lock:  v.keptLock(o),
		still: func(ctx context.Context) error { return v.untouched(ctx, o) },
	})
	if _, plain := o.form.(*plainForm); !plain {
		if err := v.mayHold(d); err != nil {
			return "", err
		}
	}
	w, err := r.over(ctx, &from, d)
	anew := errors.Is(err, errAnew)
	if err != nil && !anew {
		return "", err
	}
	did := Copied
	if anew || d.isDir() {
		did = Rewritten
	}
	if r.opt.Dry {
		return did, nil
	}
	if d.tags, err = v.keptTags(ctx, o, anew); err != nil {
		return "", err
	}
	var n *object
	if anew {
		n, err = v.rewriteHere(ctx, o, d)
	} else {
		n, err = v.overlay(ctx, &from, d, w)
	}
	if err != nil {
		return "", err
	}
	r.learn(ctx, n, rule)
	if o.instruction() && !n.instruction() {
		v.dropInstruction(ctx, o.id.Key, o)
	}
	return did, nil
}

// over puts the metadata of d over the body of o. errAnew: that would not do.
func (r *Reencryption) over(ctx context.Context, o *object, d draft) (*stored, error) {
	switch f := o.form.(type) {
	case *sealedForm:
		if r.opt.Fresh {
			return nil, errAnew
		}
		if r.opt.Dry { // no epoch is made
			_, err := f.keySet(ctx, r.v, o, d)
			return nil, err
		}
	case *plainForm:
		if d.rule.Keys == nil && d.rule.S3EC == nil {
			return keeping(f.metadata, o, d, func(md map[string]string) form { return &plainForm{metadata: md} })
		}
	case *s3ecForm:
		if r.rewraps(f, d.rule) {
			return keeping(f.metadata, o, d, func(md map[string]string) form { return &s3ecForm{metadata: md, env: f.env} })
		}
	}
	return o.form.restate(ctx, r.v, o, d)
}

// keeping is o with the metadata old, but for the time of the last change, which a
// copy would make that of the copy.
func keeping(old map[string]string, o *object, d draft, shape func(metadata map[string]string) form) (*stored, error) {
	md := maps.Clone(old)
	if md == nil {
		md = map[string]string{}
	}
	if a := attrmeta.Decode(md); a.Mtime == nil {
		maps.Copy(md, attrmeta.Encode(attrmeta.Attr{Mtime: &o.attr.Mtime}))
	}
	for name, value := range md {
		md[name] = printable(value)
	}
	md[metaMark] = d.mark
	if objstore.CheckMetadata(md) != nil {
		md = maps.Clone(old)
		md[metaMark] = d.mark
	}
	if err := objstore.CheckMetadata(md); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.key, ErrXattrs, err)
	}
	n := d.object(o.length)
	n.form, n.body = shape(md), o.body
	return &stored{obj: n, metadata: md, body: body{size: o.length}}, nil
}

// rewriteHere reads and authenticates the body of o and writes it as d says,
// over o. A body that goes up in one PUT is brought here first: while that is
// under way some servers hold back every GET of the same key. A longer one is
// read while its parts are sent, and only the end of it all replaces o.
func (v *Volume) rewriteHere(ctx context.Context, o *object, d draft) (*object, error) {
	if d.isDir() {
		return v.put(ctx, d)
	}
	if err := v.draw(ctx, o, &d); err != nil {
		return nil, err
	}
	if d.attr.Size <= v.onePut {
		done, err := v.hold(ctx, d.attr.Size)
		if err != nil {
			return nil, err
		}
		defer done()
		text := make([]byte, d.attr.Size)
		n, err := d.src.ReadAt(ctx, text, 0)
		if err := filled(n, len(text), err); err != nil {
			return nil, fmt.Errorf("%s: %w", o.id.Key, err)
		}
		d.src = sigil.Bytes(text)
	}
	return v.put(ctx, d)
}

// untouched tells that o is what lies there still. Its ETag does not: servers
// keep it when attributes change. Neither does the version of that ID, which is
// kept as it was, so what is current is asked for.
func (v *Volume) untouched(ctx context.Context, o *object) error {
	info, err := v.opt.Store.Head(ctx, objstore.ID{Key: o.id.Key, Encryption: o.id.Encryption})
	if err != nil {
		return err
	}
	changed := false
	switch f := o.form.(type) {
	case *sealedForm:
		changed = !f.wrote(o, info.Metadata)
	case *s3ecForm:
		changed = !maps.Equal(f.metadata, info.Metadata)
	case *plainForm:
		changed = !maps.Equal(f.metadata, info.Metadata)
	}
	if changed {
		return fmt.Errorf("%s: its attributes were changed meanwhile: %w", o.id.Key, ErrChanged)
	}
	return nil
}

// keptTags are the tags of o, where what replaces it would not have them by
// itself. Who may not read them must not have them lost.
func (v *Volume) keptTags(ctx context.Context, o *object, anew bool) (map[string]string, error) {
	if o.tags == 0 || !anew && o.length <= v.maxCopy {
		return nil, nil
	}
	tagger, ok := v.raw.(objstore.Tagger)
	if !ok {
		return nil, nil
	}
	tags, err := tagger.Tags(ctx, o.id)
	if err != nil {
		return nil, fmt.Errorf("%s: its %d tags would be lost: %w", o.id.Key, o.tags, err)
	}
	return tags, nil
}

// keptLock is the lock of o, which no version inherits, as far as it holds.
func (v *Volume) keptLock(o *object) *objstore.Lock {
	now := v.opt.Now()
	if o.lock == nil || !o.lock.Holds(now) {
		return nil
	}
	l := *o.lock
	if !now.Before(l.Until) { // the legal hold alone does
		l.Mode, l.Until = "", time.Time{}
	}
	return &l
}
