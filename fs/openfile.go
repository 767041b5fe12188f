package fs

import (
	"sync"

	"github.com/sigilfs/sigilfs/internal/volume"
)

// shared is a File as the handles of one node share it: one Release at the
// volume, whatever the number of handles.
type shared struct {
	File
	refs    int // guarded by node.mu
	writers int // handles that write; guarded by node.mu
}

// writes says that a handle may write from now on, or that it was closed: a
// RELEASE comes too late to tell. left is how many others have not been.
func (h *handle) writes(now bool) (left int) {
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	if was := h.writing.Swap(now); now && !was {
		h.file.writers++
	} else if was && !now {
		h.file.writers--
	}
	return h.file.writers
}

// hold gives the open file of n with a reference, nil if there is none.
func (n *node) hold() *shared {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cur != nil {
		n.cur.refs++
	}
	return n.cur
}

// adopt takes a reference from the volume into the node.
func (n *node) adopt(f File) *shared {
	s, known := n.share(f)
	if known {
		f.Release() // one is enough
	} else {
		n.open.add(s)
	}
	return s
}

func (n *node) share(f File) (s *shared, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cur != nil && n.cur.File == f {
		n.cur.refs++
		return n.cur, true
	}
	// A File that this replaces lives as long as its handles.
	n.cur = &shared{File: f, refs: 1}
	return n.cur, false
}

// drop gives a reference back.
func (n *node) drop(s *shared) {
	last := s.Info().Attr
	if n.unref(s, last) {
		n.open.release(s)
	}
}

func (n *node) unref(s *shared, attr volume.Attr) (last bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.refs--
	if s.refs > 0 {
		return false
	}
	if n.cur == s {
		n.cur, n.last = nil, attr
	}
	return true
}

// openFiles are the Files and directory listings of a mount. A lazy or forced
// unmount takes the kernel's RELEASE and RELEASEDIR requests with it: what is
// left then is released here, so that the volume commits it.
type openFiles struct {
	mu   sync.Mutex // guards what follows
	held map[releaser]struct{}
}

type releaser interface{ Release() }

func (o *openFiles) add(s releaser) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held[s] = struct{}{}
}

func (o *openFiles) release(s releaser) {
	o.mu.Lock()
	_, ours := o.held[s]
	delete(o.held, s)
	o.mu.Unlock()
	if ours {
		s.Release()
	}
}

// releaseAll may only run after the last request.
func (o *openFiles) releaseAll() {
	for {
		s := o.any()
		if s == nil {
			return
		}
		o.release(s)
	}
}

func (o *openFiles) any() releaser {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range o.held {
		return s
	}
	return nil
}
