package state

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMoves(t *testing.T) {
	d := &Dir{path: t.TempDir()}
	if err := os.Chmod(d.path, 0o700); err != nil {
		t.Fatal(err)
	}
	open := func() *Moves {
		t.Helper()
		m, err := d.Moves()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	for _, id := range []string{"aa", "bb", "cc"} {
		if m.Begun(id) {
			t.Errorf("%s is known", id)
		}
		if err := m.Begin(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.End("aa"); err != nil {
		t.Fatal(err)
	}
	if err := m.End("aa"); err != nil {
		t.Errorf("again: %v", err)
	}
	m = open()
	if m.Begun("aa") || !m.Begun("bb") || !m.Begun("cc") {
		t.Error("not what was noted")
	}
	if err := m.Retain(map[string]bool{"cc": true, "dd": true}); err != nil {
		t.Fatal(err)
	}
	if m.Begun("bb") || !m.Begun("cc") || m.Begun("dd") {
		t.Error("not what was to be kept")
	}
	if info, err := os.Stat(filepath.Join(d.path, "moves", "cc")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
