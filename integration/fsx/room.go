package fsx

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// room does what needs room in the filesystem. Where that may lack, ENOSPC is
// answered once by making some.
func (t *tester) room(s side, do func() error) error {
	err := do()
	if s == local || !t.opt.Full || !errors.Is(err, unix.ENOSPC) {
		return err
	}
	if err := t.makeRoom(); err != nil {
		return err
	}
	return do()
}

// makeRoom ends what has no name and brings the rest into the bucket. It
// closes no handle that t.fills takes.
func (t *tester) makeRoom() error {
	t.note("ENOSPC, fsync of all")
	if t.mapped != nil {
		if err := t.unmap(); err != nil {
			return err
		}
	}
	for _, h := range slices.Clone(t.handles) {
		if h.gone {
			if err := t.end(h); err != nil {
				return err
			}
			continue
		}
		if err := again0(func() error { return unix.Fsync(h.fds[tested]) }); err != nil {
			return fmt.Errorf("fsync of %v: %w", h, err)
		}
	}
	return nil
}
