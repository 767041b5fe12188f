package scratch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A block that was changed, moved, replaced or cut gives ErrCorrupt and
// nothing of itself; the others stay readable.
func TestTampering(t *testing.T) {
	const blocks = 4 // the last of 100 bytes
	want := random(3*BlockSize + 100)
	last := int64(3*sealedSize + 100 + tagSize)
	for _, c := range []struct {
		name   string
		tamper func(t *testing.T, f *os.File)
		bad    []int64
	}{
		{"a bit", func(t *testing.T, f *os.File) { flip(t, f, sealedSize+1000) }, []int64{1}},
		{"a bit of a tag", func(t *testing.T, f *os.File) { flip(t, f, sealedSize-1) }, []int64{0}},
		{"a bit of the last tag", func(t *testing.T, f *os.File) { flip(t, f, last-1) }, []int64{3}},
		{"two blocks exchanged", func(t *testing.T, f *os.File) {
			a, b := piece(t, f, 0, sealedSize), piece(t, f, sealedSize, sealedSize)
			put(t, f, b, 0)
			put(t, f, a, sealedSize)
		}, []int64{0, 1}},
		{"a block over another", func(t *testing.T, f *os.File) { put(t, f, piece(t, f, 0, sealedSize), 2*sealedSize) }, []int64{2}},
		{"a hole", func(t *testing.T, f *os.File) { put(t, f, make([]byte, sealedSize), sealedSize) }, []int64{1}},
		{"cut in a block", func(t *testing.T, f *os.File) { must(t, f.Truncate(2*sealedSize+5)) }, []int64{2, 3}},
		{"cut at a block", func(t *testing.T, f *os.File) { must(t, f.Truncate(3*sealedSize)) }, []int64{3}},
		{"cut to nothing", func(t *testing.T, f *os.File) { must(t, f.Truncate(0)) }, []int64{0, 1, 2, 3}},
		{"longer", func(t *testing.T, f *os.File) { put(t, f, []byte("more"), last) }, nil},
		{"another file's block", func(t *testing.T, f *os.File) {
			other := filled(t, want)
			put(t, f, piece(t, other.f, 0, sealedSize), 0)
		}, []int64{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := filled(t, want)
			c.tamper(t, outside(t, f))
			bad := map[int64]bool{}
			for _, i := range c.bad {
				bad[i] = true
			}
			for i := range int64(blocks) {
				p := bytes.Repeat([]byte{0xee}, int(min(BlockSize, f.Size()-i*BlockSize)))
				untouched := bytes.Clone(p)
				n, err := f.ReadAt(t.Context(), p, i*BlockSize)
				switch {
				case bad[i] && (n != 0 || !errors.Is(err, ErrCorrupt) || !bytes.Equal(p, untouched)):
					t.Errorf("block %d: %d bytes, %v", i, n, err)
				case !bad[i] && (err != nil || !bytes.Equal(p, want[i*BlockSize:][:len(p)])):
					t.Errorf("block %d is gone too: %v", i, err)
				}
			}
			if len(c.bad) == 0 {
				return
			}
			p := make([]byte, len(want))
			n, err := f.ReadAt(t.Context(), p, 0)
			if first := c.bad[0] * BlockSize; int64(n) != first || !errors.Is(err, ErrCorrupt) || !bytes.Equal(p[:n], want[:n]) {
				t.Errorf("whole: %d bytes, %v; want %d", n, err, first)
			}
		})
	}
}

// outside opens the file as somebody else would who may look into the process.
func outside(t *testing.T, f *File) *os.File {
	t.Helper()
	g, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.f.Fd()), os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { must(t, g.Close()) })
	return g
}

func piece(t *testing.T, f *os.File, off int64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, err := f.ReadAt(b, off)
	must(t, err)
	return b
}

func put(t *testing.T, f *os.File, b []byte, off int64) {
	t.Helper()
	_, err := f.WriteAt(b, off)
	must(t, err)
}

func flip(t *testing.T, f *os.File, off int64) {
	t.Helper()
	b := piece(t, f, off, 1)
	b[0] ^= 1
	put(t, f, b, off)
}

func TestNothingReadableOnDisk(t *testing.T) {
	line := []byte("a line that nobody else should read\n")
	f := filled(t, bytes.Repeat(line, 10000))
	raw, err := io.ReadAll(outside(t, f))
	must(t, err)
	if len(raw) < 10000*len(line) {
		t.Fatalf("%d bytes on disk", len(raw))
	}
	if bytes.Contains(raw, line[:8]) {
		t.Error("the plaintext is on disk")
	}
	// The same block twice gives two ciphertexts, and another File a third.
	same := make([]byte, 2*BlockSize)
	a, err := io.ReadAll(outside(t, filled(t, same)))
	must(t, err)
	b, err := io.ReadAll(outside(t, filled(t, same)))
	must(t, err)
	if bytes.Equal(a[:sealedSize], a[sealedSize:]) || bytes.Equal(a[:sealedSize], b[:sealedSize]) {
		t.Error("equal plaintext shows")
	}
}

func TestNoNameAndNoAccess(t *testing.T) {
	for name, open := range map[string]func(string) (*os.File, error){"unnamed": open, "without O_TMPFILE": openNamed} {
		t.Run(name, func(t *testing.T) {
			old := unix.Umask(0)
			defer unix.Umask(old)
			dir := t.TempDir()
			f, err := open(dir)
			must(t, err)
			defer f.Close()
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 0 {
				t.Errorf("in the directory: %v, %v", entries, err)
			}
			var st unix.Stat_t
			must(t, unix.Fstat(int(f.Fd()), &st))
			if st.Mode != unix.S_IFREG|0o600 || st.Nlink != 0 {
				t.Errorf("mode %o, %d links", st.Mode, st.Nlink)
			}
			flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
			if err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor flags %x, %v: a child would have it", flags, err)
			}
			link := dir + "/link"
			must(t, os.Symlink(dir, link))
			if g, err := open(link); err == nil {
				t.Errorf("%s: a symbolic link was followed", g.Name())
				_ = g.Close()
			}
		})
	}
}

func TestBudget(t *testing.T) {
	b := NewBudget(2*sealedSize + 100 + tagSize)
	dir := t.TempDir()
	f := mustNew(t, dir, b)
	_, err := f.Write(random(2 * BlockSize))
	must(t, err)
	g := mustNew(t, dir, b)
	n, err := g.Write(random(BlockSize + 10))
	if n != 0 || !errors.Is(err, ErrFull) {
		t.Fatalf("beyond the budget: %d, %v", n, err)
	}
	if size := stat(t, g).Size; size != 0 {
		t.Errorf("%d bytes reached the disk", size)
	}
	_, again := g.Write([]byte("x"))
	wants(t, again, ErrFull)
	wants(t, g.Finish(), ErrFull)
	if _, err := g.ReadAt(t.Context(), make([]byte, 1), 0); err == nil {
		t.Error("an unfinished file can be read")
	}

	// The other File goes on, to the last byte.
	_, err = f.Write(random(100))
	must(t, err)
	must(t, f.Finish())
	if b.Used() != b.Limit() || b.Used() != Sealed(f.Size()) {
		t.Errorf("used %d of %d, Sealed says %d", b.Used(), b.Limit(), Sealed(f.Size()))
	}
	h := mustNew(t, dir, b)
	_, err = h.Write([]byte("x"))
	must(t, err)
	wants(t, h.Finish(), ErrFull)
	must(t, f.Close())
	must(t, g.Close())
	must(t, h.Close())
	if b.Used() != 0 {
		t.Errorf("%d bytes used after all were closed", b.Used())
	}
	_, err = mustNew(t, dir, b).Write(random(2 * BlockSize))
	must(t, err)
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		limit, size int64
		want        bool
	}{
		{0, 0, true},
		{-1, 1, false},
		{16, 1, false},
		{17, 1, true},
		{sealedSize, BlockSize, true},
		{sealedSize, BlockSize + 1, false},
		{1<<63 - 1, 1<<63 - 1, false},
		{1<<63 - 1, 1 << 62, true},
	} {
		if got := NewBudget(c.limit).Fits(c.size); got != c.want {
			t.Errorf("%d bytes in %d: %v", c.size, c.limit, got)
		}
	}
}

// TestDiskFull fills a real file system.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }) // also of a test that failed with a file open
	b := NewBudget(1 << 30)
	f, err := New(dir, b)
	must(t, err)
	_, err = f.Write(random(1 << 20))
	if !errors.Is(err, ErrFull) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	wants(t, f.Finish(), ErrFull)
	must(t, f.Close())
	if b.Used() != 0 {
		t.Errorf("%d bytes used", b.Used())
	}
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	if st.Bfree != st.Blocks {
		t.Errorf("%d of %d blocks free after Close", st.Bfree, st.Blocks)
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	f := filled(t, []byte("the content"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, f); got != "scratch file of 11 bytes" {
			t.Errorf("%s: %s", verb, strings.ToValidUTF8(got, "?"))
		}
	}
}

func BenchmarkReadAt(b *testing.B) {
	f := filled(b, random(16<<20))
	p := make([]byte, 128<<10)
	b.SetBytes(int64(len(p)))
	for i := int64(0); b.Loop(); i++ {
		if _, err := f.ReadAt(b.Context(), p, i*int64(len(p))%(16<<20)); err != nil {
			b.Fatal(err)
		}
	}
}
