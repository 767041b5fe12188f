package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// someText is content to copy.
type someText string

func (s someText) copyTo(_ context.Context, w io.Writer, _ func(int64)) error {
	_, err := io.WriteString(w, string(s))
	return err
}

func (someText) close() {}

// Who decrypts to /dev/null as root has it still; what is a file, or only a link,
// is replaced.
func TestCopiesSpareDevices(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"stdout": fifo, "dangling": "nowhere", "link": "file"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		ok   bool
	}{{"fifo", false}, {"stdout", false}, {"dangling", true}, {"link", true}, {"file", true}, {"file", true}} {
		path := filepath.Join(dir, c.name)
		before, _ := os.Lstat(path)
		err := writeLocal(t, path, "text")
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		after, serr := os.Lstat(path)
		switch {
		case serr != nil:
			t.Error(serr)
		case c.ok && !after.Mode().IsRegular(), !c.ok && after.Mode() != before.Mode():
			t.Errorf("%s is %v", c.name, after.Mode())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".sigilfs-*")); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

func writeLocal(t *testing.T, path, text string) error {
	t.Helper()
	l, err := openLocal(path, false, 0o022)
	if err != nil {
		return err
	}
	defer l.root.Close()
	if err := l.file(t.Context(), l.name, node{mode: unix.S_IFREG | 0o666}, someText(text), func(int64) {}); err != nil {
		return err
	}
	return l.end()
}

// The same inode number on two devices, as of subvolumes of Btrfs, whose minor
// numbers have more than eight bits, is no hard link.
func TestFilesOfTwoDevices(t *testing.T) {
	a := unix.Stat_t{Ino: 257, Dev: unix.Mkdev(0, 42), Nlink: 2}
	b := a
	b.Dev = unix.Mkdev(0, 42+256)
	if nodeOf(&a).id == nodeOf(&b).id {
		t.Errorf("%d and %d are one file", a.Dev, b.Dev)
	}
	if again := a; nodeOf(&a).id != nodeOf(&again).id {
		t.Error("a file is two")
	}
}

// Nor does a further name of a file take a device's or fifo's place.
func TestLinksSpareDevices(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLocal(dir, true, 0o022)
	if err != nil {
		t.Fatal(err)
	}
	defer l.root.Close()
	if err := l.link(t.Context(), "file", "fifo"); err == nil {
		t.Error("a file stands in the place of a fifo")
	}
	if info, err := os.Lstat(filepath.Join(dir, "fifo")); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("it is %v, %v", info, err)
	}
	if err := l.link(t.Context(), "file", "other"); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".sigilfs-*")); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]int64{
		"@0": 0, "@1.5": 1_500_000_000, "@-1": -1_000_000_000, "1970-01-01T00:00:01Z": 1_000_000_000, "1970-01-01T01:00:00.5+01:00": 500_000_000,
	} {
		if got, err := parseTime(text); err != nil || got.UnixNano() != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "@", "@x", "@5m3", "@1h", "@9999999999999", "yesterday", "2400-01-01T00:00:00Z", "0001-01-01T00:00:00Z"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
