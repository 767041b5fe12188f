package control

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// All of a place are found, but for dead ones and what is named otherwise than
// it says.
func TestIn(t *testing.T) {
	place := filepath.Join(t.TempDir(), "run")
	var files []*File
	for _, dir := range []string{"/mnt/b", "/mnt/a", "/mnt/dead"} {
		c, err := Create([]string{place}, Record{PID: os.Getpid(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer c.f.Close()
		files = append(files, c)
	}
	_ = files[2].f.Close()
	if err := os.Link(files[0].path, filepath.Join(place, "stray.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(files[0].path, filepath.Join(place, name("/mnt/link")+".json")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range in(place, os.Geteuid()) {
		got = append(got, p.Record().Dir)
		if p.UID() != os.Geteuid() || filepath.Dir(p.Socket()) != place || filepath.Ext(p.Socket()) != ".sock" {
			t.Errorf("%d, %s", p.UID(), p.Socket())
		}
		_ = p.Close()
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"/mnt/a", "/mnt/b"}) {
		t.Errorf("found %q", got)
	}
	if in(place, os.Geteuid()+1) != nil {
		t.Error("a place of another user was believed")
	}
	if files[0].Socket() == files[1].Socket() {
		t.Error("two mounts have one socket")
	}
}

func TestUsers(t *testing.T) {
	if got := users(1000); !slices.Equal(got, []int{1000}) {
		t.Errorf("user 1000 looks into the places of %v", got)
	}
	if got := users(0); got[0] != 0 {
		t.Errorf("%v", got)
	}
}
