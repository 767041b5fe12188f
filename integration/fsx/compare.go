package fsx

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// chunk is how much is compared at once, in bytes.
const chunk = 1 << 20

func list(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// compareOne reads the whole of a file by its name.
func (t *tester) compareOne() error {
	name := t.class().name(t)
	t.note("compare %s", name)
	return t.compare(name)
}

// compare holds one file against the other, from end to end, and takes nothing
// clean from the kernel's cache.
func (t *tester) compare(name string) (err error) {
	var fds [2]int
	got, err := t.both(func(s side) (o outcome) {
		fds[s], o.err = again(func() (int, error) { return unix.Open(t.path(s, name), unix.O_RDONLY|unix.O_CLOEXEC, 0) })
		return o
	})
	if err != nil || got.err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fds[tested]), unix.Close(fds[local])) }()
	size, err := sizeOf(fds[local])
	if err != nil {
		return err
	}
	if err := unix.Fadvise(fds[tested], 0, 0, unix.FADV_DONTNEED); err != nil {
		return err
	}
	for off := int64(0); off <= size; off += chunk { // one read at the end, at least
		if err := t.sameAt(fds, chunk, off); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// remount compares all names and files as a mount shows them that knows
// nothing yet.
func (t *tester) remount(ctx context.Context) error {
	if err := t.closeAll(); err != nil {
		return err
	}
	if t.opt.Remount != nil {
		if err := t.opt.Remount(ctx); err != nil {
			return fmt.Errorf("remount: %w", err)
		}
	}
	if err := t.sameNames(); err != nil {
		return err
	}
	for _, name := range t.allNames() {
		if err := errors.Join(t.sameStat(name), t.compare(name)); err != nil {
			return fmt.Errorf("after a remount: %w", err)
		}
	}
	return nil
}
