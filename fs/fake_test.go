package fs

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

// fake is a Volume in memory, with what POSIX asks of one. Another host is
// played by replace.
type fake struct {
	mu     sync.Mutex // guards all below it, and every inode and fakeFile
	root   *inode
	ids    uint64
	open   map[*inode]*fakeFile
	counts map[string]int // calls by operation
	freed  chan string    // the content of each dirty file at its last Release, if somebody listens

	// hook runs before each operation, without a lock; its error is the answer.
	hook func(ctx context.Context, op, path string) error
}

type inode struct {
	volume.Attr
	data     []byte
	target   string
	xattrs   map[string][]byte
	sigil    map[string]string
	children map[string]*inode // of a directory
	err      error             // why it does not open
}

func newFake() *fake {
	v := &fake{open: map[*inode]*fakeFile{}, counts: map[string]int{}}
	v.root = v.newInode(volume.Attr{Mode: unix.S_IFDIR | 0o755})
	return v
}

func (v *fake) newInode(a volume.Attr) *inode {
	v.ids++
	now := time.Now().UnixNano()
	a.FileID, a.Incarnation, a.Nlink, a.Mtime, a.Ctime = 1000+v.ids, v.ids, 1, now, now
	n := &inode{Attr: a, xattrs: map[string][]byte{}}
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		n.Nlink, n.children = 2, map[string]*inode{}
	}
	return n
}

// begin counts the call, runs the hook, and takes the lock.
func (v *fake) begin(ctx context.Context, op, path string) error {
	v.mu.Lock()
	v.counts[op]++
	hook := v.hook
	v.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, op, path); err != nil {
			return err
		}
	}
	v.mu.Lock()
	return nil
}

func (v *fake) setHook(h func(ctx context.Context, op, path string) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hook = h
}

func (v *fake) count(op string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts[op]
}

func (v *fake) find(p string) (*inode, error) {
	n := v.root
	if p == "" {
		return n, nil
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == ".sigil" {
			return nil, volume.ErrName
		}
		if n.children == nil {
			return nil, volume.ErrNotDir
		}
		if n = n.children[name]; n == nil {
			return nil, volume.ErrNotExist
		}
	}
	return n, nil
}

// place gives the directory and the name of p, for something new or to remove.
func (v *fake) place(p string) (dir *inode, name string, err error) {
	parent, name := "", p
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		parent, name = p[:i], p[i+1:]
	}
	if name == ".sigil" {
		return nil, "", volume.ErrName
	}
	dir, err = v.find(parent)
	if err == nil && dir.children == nil {
		err = volume.ErrNotDir
	}
	return dir, name, err
}

func (v *fake) info(n *inode) volume.Info {
	i := volume.Info{Attr: n.Attr, Xattrs: maps.Clone(n.xattrs), Sigil: n.sigil, Err: n.err}
	if n.Mode&unix.S_IFMT == unix.S_IFREG {
		i.Size = int64(len(n.data))
	}
	return i
}

func (v *fake) Stat(ctx context.Context, p string) (volume.Info, error) {
	if err := v.begin(ctx, "stat", p); err != nil {
		return volume.Info{}, err
	}
	defer v.mu.Unlock()
	n, err := v.find(p)
	if err != nil {
		return volume.Info{}, err
	}
	return v.info(n), nil
}

func (v *fake) Attributes(ctx context.Context, p string) (volume.Attr, error) {
	info, err := v.Stat(ctx, p)
	return info.Attr, err
}

func (v *fake) Readlink(ctx context.Context, p string) (string, error) {
	if err := v.begin(ctx, "readlink", p); err != nil {
		return "", err
	}
	defer v.mu.Unlock()
	n, err := v.find(p)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

// List reads pages of 100 names, as a store does.
func (v *fake) List(ctx context.Context, dir, after string) iter.Seq2[volume.Entry, error] {
	return func(yield func(volume.Entry, error) bool) {
		for {
			page, err := v.page(ctx, dir, after)
			if err != nil {
				yield(volume.Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				after = e.Cookie
			}
			if len(page) == 0 {
				return
			}
		}
	}
}

func (v *fake) page(ctx context.Context, dir, after string) (page []volume.Entry, err error) {
	if err := v.begin(ctx, "list", dir); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	n, err := v.find(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if name <= after {
			continue
		}
		typ := n.children[name].Mode & unix.S_IFMT
		if typ != unix.S_IFDIR {
			typ = 0 // as a LIST that tells nothing of an object
		}
		page = append(page, volume.Entry{Name: name, Type: typ, Cookie: name})
		if len(page) == 100 {
			break
		}
	}
	return page, nil
}

func (v *fake) make(ctx context.Context, op, p string, a volume.Attr, target string) (volume.Info, error) {
	if err := v.begin(ctx, op, p); err != nil {
		return volume.Info{}, err
	}
	defer v.mu.Unlock()
	dir, name, err := v.place(p)
	if err != nil {
		return volume.Info{}, err
	}
	if dir.children[name] != nil {
		return volume.Info{}, volume.ErrExist
	}
	n := v.newInode(a)
	n.target, n.Size = target, int64(len(target))
	dir.children[name] = n
	return v.info(n), nil
}

func (v *fake) Mkdir(ctx context.Context, p string, a volume.Attr) (volume.Info, error) {
	return v.make(ctx, "mkdir", p, a, "")
}

func (v *fake) Mknod(ctx context.Context, p string, a volume.Attr) (volume.Info, error) {
	return v.make(ctx, "mknod", p, a, "")
}

func (v *fake) Symlink(ctx context.Context, p, target string, a volume.Attr) (volume.Info, error) {
	return v.make(ctx, "symlink", p, a, target)
}

func (v *fake) Remove(ctx context.Context, p string) error { return v.remove(ctx, "remove", p, false) }

func (v *fake) SyncDir(ctx context.Context, p string) error {
	if err := v.begin(ctx, "syncdir", p); err != nil {
		return err
	}
	defer v.mu.Unlock()
	_, err := v.find(p)
	return err
}

func (v *fake) Rmdir(ctx context.Context, p string) error { return v.remove(ctx, "rmdir", p, true) }

func (v *fake) remove(ctx context.Context, op, p string, isDir bool) error {
	if err := v.begin(ctx, op, p); err != nil {
		return err
	}
	defer v.mu.Unlock()
	n, err := v.find(p)
	if err != nil {
		return err
	}
	dir, name, _ := v.place(p)
	switch {
	case isDir && n.children == nil:
		return volume.ErrNotDir
	case !isDir && n.children != nil:
		return volume.ErrIsDir
	case len(n.children) > 0:
		return volume.ErrNotEmpty
	}
	n.unlinked()
	delete(dir.children, name)
	return nil
}

// unlinked counts one name less; a directory has one.
func (n *inode) unlinked() {
	if n.Nlink--; n.children != nil {
		n.Nlink = 0
	}
}

func (v *fake) Link(ctx context.Context, from, to string) (volume.Info, error) {
	if err := v.begin(ctx, "link", from); err != nil {
		return volume.Info{}, err
	}
	defer v.mu.Unlock()
	n, err := v.find(from)
	if err != nil {
		return volume.Info{}, err
	}
	dir, name, err := v.place(to)
	switch {
	case err != nil:
		return volume.Info{}, err
	case dir.children[name] != nil:
		return volume.Info{}, volume.ErrExist
	}
	n.Nlink++
	dir.children[name] = n
	return v.info(n), nil
}

func (v *fake) Rename(ctx context.Context, from, to string, noReplace bool) error {
	if err := v.begin(ctx, "rename", from); err != nil {
		return err
	}
	defer v.mu.Unlock()
	return v.rename(from, to, noReplace)
}

func (v *fake) rename(from, to string, noReplace bool) error {
	n, err := v.find(from)
	if err != nil {
		return err
	}
	src, name, _ := v.place(from)
	dst, newName, err := v.place(to)
	if err != nil {
		return err
	}
	if old := dst.children[newName]; old != nil {
		switch {
		case noReplace:
			return volume.ErrExist
		case len(old.children) > 0:
			return volume.ErrNotEmpty
		case n.children != nil && old.children == nil:
			return volume.ErrNotDir
		case n.children == nil && old.children != nil:
			return volume.ErrIsDir
		}
		if old == n {
			return nil // names of one file (rename(2))
		}
		old.unlinked()
	}
	delete(src.children, name)
	dst.children[newName] = n
	return nil
}

func (v *fake) SetAttr(ctx context.Context, p string, c volume.Change) (volume.Info, error) {
	if err := v.begin(ctx, "setattr", p); err != nil {
		return volume.Info{}, err
	}
	defer v.mu.Unlock()
	n, err := v.find(p)
	if err != nil {
		return volume.Info{}, err
	}
	return v.change(n, c)
}

func (v *fake) change(n *inode, c volume.Change) (volume.Info, error) {
	now := time.Now().UnixNano()
	n.Ctime = now
	if c.Mode != nil {
		n.Mode = n.Mode&unix.S_IFMT | *c.Mode
	}
	put(&n.UID, c.UID)
	put(&n.GID, c.GID)
	if c.Size != nil {
		n.data = resized(n.data, *c.Size)
		n.Mtime = now
	}
	put(&n.Mtime, c.Mtime)
	put(&n.Ctime, c.Ctime)
	for name, value := range c.Xattrs {
		if value == nil {
			delete(n.xattrs, name)
			continue
		}
		if len(value) > 32<<10 {
			return volume.Info{}, volume.ErrXattrs
		}
		n.xattrs[name] = value
	}
	return v.info(n), nil
}

func put[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return slices.Clone(b[:size])
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// replace is another host's commit: a new version of the file at p.
func (v *fake) replace(p, content string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	dir, name, err := v.place(p)
	if err != nil {
		panic(err)
	}
	n := v.newInode(volume.Attr{Mode: unix.S_IFREG | 0o644})
	if old := dir.children[name]; old != nil {
		n.FileID = old.FileID
	}
	n.data = []byte(content)
	dir.children[name] = n
}

// double puts a directory with the id of the one at p, and one file, at to.
func (v *fake) double(p, to, file string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old, err := v.find(p)
	if err != nil {
		panic(err)
	}
	dir, name, err := v.place(to)
	if err != nil {
		panic(err)
	}
	n := v.newInode(old.Attr)
	n.FileID, n.Incarnation = old.FileID, old.Incarnation
	n.children = map[string]*inode{file: v.newInode(volume.Attr{Mode: unix.S_IFREG | 0o644})}
	dir.children[name] = n
}

// edit changes the inode at p behind everybody's back.
func (v *fake) edit(p string, change func(*inode)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, err := v.find(p)
	if err != nil {
		panic(err)
	}
	change(n)
}

// content is what the fake holds at p.
func (v *fake) content(p string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, err := v.find(p)
	if err != nil {
		return err.Error()
	}
	return string(n.data)
}

func (v *fake) mode(p string) uint32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, err := v.find(p)
	if err != nil {
		return 0
	}
	return n.Mode
}

func (v *fake) Open(ctx context.Context, p string, o volume.OpenOptions) (File, error) {
	if err := v.begin(ctx, "open", p); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	n, err := v.find(p)
	switch {
	case err != nil:
		return nil, err
	case n.children != nil:
		return nil, volume.ErrIsDir
	case n.err != nil && !o.Truncate:
		return nil, n.err
	}
	f := v.ref(n, p)
	if o.Truncate {
		n.err, n.data, f.dirty = nil, nil, true
	}
	return f, nil
}

func (v *fake) Create(ctx context.Context, p string, a volume.Attr, _ bool) (File, error) {
	if err := v.begin(ctx, "create", p); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	dir, name, err := v.place(p)
	if err != nil {
		return nil, err
	}
	if dir.children[name] != nil {
		return nil, volume.ErrExist
	}
	n := v.newInode(a)
	dir.children[name] = n
	f := v.ref(n, p)
	f.dirty = true
	return f, nil
}

func (v *fake) ref(n *inode, p string) *fakeFile {
	f := v.open[n]
	if f == nil {
		f = &fakeFile{v: v, n: n, p: p}
		v.open[n] = f
	}
	f.refs++
	return f
}

// fakeFile is one for all who have an inode open.
type fakeFile struct {
	v     *fake
	n     *inode
	p     string // at its first open
	refs  int
	dirty bool
}

func (f *fakeFile) Info() volume.Info {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	return f.v.info(f.n)
}

func (f *fakeFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.v.begin(ctx, "read", f.p); err != nil {
		return 0, err
	}
	defer f.v.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// shortly is the answer of a write of which so many bytes were taken.
type shortly int

func (shortly) Error() string { return "short" }
func (shortly) Unwrap() error { return context.Canceled }

func (f *fakeFile) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.v.begin(ctx, "write", f.p); err != nil {
		if n := shortly(0); errors.As(err, &n) {
			f.v.mu.Lock()
			defer f.v.mu.Unlock()
			f.write(p[:n], off)
			return int(n), err
		}
		return 0, err
	}
	defer f.v.mu.Unlock()
	f.write(p, off)
	return len(p), nil
}

func (f *fakeFile) Append(ctx context.Context, p []byte) (int, error) {
	if err := f.v.begin(ctx, "append", f.p); err != nil {
		return 0, err
	}
	defer f.v.mu.Unlock()
	f.write(p, int64(len(f.n.data)))
	return len(p), nil
}

func (f *fakeFile) write(p []byte, off int64) {
	if end := off + int64(len(p)); end > int64(len(f.n.data)) {
		f.n.data = resized(f.n.data, end)
	}
	copy(f.n.data[off:], p)
	f.touch()
}

func (f *fakeFile) touch() {
	now := time.Now().UnixNano()
	f.n.Mtime, f.n.Ctime, f.dirty = now, now, true
}

func (f *fakeFile) SetAttr(ctx context.Context, c volume.Change) (volume.Info, error) {
	if err := f.v.begin(ctx, "setattr", f.p); err != nil {
		return volume.Info{}, err
	}
	defer f.v.mu.Unlock()
	f.dirty = f.dirty || c.Size != nil
	return f.v.change(f.n, c)
}

func (f *fakeFile) Allocate(ctx context.Context, off, n int64, o volume.AllocOptions) error {
	if err := f.v.begin(ctx, "allocate", f.p); err != nil {
		return err
	}
	defer f.v.mu.Unlock()
	size, end := int64(len(f.n.data)), off+n
	if o.PunchHole || o.ZeroRange {
		clear(f.n.data[min(off, size):min(end, size)])
	}
	if !o.KeepSize && end > size {
		f.n.data = resized(f.n.data, end)
	}
	f.touch()
	return nil
}

// Seek knows no holes but the one at the end.
func (f *fakeFile) CopyRange(ctx context.Context, from File, in, off, n int64) (int64, error) {
	if err := f.v.begin(ctx, "copy", f.p); err != nil {
		return 0, err
	}
	defer f.v.mu.Unlock()
	data := from.(*fakeFile).n.data
	if in >= int64(len(data)) {
		return 0, nil
	}
	data = slices.Clone(data[in:min(in+n, int64(len(data)))])
	f.write(data, off)
	return int64(len(data)), nil
}

func (f *fakeFile) Seek(_ context.Context, off int64, hole bool) (int64, error) {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	switch size := int64(len(f.n.data)); {
	case off >= size:
		return 0, io.EOF
	case hole:
		return size, nil
	}
	return off, nil
}

func (f *fakeFile) Flush(ctx context.Context) error {
	if err := f.v.begin(ctx, "flush", f.p); err != nil {
		return err
	}
	f.v.mu.Unlock()
	return f.Commit(ctx)
}

func (f *fakeFile) Commit(ctx context.Context) error {
	if err := f.v.begin(ctx, "commit", f.p); err != nil {
		return err
	}
	defer f.v.mu.Unlock()
	f.dirty = false
	return nil
}

func (f *fakeFile) Release() {
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	f.refs--
	if f.refs > 0 {
		return
	}
	if f.refs < 0 {
		panic("released more often than opened")
	}
	delete(f.v.open, f.n)
	if f.dirty && f.v.freed != nil {
		f.v.freed <- string(f.n.data)
	}
}

// opened is the number of Files that somebody holds.
func (v *fake) opened() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.open)
}
