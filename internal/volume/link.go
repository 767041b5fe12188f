package volume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// Link gives the file at from, which is no directory, the name to as well: at
// once, and exclusively among hosts. Dirty data is committed first. Errors:
// ErrNotExist, ErrExist, ErrNoLinks (a directory, or a file that is not sealed
// by mode client), ErrManyLinks, ErrCrossing (to is under another rule).
//
// The first link of a file costs four requests (its body is copied to an inode
// object, the roll of names written, both names put), any other three (roll,
// nlink, name) and one more where this host does not remember the roll.
func (v *Volume) Link(ctx context.Context, from, to string) (Info, error) {
	d, err := v.link(context.WithoutCancel(ctx), from, to)
	if err != nil {
		return Info{}, fmt.Errorf("link %q to %q: %w", from, to, err)
	}
	v.touch(to)
	return v.infoOf(to, d), nil
}

func (v *Volume) link(ctx context.Context, from, to string) (*dentry, error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	if _, err := v.keyFor(to, false); err != nil {
		return nil, err
	}
	if from == to || to == "" {
		return nil, ErrExist
	}
	unlock, err := v.names.lock(ctx, one(from), one(to))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if f := v.fileAt(to); f != nil && f.dirty() {
		return nil, ErrExist
	}
	if f := v.fileAt(from); f != nil {
		defer v.still([]*File{f})() // it may become an inode
	}
	for range maxRetries {
		d, err := v.linkHeld(ctx, from, to)
		if !errors.Is(err, ErrChanged) {
			return d, err
		}
		v.suspect(from)
	}
	return nil, fmt.Errorf("%q: replaced again and again: %w", from, ErrChanged)
}

// linkHeld is one try of link; both paths are held.
func (v *Volume) linkHeld(ctx context.Context, from, to string) (*dentry, error) {
	if err := v.commitAt(ctx, from); err != nil {
		return nil, err
	}
	d, err := v.lookup(ctx, from)
	if err != nil {
		return nil, err
	}
	if err := v.linkable(d, from, to); err != nil {
		return nil, err
	}
	if d.link == nil {
		return v.firstLink(ctx, from, to, d)
	}
	return v.nextLink(ctx, to, d)
}

// commitAt commits what is dirty at p, which is held.
func (v *Volume) commitAt(ctx context.Context, p string) error {
	f := v.share(p, func(*File) bool { return true })
	if f == nil {
		return nil
	}
	defer f.Release()
	return f.commit(ctx)
}

func (v *Volume) linkable(d *dentry, from, to string) error {
	if d.dir {
		return ErrNoLinks
	}
	if d.obj.err != nil {
		return d.obj.err
	}
	r := v.rule(v.fileKey(from))
	if _, sealed := d.obj.form.(*sealedForm); !sealed || r.Keys == nil {
		return ErrNoLinks
	}
	if v.rule(v.fileKey(to)) != r {
		return fmt.Errorf("the names would be under different rules: %w", ErrCrossing)
	}
	return nil
}

// name is a hard-link name, sealed and ready to be put.
type name struct {
	draft draft
	w     *stored
}

func (n name) token() token { return n.w.obj.token() }

// sealName makes the object at key that points to the inode id, with the
// attributes of like; nobody reads those.
func (v *Volume) sealName(ctx context.Context, like *object, id sigil.Generation, key string, cond objstore.Condition, above ...*object) (name, error) {
	d := v.complete(draft{
		key: key, attr: like.attr, inode: id, src: sigil.Bytes(nil),
		class: v.livingClass(key), cond: cond, above: above,
	})
	d.attr.Size, d.attr.Nlink = 0, 1
	w, err := d.rule.scheme.store(ctx, v, d)
	return name{d, w}, err
}

func (v *Volume) putName(ctx context.Context, n name) (*object, error) {
	return v.send(ctx, n.draft, n.w)
}

// firstLink moves the body of the file d at from to an inode, makes a name of
// from, and another one of to. Until from is a name nothing has changed for
// anybody; from then on the inode has at most a name too many.
func (v *Volume) firstLink(ctx context.Context, from, to string, d *dentry) (*dentry, error) {
	id := sigil.Generation{}
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	key := v.opt.Root + inodeDir + inodeName(id)
	unlock, err := v.names.lock(ctx, one(inodePath(key)))
	if err != nil {
		return nil, err
	}
	defer unlock()
	in, err := v.copyToInode(ctx, d.obj, key, v.rule(v.fileKey(from)))
	if err != nil {
		return nil, err
	}
	first, second, err := v.namePair(ctx, in, id, d.obj, to)
	if err == nil {
		err = v.writeRoll(ctx, in, nil, rollWith(first.token(), second.token()))
	}
	var o *object
	if err == nil {
		o, err = v.putName(ctx, first)
	}
	if err != nil {
		v.disown(key, err)
		return nil, err
	}
	node := v.arriveInode(from, d, in, o)
	return v.putNext(ctx, to, second, node)
}

// copyToInode copies the body of src to the inode key.
func (v *Volume) copyToInode(ctx context.Context, src *object, key string, r *Rule) (*object, error) {
	in, err := v.restate(ctx, src, key, objstore.Condition{IfNone: true}, func(n *draft) {
		n.rule, n.attr.Nlink, n.attr.Ctime = r, 2, v.opt.Now().UnixNano()
	})
	if errors.Is(err, objstore.ErrUnknown) {
		v.condemn(key)
		v.wakeUp()
	}
	return in, err
}

// namePair seals what goes over src, and what goes to to.
func (v *Volume) namePair(ctx context.Context, in *object, id sigil.Generation, src *object, to string) (first, second name, err error) {
	first, err = v.sealName(ctx, in, id, src.id.Key, objstore.Condition{IfMatch: src.id.ETag}, src)
	if err == nil {
		second, err = v.sealName(ctx, in, id, v.fileKey(to), objstore.Condition{IfNone: true})
	}
	return first, second, err
}

// disown removes an inode that got no name; where that is not known, it stays.
func (v *Volume) disown(key string, err error) {
	if errors.Is(err, objstore.ErrUnknown) {
		v.opt.Log.WithField("inode", key).WithError(err).Warn("whether a file became a hard link is not known; its body is kept twice")
		return
	}
	v.condemn(key)
	v.condemn(rollKey(key))
	v.wakeUp()
}

// arriveInode tells all who know the file at from, as d, that it is the inode
// in now, and name its name.
func (v *Volume) arriveInode(from string, d *dentry, in, name *object) *dentry {
	ip := inodePath(in.id.Key)
	incarnation := v.note(from, d.obj, false).incarnation
	if f := v.fileAt(from); f != nil {
		if f.follows(d.obj, in) {
			incarnation = f.incarnation
			v.settleAt(f, ip, from)
		} else {
			v.detach(f)
		}
	}
	v.publish(ip, in, incarnation)
	node := v.recall(ip)
	v.madeLink(from, name, node)
	return node
}

// nextLink gives one more name to what the link d stands for.
func (v *Volume) nextLink(ctx context.Context, to string, d *dentry) (*dentry, error) {
	unlock, err := v.names.lock(ctx, one(d.inode()))
	if err != nil {
		return nil, err
	}
	defer unlock()
	in := v.latest(d.obj)
	n, err := v.sealName(ctx, in, d.link.inode(), v.fileKey(to), objstore.Condition{IfNone: true})
	if err != nil {
		return nil, err
	}
	count, err := v.enrol(ctx, in, n.token())
	if err != nil {
		return nil, err
	}
	node, err := v.recount(ctx, in, count)
	if err != nil {
		v.unenrol(ctx, in, n, err)
		return nil, err
	}
	return v.putNext(ctx, to, n, node)
}

// putNext makes a name that is enrolled and counted.
func (v *Volume) putNext(ctx context.Context, to string, n name, node *dentry) (*dentry, error) {
	o, err := v.putName(ctx, n)
	if err != nil {
		v.unenrol(ctx, node.obj, n, err)
		return nil, err
	}
	return v.madeLink(to, o, node), nil
}

// unenrol takes back a name that was not made; where that is not known, it
// stays on the roll.
func (v *Volume) unenrol(ctx context.Context, in *object, n name, err error) {
	if errors.Is(err, objstore.ErrUnknown) {
		return
	}
	v.struck(ctx, in, n.token())
}

// latest is what this host knows last of the inode in, whose path is held.
func (v *Volume) latest(in *object) *object {
	ip := inodePath(in.id.Key)
	if f := v.fileAt(ip); f != nil {
		if base := f.committedAs(); base.newer(in) {
			return base
		}
	}
	if d := v.recall(ip); d != nil && d.obj.err == nil && d.obj.newer(in) {
		return d.obj
	}
	return in
}

// recount writes the number of names into the inode in, whose path is held.
func (v *Volume) recount(ctx context.Context, in *object, names int) (*dentry, error) {
	for range maxRetries {
		o, err := v.restate(ctx, in, in.id.Key, objstore.Condition{IfMatch: in.id.ETag}, func(d *draft) {
			d.attr.Nlink, d.attr.Ctime = uint32(names), v.opt.Now().UnixNano()
		})
		if err == nil {
			return v.publishInode(in, o), nil
		}
		if !errors.Is(err, ErrChanged) {
			return nil, err
		}
		if in, err = v.refetch(ctx, in); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: replaced again and again: %w", in.id.Key, ErrChanged)
}

// publishInode publishes o, which has the body of in under other attributes.
func (v *Volume) publishInode(in, o *object) *dentry {
	ip := inodePath(o.id.Key)
	incarnation := v.note(ip, in, false).incarnation
	if f := v.fileAt(ip); f != nil {
		f.mu.Lock()
		if f.base.same(o) {
			f.rebase(o)
		}
		f.mu.Unlock()
	}
	v.publish(ip, o, incarnation)
	return v.recall(ip)
}
