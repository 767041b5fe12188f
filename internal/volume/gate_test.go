package volume

import (
	"errors"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// Nothing reaches the store of a volume that is suspended, and what was written
// then does when it goes on.
func TestSuspend(t *testing.T) {
	m := mem.New(mem.Options{})
	v := mount(t, m)
	put := func(name, content string) *File {
		t.Helper()
		f, err := v.Create(t.Context(), name, Attr{Mode: 0o644}, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Release)
		if _, err := f.WriteAt(t.Context(), []byte(content), 0); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if err := put("a", "before").Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	why := errors.New("another volume lies there")
	v.Suspend(why)
	if s := v.Stats(); !errors.Is(s.Suspended, why) {
		t.Errorf("stats: %v", s.Suspended)
	}
	f := put("b", "while")
	if err := f.Flush(t.Context()); !errors.Is(err, ErrSuspended) || !errors.Is(err, why) {
		t.Errorf("flush: %v", err)
	}
	for name, err := range map[string]error{
		"remove": v.Remove(t.Context(), "a"), "rename": v.Rename(t.Context(), "a", "c", false),
	} {
		if !errors.Is(err, ErrSuspended) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for e, err := range m.List(t.Context(), objstore.ListOptions{}) {
		if err != nil || e.Key == v.fileKey("b") || e.Key == v.fileKey("c") {
			t.Errorf("%q, %v", e.Key, err)
		}
	}
	v.Suspend(nil)
	if err := f.Flush(t.Context()); err != nil {
		t.Errorf("flush after it: %v", err)
	}
	if _, err := m.Head(t.Context(), objstore.ID{Key: v.fileKey("b")}); err != nil {
		t.Error(err)
	}
}
