package fsx

import "golang.org/x/sys/unix"

// truncate is ftruncate(2), up or down.
func (t *tester) truncate() error { return t.with(t.fills, t.cutSome) }

func (t *tester) cutSome(h *handle, size int64) error {
	to := h.class.offset(t, size)
	if t.rng.IntN(20) == 0 {
		to = 0
	}
	if h.class.inOrder && to < size && t.rng.IntN(2) == 0 {
		to = size + (h.class.max-size)/8 // let them grow
	}
	return t.cut(h, to)
}

func (t *tester) cut(h *handle, to int64) error {
	t.note("truncate %v to %#x", h, to)
	_, err := t.both(func(s side) outcome {
		return outcome{err: again0(func() error {
			return t.room(s, func() error { return unix.Ftruncate(h.fds[s], to) })
		})}
	})
	return err
}

// fallocate is fallocate(2) in each of its ways.
func (t *tester) fallocate() error { return t.with(t.fills, t.allocateSome) }

func (t *tester) allocateSome(h *handle, size int64) error {
	ways := []struct {
		name string
		mode uint32
	}{
		{"punch hole", unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE},
		{"punch hole", unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE},
		{"zero range", unix.FALLOC_FL_ZERO_RANGE},
		{"zero range within", unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE},
		{"allocate", 0},
		{"allocate within", unix.FALLOC_FL_KEEP_SIZE},
	}
	way := ways[t.rng.IntN(len(ways))]
	off, n := h.class.span(t, size)
	if way.mode&unix.FALLOC_FL_PUNCH_HOLE != 0 && t.rng.IntN(4) == 0 {
		n = min(n+h.class.unit, h.class.max-off) // whole blocks or segments
	}
	t.note("%s %v %s", way.name, h, span(off, n))
	_, err := t.both(func(s side) outcome {
		return outcome{err: again0(func() error {
			return t.room(s, func() error { return unix.Fallocate(h.fds[s], way.mode, off, n) })
		})}
	})
	return err
}
