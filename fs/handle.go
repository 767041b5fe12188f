package fs

import (
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"syscall"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

var (
	_ nodefs.NodeOpener    = (*node)(nil)
	_ nodefs.NodeCreater   = (*node)(nil)
	_ nodefs.FileReader    = (*handle)(nil)
	_ nodefs.FileWriter    = (*handle)(nil)
	_ nodefs.FileFlusher   = (*handle)(nil)
	_ nodefs.FileFsyncer   = (*handle)(nil)
	_ nodefs.FileReleaser  = (*handle)(nil)
	_ nodefs.FileAllocater = (*handle)(nil)
	_ nodefs.FileLseeker   = (*handle)(nil)
)

// handle is one open file description.
type handle struct {
	node  *node
	file  *shared
	write bool

	writing atomic.Bool // counted among file.writers; changed by writes
}

// newHandle gives a handle and the kernel's flags for it. Its pages stay from
// one open to the next: another version would be another inode. A handle that
// cannot write has nothing to flush. O_DIRECT needs no flag: the kernel's own
// way keeps the page cache right.
func (n *node) newHandle(s *shared, flags uint32) (*handle, uint32) {
	h := &handle{node: n, file: s, write: flags&unix.O_ACCMODE != unix.O_RDONLY}
	fuseFlags := uint32(fuse.FOPEN_KEEP_CACHE)
	if h.write {
		h.writes(true)
	} else {
		fuseFlags |= fuse.FOPEN_NOFLUSH
	}
	return h, fuseFlags
}

// Open opens a regular file, of the version that this node is.
func (n *node) Open(ctx context.Context, flags uint32) (nodefs.FileHandle, uint32, syscall.Errno) {
	ctx = detach(ctx)
	s, err := n.openFile(ctx, volume.OpenOptions{
		Write:    flags&unix.O_ACCMODE != unix.O_RDONLY,
		Truncate: flags&unix.O_TRUNC != 0,
	})
	if err == nil && flags&openKill != 0 {
		if err = s.dropPrivileges(ctx); err != nil {
			n.drop(s)
		}
	}
	if err != nil {
		return nil, 0, n.fail("open", "", err)
	}
	h, fuseFlags := n.newHandle(s, flags)
	return h, fuseFlags, 0
}

func (n *node) openFile(ctx context.Context, o volume.OpenOptions) (s *shared, err error) {
	err = n.at("", func(p string) error {
		f, err := n.vol.Open(ctx, p, o)
		if err != nil {
			return err
		}
		if err := n.check(f.Info().Attr); err != nil {
			f.Release()
			return err
		}
		s = n.adopt(f)
		return nil
	})
	if errors.Is(err, volume.ErrNotExist) {
		return n.reopen(ctx, o, err)
	}
	return s, err
}

// reopen opens what has no name any more but is open already: through
// /proc/self/fd, say. cause is why it could not be opened by name.
func (n *node) reopen(ctx context.Context, o volume.OpenOptions, cause error) (*shared, error) {
	s := n.hold()
	if s == nil {
		return nil, cause
	}
	err := cause
	if s.Info().Nlink == 0 {
		err = nil
		if o.Truncate {
			_, err = s.SetAttr(ctx, volume.Change{Size: new(int64)})
		}
	}
	if err != nil {
		n.drop(s)
		return nil, err
	}
	return s, nil
}

// Create makes a file and opens it.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*nodefs.Inode, nodefs.FileHandle, uint32, syscall.Errno) {
	f, err := n.create(detach(ctx), name, flags, mode)
	if errors.Is(err, volume.ErrExist) && flags&unix.O_EXCL == 0 {
		err = errStale // it came since the kernel looked: it will look again
	}
	if err != nil {
		return nil, nil, 0, n.fail("create", name, err)
	}
	info := f.Info()
	setAttr(&out.Attr, info.Attr)
	child := n.child(info.Attr)
	in := n.NewInode(ctx, child, identity(info.Attr))
	h, fuseFlags := child.newHandle(child.adopt(f), flags)
	return in, h, fuseFlags, 0
}

func (n *node) create(ctx context.Context, name string, flags, mode uint32) (f File, err error) {
	err = n.at(name, func(p string) (err error) {
		a := n.newborn(ctx, mode&0o7777|unix.S_IFREG)
		f, err = n.vol.Create(ctx, p, a, flags&unix.O_EXCL != 0)
		return err
	})
	if err != nil || flags&unix.O_TRUNC == 0 || f.Info().Size == 0 {
		return f, err
	}
	if _, err := f.SetAttr(ctx, volume.Change{Size: new(int64)}); err != nil {
		f.Release()
		return nil, err
	}
	return f, nil
}

// Read is full unless the file ends: the kernel takes a short read for its end.
func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.file.ReadAt(ctx, dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, h.node.fail("read", "", err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write takes an offset with the marks of rawFS. A write is whole or an error,
// unless a signal ends it when some of it was taken.
func (h *handle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	ctx, ended := heed(ctx)
	defer ended()
	if !h.writing.Load() { // its descriptor was a copy, or pages were mapped
		h.writes(true)
	}
	off, atEnd, kill := splitOffset(off)
	if kill {
		if err := h.file.dropPrivileges(detach(ctx)); err != nil {
			return 0, h.node.fail("write", "", err)
		}
	}
	n, err := h.put(ctx, data, off, atEnd)
	if err != nil && (n == 0 || !errors.Is(err, context.Canceled)) {
		return 0, h.node.fail("write", "", err)
	}
	return uint32(n), 0
}

func (h *handle) put(ctx context.Context, data []byte, off int64, atEnd bool) (int, error) {
	if atEnd {
		return h.file.Append(ctx, data)
	}
	return h.file.WriteAt(ctx, data, off)
}

// dropPrivileges clears suid and sgid before a write by who may not keep them.
func (s *shared) dropPrivileges(ctx context.Context) error {
	mode := withoutPrivileges(s.Info().Mode)
	if mode == nil {
		return nil
	}
	_, err := s.SetAttr(ctx, volume.Change{Mode: mode})
	return err
}

// Flush is close(2): it returns when the file is in the bucket, or with EINTR:
// then the commit goes on. Without a change since the last commit it sends
// nothing.
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	if !h.write {
		return 0
	}
	commit := h.file.Commit
	if h.writes(false) == 0 {
		commit = h.file.Flush
	}
	ctx, ended := heed(ctx)
	defer ended()
	return h.node.fail("flush", "", commit(ctx))
}

// Fsync is that of any handle: fsync(2) is of the file. EINTR is as of Flush.
func (h *handle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	ctx, ended := heed(ctx)
	defer ended()
	return h.node.fail("fsync", "", h.file.Commit(ctx))
}

// Release ends the handle. Pages that arrived after the last close, through
// mmap(2), are committed by the volume in the background.
func (h *handle) Release(context.Context) syscall.Errno {
	h.writes(false)
	h.node.drop(h.file)
	return 0
}

// Allocate is fallocate(2).
func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	ctx = detach(ctx)
	o, ok := allocOptions(mode)
	if !ok {
		return unix.EOPNOTSUPP
	}
	if off > math.MaxInt64 || size > math.MaxInt64-off {
		return unix.EFBIG
	}
	if caller, ok := fuse.FromContext(ctx); ok && caller.Uid != 0 {
		// FUSE_FALLOCATE has no flag for it, unlike a write.
		if err := h.file.dropPrivileges(ctx); err != nil {
			return h.node.fail("fallocate", "", err)
		}
	}
	return h.node.fail("fallocate", "", h.file.Allocate(ctx, int64(off), int64(size), o))
}

// allocOptions reads a mode of fallocate(2); of those that the kernel passes
// on, PUNCH_HOLE without KEEP_SIZE is the one that has no meaning.
func allocOptions(mode uint32) (o volume.AllocOptions, ok bool) {
	const known = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_ZERO_RANGE
	o.KeepSize = mode&unix.FALLOC_FL_KEEP_SIZE != 0
	o.PunchHole = mode&unix.FALLOC_FL_PUNCH_HOLE != 0
	o.ZeroRange = mode&unix.FALLOC_FL_ZERO_RANGE != 0
	if mode&^known != 0 || o.PunchHole && (!o.KeepSize || o.ZeroRange) {
		return volume.AllocOptions{}, false
	}
	return o, true
}

// Lseek finds data and holes; the kernel does the rest itself.
func (h *handle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	if off > math.MaxInt64 {
		return 0, unix.ENXIO
	}
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, unix.EINVAL
	}
	at, err := h.file.Seek(detach(ctx), int64(off), whence == unix.SEEK_HOLE)
	return uint64(at), h.node.fail("lseek", "", err)
}
