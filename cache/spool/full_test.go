package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLimitGivesErrFullAndKeepsContent(t *testing.T) {
	s := mustOpen(t, t.TempDir()+"/s", newKey(), 4*slotSize)
	defer s.Close()
	f := mustFile(t, s, 0)
	want := fillUp(t, f)
	if got := s.Used(); got != 4*slotSize {
		t.Fatalf("used %d of %d", got, s.Limit())
	}
	checkFull(t, s, f, want)
}

// TestDiskFull fills a real file system.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }) // also of a test that failed with a file open
	for _, tt := range []struct {
		name    string
		reserve int64
	}{{"to the last byte", -1}, {"with a reserve", 256 << 10}} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(dir, Options{Limit: 1 << 30, Reserve: tt.reserve, Key: newKey()})
			must(t, err)
			defer s.Close()
			early := mustFile(t, s, 0)
			must(t, early.WriteAt([]byte("in memory, with its space set aside"), 0, nil))
			f := mustFile(t, s, 0)
			want := fillUp(t, f)
			must(t, early.Sync())
			must(t, early.Remove())
			want = append(want, fillMore(t, f, int64(len(want)))...)
			var st unix.Statfs_t
			must(t, unix.Statfs(dir, &st))
			if free := int64(st.Bavail) * st.Bsize; free < tt.reserve || free > max(tt.reserve, 0)+2*slotSize {
				t.Fatalf("%d bytes left free, want about %d", free, tt.reserve)
			}
			checkFull(t, s, f, want)
		})
	}
}

// fillUp writes until the spool is full.
func fillUp(t *testing.T, f *File) []byte {
	t.Helper()
	return fillMore(t, f, 0)
}

func fillMore(t *testing.T, f *File, off int64) []byte {
	t.Helper()
	var want []byte
	for i := 0; ; i++ {
		p := bytes.Repeat([]byte{byte(i + 1)}, BlockSize)
		err := f.WriteAt(p, off+int64(len(want)), nil)
		if errors.Is(err, ErrFull) {
			break
		}
		must(t, err)
		want = append(want, p...)
	}
	return want
}

// checkFull tries every kind of write.
func checkFull(t *testing.T, s *Spool, f *File, want []byte) {
	t.Helper()
	for name, write := range map[string]func() error{
		"overwrite":       func() error { return f.WriteAt(make([]byte, BlockSize), 0, nil) },
		"small overwrite": func() error { return f.WriteAt([]byte("x"), 7, nil) },
		"small append":    func() error { return f.WriteAt([]byte("x"), int64(len(want)), nil) },
		"truncate inside": func() error { return f.Truncate(int64(len(want)) - 1) },
	} {
		if err := write(); !errors.Is(err, ErrFull) {
			t.Errorf("%s on a full spool: %v, want ErrFull", name, err)
		}
		got, err := readAll(f, nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after a failed %s the content differs (%v)", name, err)
		}
	}
	consistent(t, f)
	// Space that comes free can be used at once.
	must(t, f.Truncate(BlockSize))
	must(t, f.WriteAt([]byte("x"), 7, nil))
	must(t, f.Remove())
	if s.Used() != 0 {
		t.Fatalf("%d bytes used after Remove", s.Used())
	}
}

// A block in memory has its place on disk: sealing it cannot fail for space.
func TestHotBlockHasItsSpace(t *testing.T) {
	s := mustOpen(t, t.TempDir()+"/s", newKey(), 2*slotSize)
	defer s.Close()
	f, g := mustFile(t, s, 0), mustFile(t, s, 0)
	must(t, f.WriteAt([]byte("f"), 0, nil))
	must(t, g.WriteAt([]byte("g"), 0, nil))
	if err := mustFile(t, s, 0).WriteAt([]byte("h"), 0, nil); !errors.Is(err, ErrFull) {
		t.Fatalf("third block: %v", err)
	}
	must(t, f.Sync())
	must(t, g.Sync())
}

// What Sync made durable stays until its successor is, yet a full spool is
// not full because of it.
func TestDurableBlocksWaitForTheirSuccessors(t *testing.T) {
	s := mustOpen(t, t.TempDir()+"/s", newKey(), 2*slotSize)
	defer s.Close()
	f := mustFile(t, s, 0)
	p := make([]byte, BlockSize)
	must(t, f.WriteAt(p, 0, nil))
	must(t, f.Sync())
	must(t, f.WriteAt(p, 0, nil))
	if s.Used() != 2*slotSize || len(f.slots.held) != 1 || len(f.slots.spare) != 0 {
		t.Fatalf("used %d: the durable block may be overwritten", s.Used())
	}
	must(t, f.WriteAt(p, 0, nil))
	must(t, f.WriteAt(p, BlockSize, nil))
	consistent(t, f)
}

func TestMemoryIsBounded(t *testing.T) {
	s := mustOpen(t, t.TempDir()+"/s", newKey(), 1<<40)
	defer s.Close()
	files := make([]*File, hotMax+10)
	for i := range files {
		files[i] = mustFile(t, s, 0)
		must(t, files[i].WriteAt([]byte(fmt.Sprint(i)), 0, nil))
	}
	if n := s.hot.Load(); n > hotMax {
		t.Fatalf("%d blocks in memory", n)
	}
	for i, f := range files {
		if got, err := readAll(f, nil); err != nil || string(got) != fmt.Sprint(i) {
			t.Fatalf("file %d: %q, %v", i, got, err)
		}
		must(t, f.Remove())
	}
	if n := s.hot.Load(); n != 0 {
		t.Fatalf("%d blocks in memory after all files went", n)
	}
}

func TestHugeSparseFile(t *testing.T) {
	const size = 5 << 40
	s := mustOpen(t, t.TempDir()+"/s", newKey(), 1<<30)
	defer s.Close()
	f := mustFile(t, s, size)
	must(t, f.WriteAt([]byte("end"), size-3, fromZero))
	must(t, f.Zero(BlockSize, size/2, nil))
	for _, tt := range []struct {
		off  int64
		kind Kind
		end  int64
	}{
		{0, Base, BlockSize},
		{BlockSize, Zero, BlockSize + size/2},
		{size / 2, Zero, BlockSize + size/2},
		{BlockSize + size/2, Base, size - BlockSize},
		{size - 1, Data, size},
		{size, Zero, size},
	} {
		if kind, end := f.Extent(tt.off); kind != tt.kind || end != tt.end {
			t.Errorf("extent at %d: %d until %d, want %d until %d", tt.off, kind, end, tt.kind, tt.end)
		}
	}
	must(t, f.Truncate(1))
	if got := s.Used(); got != 0 {
		t.Errorf("%d bytes used after truncation", got)
	}
}

func fromZero(_ int64, p []byte) error { clear(p); return nil }

func TestNothingIsLeftAfterClose(t *testing.T) {
	dir := t.TempDir() + "/s"
	s := mustOpen(t, dir, newKey(), 1<<30)
	f := mustFile(t, s, 0)
	must(t, f.WriteAt([]byte("x"), 0, nil))
	must(t, f.SetMeta([]byte("m")))
	must(t, f.Remove())
	must(t, s.Close())
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Fatalf("left: %v, %v", entries, err)
	}
}
