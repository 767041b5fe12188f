package fsx

import "golang.org/x/sys/unix"

// read is pread(2).
func (t *tester) read() error { return t.with((*handle).reads, t.readSome) }

func (t *tester) readSome(h *handle, size int64) error {
	off, n := h.class.span(t, size)
	t.note("read %v %s", h, span(off, n))
	return t.sameAt(h.fds, n, off)
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
		return t.writeSome(h, size)
	})
}

func (t *tester) writeSome(h *handle, size int64) error {
	off, n := h.class.span(t, size)
	t.note("write %v %s", h, span(off, n))
	return t.put(h, t.bytes(n), off)
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
