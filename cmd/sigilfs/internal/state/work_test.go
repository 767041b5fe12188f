package state

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func share(t *testing.T) *Dir {
	t.Helper()
	d, err := Share(filepath.Join(t.TempDir(), "state"), ID{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func work(t *testing.T, d *Dir) *Work {
	t.Helper()
	w, err := d.NewWork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Release() })
	return w
}

// kill does to w what the end of its process does.
func kill(t *testing.T, w *Work) {
	t.Helper()
	for _, f := range w.held {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w.path, w.held = "", nil
}

func TestShareBesideAMount(t *testing.T) {
	root := filepath.Join(t.TempDir(), "state")
	mounted, err := Open(t.Context(), Options{Root: root, ID: ID{Bucket: "b"}, Owner: Owner{PID: os.Getpid(), Mountpoint: "/m"}})
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Close()
	d, err := Share(root, ID{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Path() != mounted.Path() || d.Host() != mounted.Host() {
		t.Errorf("%q %q, want those of the mount", d.Path(), d.Host())
	}
	if w := work(t, d); w.Host() == mounted.Host() {
		t.Error("it goes by the name of the mount, whose uploads that ends")
	}
}

func TestWorkOfTheDead(t *testing.T) {
	d := share(t)
	alive, dead := work(t, d), work(t, d)
	if err := os.MkdirAll(dead.Spool(), 0o700); err != nil {
		t.Fatal(err)
	}
	left := filepath.Dir(dead.Spool())
	name := dead.Host()
	kill(t, dead)

	w := work(t, d)
	if !slices.Equal(w.Dead(), []string{name}) {
		t.Fatalf("%q, want %q, and not %q", w.Dead(), name, alive.Host())
	}
	if other := work(t, d); len(other.Dead()) > 0 {
		t.Error("two bury the same one")
	}
	if err := w.Bury(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Error("it is still there")
	}
	if _, err := os.Lstat(filepath.Dir(alive.Spool())); err != nil {
		t.Error("a living one's is gone")
	}
}

// Who does not come to see to what the dead left in the bucket leaves that to
// the next one.
func TestNotBuried(t *testing.T) {
	d := share(t)
	dead := work(t, d)
	name := dead.Host()
	kill(t, dead)
	first, err := d.DeadWork()
	if err != nil || !slices.Equal(first.Dead(), []string{name}) {
		t.Fatal(first, err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if second := work(t, d); !slices.Equal(second.Dead(), []string{name}) {
		t.Errorf("%q", second.Dead())
	}
}

func TestReleased(t *testing.T) {
	d := share(t)
	w := work(t, d)
	if err := os.MkdirAll(w.Spool(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.Release(); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir(filepath.Join(d.Path(), "work"))
	if err != nil || len(all) > 0 {
		t.Error(all, err)
	}
}
