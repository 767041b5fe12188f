package fsx

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// maxHandles are open at once, at most.
const maxHandles = 6

// handle is a file descriptor on each side.
type handle struct {
	fds   [2]int
	id    int
	name  string // as it was opened
	class class
	flags int
	gone  bool // the file has no name any more
}

func (h *handle) String() string {
	mode := map[int]string{unix.O_RDONLY: "r", unix.O_WRONLY: "w", unix.O_RDWR: "rw"}[h.flags&unix.O_ACCMODE]
	if h.flags&unix.O_APPEND != 0 {
		mode += "a"
	}
	return fmt.Sprintf("#%d(%s %s)", h.id, h.name, mode)
}

func (h *handle) reads() bool   { return h.flags&unix.O_ACCMODE != unix.O_WRONLY }
func (h *handle) writes() bool  { return h.flags&unix.O_ACCMODE != unix.O_RDONLY }
func (h *handle) appends() bool { return h.flags&unix.O_APPEND != 0 }

// size is the file's, by the local one.
func (h *handle) size() (int64, error) { return sizeOf(h.fds[local]) }

func (t *tester) path(s side, name string) string {
	return filepath.Join([2]string{t.opt.Dir, t.opt.Ref}[s], name)
}

// fills: h may write where that needs room. What has no name stays in a full
// spool until it is closed.
func (t *tester) fills(h *handle) bool { return h.writes() && !(t.opt.Full && h.gone) }

func (t *tester) plain(h *handle) bool { return t.fills(h) && !h.appends() }

// any gives an open handle that ok takes; nil for none.
func (t *tester) any(ok func(*handle) bool) *handle {
	if len(t.handles) == 0 {
		return nil
	}
	from := t.rng.IntN(len(t.handles))
	for i := range t.handles {
		if h := t.handles[(from+i)%len(t.handles)]; ok(h) {
			return h
		}
	}
	return nil
}

// with does something to a handle that ok takes, or opens a file if there is
// none; then both sides must tell the same size.
func (t *tester) with(ok func(*handle) bool, do func(h *handle, size int64) error) error {
	h := t.any(ok)
	if h == nil {
		return t.open()
	}
	size, err := h.size()
	if err != nil {
		return err
	}
	if err := do(h, size); err != nil {
		return err
	}
	_, err = t.both(func(s side) outcome {
		size, err := sizeOf(h.fds[s])
		return outcome{n: size, err: err}
	})
	if err != nil {
		return fmt.Errorf("size of %v: %w", h, err)
	}
	return nil
}

// open opens a name, which most ways make if it is not there.
func (t *tester) open() error {
	h := &handle{class: t.class()}
	h.name, h.flags = h.class.name(t), t.openFlags(h.class)
	return t.openAs(h)
}

// openAs opens h. Where there are enough handles another one is closed.
func (t *tester) openAs(h *handle) error {
	if len(t.handles) == maxHandles {
		if err := t.close(); err != nil {
			return err
		}
	}
	t.opened++
	h.id = t.opened
	t.note("open %v flags %#x", h, h.flags)
	got, err := t.both(func(s side) outcome {
		fd, err := again(func() (int, error) {
			return unix.Open(t.path(s, h.name), h.flags|unix.O_CLOEXEC, 0o644)
		})
		h.fds[s] = fd
		return outcome{err: err}
	})
	if err == nil && got.err == nil {
		t.handles = append(t.handles, h)
	}
	return err
}

func (t *tester) openFlags(c class) int {
	if c.inOrder && t.rng.IntN(2) == 0 {
		return unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	}
	switch n := t.rng.IntN(100); {
	case n < 8:
		return unix.O_RDONLY
	case n < 16:
		return unix.O_RDONLY | unix.O_CREAT
	case n < 28:
		return unix.O_WRONLY | unix.O_CREAT
	case n < 45:
		return unix.O_RDWR | unix.O_CREAT | unix.O_APPEND
	case n < 50:
		return unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND
	case n < 56:
		return unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	case n < 60:
		return unix.O_RDWR | unix.O_CREAT | unix.O_EXCL
	}
	return unix.O_RDWR | unix.O_CREAT
}

func (t *tester) close() error {
	if len(t.handles) == 0 {
		return t.open()
	}
	return t.end(t.handles[t.rng.IntN(len(t.handles))])
}

func (t *tester) end(h *handle) error {
	t.note("close %v", h)
	t.handles = slices.DeleteFunc(t.handles, func(open *handle) bool { return open == h })
	_, err := t.both(func(s side) outcome { return outcome{err: unix.Close(h.fds[s])} })
	if err != nil {
		return fmt.Errorf("close of %v: %w", h, err)
	}
	return nil
}

// closeAll leaves nothing open or mapped.
func (t *tester) closeAll() error {
	var errs []error
	if t.mapped != nil {
		errs = append(errs, t.unmap())
	}
	for _, h := range slices.Clone(t.handles) {
		errs = append(errs, t.end(h))
	}
	return errors.Join(errs...)
}

// sync is fsync(2) or fdatasync(2), by any handle.
func (t *tester) sync() error {
	call, name := unix.Fsync, "fsync"
	if t.rng.IntN(2) == 0 {
		call, name = unix.Fdatasync, "fdatasync"
	}
	return t.with(func(*handle) bool { return true }, func(h *handle, _ int64) error {
		t.note("%s %v", name, h)
		_, err := t.both(func(s side) outcome {
			return outcome{err: again0(func() error { return call(h.fds[s]) })}
		})
		return err
	})
}

// dropPages takes a file out of the kernel's cache, as far as it is clean.
func (t *tester) dropPages() error {
	return t.with(func(*handle) bool { return true }, func(h *handle, _ int64) error {
		t.note("drop pages of %v", h)
		return unix.Fadvise(h.fds[tested], 0, 0, unix.FADV_DONTNEED)
	})
}
