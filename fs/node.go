package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

// errStale: the inode stands for another version than what is at its path. The
// kernel looks the name up again (vfs: retry_estale). It is expected, so it is
// not a volume.ErrChanged, which is logged.
var errStale = errors.New("inode is of another version")

// tree is what all nodes of a mount share.
type tree struct {
	vol     Volume
	opt     Options
	paths   *paths
	renames *renames
	report  *reporter
	open    *openFiles
	places  *places
}

// node is one inode. Its identity never changes, its path does.
type node struct {
	nodefs.Inode
	*tree

	mu   sync.Mutex  // guards what follows, and the refs of every shared of this node
	cur  *shared     // the open file, nil while no handle is open
	last volume.Attr // as told last: for what has no name any more, and no file
}

var (
	_ nodefs.NodeLookuper  = (*node)(nil)
	_ nodefs.NodeGetattrer = (*node)(nil)
	_ nodefs.NodeStatfser  = (*node)(nil)
)

// identity is go-fuse's key of an inode.
func identity(a volume.Attr) nodefs.StableAttr {
	return nodefs.StableAttr{Mode: a.Mode & unix.S_IFMT, Ino: a.FileID, Gen: a.Incarnation}
}

// path gives the node's path, or that of name in it. False: the node has no
// name any more.
func (n *node) path(name string) (string, bool) {
	p := name
	for in := n.EmbeddedInode(); !in.IsRoot(); {
		base, parent := in.Parent()
		if parent == nil {
			return "", false
		}
		p = join(base, p)
		in = parent
	}
	return p, true
}

func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}

// at runs op with the path of name in n ("" for n itself), which no rename
// takes away meanwhile. A node without a name is volume.ErrNotExist.
func (n *node) at(name string, op func(path string) error) error {
	for {
		p, ok := n.path(name)
		if !ok {
			return volume.ErrNotExist
		}
		h := n.paths.use(p)
		if now, ok := n.path(name); !ok || now != p {
			n.paths.leave(h) // moved before the claim was ours
			continue
		}
		defer n.paths.leave(h)
		return op(p)
	}
}

// fail answers an operation that ended with err, nil too.
func (n *node) fail(op, name string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	p, ok := n.path(name)
	if !ok {
		p = join("(unlinked)", name)
	}
	return n.report.errno(op, p, err)
}

// detach keeps an interrupt off an operation.
func detach(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// Lookup answers from what Attributes tells; a listing alone never does.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*nodefs.Inode, syscall.Errno) {
	if len(name) > unix.NAME_MAX {
		return nil, unix.ENAMETOOLONG
	}
	var a volume.Attr
	err := n.at(name, func(p string) (err error) {
		a, err = n.vol.Attributes(detach(ctx), p)
		return err
	})
	if errors.Is(err, volume.ErrName) {
		return nil, unix.ENOENT // reserved names are not there
	}
	if err != nil {
		return nil, n.fail("lookup", name, err)
	}
	return n.entry(ctx, name, a, out), 0
}

// entry gives the inode of what is at name in n. go-fuse prefers one that it
// knows by the same identity.
func (n *node) entry(ctx context.Context, name string, a volume.Attr, out *fuse.EntryOut) *nodefs.Inode {
	id := n.identityAt(ctx, name, a)
	setAttr(&out.Attr, a)
	if in := n.GetChild(name); in != nil && in.StableAttr() == id {
		if child, ok := in.Operations().(*node); ok {
			child.remember(a)
			return in
		}
	}
	return n.NewInode(ctx, n.child(a), id)
}

func (t *tree) child(a volume.Attr) *node { return &node{tree: t, last: a} }

func (n *node) remember(a volume.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = a
}

func (n *node) remembered() volume.Attr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// Getattr asks the open file, else the volume, else what was told last: an
// unlinked directory can still be somebody's working directory.
func (n *node) Getattr(ctx context.Context, _ nodefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	a, err := n.attr(ctx)
	if _, named := n.path(""); errors.Is(err, volume.ErrNotExist) && !named {
		a, err = n.remembered(), nil
		a.Nlink = 0
	}
	if err != nil {
		return n.fail("getattr", "", err)
	}
	n.remember(a)
	setAttr(&out.Attr, a)
	return 0
}

// attr tells the attributes of this very version.
func (n *node) attr(ctx context.Context) (a volume.Attr, err error) {
	if s := n.hold(); s != nil {
		defer n.drop(s)
		return s.Info().Attr, nil
	}
	err = n.at("", func(p string) (err error) {
		if a, err = n.vol.Attributes(detach(ctx), p); err != nil {
			return err
		}
		return n.check(a)
	})
	return a, err
}

// info tells all of this very version.
func (n *node) info(ctx context.Context) (info volume.Info, err error) {
	if s := n.hold(); s != nil {
		defer n.drop(s)
		return s.Info(), nil
	}
	err = n.at("", func(p string) (err error) {
		if info, err = n.vol.Stat(detach(ctx), p); err != nil {
			return err
		}
		return n.check(info.Attr)
	})
	return info, err
}

// check tells whether a is of this node. Of a directory there are no versions:
// its pages are not cached, and its id may change as a marker comes or goes.
func (n *node) check(a volume.Attr) error {
	have, want := identity(a), n.StableAttr()
	if have == want || have.Mode == want.Mode && n.IsDir() {
		return nil
	}
	return errStale
}
