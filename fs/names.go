package fs

import (
	"context"
	"syscall"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

var (
	_ nodefs.NodeMkdirer    = (*node)(nil)
	_ nodefs.NodeMknoder    = (*node)(nil)
	_ nodefs.NodeSymlinker  = (*node)(nil)
	_ nodefs.NodeReadlinker = (*node)(nil)
	_ nodefs.NodeLinker     = (*node)(nil)
	_ nodefs.NodeTmpfiler   = (*node)(nil)
	_ nodefs.NodeUnlinker   = (*node)(nil)
	_ nodefs.NodeRmdirer    = (*node)(nil)
	_ nodefs.NodeRenamer    = (*node)(nil)
)

// newborn gives the attributes of what is made in directory n: the caller's,
// and what a setgid directory hands down (mkdir(2)). The kernel has applied the
// umask.
func (n *node) newborn(ctx context.Context, mode uint32) volume.Attr {
	a := volume.Attr{Mode: mode}
	if caller, ok := fuse.FromContext(ctx); ok {
		a.UID, a.GID = caller.Uid, caller.Gid
	}
	if dir := n.remembered(); dir.Mode&unix.S_ISGID != 0 {
		a.GID = dir.GID
		if mode&unix.S_IFMT == unix.S_IFDIR {
			a.Mode |= unix.S_ISGID
		}
	}
	return a
}

// birth makes name in n by how and answers with its inode.
func (n *node) birth(ctx context.Context, op, name string, out *fuse.EntryOut, how func(ctx context.Context, p string) (volume.Info, error)) (*nodefs.Inode, syscall.Errno) {
	var info volume.Info
	err := n.at(name, func(p string) (err error) {
		info, err = how(detach(ctx), p)
		return err
	})
	if err != nil {
		return nil, n.fail(op, name, err)
	}
	setAttr(&out.Attr, info.Attr)
	return n.NewInode(ctx, n.child(info.Attr), identity(info.Attr)), 0
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*nodefs.Inode, syscall.Errno) {
	return n.birth(ctx, "mkdir", name, out, func(ctx context.Context, p string) (volume.Info, error) {
		return n.vol.Mkdir(ctx, p, n.newborn(ctx, mode&0o7777|unix.S_IFDIR))
	})
}

// Mknod makes a fifo, socket, device node or empty file.
func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*nodefs.Inode, syscall.Errno) {
	return n.birth(ctx, "mknod", name, out, func(ctx context.Context, p string) (volume.Info, error) {
		a := n.newborn(ctx, mode)
		a.Rdev = uint64(dev)
		return n.vol.Mknod(ctx, p, a)
	})
}

// Symlink makes a symbolic link.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*nodefs.Inode, syscall.Errno) {
	return n.birth(ctx, "symlink", name, out, func(ctx context.Context, p string) (volume.Info, error) {
		return n.vol.Symlink(ctx, p, target, n.newborn(ctx, unix.S_IFLNK|0o777))
	})
}

// Readlink gives the target of a symbolic link.
func (n *node) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	var target string
	err := n.at("", func(p string) (err error) {
		target, err = n.vol.Readlink(detach(ctx), p)
		return err
	})
	return []byte(target), n.fail("readlink", "", err)
}

// Link gives the file target the name too. Where the volume has none, it is
// EPERM, as of a filesystem without hard links (link(2)).
func (n *node) Link(ctx context.Context, target nodefs.InodeEmbedder, name string, out *fuse.EntryOut) (*nodefs.Inode, syscall.Errno) {
	file, ok := target.(*node)
	if !ok {
		return nil, unix.EINVAL
	}
	from, to, h := n.claimBoth(n.paths.use, file, "", name)
	if h == nil {
		return nil, unix.ENOENT
	}
	defer n.paths.leave(h)
	info, err := n.vol.Link(detach(ctx), from, to)
	if err != nil {
		return nil, n.fail("link", name, err)
	}
	file.remember(info.Attr)
	return n.entry(ctx, name, info.Attr, out), 0
}

// Tmpfile is ENOSYS: the kernel remembers it and answers EOPNOTSUPP itself.
func (n *node) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*nodefs.Inode, nodefs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, unix.ENOSYS
}

// Unlink removes a name that is not a directory's.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.fail("unlink", name, n.at(name, func(p string) error {
		return n.vol.Remove(detach(ctx), p)
	}))
}

// Rmdir removes an empty directory.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.fail("rmdir", name, n.at(name, func(p string) error {
		return n.vol.Rmdir(detach(ctx), p)
	}))
}

// Rename moves name to newName in newParent. Its claim of both paths ends only
// when go-fuse has moved the inode too (rawFS.Rename).
func (n *node) Rename(ctx context.Context, name string, newParent nodefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	ticket := flags >> ticketShift
	flags &= renameFlags
	to, ok := newParent.(*node)
	if !ok || flags&^unix.RENAME_NOREPLACE != 0 {
		return unix.EINVAL
	}
	from, dst, h := to.claimBoth(n.paths.move, n, name, newName)
	if h == nil {
		return unix.ENOENT
	}
	n.renames.keep(ticket, h)
	return n.fail("rename", name, n.vol.Rename(detach(ctx), from, dst, flags&unix.RENAME_NOREPLACE != 0))
}

// claimBoth gives the paths of oldName in old ("" for old itself) and of name in
// n, and the claim of both, nil where one of the nodes has no name any more.
func (n *node) claimBoth(claim func(...string) *hold, old *node, oldName, name string) (from, to string, h *hold) {
	for {
		from, ok1 := old.path(oldName)
		to, ok2 := n.path(name)
		if !ok1 || !ok2 {
			return "", "", nil
		}
		h := claim(from, to)
		again1, _ := old.path(oldName)
		again2, _ := n.path(name)
		if from == again1 && to == again2 {
			return from, to, h
		}
		n.paths.leave(h)
	}
}
