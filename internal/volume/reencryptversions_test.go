package volume

import (
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// pastOf counts the old versions of all keys, and has them removed with remove.
func pastOf(f *fixture, opt ReencryptOptions, remove bool) (n OldVersions) {
	r := f.Reencrypt(opt)
	for h, err := range r.Histories(f.ctx, "") {
		f.must(err)
		one, err := r.Old(f.ctx, h, remove)
		f.must(err)
		n.Add(one)
	}
	return n
}

// TestReencryptOldVersions: old versions that are weaker are told of, and removed
// where asked; not one that is locked, that is the way back of an object that
// was deleted, or of one whose current version is damaged; not one that is as it
// should be.
func TestReencryptOldVersions(t *testing.T) {
	m := mem.New(mem.Options{Locks: true})
	for _, key := range []string{"plain", "held", "deleted", "damaged", "again"} {
		o := objstore.PutOptions{}
		if key == "held" {
			o.Lock = &objstore.Lock{LegalHold: true}
		}
		_, err := m.Put(t.Context(), key, strings.NewReader("old text"), 8, o)
		wants(t, err, nil)
	}
	s := setupOf("client")
	f := mountIdle(t, m, s.on, anyMode)
	if did, err := passOver(f, ReencryptOptions{From: allModes}); err != nil || did[Rewritten] != 5 {
		t.Fatal(did, err)
	}
	f.put("again", "new text") // over a sealed version
	f.must(f.Remove(f.ctx, "deleted"))
	m.Tamper("damaged", func(o *mem.Object) { o.Body[0] ^= 1 })

	want := OldVersions{Found: 5, Bytes: 40}
	if n := pastOf(f, ReencryptOptions{}, false); n != want {
		t.Errorf("told %+v, want %+v", n, want)
	}
	want.Removed, want.Locked, want.Deleted, want.Needed = 2, 1, 1, 1
	before := versionsOf(t, m)
	if n := pastOf(f, ReencryptOptions{Dry: true}, true); n != want || versionsOf(t, m) != before {
		t.Errorf("a dry run: %+v, want %+v; %d versions of %d", n, want, versionsOf(t, m), before)
	}
	if n := pastOf(f, ReencryptOptions{}, true); n != want || versionsOf(t, m) != before-2 {
		t.Errorf("removed %+v, want %+v; %d versions of %d", n, want, versionsOf(t, m), before)
	}
	f.has("plain", "old text")
	f.has("again", "new text")
	want.Found, want.Bytes, want.Removed = 3, 24, 0
	if n := pastOf(f, ReencryptOptions{}, true); n != want {
		t.Errorf("again: %+v, want %+v", n, want)
	}
}

// TestReencryptOldVersionsOfOtherKeys: those under a retired epoch are told of;
// where the current version is under it still, they stay.
func TestReencryptOldVersionsOfOtherKeys(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	s := setupOf("client")
	f := mountIdle(t, m, s.on, keysOf(retiring(1)))
	for _, text := range []string{"one", "two"} {
		f.put("a", text)
	}
	f.must(f.Close(f.ctx))
	f.end()
	f = mountIdle(t, m, s.on, keysOf(retiring(2, 1)))
	if n := pastOf(f, ReencryptOptions{}, true); n.Found != 1 || n.Needed != 1 {
		t.Errorf("before it is re-encrypted: %+v", n)
	}
	if _, err := passOver(f, ReencryptOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := pastOf(f, ReencryptOptions{}, true); n.Found == 0 || n.Removed != n.Found {
		t.Errorf("after: %+v", n)
	}
	f.has("a", "two")
}

// versionsOf counts versions, delete markers not.
func versionsOf(t *testing.T, m *mem.Store) (n int) {
	t.Helper()
	for ver, err := range m.Versions(t.Context(), objstore.ListOptions{}) {
		wants(t, err, nil)
		if !ver.Deleted {
			n++
		}
	}
	return n
}
