package volume

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sys/unix"
)

// onlySize tells a plain truncation, whose times the truncation has set.
func (c Change) onlySize() bool {
	return c.Mode == nil && c.UID == nil && c.GID == nil && c.Mtime == nil && c.Ctime == nil && c.Xattrs == nil
}

// check refuses extended attributes that no object of the rule holds, before a
// commit that carries them would fail for ever. old are those that the file has.
func (c Change) check(r *Rule, old map[string][]byte) error {
	if len(c.Xattrs) == 0 {
		return nil
	}
	for name := range c.Xattrs {
		if !utf8.ValidString(name) {
			return fmt.Errorf("extended attribute name: %w", ErrInvalid)
		}
	}
	return r.scheme.fits(changeXattrs(old, c.Xattrs))
}

// apply gives a with the change made at now; extended attributes apart.
func (c Change) apply(a Attr, now time.Time) Attr {
	if c.Mode != nil {
		a.Mode = a.Mode&unix.S_IFMT | *c.Mode&^unix.S_IFMT
	}
	set(&a.UID, c.UID)
	set(&a.GID, c.GID)
	set(&a.Mtime, c.Mtime)
	a.Ctime = now.UnixNano()
	set(&a.Ctime, c.Ctime)
	return a
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// draft makes the change in what is to be written.
func (c Change) draft(now time.Time) func(*draft) {
	return func(d *draft) {
		d.attr = c.apply(d.attr, now)
		d.xat = changeXattrs(d.xat, c.Xattrs)
	}
}

// SetAttr changes attributes, and the size, of what is at p; it returns when
// they are in the bucket, or will be with a commit that is due, or with others
// within AttrDelay.
func (v *Volume) SetAttr(ctx context.Context, p string, c Change) (Info, error) {
	if v.opt.ReadOnly {
		return Info{}, ErrReadOnly
	}
	if err := c.check(v.rule(v.fileKey(p)), nil); err != nil {
		return Info{}, err
	}
	if f := v.share(p, (*File).dirty); f != nil {
		defer f.Release()
		return f.SetAttr(ctx, c)
	}
	if c.Size != nil {
		return v.resize(ctx, p, c)
	}
	ctx = context.WithoutCancel(ctx)
	unlock, err := v.names.lock(ctx, one(p))
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	if f, err := v.present(ctx, p); f != nil {
		defer f.Release()
		return f.setHeld(ctx, c)
	} else if err != nil && !errors.Is(err, ErrIsDir) {
		return Info{}, named(err, "set attributes of", p)
	}
	d, err := v.lookup(ctx, p)
	if err != nil {
		return Info{}, named(err, "set attributes of", p)
	}
	if d.denied() {
		return Info{}, named(d.obj.err, "set attributes of", p)
	}
	if d.dir && v.gatherDir(p, d, c) {
		return v.dirInfo(p, d), nil
	}
	if d.dir {
		return v.setDirs(ctx, p, d, c)
	}
	if d.link != nil {
		return v.setInode(ctx, p, d, c)
	}
	return v.setPath(ctx, p, d, c)
}

// resize opens, truncates and commits.
func (v *Volume) resize(ctx context.Context, p string, c Change) (Info, error) {
	f, err := v.Open(ctx, p, OpenOptions{Write: true})
	if err != nil {
		return Info{}, err
	}
	defer f.Release()
	if _, err := f.SetAttr(ctx, c); err != nil {
		return Info{}, err
	}
	if err := f.Commit(ctx); err != nil {
		return Info{}, err
	}
	return f.Info(), nil
}

// setObject writes changed attributes over the object at p, by one metadata
// copy. Where another host replaced it meanwhile, the change goes to its
// version: of attributes the last writer wins.
func (v *Volume) setObject(ctx context.Context, p string, o *object, c Change) (*object, error) {
	var err error
	for range maxRetries {
		var n *object
		key := v.fileKey(p)
		n, err = v.restate(ctx, o, key, objstore.Condition{IfMatch: o.id.ETag}, c.draft(v.opt.Now()))
		if !errors.Is(err, ErrChanged) {
			return n, named(err, "set attributes of", p)
		}
		if o, err = v.refetch(ctx, o); err != nil {
			break
		}
		if o.isName() { // another host has linked it
			v.suspect(p)
			err = ErrChanged
			break
		}
	}
	return nil, named(err, "set attributes of", p)
}

func named(err error, verb, p string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", verb, p, err)
}

// setDirs is setDir, again where another host has changed the marker meanwhile:
// of attributes the last writer wins.
func (v *Volume) setDirs(ctx context.Context, p string, d *dentry, c Change) (info Info, err error) {
	for range maxRetries {
		if info, err = v.setDir(ctx, p, d, c); !errors.Is(err, ErrChanged) {
			return info, err
		}
		if d, err = v.ask(ctx, p); err != nil {
			return Info{}, named(err, "set attributes of", p)
		}
		if !d.dir {
			return Info{}, fmt.Errorf("set attributes of %q: a file took its place: %w", p, ErrChanged)
		}
	}
	return info, err
}

// setDir writes the marker of directory p anew, or its first one. The root of
// a whole bucket has no key: its attributes live as long as the mount.
func (v *Volume) setDir(ctx context.Context, p string, d *dentry, c Change) (Info, error) {
	if d.denied() { // another host's change has shown it
		return Info{}, named(d.obj.err, "set attributes of", p)
	}
	info := v.dirInfo(p, d)
	a := c.apply(info.Attr, v.opt.Now())
	if v.dirKey(p) == "" {
		v.mu.Lock()
		v.root = &a
		delete(v.touched, p)
		v.mu.Unlock()
		return v.dirInfo(p, d), nil
	}
	var o *object
	var err error
	if d.obj != nil && d.obj.err == nil {
		o, err = v.restate(ctx, d.obj, v.dirKey(p), objstore.Condition{IfMatch: d.obj.id.ETag}, func(n *draft) {
			c.draft(v.opt.Now())(n)
			n.attr.Mtime, n.attr.Ctime = a.Mtime, a.Ctime
		})
	} else {
		o, err = v.putDir(ctx, p, a, changeXattrs(nil, c.Xattrs), objstore.Condition{})
	}
	if err != nil {
		return Info{}, named(err, "set attributes of", p)
	}
	v.mu.Lock()
	delete(v.touched, p)
	v.mu.Unlock()
	return v.dirInfo(p, v.note(p, o, true)), nil
}

// putDir writes a directory's marker.
func (v *Volume) putDir(ctx context.Context, p string, a Attr, xattrs map[string][]byte, cond objstore.Condition) (*object, error) {
	return v.put(ctx, draft{key: v.dirKey(p), attr: a, xat: xattrs, cond: cond})
}
