package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes around every boundary of the format: chunks of 64 KiB, segments of
// 8 MiB, and the line between one body and many parts.
var treeSizes = []int64{0, 1, 15, 16, 17, 4095, 4096, 65535, 65536, 65537, 1<<20 + 1, 8<<20 - 1, 8 << 20, 8<<20 + 1, 9 << 20}

// makeTree fills dir with the sorts of things that backups meet. Times lie in
// the past and have nanoseconds.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	names := []string{"a", "with space", "naïve", "per%cent", "plus+sign", "quote\"'", "#hash", "a;b&c=d", "日本", "-dash", ".hidden", "tilde~", "back\\slash", "star*", strings.Repeat("n", 200)}
	for i, size := range treeSizes {
		sub := filepath.Join(dir, fmt.Sprintf("d%d", i%3), "sub")
		must(t, os.MkdirAll(sub, 0o755))
		writeFile(t, filepath.Join(sub, names[i%len(names)]), content(uint64(i), size))
	}
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	must(t, os.Symlink("d0/sub/a", filepath.Join(dir, "link")))
	must(t, os.Symlink("/nowhere/at all", filepath.Join(dir, "dangling")))
	must(t, os.Chmod(filepath.Join(dir, "d0", "sub", "a"), 0o4711))
	must(t, os.Chmod(filepath.Join(dir, "d1"), os.ModeSticky|0o751))
	if os.Geteuid() == 0 {
		must(t, os.Lchown(filepath.Join(dir, "d1", "sub", "with space"), 12345, 54321))
	}
	setTimes(t, dir)
}

// setTimes gives everything below dir, and dir, a time of its own, the deepest
// first.
func setTimes(t *testing.T, dir string) {
	t.Helper()
	var paths []string
	must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		paths = append(paths, p)
		return err
	}))
	slices.Reverse(paths)
	base := time.Date(2019, 2, 3, 4, 5, 6, 0, time.UTC)
	for i, p := range paths {
		at := base.Add(time.Duration(i)*time.Hour + time.Duration(i)*1234567)
		ts := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// A thing is what sameTree compares of a file.
type thing struct {
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64
	MTime    time.Time
	Target   string
	Sum      sum
	Xattrs   map[string]string
}

type sum [sha256.Size]byte

func (s sum) String() string { return hex.EncodeToString(s[:4]) }

// sameTree fails the test unless both directories hold the same: names, types,
// modes, owners, sizes, times in ns, targets, content and user.* attributes.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	a, b := readTree(t, want), readTree(t, got)
	for name, w := range a {
		if g, ok := b[name]; !ok {
			t.Errorf("%s: %q is missing", got, name)
		} else if !reflect.DeepEqual(w, g) {
			t.Errorf("%s: %q is\n%+v, want\n%+v", got, name, g, w)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			t.Errorf("%s: %q should not be there", got, name)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func readTree(t *testing.T, dir string) map[string]thing {
	t.Helper()
	tree := map[string]thing{}
	must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		tree[name], err = readThing(p)
		return err
	}))
	return tree
}

func readThing(p string) (thing, error) {
	info, err := os.Lstat(p)
	if err != nil {
		return thing{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	got := thing{Mode: info.Mode(), UID: st.Uid, GID: st.Gid, MTime: info.ModTime().UTC()}
	switch {
	case info.Mode().IsRegular():
		got.Size = info.Size()
		if got.Sum, err = sumFile(p); err != nil {
			return thing{}, err
		}
	case info.Mode()&fs.ModeSymlink != 0:
		if got.Target, err = os.Readlink(p); err != nil {
			return thing{}, err
		}
	}
	if info.Mode().IsRegular() || info.IsDir() {
		got.Xattrs, err = userXattrs(p)
	}
	return got, err
}

func userXattrs(p string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		return nil, fmt.Errorf("listxattr %s: %w", p, err)
	}
	found := map[string]string{}
	for name := range bytes.SplitSeq(buf[:n], []byte{0}) {
		if !bytes.HasPrefix(name, []byte("user.")) || bytes.HasPrefix(name, []byte("user.sigil.")) {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(p, string(name), value)
		if err != nil {
			return nil, fmt.Errorf("getxattr %s %s: %w", p, name, err)
		}
		found[string(name)] = string(value[:n])
	}
	return found, nil
}

// content is size bytes that do not compress and depend on seed alone.
func content(seed uint64, size int64) []byte {
	b := make([]byte, size)
	_, _ = io.ReadFull(stream(seed), b)
	return b
}

// stream is content without an end.
func stream(seed uint64) io.Reader {
	return rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed)))
}

func sumFile(p string) (sum, error) {
	f, err := os.Open(p)
	if err != nil {
		return sum{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum{}, err
	}
	return sum(h.Sum(nil)), nil
}

// writeFile writes and closes, and an error of either fails the test.
func writeFile(t *testing.T, p string, b []byte) {
	t.Helper()
	must(t, os.WriteFile(p, b, 0o644))
}

// wantFile fails the test unless p holds want.
func wantFile(t *testing.T, p string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes (SHA-256 %.8x), want %d (%.8x)", p, len(got), sha256.Sum256(got), len(want), sha256.Sum256(want))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
