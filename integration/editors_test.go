package integration

import (
	"os"
	"path/filepath"
	"testing"
)

// The ways in which editors save a file; each ends with the new content under
// the name and leaves nothing else but the backup it says.
func TestEditorsSave(t *testing.T) {
	write := func(t *testing.T, name string, flag int, text string, mode os.FileMode) {
		t.Helper()
		f, err := os.OpenFile(name, flag|os.O_WRONLY, mode)
		must(t, err)
		_, err = f.WriteString(text)
		must(t, err)
		must(t, f.Sync())
		must(t, f.Close())
	}
	tests := []struct {
		name   string
		save   func(t *testing.T, file, text string)
		backup string // what stays beside the file
	}{
		{"temporary file, rename over", func(t *testing.T, file, text string) {
			write(t, file+".tmp", os.O_CREATE|os.O_EXCL, text, 0o600)
			must(t, os.Chmod(file+".tmp", 0o644))
			must(t, os.Rename(file+".tmp", file))
		}, ""},
		{"vim, backupcopy=no", func(t *testing.T, file, text string) {
			must(t, os.Rename(file, file+"~"))
			write(t, file, os.O_CREATE, text, 0o644)
			must(t, os.Remove(file+"~"))
		}, ""},
		{"vim, backupcopy=yes", func(t *testing.T, file, text string) {
			old, err := os.ReadFile(file)
			must(t, err)
			write(t, file+"~", os.O_CREATE, string(old), 0o644)
			write(t, file, os.O_TRUNC, text, 0)
			must(t, os.Remove(file+"~"))
		}, ""},
		{"emacs, backup by rename", func(t *testing.T, file, text string) {
			must(t, os.Rename(file, file+"~"))
			write(t, file, os.O_CREATE, text, 0o644)
		}, "~"},
		{"in place, shorter", func(t *testing.T, file, text string) {
			write(t, file, 0, text, 0)
			must(t, os.Truncate(file, int64(len(text))))
		}, ""},
		{"shell redirection", func(t *testing.T, file, text string) {
			write(t, file, os.O_TRUNC|os.O_CREATE, text, 0o644)
		}, ""},
	}
	d := newDisk(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(d.Dir(), string(rune('a'+i)))
			must(t, os.Mkdir(dir, 0o755))
			file := filepath.Join(dir, "text")
			writeFile(t, file, []byte("the old text, which is longer"))
			tt.save(t, file, "the new text")
			check := func() {
				t.Helper()
				wantFile(t, file, []byte("the new text"))
				want := 1
				if tt.backup != "" {
					want = 2
					wantFile(t, file+tt.backup, []byte("the old text, which is longer"))
				}
				if entries, err := os.ReadDir(dir); err != nil || len(entries) != want {
					t.Errorf("left behind: %v, %v", entries, err)
				}
			}
			check()
			d.Remount(t)
			check()
		})
	}
}
