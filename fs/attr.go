package fs

import (
	"context"
	"math"
	"syscall"
	"time"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

var _ nodefs.NodeSetattrer = (*node)(nil)

// blockSize is st_blksize: what the kernel's pages are, no hint to write less.
const blockSize = 4096

// setAttr puts a into the kernel's form. There is no access time: it is the
// modification time, as under noatime after a copy.
func setAttr(out *fuse.Attr, a volume.Attr) {
	out.Ino = a.FileID
	out.Mode = a.Mode
	out.Size = uint64(a.Size)
	out.Blksize = blockSize
	out.Blocks = uint64(a.Size+511) / 512
	out.Nlink = a.Nlink
	out.Owner = fuse.Owner{Uid: a.UID, Gid: a.GID}
	out.Rdev = uint32(a.Rdev) // 12 bits of major, 20 of minor: same in stat(2) and FUSE
	out.Mtime, out.Mtimensec = split(a.Mtime)
	out.Ctime, out.Ctimensec = split(a.Ctime)
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
}

// split gives seconds, in two's complement before 1970, and nanoseconds.
func split(ns int64) (sec uint64, nsec uint32) {
	t := time.Unix(0, ns)
	return uint64(t.Unix()), uint32(t.Nanosecond())
}

// nanos keeps times beyond the range of ns (1678 to 2262) at its ends.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// Setattr is chmod, chown, truncate and utimens, by the open file if there is
// one. An access time is accepted and forgotten.
func (n *node) Setattr(ctx context.Context, _ nodefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	ctx = detach(ctx)
	c, some := change(in)
	if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 && c.Mode == nil {
		a, err := n.attr(ctx)
		if err != nil {
			return n.fail("setattr", "", err)
		}
		c.Mode = withoutPrivileges(a.Mode)
	}
	if !some && c.Mode == nil {
		return n.answer(ctx, out)
	}
	info, err := n.set(ctx, c)
	if err != nil {
		return n.fail("setattr", "", err)
	}
	n.remember(info.Attr)
	n.tell(out, info.Attr)
	return 0
}

// answer is that of a Setattr which sets nothing.
func (n *node) answer(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	a, err := n.attr(ctx)
	if err != nil {
		return n.fail("setattr", "", err)
	}
	n.tell(out, a)
	return 0
}

// tell fills an answer to Setattr, which go-fuse leaves as it is.
func (n *node) tell(out *fuse.AttrOut, a volume.Attr) {
	setAttr(&out.Attr, a)
	out.Ino = n.StableAttr().Ino
	out.SetTimeout(n.opt.AttrTimeout)
}

func (n *node) set(ctx context.Context, c volume.Change) (info volume.Info, err error) {
	if s := n.hold(); s != nil {
		defer n.drop(s)
		return s.SetAttr(ctx, c)
	}
	err = n.at("", func(p string) (err error) {
		info, err = n.vol.SetAttr(ctx, p, c)
		return err
	})
	return info, err
}

// change reads a request; some is false where nothing is left of it.
func change(in *fuse.SetAttrIn) (c volume.Change, some bool) {
	if mode, ok := in.GetMode(); ok {
		c.Mode, some = &mode, true
	}
	if uid, ok := in.GetUID(); ok {
		c.UID, some = &uid, true
	}
	if gid, ok := in.GetGID(); ok {
		c.GID, some = &gid, true
	}
	if size, ok := in.GetSize(); ok {
		s := int64(min(size, math.MaxInt64))
		c.Size, some = &s, true
	}
	if t, ok := in.GetMTime(); ok {
		ns := nanos(t)
		c.Mtime, some = &ns, true
	}
	if t, ok := in.GetCTime(); ok {
		ns := nanos(t)
		c.Ctime, some = &ns, true
	}
	return c, some
}

// withoutPrivileges gives the permission bits that a write, truncation or chown
// leaves, nil if they stay: suid goes, sgid where it is not mandatory locking
// (FUSE_HANDLE_KILLPRIV_V2 in linux/fuse.h; the kernel decides whose writes).
func withoutPrivileges(mode uint32) *uint32 {
	kept := mode & 0o7777 &^ unix.S_ISUID
	if mode&unix.S_IXGRP != 0 {
		kept &^= unix.S_ISGID
	}
	if kept == mode&0o7777 {
		return nil
	}
	return &kept
}
