package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// Hard links. A file with several names is an inode object, which has the body
// and the attributes, at `.sigil/inodes/<id>` of a volume root; each name is an
// empty object whose record has the inode's id and file id. Under inodes/links/
// lies the inode's roll (see roll).
//
// On this host an inode has a path of its own, "/" and its key, which no path
// of the mount can be: its File, its dentry and its hold in Volume.names go by
// that, whatever the name it was reached through. Who holds a name may take the
// hold of one inode, and with that no other.

const (
	inodeDir = hidden + "/inodes/"
	rollDir  = "links/" // in the former
)

// inodePath is the path under which this host knows the inode at key.
func inodePath(key string) string { return "/" + key }

// isInodePath tells such paths.
func isInodePath(p string) bool { return strings.HasPrefix(p, "/") }

// inodeName is the last component of an inode's key: like an epoch's id, 26
// characters of lower-case base32.
func inodeName(id sigil.Generation) string { return sigil.EpochID(id).String() }

// isName tells whether o is not a file, but a hard-link name of one.
func (o *object) isName() bool { return o.inode() != sigil.Generation{} }

// inode is the id of what the name o points to; zero for what is no name.
func (o *object) inode() sigil.Generation {
	if o == nil || o.err != nil {
		return sigil.Generation{}
	}
	if f, ok := o.form.(*sealedForm); ok {
		return f.rec.Inode
	}
	return sigil.Generation{}
}

// token is what tells a name from every other one, also from a later one at the
// same key: the generation of its empty body, which is drawn with it.
func (o *object) token() token {
	f, _ := o.form.(*sealedForm) // a name is sealed
	return f.rec.Generation
}

// named is the object at the path of d itself: of a hard link the name.
func (d *dentry) named() *object {
	if d.link != nil {
		return d.link
	}
	return d.obj
}

// inode is the path of the inode that the link d points to.
func (d *dentry) inode() string { return inodePath(d.obj.id.Key) }

// ruleOf is the rule by which o is written. An inode, and what it became when
// its last name went while it was open, stays under that of its names.
func (v *Volume) ruleOf(o *object) *Rule {
	if o.rule != nil {
		return o.rule
	}
	return v.rule(o.id.Key)
}

// believed gives what is remembered of p as long as nobody has to be asked
// again; nil else.
func (v *Volume) believed(p string) *dentry {
	d := v.recall(p)
	if !v.fresh(d) || d.link == nil {
		return ifFresh(v, d)
	}
	to := v.believedInode(d.inode())
	if to == nil {
		return nil
	}
	return d.onto(to)
}

// ifFresh gives d, or nil where it may not be believed any more.
func ifFresh(v *Volume, d *dentry) *dentry {
	if v.fresh(d) {
		return d
	}
	return nil
}

// believedInode is believed of an inode; of a dirty one this host's view stands.
func (v *Volume) believedInode(ip string) *dentry {
	d := v.recall(ip)
	if f := v.fileAt(ip); f != nil && f.dirty() {
		if d == nil {
			d = &dentry{obj: f.committedAs(), incarnation: f.incarnation}
		}
		return d
	}
	return ifFresh(v, d)
}

// committedAs is the object that f goes on from.
func (f *File) committedAs() *object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.base
}

// onto is the link d with what its inode is now.
func (d *dentry) onto(to *dentry) *dentry {
	now := *d
	now.obj, now.incarnation, now.to = to.obj, to.incarnation, to
	return &now
}

// askObject remembers what the store has at p, which is held.
func (v *Volume) askObject(ctx context.Context, p string, o *object) (*dentry, error) {
	if o.isName() {
		return v.askInode(ctx, p, o)
	}
	return v.note(p, o, false), nil
}

// askInode finds out what the name at p, which is held, stands for.
func (v *Volume) askInode(ctx context.Context, p string, name *object) (*dentry, error) {
	to, err := v.inodeOf(ctx, p, name)
	if errors.Is(err, ErrNotExist) {
		return v.dangling(ctx, p, name)
	}
	if err != nil {
		return nil, err
	}
	return v.noteLink(p, name, to), nil
}

// dangling is what is left where a name has no inode: a file that does not
// open; unless its last name has gone meanwhile.
func (v *Volume) dangling(ctx context.Context, p string, name *object) (*dentry, error) {
	now, err := v.fetch(ctx, name.id.Key)
	if err != nil {
		return nil, err
	}
	if now.inode() != name.inode() || now.token() != name.token() {
		return nil, fmt.Errorf("%q: replaced while it was looked up: %w", p, ErrChanged)
	}
	v.opt.Log.WithField("path", p).WithField("inode", inodeName(name.inode())).Error("hard link whose inode is missing")
	return v.note(p, v.broken(name, fmt.Errorf("%s: inode %s is missing: %w", name.id.Key, inodeName(name.inode()), ErrCorrupt)), false), nil
}

// broken is a name that leads to nothing that opens.
func (v *Volume) broken(name *object, err error) *object {
	o := *name
	o.err, o.attr.Mode = err, unix.S_IFREG|v.opt.FileMode
	return &o
}

// noteLink remembers that the name at p stands for the inode to.
func (v *Volume) noteLink(p string, name *object, to *dentry) *dentry {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := (&dentry{link: name, at: v.opt.Now()}).onto(to)
	if old := v.known[p]; old != nil && old.own && old.link != nil {
		d.own = old.link.token() == name.token()
	}
	v.remember(p, d)
	return d
}

// madeLink is noteLink of a name that this host has just made.
func (v *Volume) madeLink(p string, name *object, to *dentry) *dentry {
	v.noteLink(p, name, to)
	v.mu.Lock()
	defer v.mu.Unlock()
	d := *v.known[p]
	d.own = true
	v.remember(p, &d)
	return &d
}

// inodeOf finds the inode of the name at p ("": nobody here knows it by one),
// in memory while that is fresh. ErrNotExist: it is nowhere.
func (v *Volume) inodeOf(ctx context.Context, p string, name *object) (*dentry, error) {
	for _, key := range v.inodeKeys(name) {
		to, err := v.inodeAt(ctx, p, name, key)
		if !errors.Is(err, ErrNotExist) {
			return to, err
		}
	}
	return nil, fmt.Errorf("%s: inode %s: %w", name.id.Key, inodeName(name.inode()), ErrNotExist)
}

// inodeKeys is where the inode of a name may lie: under this mount's volume
// root, which makes them there, else under every prefix of the name's key,
// longest first. Ids are random: it is in one place only.
func (v *Volume) inodeKeys(name *object) []string {
	tail := inodeDir + inodeName(name.inode())
	keys := []string{v.opt.Root + tail}
	dir := name.id.Key
	for dir != "" {
		dir = dir[:strings.LastIndexByte(dir[:len(dir)-1], '/')+1]
		if dir != v.opt.Root && len(dir)+len(tail) <= objstore.MaxKeyLen {
			keys = append(keys, dir+tail)
		}
	}
	return keys
}

func (v *Volume) inodeAt(ctx context.Context, p string, name *object, key string) (*dentry, error) {
	ip := inodePath(key)
	unlock, err := v.names.lock(ctx, one(ip))
	if err != nil {
		return nil, err
	}
	defer unlock()
	to := v.believedInode(ip)
	if to == nil {
		o, err := v.fetchInode(ctx, key, v.rule(name.id.Key))
		if errors.Is(err, ErrNotExist) {
			v.vanished(ip)
		}
		if err != nil {
			return nil, err
		}
		to = v.note(ip, o, false)
	}
	if to.obj.err == nil && to.obj.attr.FileID != name.attr.FileID {
		return nil, fmt.Errorf("%s: inode %s is of another file: %w", name.id.Key, key, ErrCorrupt)
	}
	v.adoptFile(p, ip, to)
	return to, nil
}

// fetchInode asks for the inode at key, whose names are under the rule r.
func (v *Volume) fetchInode(ctx context.Context, key string, r *Rule) (*object, error) {
	o, err := v.fetch(ctx, key)
	if err != nil {
		return nil, err
	}
	o.rule = r
	_, sealed := o.form.(*sealedForm)
	switch {
	case o.err != nil: // which it tells
	case !sealed:
		o = v.broken(o, fmt.Errorf("%s: inode is %s where names are sealed: %w", key, o.form.mode(o), ErrDowngrade))
	case o.isName():
		o = v.broken(o, fmt.Errorf("%s: inode points to another one: %w", key, ErrCorrupt))
	}
	return o, nil //nolint:nilerr // o.err is what the object tells
}

// refetch asks for what is at the place of old now, under old's rule.
func (v *Volume) refetch(ctx context.Context, old *object) (*object, error) {
	if old.rule != nil && isInodeKey(old.id.Key) {
		return v.fetchInode(ctx, old.id.Key, old.rule)
	}
	return v.fetch(ctx, old.id.Key)
}

func isInodeKey(key string) bool { return strings.Contains("/"+key, "/"+inodeDir) }

// adoptFile moves the File at p, whose file another host has linked, to the
// inode that it is now. Both paths are held.
func (v *Volume) adoptFile(p, ip string, to *dentry) {
	f := v.fileAt(p)
	if p == "" || f == nil || to.obj.err != nil {
		return
	}
	f.mu.Lock()
	same := f.base != nil && f.base.same(to.obj)
	if same {
		f.rebase(to.obj)
	}
	f.mu.Unlock()
	if !same || v.fileAt(ip) != nil {
		v.detach(f)
		return
	}
	v.settleAt(f, ip, p)
}

// settleAt moves f, which was reached through the name via, to an inode's path.
func (v *Volume) settleAt(f *File, ip, via string) {
	v.rename(f, ip)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.via = via
}

// openInode gives the File of what the link d, found at the name p, stands for.
func (v *Volume) openInode(ctx context.Context, p string, d *dentry) (*File, error) {
	ip := d.inode()
	unlock, err := v.names.lock(ctx, one(ip))
	if err != nil {
		return nil, err
	}
	defer unlock()
	to := d.to
	if now := v.recall(ip); now != nil {
		to = now // a commit may have been published since
	}
	f, err := v.take(ctx, ip, to)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.via = p
	return f, nil
}

// setInode is SetAttr, but for the size, of what the link d stands for.
func (v *Volume) setInode(ctx context.Context, p string, d *dentry, c Change) (Info, error) {
	ip := d.inode()
	unlock, err := v.names.lock(ctx, one(ip))
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	if f := v.share(ip, func(*File) bool { return true }); f != nil {
		defer f.Release()
		return f.setHeld(ctx, c)
	}
	to := d.to
	if now := v.recall(ip); now != nil {
		to = now
	}
	info, err := v.setPath(ctx, ip, to, c)
	v.reach(ip, "", p)
	return info, err
}

// shown is where f is for its user: of an inode the name it was last reached
// through. It needs f.mu.
func (f *File) shown() string {
	if isInodePath(f.path) {
		return f.via
	}
	return f.path
}

// inodeBehind asks for the inode of a name, past all that is remembered.
func (v *Volume) inodeBehind(ctx context.Context, name *object) (*object, error) {
	for _, key := range v.inodeKeys(name) {
		o, err := v.fetchInode(ctx, key, v.rule(name.id.Key))
		if !errors.Is(err, ErrNotExist) {
			return o, err
		}
	}
	return nil, fmt.Errorf("%s: inode %s: %w", name.id.Key, inodeName(name.inode()), ErrNotExist)
}

// fetchOver asks for what is where s was to be written.
func (v *Volume) fetchOver(ctx context.Context, s *snapshot) (*object, error) {
	if s.base != nil && isInodePath(s.path) {
		return v.refetch(ctx, s.base)
	}
	return v.fetch(ctx, v.fileKey(s.path))
}

// commitLinked looks whether a commit of s failed because another host has
// linked the file meanwhile: then it goes to the inode. The path of f is held.
func (f *File) commitLinked(ctx context.Context, s *snapshot) (linked bool, err error) {
	if s.base == nil || isInodePath(s.path) {
		return false, nil
	}
	name, err := f.v.fetch(ctx, f.v.fileKey(s.path))
	if err != nil || !name.isName() {
		return false, nil //nolint:nilerr // then it is the conflict that it was
	}
	d, err := f.v.askInode(ctx, s.path, name)
	if err != nil || d.link == nil || !isInodePath(f.Path()) {
		return false, nil //nolint:nilerr // likewise
	}
	unlock, err := f.v.names.lock(ctx, one(f.Path()))
	if err != nil {
		return true, f.failed(err)
	}
	defer unlock()
	return true, f.commit(ctx)
}
