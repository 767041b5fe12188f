package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// maxKnown bounds what is remembered of paths: dentries, directory times.
const maxKnown = 16384

// dentry is what a path was found to be.
type dentry struct {
	obj         *object // the file, or the directory's marker; nil for an implicit directory
	dir         bool
	incarnation uint64
	at          time.Time // when the store said so
	own         bool      // made here and confirmed: no listing hides it

	// Of a hard link: the name's own object, and what is known of the inode,
	// whose object obj is.
	link *object
	to   *dentry
}

// fresh tells whether d may still be believed.
func (v *Volume) fresh(d *dentry) bool {
	return d != nil && v.opt.AttrTimeout > 0 && v.opt.Now().Sub(d.at) < v.opt.AttrTimeout
}

// recall gives what is remembered of p, perhaps stale, perhaps nil.
func (v *Volume) recall(p string) *dentry {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known[p]
}

// note remembers what the store said of p: the same body keeps its
// incarnation, another one gets a new one.
func (v *Volume) note(p string, obj *object, dir bool) *dentry {
	return v.noteAt(p, obj, dir, v.opt.Now())
}

// noteAt is note of what the store said at that time.
func (v *Volume) noteAt(p string, obj *object, dir bool, at time.Time) *dentry {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.noted(p, obj, dir, at)
}

// noted is noteAt; it needs v.mu.
func (v *Volume) noted(p string, obj *object, dir bool, at time.Time) *dentry {
	d := &dentry{obj: obj, dir: dir, at: at, incarnation: 1}
	if old := v.known[p]; old != nil && old.own {
		d.own = old.dir == dir && (dir || old.obj.same(obj))
	}
	if !dir {
		d.incarnation = v.incarnationOf(p, obj)
	}
	v.remember(p, d)
	return d
}

// publish remembers what this host itself made of p: the incarnation is given.
func (v *Volume) publish(p string, obj *object, incarnation uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remember(p, &dentry{obj: obj, at: v.opt.Now(), incarnation: incarnation, own: true})
}

// made remembers what this host has just made at p.
func (v *Volume) made(p string, obj *object, dir bool) *dentry {
	d := *v.note(p, obj, dir)
	d.own = true
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remember(p, &d)
	return &d
}

// forget drops what is remembered of p.
func (v *Volume) forget(p string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, p)
	v.index.doubt(p)
}

// suspect has p asked again before it is believed.
func (v *Volume) suspect(p string) {
	v.dirs.doubt(p)
	v.index.doubt(p)
	v.mu.Lock()
	defer v.mu.Unlock()
	if d := v.known[p]; d != nil {
		stale := *d
		stale.at = time.Time{}
		v.known[p] = &stale
	}
}

// distrust has the path asked again where obj was found to be gone from it.
func (v *Volume) distrust(obj *object) {
	p := strings.TrimPrefix(obj.id.Key, v.opt.Prefix)
	if isInodeKey(obj.id.Key) {
		p = inodePath(obj.id.Key)
	}
	v.index.doubt(p)
	v.mu.Lock()
	defer v.mu.Unlock()
	if d := v.known[p]; d != nil && d.obj != nil && d.obj.sameID(obj) {
		stale := *d
		stale.at = time.Time{}
		v.known[p] = &stale
	}
}

// incarnationOf needs v.mu.
func (v *Volume) incarnationOf(p string, obj *object) uint64 {
	if f := v.files[p]; f != nil && f.holds(obj) {
		return f.incarnation
	}
	if d := v.known[p]; d != nil && d.obj != nil && d.obj.same(obj) {
		return d.incarnation
	}
	if n := v.index.incarnationTold(p, obj); n != 0 {
		return n
	}
	v.incarnations++
	return v.incarnations
}

// remember needs v.mu.
func (v *Volume) remember(p string, d *dentry) {
	bounded(v.known, p, d)
	if v.learn(p, d) {
		v.wakeUp()
	}
	if d.dir {
		v.dirs.add(p, asDir)
	} else {
		v.dirs.add(p, asFile)
	}
}

// bounded puts a value into a map that holds at most maxKnown: what is over
// goes by chance.
func bounded[V any](m map[string]V, p string, value V) {
	m[p] = value
	for other := range m {
		if len(m) <= maxKnown {
			return
		}
		if other != p {
			delete(m, other)
		}
	}
}

// lookup finds out what p is: from memory while that is fresh, by a listing of
// its directory while that is, else by asking for the file and for the first key
// of the directory at once.
func (v *Volume) lookup(ctx context.Context, p string) (*dentry, error) {
	if d := v.believed(p); d != nil {
		v.walks.used(p)
		return d, nil
	}
	return v.askListed(ctx, p)
}

// ask is lookup without memory.
func (v *Volume) ask(ctx context.Context, p string) (*dentry, error) {
	if err := v.checkPath(p); err != nil {
		return nil, absent(err)
	}
	file, dir, err := v.probe(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case dir != nil:
		return v.askDir(ctx, p, dir)
	case file != nil:
		return v.askObject(ctx, p, file)
	case v.isGhost(p):
		return v.note(p, nil, true), nil
	}
	if d, err := v.hiddenDir(ctx, p); d != nil || err != nil {
		return d, err
	}
	v.vanished(p)
	return nil, fmt.Errorf("%q: %w", p, ErrNotExist)
}

// vanished drops p, which has gone: a clean File goes on for its handles only.
func (v *Volume) vanished(p string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, p)
	v.index.doubt(p)
	v.dirs.drop(p, asFile|asDir)
	if f := v.files[p]; f != nil && !f.dirty() {
		delete(v.files, p)
		_, seq := f.gathered()
		f.written(seq)
	}
}

// hiddenDir asks for the marker of a directory that this host has made and a
// listing lacks; nil where it has gone.
func (v *Volume) hiddenDir(ctx context.Context, p string) (*dentry, error) {
	if d := v.recall(p); d == nil || !d.dir || !d.own {
		return nil, nil
	}
	o, err := v.fetch(ctx, v.dirKey(p))
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return v.note(p, o, true), nil
}

// absent turns the error of a name that cannot exist into ErrNotExist; a name
// that is too long stays what it is.
func absent(err error) error {
	if errors.Is(err, ErrTooLong) {
		return err
	}
	return fmt.Errorf("%w: %w", err, ErrNotExist)
}

// probe asks for the file at p and for the first key in the directory p, both
// at once; what is not there is nil.
func (v *Volume) probe(ctx context.Context, p string) (file *object, dir *objstore.Entry, err error) {
	g, ctx := errgroup.WithContext(ctx)
	if p != "" && len(v.fileKey(p)) <= objstore.MaxKeyLen {
		g.Go(func() error {
			if v.isInstruction(v.fileKey(p)) {
				return nil
			}
			o, err := v.fetch(ctx, v.fileKey(p))
			if errors.Is(err, ErrNotExist) {
				return nil
			}
			file = o
			return err
		})
	}
	g.Go(func() (err error) {
		dir, err = v.firstIn(ctx, p)
		return err
	})
	err = g.Wait()
	return file, dir, err
}

// firstIn gives the first key in directory p, its marker if it has one.
func (v *Volume) firstIn(ctx context.Context, p string) (*objstore.Entry, error) {
	prefix := v.dirKey(p)
	if p == "" {
		return &objstore.Entry{Info: objstore.Info{ID: objstore.ID{Key: prefix}}}, nil // the root always is
	}
	if len(prefix) > objstore.MaxKeyLen {
		return nil, nil
	}
	for e, err := range v.raw.List(ctx, objstore.ListOptions{Prefix: prefix, Limit: 1}) { // a listing of what is above shows it, whatever it has
		return &e, err
	}
	return nil, nil
}

// askDir finds the attributes of a directory that is known to be there.
func (v *Volume) askDir(ctx context.Context, p string, first *objstore.Entry) (*dentry, error) {
	if first.Key != v.dirKey(p) || first.Key == "" {
		return v.note(p, nil, true), nil
	}
	o, err := v.fetch(ctx, first.Key)
	if errors.Is(err, ErrNotExist) {
		return v.note(p, nil, true), nil
	}
	if err != nil {
		return nil, err
	}
	v.logShut(p, o)
	return v.note(p, o, true), nil
}

// logShut says so where the marker o of directory p does not open.
func (v *Volume) logShut(p string, o *object) {
	if o.err != nil {
		v.opt.Log.WithField("path", p).WithError(o.err).Warn("directory marker does not open; default attributes shown")
	}
}

// dirInfo is what stat shows of a directory.
func (v *Volume) dirInfo(p string, d *dentry) Info {
	info := Info{Attr: Attr{
		Mode: unix.S_IFDIR | v.opt.DirMode, UID: v.opt.UID, GID: v.opt.GID,
		Mtime: v.started, Ctime: v.started, Nlink: 2, FileID: hashID(v.dirKey(p)), Incarnation: 1,
	}}
	if d.obj != nil && d.obj.err == nil {
		info = d.obj.info()
		info.Sigil = v.show(d.obj)
		info.Incarnation = 1
	} else if d.obj != nil {
		info.Sigil = v.show(d.obj)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if root := v.root; p == "" && d.obj == nil && root != nil {
		info.Attr = *root
	}
	return v.shownDir(p, info)
}

// shownDir gives info of directory p with what this host knows better. It needs
// v.mu.
func (v *Volume) shownDir(p string, info Info) Info {
	if t, ok := v.touched[p]; ok {
		info.Mtime, info.Ctime = max(info.Mtime, t), max(info.Ctime, t)
	}
	return v.shown(p, info)
}

// touch moves the times of the directory that p is an entry of.
func (v *Volume) touch(p string) {
	v.trees.changedIn(parent(p))
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := v.opt.Now().UnixNano(); !v.touchDue(parent(p), now) {
		bounded(v.touched, parent(p), now)
	}
}

// isGhost tells whether p is an implicit directory that lost its last entry in
// this mount and must stay until rmdir, or holds one.
func (v *Volume) isGhost(p string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ghosts[p] || v.haunted(p)
}

// haunted tells whether a ghost is below p. It needs v.mu.
func (v *Volume) haunted(p string) bool {
	for ghost := range v.ghosts {
		if below(ghost, p) {
			return true
		}
	}
	return false
}

// haunt keeps the directories above p in view after p has gone, where nothing
// but their entries made them directories.
func (v *Volume) haunt(p string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for dir := parent(p); dir != ""; dir = parent(dir) {
		d := v.known[dir]
		if d == nil || !d.dir || d.obj != nil {
			return
		}
		bounded(v.ghosts, dir, true)
	}
}
