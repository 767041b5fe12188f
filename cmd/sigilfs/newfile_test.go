package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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
