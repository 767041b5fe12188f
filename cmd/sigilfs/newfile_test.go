package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNewFile: until it is whole a file does not have its name, and it takes that
// of no other, also not of one that came meanwhile; what failed leaves nothing.
func TestNewFile(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		during func(path string) error
		want   error
		left   string // under the name
	}{
		"whole":          {left: "all of it"},
		"fails":          {during: func(string) error { return broken }, want: broken},
		"came meanwhile": {during: func(path string) error { return os.WriteFile(path, []byte("another"), 0o644) }, want: fs.ErrExist, left: "another"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		err := newFile(path, func(w io.Writer) error {
			if _, err := io.WriteString(w, "all of it"); err != nil {
				return err
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: it has its name before it is whole: %v", name, err)
			}
			if tt.during != nil {
				return tt.during(path)
			}
			return nil
		})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if have, _ := os.ReadFile(path); string(have) != tt.left {
			t.Errorf("%s: left is %q", name, have)
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "file" {
			t.Errorf("%s: %v, %v", name, entries, err)
		}
		if info, err := os.Stat(path); tt.want == nil && (err != nil || info.Mode() != 0o600) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if tt.left == "" {
			continue
		}
		if err := newFile(path, func(io.Writer) error { return nil }); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: over what is there: %v", name, err)
		}
	}
}

// TestNewFileByLink: where the filesystem cannot rename to a free name the file gets
// it by a link, takes no other's, and leaves no second name.
func TestNewFileByLink(t *testing.T) {
	for _, cannot := range []error{unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP} {
		dir := t.TempDir()
		from, to, taken := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "taken")
		for path, text := range map[string]string{from: "whole", taken: "another"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		rename := func(string, string) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: cannot} }
		if err := takeName(from, taken, rename); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v: over another's: %v", cannot, err)
		}
		if err := takeName(from, to, rename); err != nil {
			t.Errorf("%v: %v", cannot, err)
		}
		if have, err := os.ReadFile(to); string(have) != "whole" || err != nil {
			t.Errorf("%v: it is %q, %v", cannot, have, err)
		}
		if have, _ := os.ReadFile(taken); string(have) != "another" {
			t.Errorf("%v: another's is %q", cannot, have)
		}
		if _, err := os.Lstat(from); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: the spare name: %v", cannot, err)
		}
	}
	refused := func(string, string) error { return fs.ErrPermission }
	if err := takeName("from", "to", refused); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("refused: %v", err)
	}
}

// TestNewFileUnsynced: that a name may be lost by a power failure is told as that.
func TestNewFileUnsynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone", "file")
	if err := syncName(path); !errors.Is(err, errUnsynced) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path+": it is there") {
		t.Error(err)
	}
	if err := syncName(filepath.Dir(path)); err != nil {
		t.Error(err)
	}
}
