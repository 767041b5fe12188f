package integration

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// beside mounts the volume of m a second time, as another host would: with the
// same key, and a state of its own.
func beside(t *testing.T, m *mount) *mount {
	t.Helper()
	base := t.TempDir()
	other := *m
	other.daemon = nil
	other.state, other.dir = filepath.Join(base, "state"), filepath.Join(base, "mnt")
	must(t, os.Mkdir(other.state, 0o700))
	must(t, os.Mkdir(other.dir, 0o755))
	t.Cleanup(func() { other.cleanup(t) })
	other.Start(t)
	return &other
}

// What one host closed another opens, whole.
func TestCloseToOpenBetweenHosts(t *testing.T) {
	a := newMount(t, mountOptions{Args: []string{"--attr-timeout", "1ms"}})
	b := beside(t, a)
	for i, size := range []int64{0, 1, 100_000, segment + 1, 17} {
		want := content(uint64(i), size)
		writeFile(t, a.Path("file"), want)
		wantFile(t, b.Path("file"), want)
		a, b = b, a
	}
}

// Two hosts make one file at once: one wins, the other is told so, and the
// data of both is there.
func TestTwoHostsCreateOneFile(t *testing.T) {
	a := newMount(t, mountOptions{})
	b := beside(t, a)
	fa, err := os.OpenFile(a.Path("file"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	must(t, err)
	fb, err := os.OpenFile(b.Path("file"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	must(t, err)
	_, err = fa.WriteString("from a")
	must(t, err)
	_, err = fb.WriteString("from b")
	must(t, err)
	must(t, fa.Close())
	if err := fb.Close(); !errors.Is(err, unix.EEXIST) {
		t.Errorf("close of the second: %v, want EEXIST", err)
	}
	wantFile(t, a.Path("file"), []byte("from a"))
	wantFile(t, conflictFile(t, a, "file"), []byte("from b"))
}

// Two hosts overwrite one file: no update is lost unseen.
func TestTwoHostsOverwriteOneFile(t *testing.T) {
	a := newMount(t, mountOptions{})
	b := beside(t, a)
	writeFile(t, a.Path("file"), []byte("before"))
	fb, err := os.OpenFile(b.Path("file"), os.O_WRONLY, 0)
	must(t, err)
	_, err = fb.WriteAt([]byte("B"), 0)
	must(t, err)
	writeFile(t, a.Path("file"), []byte("from a"))
	if err := fb.Close(); !errors.Is(err, unix.ESTALE) {
		t.Errorf("close of the second: %v, want ESTALE", err)
	}
	wantFile(t, a.Path("file"), []byte("from a"))
	wantFile(t, conflictFile(t, a, "file"), []byte("Before"))
}

// conflictFile finds the one copy that lies beside a file.
func conflictFile(t *testing.T, m *mount, name string) string {
	t.Helper()
	entries, err := os.ReadDir(m.Dir())
	must(t, err)
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), name+".conflict-") })
	if len(entries) != 1 {
		t.Fatalf("%d conflict files: %v", len(entries), entries)
	}
	return m.Path(entries[0].Name())
}

// A reader who has a file open while another host replaces it reads the old
// version or ESTALE, never both versions in one.
func TestOpenFileIsPinnedToItsVersion(t *testing.T) {
	a := newMount(t, mountOptions{})
	b := beside(t, a)
	old, next := bytes.Repeat([]byte("old."), 3<<20), bytes.Repeat([]byte("next"), 3<<20)
	writeFile(t, a.Path("file"), old)
	f, err := os.Open(b.Path("file"))
	must(t, err)
	defer f.Close()
	got := make([]byte, len(old))
	_, err = f.ReadAt(got[:1<<20], 0)
	must(t, err)
	writeFile(t, a.Path("file"), next)
	n, err := f.ReadAt(got[1<<20:], 1<<20)
	if !bytes.Equal(got[:1<<20+n], old[:1<<20+n]) {
		t.Error("the open file shows another version")
	}
	if err != nil && !errors.Is(err, unix.ESTALE) {
		t.Errorf("read: %v, want ESTALE", err)
	}
	wantFile(t, b.Path("file"), next)
}

// mkdir is exclusive among hosts: it is what borg's lock is made of.
func TestMkdirIsExclusiveBetweenHosts(t *testing.T) {
	a := newMount(t, mountOptions{})
	b := beside(t, a)
	for range 5 {
		var errs [2]error
		var wg sync.WaitGroup
		for i, m := range []*mount{a, b} {
			wg.Go(func() { errs[i] = os.Mkdir(m.Path("lock"), 0o755) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("mkdir by two hosts: %v and %v", errs[0], errs[1])
		}
		if lost := errors.Join(errs[0], errs[1]); !errors.Is(lost, unix.EEXIST) {
			t.Errorf("mkdir of the second: %v, want EEXIST", lost)
		}
		must(t, os.Remove(a.Path("lock")))
	}
}
