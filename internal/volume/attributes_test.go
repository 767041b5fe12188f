package volume

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"golang.org/x/sys/unix"
)

func TestAttributesEverywhere(t *testing.T) {
	change := Change{
		Mode: ptr[uint32](0o6711), UID: ptr[uint32](1000), GID: ptr[uint32](1001), Mtime: ptr[int64](-5), Ctime: ptr[int64](7),
		Xattrs: map[string][]byte{"user.a": []byte("1"), "user.b": {}},
	}
	for _, tc := range []struct {
		name string
		set  func(f *fixture) (Info, error)
	}{
		{"Path", func(f *fixture) (Info, error) { return f.SetAttr(f.ctx, "a", change) }},
		{"CleanHandle", func(f *fixture) (Info, error) {
			file := f.open("a")
			defer file.Release()
			return file.SetAttr(f.ctx, change)
		}},
		{"PathOfOpen", func(f *fixture) (Info, error) {
			file := f.open("a")
			defer file.Release()
			return f.SetAttr(f.ctx, "a", change)
		}},
		{"DirtyHandle", func(f *fixture) (Info, error) {
			file := f.open("a")
			defer file.Release()
			f.write(file, "x", 0)
			info, err := file.SetAttr(f.ctx, change)
			f.must(err)
			f.must(file.Commit(f.ctx))
			return info, err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, bucket())
			f.put("a", "abc")
			id := f.stat("a").FileID
			info, err := tc.set(f)
			f.must(err)
			for _, got := range []Info{info, f.stat("a"), mount(t, f.mem).stat("a")} {
				if got.Mode != unix.S_IFREG|0o6711 || got.UID != 1000 || got.GID != 1001 || got.Mtime != -5 || got.Ctime != 7 || got.FileID != id {
					t.Errorf("%+v", got.Attr)
				}
				if len(got.Xattrs) != 2 || string(got.Xattrs["user.a"]) != "1" || got.Xattrs["user.b"] == nil {
					t.Errorf("%v", got.Xattrs)
				}
			}
			info, err = f.SetAttr(f.ctx, "a", Change{Xattrs: map[string][]byte{"user.a": nil}})
			f.must(err)
			if len(info.Xattrs) != 1 || info.Ctime == 7 || info.Mtime != -5 {
				t.Errorf("%+v", info)
			}
		})
	}
}

func TestXattrsBound(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "abc")
	f.mkdir("d")
	file := f.create("new", "x", false)
	defer file.Release()
	fits := map[string][]byte{"user.x": bytes.Repeat([]byte("x"), 1013)} // 1 + 1 + 6 + 3 + 1013 = 1024
	over := map[string][]byte{"user.x": bytes.Repeat([]byte("x"), 1014)}
	for _, p := range []string{"a", "d", "new"} {
		wants(t, errOf(f.SetAttr(f.ctx, p, Change{Xattrs: over})), ErrXattrs)
		if got := f.stat(p).Xattrs; len(got) != 0 {
			t.Errorf("%s: %v", p, got)
		}
		// The record as a whole may be too large for the metadata all the same.
		if _, err := f.SetAttr(f.ctx, p, Change{Xattrs: fits}); err != nil {
			wants(t, err, ErrXattrs)
		}
	}
	wants(t, errOf(file.SetAttr(f.ctx, Change{Xattrs: map[string][]byte{"user.y": make([]byte, 20)}})), ErrXattrs)
	wants(t, errOf(file.SetAttr(f.ctx, Change{Xattrs: map[string][]byte{"user.\xff": nil, "user.\xfe": {1}}})), ErrInvalid)
	f.must(file.Commit(f.ctx))
	if got := mount(t, f.mem).stat("new").Xattrs["user.x"]; len(got) != 1013 {
		t.Errorf("%d bytes", len(got))
	}
}

// TestSetAttrSizeAsItIs sends nothing: the file does not change.
func TestSetAttrSizeAsItIs(t *testing.T) {
	f := mount(t, bucket(), long)
	f.put("a", "abcdef")
	before := f.stat("a")
	f.s.Reset()
	info, err := f.SetAttr(f.ctx, "a", Change{Size: ptr[int64](6)})
	f.must(err)
	if n := f.s.Counts().Total(); n != 0 || info.Mtime != before.Mtime {
		t.Errorf("%d requests, mtime moved by %d", n, info.Mtime-before.Mtime)
	}
}

func TestSetAttrSize(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "abcdef")
	info, err := f.SetAttr(f.ctx, "a", Change{Size: ptr[int64](3), Mode: ptr[uint32](0o600)})
	f.must(err)
	if info.Size != 3 || info.Mode&0o777 != 0o600 {
		t.Errorf("%+v", info)
	}
	mount(t, f.mem).has("a", "abc")
	wants(t, errOf(f.SetAttr(f.ctx, "none", Change{Size: ptr[int64](3)})), ErrNotExist)
	wants(t, errOf(f.SetAttr(f.ctx, "none", Change{Mode: ptr[uint32](3)})), ErrNotExist)
	f.failing(objstore.ErrAccess, false, faulty.Put, faulty.Copy)
	wants(t, errOf(f.SetAttr(f.ctx, "a", Change{Size: ptr[int64](1)})), ErrAccess)
	wants(t, errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](1)})), nil) // rides on the commit that is due
	f.healed()
}

// TestSetAttrOverForeign: of attributes the last writer wins, over another
// host's version too.
func TestSetAttrOverForeign(t *testing.T) {
	f := mount(t, bucket(), long)
	f.put("a", "abc")
	other := mount(t, f.mem, host("there"))
	other.put("a", "theirs")
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
	other.has("a", "theirs")
	if got := other.stat("a").Mode & 0o777; got != 0o600 {
		t.Errorf("mode %o", got)
	}
	file := f.open("a")
	defer file.Release()
	other.put("a", "again")
	wants(t, errOf(file.SetAttr(f.ctx, Change{Mode: ptr[uint32](0o640)})), ErrChanged)
}

func TestDirectoryTimes(t *testing.T) {
	clock := newClock()
	f := mount(t, memAt(clock), func(o *Options) { o.Now = clock.now })
	f.mkdir("d")
	moves := func(name string, do func()) {
		t.Helper()
		before := f.stat("d").Mtime
		clock.pass(1e9)
		do()
		if got := f.stat("d"); got.Mtime <= before || got.Ctime != got.Mtime {
			t.Errorf("%s: %d, was %d", name, got.Mtime, before)
		}
	}
	moves("create", func() { f.create("d/a", "", false).Release() })
	moves("symlink", func() { f.must(errOf(f.Symlink(f.ctx, "d/l", "x", Attr{}))) })
	moves("mkdir", func() { f.mkdir("d/e") })
	moves("rename", func() { f.rename("d/l", "l") })
	moves("rename in", func() { f.rename("l", "d/l") })
	moves("rename dir", func() { f.rename("d/e", "e") })
	moves("remove", func() { f.must(f.Remove(f.ctx, "d/l")) })
	moves("chmod", func() { f.must(errOf(f.SetAttr(f.ctx, "d", Change{Mtime: ptr(clock.now().UnixNano())}))) })
	f.must(errOf(f.SetAttr(f.ctx, "d", Change{Mtime: ptr[int64](5)})))
	if got := f.stat("d").Mtime; got != 5 {
		t.Errorf("mtime %d", got)
	}
}

// TestUnlinkedAttributes: what is done to a file without a name stays here.
func TestUnlinkedAttributes(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "abc")
	file := f.open("a")
	f.must(f.Remove(f.ctx, "a"))
	info, err := file.SetAttr(f.ctx, Change{Mode: ptr[uint32](0o600)})
	f.must(err)
	if info.Mode&0o777 != 0o600 || info.Nlink != 0 {
		t.Errorf("%+v", info)
	}
	f.must(file.Commit(f.ctx))
	file.Release()
	f.settle()
	if left := f.mem.Keys(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestUnopenable: what does not open shows without any permission, tells why,
// and can be removed.
func TestUnopenable(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 100)
	for name, tc := range unopenables() {
		t.Run(name, func(t *testing.T) {
			f := mount(t, bucket())
			f.put("a", body)
			f.put("b", body)
			tc.do(f)
			g := mount(t, f.mem, tc.tweaks...)
			info := g.stat("a")
			wants(t, info.Err, tc.want)
			if info.Mode != unix.S_IFREG|0o644 || info.Nlink != 1 {
				t.Errorf("%+v", info.Attr)
			}
			wants(t, errOf(g.Open(g.ctx, "a", OpenOptions{})), tc.want)
			wants(t, errOf(g.Open(g.ctx, "a", OpenOptions{Write: true, Truncate: true})), tc.want)
			wants(t, errOf(g.SetAttr(g.ctx, "a", Change{Mode: ptr[uint32](0o777)})), tc.want)
			wants(t, g.Rename(g.ctx, "a", "c", false), tc.want)
			wants(t, errOf(g.Readlink(g.ctx, "a")), ErrInvalid)
			g.must(g.Remove(g.ctx, "a"))
			g.absent("a")
		})
	}
}

// TestStorageClass: new files get the class of the mount, and keep it through
// whatever happens to them; what the volume keeps for itself does not.
func TestStorageClass(t *testing.T) {
	f := mount(t, bucket(), func(o *Options) { o.StorageClass = "STANDARD_IA" }, inParts)
	plain := mount(t, f.mem, host("there"))
	plain.put("plain", "x")
	f.mkdir("d")
	f.put("d/small", "x")
	f.put("d/large", noise(200<<10, 1))
	f.put("plain", "changed")
	f.must(errOf(f.Symlink(f.ctx, "link", "plain", Attr{})))
	f.must(errOf(f.SetAttr(f.ctx, "d/small", Change{Mode: ptr[uint32](0o600)})))
	f.rename("d/small", "d/renamed")
	plain.put("d/renamed", "changed by a mount without a class")
	for key, want := range map[string]string{"d/": "", "d/renamed": "STANDARD_IA", "d/large": "STANDARD_IA", "plain": "", "link": "STANDARD_IA"} {
		info, err := f.mem.Head(f.ctx, objstore.ID{Key: key})
		if err != nil || info.StorageClass != want {
			t.Errorf("%s: class %q, %v; want %q", key, info.StorageClass, err, want)
		}
	}
}
