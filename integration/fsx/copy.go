package fsx

import "golang.org/x/sys/unix"

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
