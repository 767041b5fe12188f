package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenOptions of Open.
type OpenOptions struct {
	Write    bool // the handle may write
	Truncate bool // O_TRUNC
}

// Open gives the file at p, shared with all who have it open. The caller
// releases it. What the store said longer than AttrTimeout ago is asked again,
// so that an open sees every close before it. Errors: ErrNotExist, ErrIsDir,
// those of an object that does not open, and of the store.
func (v *Volume) Open(ctx context.Context, p string, o OpenOptions) (*File, error) {
	if o.Write && v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	if v.ended() {
		return nil, ErrClosed
	}
	f, err := v.acquire(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", p, err)
	}
	if !o.Write {
		v.walks.opened(ctx, p, f.stored())
	}
	if o.Truncate {
		if err := f.Truncate(ctx, 0); err != nil {
			f.Release()
			return nil, fmt.Errorf("truncate %q: %w", p, err)
		}
	}
	return f, nil
}

// stored is the length of the committed body, in bytes as stored.
func (f *File) stored() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.base == nil {
		return 0
	}
	return f.base.length
}

// acquire finds or makes the File of p and takes a reference. It holds p, lest
// a File be made of what is being moved or replaced here.
func (v *Volume) acquire(ctx context.Context, p string) (*File, error) {
	if f := v.share(p, (*File).dirty); f != nil {
		return f, nil
	}
	unlock, err := v.names.lock(ctx, one(p))
	if err != nil {
		return nil, err
	}
	defer unlock()
	return v.find(ctx, p)
}

// find is acquire; p is held.
func (v *Volume) find(ctx context.Context, p string) (*File, error) {
	if f := v.share(p, (*File).dirty); f != nil {
		return f, nil
	}
	d, err := v.lookup(ctx, p)
	if err != nil {
		return nil, err
	}
	if d.dir {
		return nil, ErrIsDir
	}
	if d.link != nil {
		return v.openInode(ctx, p, d)
	}
	return v.take(ctx, p, d)
}

// take finds or makes the File of d, which is at p.
func (v *Volume) take(ctx context.Context, p string, d *dentry) (*File, error) {
	if d.obj.archived() { // whatever this host, which may have just written it, has at hand
		return nil, fmt.Errorf("%s: %w", d.obj.id.Key, ErrArchived)
	}
	if f := v.share(p, func(f *File) bool { return f.refresh(d.obj) }); f != nil {
		return f, nil
	}
	f, err := v.newFile(p, d)
	if err != nil {
		return nil, err
	}
	if f.base.unproven() {
		if err := f.src.Verify(ctx); err != nil {
			return nil, err
		}
	}
	return v.register(f), nil
}

// newFile makes a File out of what is committed.
func (v *Volume) newFile(p string, d *dentry) (*File, error) {
	src, err := v.contentOf(d.obj)
	if err != nil {
		return nil, err
	}
	f := &File{v: v, incarnation: d.incarnation, path: p, base: d.obj, src: src, opened: v.opt.Now()}
	f.adopt(d.obj)
	return f, nil
}

// Create makes a new file: nothing is sent before its first commit, which
// gives ErrExist where excl is set and another host was first. Under StrictExcl
// an empty object is sent then, and ErrExist is Create's. Where this host has a
// file at p already, Create opens that, or gives ErrExist under excl.
// Of a the mode, uid and gid count.
func (v *Volume) Create(ctx context.Context, p string, a Attr, excl bool) (*File, error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	if v.ended() {
		return nil, ErrClosed
	}
	if p == "" {
		return nil, ErrIsDir
	}
	if _, err := v.keyFor(p, false); err != nil {
		return nil, err
	}
	unlock, err := v.names.lock(ctx, one(p))
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := v.existing(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", p, err)
	}
	if f != nil && excl {
		f.Release()
		return nil, fmt.Errorf("create %q: %w", p, ErrExist)
	}
	if f != nil {
		return f, nil
	}
	if excl && v.opt.StrictExcl {
		return v.createNow(ctx, p, a)
	}
	data, err := v.opt.Spool.NewFile(0)
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", p, err)
	}
	a = v.newAttr(a, unix.S_IFREG)
	v.touch(p)
	f = &File{v: v, path: p, attr: a, data: data, excl: excl, opened: v.absentSince(p), seq: 1, growth: growth{fresh: true}}
	f.incarnation = v.newIncarnation()
	return v.register(f), nil
}

// createNow makes a new file at p, which is held, and opens it: nothing of the
// empty object stays in what is written to it.
func (v *Volume) createNow(ctx context.Context, p string, a Attr) (*File, error) {
	d, err := v.makeNode(ctx, p, a, "")
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", p, err)
	}
	f, err := v.newFile(p, d)
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", p, err)
	}
	f.growth.fresh = true
	return v.register(f), nil
}

// existing is present, also of what this host has made at p and nobody has
// open: not to be taken for another host's at the commit.
func (v *Volume) existing(ctx context.Context, p string) (*File, error) {
	if d := v.recall(p); d != nil && d.own {
		return v.foundOrNone(ctx, p)
	}
	return v.present(ctx, p)
}

// present gives the File that is registered at p, which is held, with a
// reference, if it still is the file at p: another host may have removed or
// replaced a clean one. Nil where there is none.
func (v *Volume) present(ctx context.Context, p string) (*File, error) {
	if v.fileAt(p) == nil {
		return nil, nil
	}
	return v.foundOrNone(ctx, p)
}

func (v *Volume) foundOrNone(ctx context.Context, p string) (*File, error) {
	f, err := v.find(ctx, p)
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// newAttr completes the attributes of what is made now. typ stands where a
// gives no type.
func (v *Volume) newAttr(a Attr, typ uint32) Attr {
	if a.Mode&unix.S_IFMT == 0 {
		a.Mode |= typ
	}
	now := v.opt.Now().UnixNano()
	a.Mtime, a.Ctime = now, now
	a.FileID, a.Nlink, a.Size = newFileID(), 1, 0
	return a
}

func (v *Volume) newIncarnation() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.incarnations++
	return v.incarnations
}

// fileAt gives the File that is registered at p, without a reference; nil if
// nobody has it open and nothing of it is dirty.
func (v *Volume) fileAt(p string) *File {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.files[p]
}

// share takes a reference of the File registered at p, if ok agrees to it.
func (v *Volume) share(p string, ok func(*File) bool) *File {
	f := v.fileAt(p)
	if f == nil || !ok(f) {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.files[p] != f {
		return nil
	}
	f.refs++
	return f
}

// register puts a new File at its path with one reference. Where another was
// faster with the same body, that one is given; a File of another body loses
// the path and goes on for its handles.
func (v *Volume) register(f *File) *File {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := f.path // not shared yet
	if old := v.files[p]; old != nil && f.base != nil && (old.holds(f.base) || old.dirty()) {
		old.refs++
		return old
	}
	f.refs = 1
	v.files[p] = f
	v.open[f] = struct{}{}
	return f
}

// detach takes the path from a File whose object another host has replaced.
func (v *Volume) detach(f *File) {
	p := f.Path()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.files[p] == f {
		delete(v.files, p)
	}
}

// rename moves a registered File to another path.
func (v *Volume) rename(f *File, to string) {
	v.renamed(f, to)
	f.retell()
}

func (v *Volume) renamed(f *File, to string) {
	from := f.Path()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.files[from] == f {
		delete(v.files, from)
		v.files[to] = f
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.path = to
}

// Release gives back one reference. With the last one a clean file is
// forgotten, a dirty one is committed in the background.
func (f *File) Release() {
	v := f.v
	v.mu.Lock()
	f.refs--
	v.mu.Unlock()
	v.retire(f)
}

// retire forgets f if nobody has it open and nothing of it is dirty; what
// remains to be done at the store is left to the background.
func (v *Volume) retire(f *File) {
	v.mu.Lock()
	f.mu.Lock()
	idle, clean := f.refs == 0, f.seq == f.done || f.gone
	data, doom := f.data, f.doom
	loan := (*loan)(nil)
	if idle && clean {
		if v.files[f.path] == f {
			delete(v.files, f.path)
		}
		delete(v.open, f)
		f.data, f.doom = nil, ""
		loan = f.repaid()
		if f.src != nil {
			f.src.blob.Rest()
		}
	}
	drop := f.lighten()
	f.mu.Unlock()
	if idle && clean && doom != "" {
		v.doomed = append(v.doomed, doom)
	}
	v.mu.Unlock()
	if idle && (!clean || doom != "") {
		v.wakeUp()
	}
	loan.end()
	if idle && clean && data != nil {
		drop = data.Remove
	}
	if drop != nil {
		if err := drop(); err != nil {
			v.opt.Log.WithError(err).Warn("spool file could not be removed")
		}
	}
}

// under lists the Files registered below directory dir.
func (v *Volume) under(dir string) []*File {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []*File
	for p, f := range v.files {
		if below(p, dir) {
			out = append(out, f)
		}
	}
	return out
}

// child gives the name in directory dir through which p is reached, and
// whether p is that very entry.
func child(p, dir string) (name string, direct bool) {
	rest := strings.TrimPrefix(p[len(dir):], "/")
	name, _, deeper := strings.Cut(rest, "/")
	return name, !deeper
}
