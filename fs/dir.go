package fs

import (
	"context"
	"errors"
	"hash/fnv"
	"syscall"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

var (
	_ nodefs.NodeOpendirHandler = (*node)(nil)
	_ nodefs.FileReaddirenter   = (*dirHandle)(nil)
	_ nodefs.FileSeekdirer      = (*dirHandle)(nil)
	_ nodefs.FileReleasedirer   = (*dirHandle)(nil)
	_ nodefs.FileFsyncdirer     = (*dirHandle)(nil)
)

// dots are the entries `.` and `..`, which a volume does not list: the
// directory offsets 1 and 2. Entry i of the listing has offset dots+i+1.
const dots = 2

// dirHandle is an open directory. go-fuse sends it one request at a time.
type dirHandle struct {
	node *node
	pos  uint64 // offset of the entry given last
	list listing
	end  context.CancelFunc
}

// OpendirHandle opens a directory; nothing is asked for yet.
func (n *node) OpendirHandle(ctx context.Context, _ uint32) (nodefs.FileHandle, uint32, syscall.Errno) {
	// The listing outlives the request that begins it, and ends with the handle.
	ctx, cancel := context.WithCancel(detach(ctx))
	list := func(after string) entries {
		p, ok := n.path("")
		if !ok {
			return none
		}
		return n.vol.List(ctx, p, after)
	}
	d := &dirHandle{node: n, list: listing{from: list}, end: cancel}
	n.open.add(d)
	return d, 0, 0
}

// none lists a directory without a name, which is empty.
func none(func(volume.Entry, error) bool) {}

// Readdirent gives the next entry, nil at the end.
func (d *dirHandle) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if d.pos < dots {
		d.pos++
		return d.dot(), 0
	}
	e, ok, err := d.list.next()
	if errors.Is(err, volume.ErrNotExist) {
		return nil, 0 // removed while it was open
	}
	if err != nil {
		return nil, d.node.fail("readdir", "", err)
	}
	if !ok {
		return nil, 0
	}
	d.pos = dots + uint64(d.list.given())
	return d.entry(e), 0
}

// dot gives `.` or `..`.
func (d *dirHandle) dot() *fuse.DirEntry {
	e := &fuse.DirEntry{Name: ".", Mode: unix.S_IFDIR, Ino: d.node.StableAttr().Ino, Off: d.pos}
	if d.pos == dots {
		e.Name = ".."
		if _, parent := d.node.Parent(); parent != nil {
			e.Ino = parent.StableAttr().Ino
		}
	}
	return e
}

// entry completes what a listing tells by what this mount knows of the name. A
// listing always tells a directory.
func (d *dirHandle) entry(e volume.Entry) *fuse.DirEntry {
	out := &fuse.DirEntry{Name: e.Name, Mode: e.Type, Off: d.pos}
	if in := d.node.GetChild(e.Name); in != nil && (e.Type == in.Mode() || e.Type == 0 && !in.IsDir()) {
		out.Ino, out.Mode = in.StableAttr().Ino, in.Mode()
		return out
	}
	p, _ := d.node.path("")
	out.Ino = pathID(p)&^(1<<32-1) | d.pos&(1<<32-1)
	return out
}

// pathID stands in for an id that is not known. That of a file that only a
// listing has shown is made of its directory's and its place: tar(1) and cp(1)
// read directories in the order of these numbers, and so in that of the listing,
// in which the volume is ahead of them. stat(2) tells the real one. 0 would hide
// the entry (getdents(2)).
func pathID(p string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(p)) // never fails (package hash)
	return h.Sum64() | 1
}

// Seekdir goes behind the entry that had offset off; 0 is rewinddir(3).
func (d *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	d.pos = min(off, dots)
	if err := d.list.seek(off - d.pos); err != nil && !errors.Is(err, volume.ErrNotExist) {
		return d.node.fail("readdir", "", err)
	}
	d.pos = off
	return 0
}

// Fsyncdir is fsync(2) of a directory. Names are in the bucket when their system
// call returns; attributes, and files whose commit failed, may still wait.
func (d *dirHandle) Fsyncdir(ctx context.Context, _ uint32) syscall.Errno {
	ctx, ended := heed(ctx)
	defer ended()
	err := d.node.at("", func(p string) error { return d.node.vol.SyncDir(ctx, p) })
	if errors.Is(err, volume.ErrNotExist) {
		return 0 // removed: there is nothing to keep
	}
	return d.node.fail("fsync", "", err)
}

// Releasedir is the last request for the handle.
func (d *dirHandle) Releasedir(context.Context, uint32) { d.node.open.release(d) }

// Release ends the listing.
func (d *dirHandle) Release() {
	d.end()
	d.list.stop()
}
