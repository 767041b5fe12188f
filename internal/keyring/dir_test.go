package keyring

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDirOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "keys")
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	b := newBucket()
	var said reports
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: d, Report: said.add}
	id, key := mustCurrent(t, mustRing(t, opt))
	files, err := os.ReadDir(path)
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		if data, _ := os.ReadFile(filepath.Join(path, f.Name())); bytes.Contains(data, key[:]) {
			t.Errorf("%s holds the key", f.Name())
		}
	}
	sum := sha256.Sum256(key[:])
	if rec, err := d.record(id, sum); err != nil || rec.Sum != sum || !rec.Own || rec.State != Live {
		t.Errorf("record %+v, %v", rec, err)
	}
	// Damage and links are reported, and a new epoch is made.
	for _, f := range files {
		name := filepath.Join(path, f.Name())
		if err := os.Rename(name, name+".moved"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name+".moved", name); err != nil {
			t.Fatal(err)
		}
	}
	if next, _ := mustCurrent(t, mustRing(t, opt)); next == id || said.count() == 0 {
		t.Error("state behind a symbolic link was followed, or not reported")
	}
}

func TestOpenDirRefuses(t *testing.T) {
	base := t.TempDir()
	open := filepath.Join(base, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	mine, link := filepath.Join(base, "mine"), filepath.Join(base, "link")
	if _, err := OpenDir(mine); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, link); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, nil, 0o600)
	for path, want := range map[string]string{open: "chmod 700", link: "not a directory", file: "not a directory"} {
		if _, err := OpenDir(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestDirThatFails: a mount goes on without memory.
func TestDirThatFails(t *testing.T) {
	d := mustDir(t)
	if err := os.RemoveAll(d.path); err != nil {
		t.Fatal(err)
	}
	var said reports
	r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: newBucket(), Dir: d, Report: said.add})
	mustCurrent(t, r)
	if said.count() == 0 {
		t.Error("not reported")
	}
}
