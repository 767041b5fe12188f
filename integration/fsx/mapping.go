package fsx

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// mapping is a part of a file that is mapped shared, on each side. It outlives
// the handle that it was made by: pages are left dirty to munmap(2), and come
// after the last close.
type mapping struct {
	mem  [2][]byte
	off  int64
	what string
	size int // a descriptor of the local file, for its size
}

// remap maps something if nothing is.
func (t *tester) remap() error {
	return t.with(func(h *handle) bool { return h.reads() && h.writes() }, func(h *handle, size int64) error {
		off := h.class.offset(t, size) / page * page
		if off >= size {
			return nil
		}
		n := min(1+t.rng.Int64N(4*h.class.most), size-off)
		m := &mapping{off: off, what: fmt.Sprintf("%v %s", h, span(off, n))}
		t.note("map %s", m.what)
		_, err := t.both(func(s side) (o outcome) {
			m.mem[s], o.err = unix.Mmap(h.fds[s], off, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			return o
		})
		if err != nil {
			return err
		}
		if m.size, err = unix.Dup(h.fds[local]); err != nil {
			return err
		}
		t.mapped = m
		return nil
	})
}

// touch chooses a part of the mapping that the file still has. What lies
// beyond would be SIGBUS.
func (t *tester) touch(do func(m *mapping, from, to int64) error) error {
	if t.mapped == nil {
		return t.remap()
	}
	m := t.mapped
	size, err := sizeOf(m.size)
	if err != nil {
		return err
	}
	have := min(size-m.off, int64(len(m.mem[local])))
	if have <= 0 {
		return t.unmap()
	}
	from := t.rng.Int64N(have)
	to := min(have, from+1+t.rng.Int64N(max(have>>t.rng.IntN(16), 1)))
	return do(m, from, to)
}

func (t *tester) mapWrite() error {
	if t.opt.Full {
		return t.mapRead() // pages that find no room are lost, on every filesystem
	}
	return t.touch(func(m *mapping, from, to int64) error {
		t.note("write by map %s of %s", span(m.off+from, to-from), m.what)
		b := t.bytes(to - from)
		_, err := t.both(func(s side) outcome {
			return outcome{err: guarded(func() { copy(m.mem[s][from:to], b) })}
		})
		return err
	})
}

// settle has no page of h dirty that a write may meet. Linux (6.18, fuse over
// iomap) writes the last page of a file back with zeros after the end, and so
// does to the bytes of a write(2) there that is under way: what arrives at a
// FUSE filesystem then is zeros.
func (t *tester) settle(h *handle) error {
	if t.mapped == nil {
		return nil
	}
	return sendPages(h.fds[tested])
}

func (t *tester) mapRead() error {
	return t.touch(func(m *mapping, from, to int64) error {
		t.note("read by map %s of %s", span(m.off+from, to-from), m.what)
		_, err := t.both(func(s side) outcome {
			b := make([]byte, to-from)
			err := guarded(func() { copy(b, m.mem[s][from:to]) })
			return outcome{data: b, err: err}
		})
		return err
	})
}

func (t *tester) mapSync() error {
	return t.touch(func(m *mapping, _, _ int64) error {
		t.note("msync %s", m.what)
		_, err := t.both(func(s side) outcome {
			return outcome{err: again0(func() error { return unix.Msync(m.mem[s], unix.MS_SYNC) })}
		})
		return err
	})
}

func (t *tester) unmap() error {
	if t.mapped == nil {
		return t.remap()
	}
	m := t.mapped
	t.mapped = nil
	t.note("unmap %s", m.what)
	_, err := t.both(func(s side) outcome { return outcome{err: unix.Munmap(m.mem[s])} })
	return errors.Join(err, unix.Close(m.size))
}

// errFault: pages could not be read or made.
var errFault = errors.New("SIGBUS")

// guarded makes an error of a fault in mapped memory.
func guarded(do func()) (err error) {
	defer func() {
		if fault, ok := recover().(runtime.Error); ok {
			err = fmt.Errorf("%w: %w", errFault, fault)
		}
	}()
	do()
	return nil
}
