package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Attribute changes of a file whose content is committed are gathered: tools
// make several in a row (chown, chmod, utimens), and often a rename after them.
// The first one sets the time at which one metadata copy writes them all; a
// commit, a rename or the end of the mount carries them before. Until then they
// are in memory only: a crash loses them, never content.

// defaultAttrDelay is how long they wait.
const defaultAttrDelay = time.Second

// maxGathered bounds the Files that attribute changes may keep in memory. Over
// it each change is written at once, at the pace of the store.
const maxGathered = 1024

// gathers tells whether a change of a clean file may wait.
func (v *Volume) gathers() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.opt.AttrDelay > 0 && !v.closed && len(v.open) < maxGathered
}

// maxWaitingXattrs bounds the extended attributes, in bytes, of what may wait:
// more than that may not fit, and whoever sets them has to be told.
const maxWaitingXattrs = 512

// small tells whether the extended attributes that come of a change of old
// surely fit.
func (c Change) small(old map[string][]byte) bool {
	n := 0
	if len(c.Xattrs) > 0 {
		for name, value := range changeXattrs(old, c.Xattrs) {
			n += len(name) + len(value)
		}
	}
	return n <= maxWaitingXattrs
}

// then gives both changes as one.
func (c Change) then(next Change) Change {
	over(&c.Mode, next.Mode)
	over(&c.UID, next.UID)
	over(&c.GID, next.GID)
	over(&c.Mtime, next.Mtime)
	over(&c.Ctime, next.Ctime)
	if len(next.Xattrs) > 0 {
		all := maps.Clone(c.Xattrs)
		if all == nil {
			all = map[string][]byte{}
		}
		maps.Copy(all, next.Xattrs) // a removal too
		c.Xattrs = all
	}
	return c
}

func over[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}

// take needs f.mu: c is made in what f shows, and due.
func (f *File) take(c Change) {
	f.attr = c.apply(f.attr, f.v.opt.Now())
	f.xat = changeXattrs(f.xat, c.Xattrs)
	ctime := f.attr.Ctime
	c.Size, c.Ctime = nil, &ctime
	f.due = f.due.then(c)
	f.seq++
}

// attrsOnly tells a file of which nothing but attributes waits to be written.
func (f *File) attrsOnly() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.onlyAttrs()
}

// onlyAttrs is attrsOnly; it needs f.mu.
func (f *File) onlyAttrs() bool {
	return f.seq != f.done && f.base != nil && f.wrote <= f.done && !f.gone
}

// pending tells whether anything of f waits to be written: content or attributes.
func (f *File) pending() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seq != f.done
}

// gathered gives what a metadata copy of f has to bring along, and up to which
// change it does.
func (f *File) gathered() (c Change, seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.onlyAttrs() {
		return Change{}, f.done
	}
	return f.due, f.seq
}

// written notes that the attributes up to seq are in the bucket.
func (f *File) written(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq == f.done {
		return
	}
	f.done, f.fail, f.wait = seq, nil, retry{}
	if f.seq == seq {
		f.due = Change{}
	} else if f.onlyAttrs() { // changed meanwhile
		f.wait.at = f.v.opt.Now().Add(f.v.opt.AttrDelay)
	}
}

// commitAttr writes what was gathered; the path of f is held. Attributes of
// what another host has removed, or of what this host has replaced, are nobody's.
func (f *File) commitAttr(ctx context.Context) error {
	c, seq := f.gathered()
	f.mu.Lock()
	path, base := f.path, f.base
	f.mu.Unlock()
	if at := f.v.fileAt(path); at != nil && at != f {
		f.written(seq)
		return nil
	}
	o, err := f.v.setObject(ctx, path, base, c)
	if errors.Is(err, ErrNotExist) {
		f.written(seq)
		f.v.vanished(path)
		return f.overtaken(path)
	}
	if err != nil {
		return f.postpone(err)
	}
	f.written(seq)
	return f.restated(path, o)
}

// restated publishes o, which has new attributes over the body of f, or of
// another host's version.
func (f *File) restated(path string, o *object) error {
	f.mu.Lock()
	same := f.base.same(o)
	if same {
		f.rebase(o)
	}
	f.mu.Unlock()
	if same {
		f.tellLoans()
		f.v.publish(path, o, f.incarnation)
		return nil
	}
	f.v.note(path, o, false)
	f.v.detach(f)
	return f.overtaken(path)
}

// overtaken tells who has f open that another host has replaced or removed it;
// nobody else is concerned.
func (f *File) overtaken(path string) error {
	if f.v.inUse(f) {
		return fmt.Errorf("set attributes of %q: %w", path, ErrChanged)
	}
	return nil
}

// postpone has attributes that could not be written tried again. The content is
// committed: there is nothing to recover.
func (f *File) postpone(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails(err)
	return err
}

// setPath changes what d found at p, which is held, and is not open.
func (v *Volume) setPath(ctx context.Context, p string, d *dentry, c Change) (Info, error) {
	if d.obj.err == nil && !d.obj.archived() && !d.obj.unproven() && v.gathers() {
		f, err := v.newFile(p, d)
		if err != nil {
			return Info{}, named(err, "set attributes of", p)
		}
		f = v.register(f)
		defer f.Release()
		return f.setHeld(ctx, c)
	}
	o, err := v.setObject(ctx, p, d.obj, c)
	if err != nil {
		return Info{}, err
	}
	return v.infoOf(p, v.note(p, o, false)), nil
}

// lighten drops the local copy of content that is committed, of a file that
// nobody has open: what waits are attributes. It needs v.mu and f.mu.
func (f *File) lighten() (drop func() error) {
	if f.refs > 0 || f.data == nil || !f.onlyAttrs() {
		return nil
	}
	data := f.data
	f.attr.Size, f.data = data.Size(), nil
	return data.Remove
}

// none tells a Change of nothing.
func (c Change) none() bool { return c.Size == nil && c.onlySize() }

// commitContent is commit, but leaves attributes alone to the rename that
// follows; the path of f is held.
func (f *File) commitContent(ctx context.Context) error {
	if f.attrsOnly() {
		return nil
	}
	return f.commit(ctx)
}

// carry gives what a rename of f, which may be nil, brings along; carried says
// that it has.
func (f *File) carry() (Change, uint64) {
	if f == nil {
		return Change{}, 0
	}
	return f.gathered()
}

func (f *File) carried(seq uint64) {
	if f != nil {
		f.written(seq)
	}
}
