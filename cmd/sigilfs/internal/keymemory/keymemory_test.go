package keymemory

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	idA = "0123456789abcdef"
	idB = "fedcba9876543210"
)

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *File) wants(t *testing.T, key, id string, known bool) {
	t.Helper()
	if got, ok := f.Recall(key); got != id || ok != known {
		t.Errorf("%s: %q, %v", key, got, ok)
	}
}

func TestMemoryOutlivesTheMount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	f := open(t, path)
	f.wants(t, "secret/name", "", false)
	f.Remember("secret/name", idA)
	f.Remember("plain", idA)
	f.Remember("plain", "")
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	f = open(t, path)
	f.wants(t, "secret/name", idA, true)
	f.wants(t, "plain", "", true)
	f.wants(t, "other", "", false)
	f.Remember("secret/name", idB)
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	open(t, path).wants(t, "secret/name", idB, true)
	data, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(data), "secret") {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestDamageIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	f := open(t, path)
	f.Remember("a", idA)
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "\n", "x", "zzzzzzzzzzzzzzzz " + idA, "0000000000000000 " + idA + "00", "0000000000000000", "\x00\xff"} {
		if err := os.WriteFile(path, []byte(bad+"\n"+string(good)+bad), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, path).wants(t, "a", idA, true)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	f, err = Open(path)
	if err == nil {
		t.Error("a symbolic link was followed")
	}
	f.Remember("a", idB)
	f.wants(t, "a", idB, true)
	if err := f.Save(); err != nil {
		t.Error(err)
	}
	if to, err := os.Readlink(path); err != nil || to != "/etc/passwd" {
		t.Errorf("the link was replaced: %q, %v", to, err)
	}
}

// Nobody who looks a key up waits for the disk, and what was not written is
// written by the next Save.
func TestSaveHoldsNobodyUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "keys")
	f := open(t, path)
	f.Remember("a", idA)
	if err := f.Save(); err == nil {
		t.Fatal("saved where no directory is")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	open(t, path).wants(t, "a", idA, true)

	f.saving.Lock() // as if the disk hung
	f.Remember("b", idB)
	f.wants(t, "b", idB, true)
	f.saving.Unlock()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			f.Remember("c", idA)
			if err := f.Save(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	open(t, path).wants(t, "c", idA, true)
}

func FuzzTake(f *testing.F) {
	f.Add("0123456789abcdef " + idA)
	f.Add("0123456789abcdef -")
	f.Fuzz(func(t *testing.T, line string) {
		m := &File{known: map[name]string{}}
		m.take(line)
		for _, id := range m.known {
			if id != "" && !validID(id) {
				t.Errorf("%q", id)
			}
		}
	})
}
