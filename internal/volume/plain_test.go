package volume

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/volume/attrmeta"
	"golang.org/x/sys/unix"
)

func plainRules(o *Options) { o.Rules = []Rule{{Mode: "none"}} }

// metaOf is the metadata of what lies at key.
func metaOf(t *testing.T, m *mem.Store, key string) map[string]string {
	t.Helper()
	o, ok := m.Object(key)
	if !ok {
		t.Fatalf("%s is not there", key)
	}
	return o.Info.Metadata
}

// TestPlainAttributes: what is made and changed lies in the metadata as s3fs has
// it, and comes back to a host that sees it for the first time.
func TestPlainAttributes(t *testing.T) {
	change := Change{
		Mode: ptr[uint32](0o4711), UID: ptr[uint32](7), GID: ptr[uint32](8), Mtime: ptr[int64](-1_500000000), Ctime: ptr[int64](1e18 + 1),
		Xattrs: map[string][]byte{"user.x": {0, 255}, "user.y": []byte("z")},
	}
	for _, tc := range []struct {
		name, key string
		make      func(f *fixture) error
		typ       uint32
		body      string
	}{
		{"file", "file", func(f *fixture) error { return f.tryPut("file", "text") }, unix.S_IFREG, "text"},
		{"dir", "dir/", func(f *fixture) error { return errOf(f.Mkdir(f.ctx, "dir", Attr{Mode: 0o700})) }, unix.S_IFDIR, ""},
		{"link", "link", func(f *fixture) error { return errOf(f.Symlink(f.ctx, "link", "to/there", Attr{})) }, unix.S_IFLNK, "to/there"},
		{"fifo", "fifo", func(f *fixture) error { return errOf(f.Mknod(f.ctx, "fifo", Attr{Mode: unix.S_IFIFO | 0o600})) }, unix.S_IFIFO, ""},
		{"sock", "sock", func(f *fixture) error { return errOf(f.Mknod(f.ctx, "sock", Attr{Mode: unix.S_IFSOCK | 0o600})) }, unix.S_IFSOCK, ""},
		{"dev", "dev", func(f *fixture) error {
			return errOf(f.Mknod(f.ctx, "dev", Attr{Mode: unix.S_IFBLK | 0o600, Rdev: 2049}))
		}, unix.S_IFBLK, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, bucket(), plainRules)
			f.must(tc.make(f))
			p := strings.TrimSuffix(tc.key, "/")
			f.must(errOf(f.SetAttr(f.ctx, p, change)))
			check := func(f *fixture, p, key string) {
				t.Helper()
				o, _ := f.mem.Object(key)
				if string(o.Body) != tc.body {
					t.Errorf("body %q", o.Body)
				}
				a := attrmeta.Decode(o.Info.Metadata)
				if a.Mode != tc.typ|0o4711 && tc.typ != unix.S_IFLNK || *a.UID != 7 || *a.GID != 8 || *a.Mtime != -1_500000000 || string(a.Xattrs["user.x"]) != "\x00\xff" {
					t.Errorf("metadata %v", o.Info.Metadata)
				}
				got := f.stat(p)
				if got.Mode != tc.typ|0o4711 || got.UID != 7 || got.GID != 8 || got.Mtime != -1_500000000 || string(got.Xattrs["user.y"]) != "z" || len(got.Xattrs) != 2 {
					t.Errorf("shows %+v", got)
				}
				if tc.typ == unix.S_IFBLK && got.Rdev != 2049 {
					t.Errorf("device %d", got.Rdev)
				}
				if tc.typ != unix.S_IFDIR && got.Size != int64(len(tc.body)) {
					t.Errorf("size %d", got.Size)
				}
			}
			check(f, p, tc.key)
			id := f.stat(p).FileID
			f.rename(p, "moved")
			key := "moved" + strings.TrimPrefix(tc.key, p)
			check(f, "moved", key)
			if got := f.stat("moved").FileID; got != id {
				t.Errorf("file id %d, was %d", got, id)
			}
			check(mount(t, f.mem, plainRules, host("there")), "moved", key)
			f.must(errOf(f.SetAttr(f.ctx, "moved", Change{Xattrs: map[string][]byte{"user.x": nil, "user.y": nil}})))
			if got := metaOf(t, f.mem, key)["xattr"]; got != "" {
				t.Errorf("xattr %q is left", got)
			}
		})
	}
}

// TestForeignObject: what another tool wrote shows defaults, and keeps all that
// is not ours through chmod, rename and, but for metadata and tags, which are
// those of a body, overwriting.
func TestForeignObject(t *testing.T) {
	modified := time.Unix(1_700_000_000, 0)
	foreign := mem.Object{
		Body: []byte("foreign"),
		Tags: map[string]string{"team": "a b"},
		Info: objstore.Info{
			Modified: modified, StorageClass: "STANDARD_IA",
			Metadata: map[string]string{"author": "somebody", "mtime": "1600000000.5"},
			System:   map[string]string{"content-type": "text/plain", "cache-control": "no-cache", "content-encoding": "identity"},
		},
	}
	for _, s := range []setup{setupOf("none"), setupOf("sse-kms silent"), setupOf("sse-c"), setupOf("sse-s3")} {
		t.Run(s.name, func(t *testing.T) {
			m := s.store()
			m.Plant("a", foreign)
			m.Plant("bare", mem.Object{Body: []byte("x"), Info: objstore.Info{Modified: modified}})
			f := mount(t, m, s.on, func(o *Options) { o.UID, o.GID, o.FileMode, o.DirMode = 5, 6, 0o640, 0o750 })
			if got := f.stat("a"); got.Mode != unix.S_IFREG|0o640 || got.UID != 5 || got.GID != 6 || got.Mtime != 1_600_000_000_500000000 || got.Size != 7 || got.Xattrs != nil {
				t.Errorf("%+v", got)
			}
			if got := f.stat("bare"); got.Mtime != modified.UnixNano() || got.Ctime != modified.UnixNano() {
				t.Errorf("%+v", got)
			}
			before := f.stat("a")
			kept := func(key string) {
				t.Helper()
				o, _ := m.Object(key)
				if !maps.Equal(o.Info.System, foreign.Info.System) || o.Tags["team"] != "a b" || o.Info.Metadata["author"] != "somebody" || o.Info.StorageClass != "STANDARD_IA" {
					t.Errorf("%s: system %v, tags %v, metadata %v, class %s", key, o.Info.System, o.Tags, o.Info.Metadata, o.Info.StorageClass)
				}
			}
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
			kept("a")
			f.rename("a", "b")
			kept("b")
			if got := f.stat("b"); got.FileID != before.FileID || got.Incarnation != before.Incarnation || got.Mtime != before.Mtime || got.Mode != unix.S_IFREG|0o600 {
				t.Errorf("%+v\nwas %+v", got, before)
			}
			f.put("b", "more")
			o, _ := m.Object("b")
			if !maps.Equal(o.Info.System, map[string]string{"content-type": foreign.Info.System["content-type"]}) || o.Info.StorageClass != "STANDARD_IA" {
				t.Errorf("overwritten: system %v, class %s", o.Info.System, o.Info.StorageClass)
			}
			if got := f.stat("b"); got.FileID != before.FileID || got.Mode != unix.S_IFREG|0o600 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestPlainIdentity: a file is the same for the page cache through all that its
// own host does, and another once another host has replaced it.
func TestPlainIdentity(t *testing.T) {
	for _, s := range []setup{setupOf("none"), setupOf("sse-kms"), setupOf("sse-c"), setupOf("s3ec")} {
		for name, timeout := range map[string]tweak{"Asking": noTimeout, "Believing": long} {
			t.Run(s.name+name, func(t *testing.T) {
				f := mount(t, s.store(), s.on, timeout)
				f.mkdir("d")
				f.put("d/a", "text")
				dir := f.stat("d").FileID
				want := f.stat("d/a")
				p := "d/a"
				for what, do := range map[string]func(){
					"chmod":     func() { f.must(errOf(f.SetAttr(f.ctx, p, Change{Mode: ptr[uint32](0o600)}))) },
					"rename":    func() { f.rename(p, p+"x"); p += "x" },
					"renamedir": func() { f.rename(parent(p), parent(p)+"y"); p = parent(p) + "y/" + p[len(parent(p))+1:] },
					"read":      func() { f.has(p, "text") },
				} {
					do()
					if got := f.stat(p); got.FileID != want.FileID || got.Incarnation != want.Incarnation {
						t.Errorf("%s: %d.%d, was %d.%d", what, got.FileID, got.Incarnation, want.FileID, want.Incarnation)
					}
					if got := f.stat(parent(p)).FileID; got != dir {
						t.Errorf("%s: directory %d, was %d", what, got, dir)
					}
				}
				other := mount(t, f.mem, s.on, host("there"))
				other.put(p, "another text")
				f.suspect(p)
				if got := f.stat(p); got.Incarnation == want.Incarnation || got.FileID != want.FileID {
					t.Errorf("replaced: %d.%d, was %d.%d", got.FileID, got.Incarnation, want.FileID, want.Incarnation)
				}
			})
		}
	}
}

// TestPlainXattrLimit: what metadata cannot hold is refused, and the file goes
// on without it.
func TestPlainXattrLimit(t *testing.T) {
	for _, name := range []string{"none", "s3ec", "client"} {
		s := setupOf(name)
		f := mount(t, s.store(), s.on)
		f.put("a", "text")
		wants(t, errOf(f.SetAttr(f.ctx, "a", Change{Xattrs: map[string][]byte{"user.big": make([]byte, 2000)}})), ErrXattrs)
		file := f.open("a")
		f.write(file, "TEXT", 0)
		wants(t, errOf(file.SetAttr(f.ctx, Change{Xattrs: map[string][]byte{"user.big": make([]byte, 2000)}})), ErrXattrs)
		f.must(file.Commit(f.ctx))
		file.Release()
		f.has("a", "TEXT")
	}
}
