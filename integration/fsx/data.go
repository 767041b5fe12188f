package fsx

import "golang.org/x/sys/unix"

// read is pread(2).
func (t *tester) read() error {
	return t.with((*handle).reads, func(h *handle, size int64) error {
		off, n := h.class.span(t, size)
		t.note("read %v %s", h, span(off, n))
		return t.sameAt(h.fds, n, off)
	})
}

// sameAt compares up to n bytes at off of an open file.
func (t *tester) sameAt(fds [2]int, n, off int64) error {
	want, err := readAt(fds[local], int(n), off)
	if err != nil {
		return err
	}
	got, err := readAt(fds[tested], int(n), off)
	if err != nil {
		return err
	}
	return sameBytes(got, want, off)
}

// write is pwrite(2). A large file is mostly continued, by several.
func (t *tester) write() error {
	return t.with(t.plain, func(h *handle, size int64) error {
		if h.class.inOrder && size < h.class.max && t.rng.IntN(8) != 0 {
			return t.continued(h, size)
		}
		off, n := h.class.span(t, size)
		t.note("write %v %s", h, span(off, n))
		return t.put(h, t.bytes(n), off)
	})
}

func (t *tester) continued(h *handle, size int64) error {
	pieces := 1 + t.rng.IntN(5)
	n := min(h.class.most-t.rng.Int64N(page), h.class.max-size)
	t.note("write %v %s, %d times %#x in order", h, span(size, n), pieces, n)
	for range pieces {
		n = min(n, h.class.max-size)
		if n == 0 {
			break
		}
		if err := t.put(h, t.bytes(n), size); err != nil {
			return err
		}
		size += n
	}
	return nil
}

// appendEnd is write(2) with O_APPEND.
func (t *tester) appendEnd() error {
	return t.with(func(h *handle) bool { return t.fills(h) && h.appends() }, func(h *handle, size int64) error {
		n := min(1+t.rng.Int64N(max(h.class.most>>t.rng.IntN(18), 1)), h.class.max-size)
		if n <= 0 {
			return t.cut(h, t.rng.Int64N(size))
		}
		t.note("append %v %s", h, span(size, n))
		return t.put(h, t.bytes(n), -1)
	})
}

// put writes all of b at off, or with write(2) if that is negative.
func (t *tester) put(h *handle, b []byte, off int64) error {
	if err := t.settle(h); err != nil {
		return err
	}
	_, err := t.both(func(s side) outcome {
		n, err := t.putAll(s, h.fds[s], b, off)
		return outcome{n: int64(n), err: err}
	})
	return err
}

func (t *tester) putAll(s side, fd int, b []byte, off int64) (done int, err error) {
	for done < len(b) {
		n, err := again(func() (n int, err error) {
			err = t.room(s, func() (err error) {
				if off < 0 {
					n, err = unix.Write(fd, b[done:])
				} else {
					n, err = unix.Pwrite(fd, b[done:], off+int64(done))
				}
				return err
			})
			return n, err
		})
		if err != nil || n == 0 {
			return done, err
		}
		done += n
	}
	return done, nil
}

// truncate is ftruncate(2), up or down.
func (t *tester) truncate() error {
	return t.with(t.fills, func(h *handle, size int64) error {
		to := h.class.offset(t, size)
		if t.rng.IntN(20) == 0 {
			to = 0
		}
		if h.class.inOrder && to < size && t.rng.IntN(2) == 0 {
			to = size + (h.class.max-size)/8 // let them grow
		}
		return t.cut(h, to)
	})
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
func (t *tester) fallocate() error {
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
	return t.with(t.fills, func(h *handle, size int64) error {
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
	})
}

// copyRange is copy_file_range(2) from one file to another, or within one.
// Where it ends early it goes on, as cp(1) does.
func (t *tester) copyRange() error {
	from := t.any(func(h *handle) bool { return h.reads() && !(t.opt.Full && h.gone) })
	if from == nil {
		return t.open()
	}
	return t.with(t.plain, func(to *handle, size int64) error {
		have, err := from.size()
		if err != nil {
			return err
		}
		src, dst, n := t.copied(from, to, have, size)
		if n == 0 || from.name == to.name && src < dst+n && dst < src+n {
			return nil // one file may overlap itself only in error
		}
		t.note("copy %v %s to %v at %#x", from, span(src, n), to, dst)
		if err := t.settle(to); err != nil {
			return err
		}
		_, err = t.both(func(s side) outcome {
			done, err := t.copyAll(s, from.fds[s], to.fds[s], src, dst, n)
			return outcome{n: done, err: err}
		})
		return err
	})
}

// copied chooses a range of have bytes and its place among size: the whole
// file, whole blocks or segments, or anything.
func (t *tester) copied(from, to *handle, have, size int64) (src, dst, n int64) {
	switch t.rng.IntN(4) {
	case 0:
		n = have
	case 1:
		src = t.rng.Int64N(have/from.class.unit+1) * from.class.unit
		dst = t.rng.Int64N(size/from.class.unit+1) * from.class.unit
		n = from.class.unit
	default:
		src, n = from.class.span(t, have)
		dst = to.class.offset(t, size)
	}
	return src, dst, max(0, min(n, to.class.max-dst, have-src))
}

func (t *tester) copyAll(s side, from, to int, src, dst, n int64) (done int64, err error) {
	for done < n {
		a, b := src+done, dst+done
		m, err := again(func() (m int, err error) {
			err = t.room(s, func() (err error) {
				m, err = unix.CopyFileRange(from, &a, to, &b, int(n-done), 0)
				return err
			})
			return m, err
		})
		if err != nil || m == 0 {
			return done, err
		}
		done += int64(m)
	}
	return done, nil
}
