package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// carry moves or copies all below a key prefix as tools do that know nothing of seals.
func carry(m *mem.Store, from, to string, keep bool) {
	for key, o := range m.Snapshot() {
		if rest, ok := strings.CutPrefix(key, from); ok {
			m.Plant(to+rest, o)
			if !keep {
				_ = m.Delete(context.Background(), objstore.ID{Key: key}, objstore.Condition{})
			}
		}
	}
}

// adopts runs an Adopter over all that it lists, and gives what came of each key.
func (f *fixture) adopts(opt AdoptOptions) map[string]string {
	f.t.Helper()
	a, err := f.NewAdopter(opt)
	f.must(err)
	out := map[string]string{}
	for _, list := range a.Lists() {
		for e, err := range list(f.ctx, "") {
			f.must(err)
			done, err := a.Adopt(f.ctx, e)
			switch {
			case errors.Is(err, ErrNotAdopted):
				out[e.Key] = "left"
			case err != nil:
				out[e.Key] = err.Error()
			case done.Moved:
				out[e.Key] = "from " + done.From
			}
		}
	}
	return out
}

// TestAdoptMoved: a tree that another tool has moved is adopted, each object from
// the very key that it had, with everything that is in it.
func TestAdoptMoved(t *testing.T) {
	f := mount(t, bucket())
	f.mkdir("old")
	f.mkdir("old/d")
	texts := map[string]string{"old/a": "one", "old/d/b": noise(100_000, 1), "old/empty": ""}
	for p, text := range texts {
		f.put(p, text)
	}
	f.must(errOf(f.Symlink(f.ctx, "old/sym", "a", Attr{})))
	f.link("old/a", "old/name")
	f.must(errOf(f.SetAttr(f.ctx, "old/d/b", Change{Mode: ptr[uint32](0o741), Xattrs: map[string][]byte{"user.x": []byte("y")}})))
	before := f.stat("old/d/b")
	f.must(f.Close(f.ctx))
	carry(f.mem, "old/", "new/", false)

	g := mount(t, f.mem, host("there"))
	_, err := g.get("new/d/b")
	wants(t, err, objcrypt.ErrMoved)
	dry := g.adopts(AdoptOptions{Path: "new", From: "old", Mapped: true, Dry: true})
	_, err = g.get("new/d/b")
	wants(t, err, objcrypt.ErrMoved)
	g.s.Reset()
	got := g.adopts(AdoptOptions{Path: "new", From: "old", Mapped: true})
	if !maps.Equal(dry, got) {
		t.Errorf("dry: %v", dry)
	}
	for key := range got {
		if want := "from old" + strings.TrimPrefix(key, "new"); got[key] != want {
			t.Errorf("%s: %s", key, got[key])
		}
	}
	if len(got) != 7 {
		t.Errorf("%v", got)
	}
	for _, op := range g.s.Ops() {
		if op.Verb == "put" && !strings.HasSuffix(op.Key, "/") && op.Key != "new/" && !strings.Contains(op.Key, hidden) {
			t.Errorf("content went through this host: %v", op)
		}
	}
	for p, text := range texts {
		g.has("new"+strings.TrimPrefix(p, "old"), text)
	}
	g.has("new/name", "one")
	g.nlink("new/name", 2)
	if after := g.stat("new/d/b"); after.Mode != before.Mode || after.Mtime != before.Mtime || after.FileID != before.FileID || string(after.Xattrs["user.x"]) != "y" {
		t.Errorf("%+v, was %+v", after, before)
	}
	if again := g.adopts(AdoptOptions{Path: "new", From: "old", Mapped: true}); len(again) != 0 {
		t.Errorf("again: %v", again)
	}
	g.must(g.Remove(g.ctx, "new/a"))
	g.has("new/name", "one")
	g.nlink("new/name", 1)
	g.must(g.Close(g.ctx))
	soundLinks(t, f.mem, exact)
}

// TestAdoptCopied: what is still where it was becomes another file, and another
// name of a file that has several: none goes with the other's.
func TestAdoptCopied(t *testing.T) {
	f := mount(t, bucket())
	f.put("old/a", "one")
	f.put("old/b", "two")
	f.link("old/a", "old/name")
	carry(f.mem, "old/", "new/", true)
	g := mount(t, f.mem, host("there"))
	if got := g.adopts(AdoptOptions{Path: "new", From: "old", Mapped: true}); len(got) != 3 {
		t.Fatalf("%v", got)
	}
	if g.stat("old/b").FileID == g.stat("new/b").FileID {
		t.Error("two files are one")
	}
	g.nlink("new/a", 4)
	for _, p := range []string{"old/a", "old/name", "new/a"} {
		g.must(g.Remove(g.ctx, p))
	}
	g.has("new/name", "one")
	g.nlink("new/name", 1)
	g.must(g.Close(g.ctx))
	soundLinks(t, f.mem, exact)
}

// TestAdoptRefuses: what was exchanged, damaged or comes from elsewhere is left
// as it is.
func TestAdoptRefuses(t *testing.T) {
	f := mount(t, bucket())
	for _, p := range []string{"old/a", "old/b", "old/c", "else/d"} {
		f.put(p, "text of "+p)
	}
	f.put("old/big", noise(sigil.SegmentSize+10, 1))
	carry(f.mem, "old/", "new/", false)
	a, _ := f.mem.Object("new/a")
	b, _ := f.mem.Object("new/b")
	d, _ := f.mem.Object("else/d")
	f.mem.Plant("new/a", b)
	f.mem.Plant("new/b", a)
	f.mem.Plant("new/d", d)
	f.mem.Tamper("new/c", cutBy(1))
	f.mem.Tamper("new/big", func(o *mem.Object) { o.Body[len(o.Body)-1] ^= 1 })
	before := f.mem.Snapshot()
	got := f.adopts(AdoptOptions{Path: "new", From: "old", Mapped: true})
	for _, key := range []string{"new/a", "new/b", "new/c", "new/d", "new/big"} {
		if got[key] != "left" {
			t.Errorf("%s: %s", key, got[key])
		}
		now, _ := f.mem.Object(key)
		if fmt.Sprint(now.Info.Metadata) != fmt.Sprint(before[key].Info.Metadata) {
			t.Errorf("%s was changed", key)
		}
	}
}

// TestAdoptNothingOlder: an older state than this host has known is not adopted as
// what was moved; a copy may have been made before a change.
func TestAdoptNothingOlder(t *testing.T) {
	f := mount(t, bucket())
	f.mkdir("old")
	for _, p := range []string{"old/a", "old/b", "old/c"} {
		f.put(p, "older")
		f.put(p+".kept", "good")
	}
	was := keep(t, f.mem, "old/a")
	f.put("old/a", "newer")
	carry(f.mem, "old/c", "new/c", true)
	f.put("old/c", "changed since")
	carry(f.mem, "old/b", "new/b", true)
	f.must(f.Remove(f.ctx, "old/b")) // here, when it was copied
	carry(f.mem, "old/a", "new/a", false)
	putBack(t, f.mem, "new/a", was)
	got := f.adopts(AdoptOptions{Path: "new", From: "old", Mapped: true})
	if got["new/a"] != "left" || got["new/b"] != "from old/b" || got["new/c"] != "from old/c" {
		t.Errorf("%v", got)
	}
	f.has("new/b", "older")
	f.has("new/c", "older")
}

// TestAdoptAsItLies: without a word of where it was, the hash is told.
func TestAdoptAsItLies(t *testing.T) {
	f := mount(t, bucket())
	f.put("old/a", "one")
	f.link("old/a", "old/name")
	carry(f.mem, "old/", "new/", false)
	g := mount(t, f.mem, host("there"))
	got := g.adopts(AdoptOptions{Path: "new"})
	if len(got) != 2 || got["new/a"] != fmt.Sprintf("from sha256:%x", sigil.KeyHash("old/a")) {
		t.Fatalf("%v", got)
	}
	g.has("new/a", "one")
	g.nlink("new/a", 4) // the names that were: nobody knows that they have gone
	g.must(g.Remove(g.ctx, "new/a"))
	g.has("new/name", "one")
}

// TestAdoptVolume: a whole volume, with the inodes of its hard links.
func TestAdoptVolume(t *testing.T) {
	f := mount(t, bucket(), under("v1/", "v1/"))
	f.put("a", "one")
	f.mkdir("d")
	f.link("a", "d/name")
	f.must(f.Close(f.ctx))
	carry(f.mem, "v1/", "v2/", false)
	g := mount(t, f.mem, under("v2/", "v2/"), host("there"))
	got := g.adopts(AdoptOptions{From: "v1", Mapped: true})
	keys := slices.Sorted(maps.Keys(got))
	if len(keys) != 5 || got["v2/d/"] != "from v1/d/" {
		t.Fatalf("%v", got)
	}
	g.has("d/name", "one")
	g.nlink("a", 2)
	g.must(g.Close(g.ctx))
	mountIdle(t, f.mem, under("v2/", "v2/"), func(o *Options) { o.ReadOnly = true }).sound(VerifyOptions{Data: true})
}

// TestAdoptRules: to another rule a body keeps its key only where that is for the
// same; and nothing becomes plaintext.
func TestAdoptRules(t *testing.T) {
	one, two := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}, &fakeKeys{epochs: []sigil.Epoch{epoch(2)}}
	all := &fakeKeys{epochs: []sigil.Epoch{epoch(1), epoch(2)}}
	world := func(o *Options) {
		o.Keys = all
		o.Rules = []Rule{{Mode: "client", Keys: one}, {Prefix: "other/", Mode: "client", Keys: two}, {Prefix: "plain/", Mode: "none"}}
	}
	for _, mapped := range []bool{true, false} {
		f := mount(t, bucket(), world)
		f.put("old/a", "text of one")
		o, err := f.fetch(f.ctx, "old/a")
		f.must(err)
		dek := o.form.(*sealedForm).rec.DEK
		carry(f.mem, "old/", "other/", true)
		carry(f.mem, "old/", "same/", true)
		carry(f.mem, "old/", "plain/", true)
		for dir, want := range map[string]bool{"same": true, "other": false} {
			if got := f.adopts(AdoptOptions{Path: dir, From: "old", Mapped: mapped}); len(got) != 1 || got[dir+"/a"] == "left" {
				t.Fatalf("%v", got)
			}
			f.has(dir+"/a", "text of one")
			now, err := f.fetch(f.ctx, dir+"/a")
			f.must(err)
			if same := now.form.(*sealedForm).rec.DEK == dek; same != want {
				t.Errorf("%s: data key kept: %v", dir, same)
			}
		}
		if got := f.adopts(AdoptOptions{Path: "plain", From: "old", Mapped: mapped}); got["plain/a"] != "left" {
			t.Errorf("%v", got)
		}
		f.sealed("text of one")
	}
}
