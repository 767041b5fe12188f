package fs

import (
	"context"
	"sync"

	nodefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

var _ nodefs.NodeOnForgetter = (*node)(nil)

// places remembers where each directory that the kernel knows was seen last.
// While another host moves a directory it is at two places, and go-fuse would
// make one inode of them: what is done in one would be done in the other.
type places struct {
	mu sync.Mutex // guards at
	at map[nodefs.StableAttr]string
}

// see notes that id is at p and gives the other place where it was before, or
// p itself.
func (ps *places) see(id nodefs.StableAttr, p string) string {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if before, ok := ps.at[id]; ok {
		return before
	}
	ps.at[id] = p
	return p
}

func (ps *places) moved(id nodefs.StableAttr, p string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.at[id] = p
}

func (ps *places) forget(id nodefs.StableAttr) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.at, id)
}

// OnForget is called when the kernel has no more use for the inode.
func (n *node) OnForget() { n.places.forget(n.StableAttr()) }

// identityAt is identity; a directory that is still at another place too gets
// one of its own here.
func (n *node) identityAt(ctx context.Context, name string, a volume.Attr) nodefs.StableAttr {
	id := identity(a)
	p, ok := n.path(name)
	if id.Mode != unix.S_IFDIR || !ok {
		return id
	}
	before := n.places.see(id, p)
	if before == p {
		return id
	}
	if there, err := n.vol.Attributes(detach(ctx), before); err == nil && there.FileID == a.FileID {
		id.Gen = pathID(p)
		return id
	}
	n.places.moved(id, p)
	return id
}
