package disk_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/sigilfs/sigilfs/cache/disk"
	"golang.org/x/sys/unix"
)

// A disk that turns read-only serves what it has until the first write fails:
// then the cache is off, which is said once, and nothing else happens.
func TestReadOnlyDisk(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	a, b := sealed("a", 1<<20), inClear("b", 1<<20)
	m.put(a, 0, 3)
	if err := m.MakeReadOnly(); err != nil {
		t.Fatal(err)
	}
	if n := m.has(a, 0, 3); n != 3 {
		t.Errorf("%d of 3 blocks are read", n)
	}
	for range 2 {
		m.put(b, 0, 3)
		if n := m.has(a, 0, 3) + m.has(b, 0, 3); n != 0 {
			t.Errorf("%d blocks are given by a cache that is off", n)
		}
		m.Measure()
		m.Drop(a)
		m.DropKey(a.ID.KeyID)
	}
	if got := m.reports(); len(got) != 1 || !errors.Is(got[0], unix.EBADF) {
		t.Errorf("reported %v", got)
	}
}

// A key that is revoked when the disk is read-only already: none of its blocks
// is given.
func TestDropKeyOnReadOnlyDisk(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	a := sealed("a", 1<<20)
	m.put(a, 0, 3)
	if err := m.MakeReadOnly(); err != nil {
		t.Fatal(err)
	}
	m.DropKey(a.ID.KeyID)
	if n := m.has(a, 0, 3); n != 0 {
		t.Errorf("%d blocks of a key that was dropped", n)
	}
	if got := m.reports(); len(got) != 1 {
		t.Errorf("reported %v", got)
	}
}

// A file system without holes is refused, by a look at it too.
func TestWithoutHoles(t *testing.T) {
	path := t.TempDir()
	if err := unix.Mount("ramfs", path, "ramfs", 0, "mode=700"); err != nil {
		t.Skip("no file system without holes: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	dir, err := disk.Claim(t.Context(), filepath.Join(path, "cache"), "a test", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := dir.Try(); !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("Try: %v", err)
	}
	if c, err := disk.Open(dir, options()); !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("Open: %v, %v", c, err)
	}
}
