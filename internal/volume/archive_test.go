package volume

import (
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// archiving has a rule for cold/ whose files go to the class, under the keys of
// all.
func archiving(class string) tweak {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	return func(o *Options) {
		o.Keys = k
		o.Rules = []Rule{{Mode: "client", Keys: k}, {Prefix: "cold/", Mode: "client", Keys: k, StorageClass: class}}
	}
}

func (f *fixture) class(key string) string {
	f.t.Helper()
	o, found := f.mem.Object(key)
	if !found {
		f.t.Fatalf("nothing at %s", key)
	}
	return o.Info.StorageClass
}

// order asks for a restore as another tool does.
func (f *fixture) order(key string) {
	f.t.Helper()
	f.must(f.mem.Restore(f.ctx, objstore.ID{Key: key}, 1, ""))
}

// TestArchiveRule: files below the prefix of a rule get its class, large and
// small ones, made or moved there; nothing else that is needed to look at them does.
func TestArchiveRule(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"), inParts)
	f.mkdir("cold")
	f.mkdir("cold/d")
	f.put("cold/d/small", "abc")
	f.put("cold/d/large", strings.Repeat("x", twoParts))
	f.put("warm", "moved")
	f.put("stays", "here")
	f.rename("warm", "cold/d/moved")
	f.must(errOf(f.Symlink(f.ctx, "cold/d/link", "small", Attr{})))
	f.must(errOf(f.Mknod(f.ctx, "cold/d/pipe", Attr{Mode: unix.S_IFIFO | 0o600})))
	for key, o := range f.mem.Snapshot() {
		want := ""
		switch key {
		case "cold/d/small", "cold/d/large", "cold/d/moved":
			want = "GLACIER"
		}
		if o.Info.StorageClass != want {
			t.Errorf("%s has class %q, want %q", key, o.Info.StorageClass, want)
		}
	}
	if got, err := f.Readlink(f.ctx, "cold/d/link"); err != nil || got != "small" {
		t.Errorf("link: %q, %v", got, err)
	}
	f.lists("cold/d", "large", "link", "moved", "pipe", "small")
	f.has("stays", "here")
}

// TestArchived: what is archived shows as it is, on the host that wrote it and on
// others; whatever needs the body is refused, and loses nothing.
func TestArchived(t *testing.T) {
	f := mount(t, bucket(), archiving("DEEP_ARCHIVE"), long)
	f.mkdir("cold")
	f.put("other", "other")
	file := f.create("cold/a", "content", false)
	f.must(errOf(file.SetAttr(f.ctx, Change{Mode: ptr[uint32](0o640), Xattrs: map[string][]byte{"user.x": []byte("y")}})))
	f.must(file.Commit(f.ctx))
	file.Release()
	before, _ := f.mem.Object("cold/a")
	for name, on := range map[string]*fixture{
		"writer": f, "later": mount(t, f.mem, archiving("DEEP_ARCHIVE"), host("later")),
	} {
		t.Run(name, func(t *testing.T) {
			on.t = t
			info := on.stat("cold/a")
			if info.Mode != unix.S_IFREG|0o640 || info.Size != 7 || string(info.Xattrs["user.x"]) != "y" {
				t.Errorf("%+v", info)
			}
			if got := info.Sigil["restore"]; got != "archived" || info.Sigil["storage-class"] != "DEEP_ARCHIVE" || info.Sigil["mode"] != "client" {
				t.Errorf("user.sigil: %v", info.Sigil)
			}
			for _, write := range []bool{false, true} {
				wants(t, errOf(on.Open(on.ctx, "cold/a", OpenOptions{Write: write})), ErrArchived)
				wants(t, errOf(on.Open(on.ctx, "cold/a", OpenOptions{Write: true, Truncate: write})), ErrArchived)
			}
			wants(t, errOf(on.SetAttr(on.ctx, "cold/a", Change{Mode: ptr[uint32](0o600)})), ErrArchived)
			wants(t, errOf(on.SetAttr(on.ctx, "cold/a", Change{Size: ptr[int64](2)})), ErrArchived)
			wants(t, on.Rename(on.ctx, "cold/a", "cold/b", false), ErrArchived)
			wants(t, on.Rename(on.ctx, "cold/a", "warm", false), ErrArchived)
			wants(t, on.Rename(on.ctx, "cold", "frost", false), ErrArchived)
			wants(t, errOf(on.Link(on.ctx, "cold/a", "cold/b")), ErrArchived)
			on.lists("cold", "a")
			on.lists("", "cold", "other")
			if on.Dirty() != 0 {
				t.Errorf("%d files wait to be written", on.Dirty())
			}
		})
	}
	if after, _ := f.mem.Object("cold/a"); after.Info.ETag != before.Info.ETag || after.Info.Metadata["sigil-seal"] != before.Info.Metadata["sigil-seal"] {
		t.Error("the object was written")
	}
	f.rename("other", "cold/a") // replaced, and removed, it can be
	if f.class("cold/a") != "DEEP_ARCHIVE" {
		t.Error("what was moved there has class", f.class("cold/a"))
	}
	f.must(f.Remove(f.ctx, "cold/a"))
	f.lists("cold")
}

// TestArchivedWhileOpen: who has a file open that is archived may remove it.
func TestArchivedWhileOpen(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"))
	f.mkdir("cold")
	file := f.create("cold/a", "content", false)
	f.must(file.Commit(f.ctx))
	wants(t, errOf(file.SetAttr(f.ctx, Change{Mode: ptr[uint32](0o600)})), ErrArchived)
	f.must(f.Remove(f.ctx, "cold/a"))
	file.Release()
	f.lists("cold")
}

// TestRestored: what was restored reads as soon as the store gives it, changes
// are taken, and go to the archive again.
func TestRestored(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"))
	f.mkdir("cold")
	f.put("cold/a", "content")
	state := func() string { return f.stat("cold/a").Sigil["restore"] }
	f.order("cold/a")
	if got := state(); got != "ongoing" {
		t.Errorf("ordered: %q", got)
	}
	wants(t, errOf(f.get("cold/a")), ErrArchived)
	f.mem.Thaw()
	f.has("cold/a", "content")
	until, ok := strings.CutPrefix(state(), "until ")
	if at, err := time.Parse(time.RFC3339, until); !ok || err != nil || at.Before(time.Now()) {
		t.Errorf("restored: %q", state())
	}
	f.must(errOf(f.SetAttr(f.ctx, "cold/a", Change{Mode: ptr[uint32](0o600)})))
	if f.class("cold/a") != "GLACIER" || state() != "archived" || f.stat("cold/a").Mode != unix.S_IFREG|0o600 {
		t.Errorf("changed: class %s, %s, %o", f.class("cold/a"), state(), f.stat("cold/a").Mode)
	}
	f.order("cold/a")
	f.mem.Thaw()
	file := f.open("cold/a")
	f.write(file, "more", 7)
	f.must(file.Commit(f.ctx))
	file.Release()
	if f.class("cold/a") != "GLACIER" || f.stat("cold/a").Size != 11 {
		t.Errorf("appended to: class %s, %d bytes", f.class("cold/a"), f.stat("cold/a").Size)
	}
}

// TestArchivedForged: the record of an archived object is no less looked at.
func TestArchivedForged(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"))
	f.mkdir("cold")
	f.put("cold/a", "content")
	o, _ := f.mem.Object("cold/a")
	f.mem.Plant("cold/b", o)
	wants(t, f.stat("cold/b").Err, ErrCorrupt)
	g := mount(t, f.mem, archiving("GLACIER"), func(o *Options) { o.Keys = &fakeKeys{} })
	wants(t, g.stat("cold/a").Err, ErrNoKey)
}
