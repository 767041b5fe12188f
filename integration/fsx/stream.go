package fsx

import "golang.org/x/sys/unix"

// stream writes a large file anew and in order, and now and then changes what
// it wrote before: what has gone up already must go up again. Half of them are
// closed at once and read as they are in the bucket.
func (t *tester) stream() error {
	c := t.classes[len(t.classes)-1]
	h := &handle{class: c, name: c.name(t), flags: unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC}
	if err := t.openAs(h); err != nil {
		return err
	}
	for range 12 + t.rng.IntN(12) {
		if err := t.streamOn(h); err != nil {
			return err
		}
	}
	if t.rng.IntN(2) == 0 {
		return nil
	}
	if err := t.end(h); err != nil {
		return err
	}
	t.note("compare %s", h.name)
	return t.compare(h.name)
}

func (t *tester) streamOn(h *handle) error {
	size, err := h.size()
	if err != nil {
		return err
	}
	if size < h.class.max {
		if err := t.continued(h, size); err != nil {
			return err
		}
	}
	others := []func(*handle, int64) error{t.readSome, t.writeSome, t.writeSome, t.allocateSome}
	if t.rng.IntN(2) == 0 {
		return nil
	}
	return others[t.rng.IntN(len(others))](h, size)
}
