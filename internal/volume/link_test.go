package volume

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"golang.org/x/sys/unix"
)

func (f *fixture) link(from, to string) {
	f.t.Helper()
	f.must(errOf(f.Link(f.ctx, from, to)))
}

func (f *fixture) nlink(p string, want uint32) {
	f.t.Helper()
	if got := f.stat(p).Nlink; got != want {
		f.t.Fatalf("%s has %d links, want %d", p, got, want)
	}
}

// linked is a host on a new bucket with a file of the names a and d/b.
func linked(t *testing.T, tweaks ...tweak) *fixture {
	f := mount(t, bucket(), tweaks...)
	f.put("a", "one")
	f.mkdir("d")
	f.link("a", "d/b")
	f.s.Reset()
	return f
}

// soundness is how exact the counts of links must be.
type soundness int

const (
	counted soundness = iota // no name is missing on a roll: no body goes too early
	shown                    // nor in an nlink
	exact                    // and none is there twice, and no inode is nobody's
)

// soundLinks looks into the bucket itself.
func soundLinks(t *testing.T, m *mem.Store, want soundness) {
	t.Helper()
	f := mountIdle(t, m, host("auditor"), func(o *Options) { o.ReadOnly = true })
	defer f.end()
	names := map[string][]token{}
	for _, key := range m.Keys() {
		if strings.Contains(key, hidden+"/") || isMarker(key) {
			continue
		}
		o, err := f.fetch(f.ctx, key)
		f.must(err)
		if !o.isName() {
			continue
		}
		in, err := f.inodeBehind(f.ctx, o)
		f.must(err)
		r, err := f.readRoll(f.ctx, in)
		f.must(err)
		if !slices.Contains(r.names, o.token()) {
			t.Errorf("%s is not on the roll of its inode", key)
		}
		names[in.id.Key] = append(names[in.id.Key], o.token())
		f.must(errOf(f.get(key)))
	}
	for key, all := range names {
		in, err := f.fetchInode(f.ctx, key, f.policy.of(""))
		f.must(err)
		if want >= shown && int(in.attr.Nlink) < len(all) {
			t.Errorf("%s: %d names, nlink %d", key, len(all), in.attr.Nlink)
		}
	}
	if want < exact {
		return
	}
	for _, key := range m.Keys() {
		if !strings.HasPrefix(key, inodeDir) || strings.HasPrefix(key, inodeDir+rollDir) || strings.HasPrefix(key, inodeDir+"open/") {
			continue
		}
		in, err := f.fetchInode(f.ctx, key, f.policy.of(""))
		f.must(err)
		r, err := f.readRoll(f.ctx, in)
		f.must(err)
		if n := len(names[key]); n == 0 || len(r.names) != n || int(in.attr.Nlink) != n {
			t.Errorf("%s: %d names, %d on the roll, nlink %d", key, n, len(r.names), in.attr.Nlink)
		}
	}
}

func TestLinkShares(t *testing.T) {
	for name, tw := range map[string]tweak{"Asking": noTimeout, "Believing": long} {
		t.Run(name, func(t *testing.T) {
			f := linked(t, tw)
			a, b := f.stat("a"), f.stat("d/b")
			if a.FileID != b.FileID || a.Incarnation != b.Incarnation || a.Nlink != 2 || b.Nlink != 2 || a.Mode != b.Mode || a.Size != 3 {
				t.Fatalf("%+v\n%+v", a, b)
			}
			f.lists("", "a", "d")
			f.lists("d", "b")

			one, two := f.open("a"), f.open("d/b")
			if one != two {
				t.Error("two names open as two Files")
			}
			f.write(one, "two!", 0)
			f.reads(two, "two!")
			if got := f.stat("d/b").Size; got != 4 {
				t.Errorf("size %d by the other name", got)
			}
			f.must(one.Commit(f.ctx))
			one.Release()
			two.Release()
			f.has("a", "two!")
			f.has("d/b", "two!")

			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600), Xattrs: map[string][]byte{"k": []byte("v")}})))
			if b := f.stat("d/b"); b.Mode != unix.S_IFREG|0o600 || string(b.Xattrs["k"]) != "v" {
				t.Errorf("chmod through one name: %+v by the other", b)
			}
			f.must(errOf(f.SetAttr(f.ctx, "d/b", Change{Size: ptr[int64](1)})))
			f.has("a", "t")
			f.nlink("a", 2)
			soundLinks(t, f.mem, exact)
		})
	}
}

func TestLinkErrors(t *testing.T) {
	f := linked(t)
	f.put("c", "c")
	link := func(from, to string) error { return errOf(f.Link(f.ctx, from, to)) }
	wants(t, link("a", "c"), ErrExist)
	wants(t, link("c", "a"), ErrExist)
	wants(t, link("a", "a"), ErrExist)
	wants(t, link("nothing", "x"), ErrNotExist)
	wants(t, link("d", "x"), ErrNoLinks)
	wants(t, link("a", ".sigil"), ErrName)
	f.must(f.Close(f.ctx))
	soundLinks(t, f.mem, exact)
}

func TestLinkOfUncommitted(t *testing.T) {
	f := mount(t, bucket())
	file := f.create("new", "text", false)
	defer file.Release()
	f.link("new", "other")
	f.write(file, "more", 4)
	f.has("other", "textmore")
	f.must(file.Commit(f.ctx))
	g := mount(t, f.mem, host("there"))
	g.has("other", "textmore")
	g.has("new", "textmore")
	g.nlink("new", 2)
}

func TestUnlinkOfNames(t *testing.T) {
	f := linked(t)
	f.link("d/b", "c")
	f.nlink("a", 3)
	f.must(f.Remove(f.ctx, "a"))
	f.absent("a")
	f.has("c", "one")
	f.nlink("d/b", 2)
	soundLinks(t, f.mem, exact)
	f.must(f.Remove(f.ctx, "d/b"))
	f.nlink("c", 1)
	f.has("c", "one")
	f.link("c", "again")
	f.nlink("c", 2)
	f.must(f.Remove(f.ctx, "c"))
	f.must(f.Remove(f.ctx, "again"))
	f.must(f.Rmdir(f.ctx, "d"))
	f.noLeftovers()
}

func TestUnlinkOfOpenLinks(t *testing.T) {
	f := linked(t)
	file := f.open("a")
	f.must(f.Remove(f.ctx, "a"))
	f.write(file, "ONE", 0)
	f.must(file.Commit(f.ctx))
	f.has("d/b", "ONE")
	if got := file.Info().Nlink; got != 1 {
		t.Errorf("nlink %d of an open file with one name left", got)
	}
	f.must(f.Remove(f.ctx, "d/b"))
	if got := file.Info().Nlink; got != 0 {
		t.Errorf("nlink %d of an open file without a name", got)
	}
	f.reads(file, "ONE")
	f.write(file, "x", 0)
	f.reads(file, "xNE")
	file.Release()
	f.must(f.Close(f.ctx))
	f.noLeftovers()
}

func TestRenameOfNames(t *testing.T) {
	f := linked(t)
	f.put("plain", "plain")

	f.must(f.Rename(f.ctx, "a", "d/b", false)) // of one file: nothing happens
	f.has("a", "one")
	f.has("d/b", "one")
	f.nlink("a", 2)

	wants(t, f.Rename(f.ctx, "a", "d/b", true), ErrExist)
	f.must(f.Rename(f.ctx, "a", "moved", false))
	f.absent("a")
	f.has("moved", "one")
	f.nlink("moved", 2)
	if f.stat("moved").FileID != f.stat("d/b").FileID {
		t.Error("renamed to another file")
	}
	soundLinks(t, f.mem, exact)

	f.must(f.Rename(f.ctx, "plain", "moved", false)) // over a name
	f.has("moved", "plain")
	f.nlink("d/b", 1)
	soundLinks(t, f.mem, exact)

	f.must(f.Rename(f.ctx, "d/b", "moved", false)) // a name over a file
	f.has("moved", "one")
	f.link("moved", "d/c")
	f.link("moved", "d/e")
	f.must(f.Rename(f.ctx, "d", "D", false))
	f.has("D/c", "one")
	f.nlink("moved", 3)
	soundLinks(t, f.mem, exact)
	f.put("moved", "text")
	f.has("D/e", "text")
}

func TestLinksOfOtherKinds(t *testing.T) {
	f := mount(t, bucket())
	f.must(errOf(f.Symlink(f.ctx, "s", "target", Attr{})))
	f.must(errOf(f.Mknod(f.ctx, "p", Attr{Mode: unix.S_IFIFO | 0o600})))
	f.put("big", noise(9<<20, 1))
	for _, p := range []string{"s", "p", "big"} {
		f.link(p, p+"2")
		if a, b := f.stat(p), f.stat(p+"2"); a.Mode != b.Mode || a.FileID != b.FileID || b.Nlink != 2 {
			t.Errorf("%+v\n%+v", a, b)
		}
	}
	target, err := f.Readlink(f.ctx, "s2")
	f.must(err)
	if target != "target" {
		t.Errorf("points to %q", target)
	}
	file := f.open("big2")
	defer file.Release()
	f.write(file, "x", 100)
	f.must(file.Commit(f.ctx))
	f.has("big", noise(9<<20, 1)[:100]+"x"+noise(9<<20, 1)[101:])
	soundLinks(t, f.mem, exact)
}

// TestLinkRequests counts what the doc comments promise.
func TestLinkRequests(t *testing.T) {
	f := mount(t, bucket(), long)
	f.put("a", "one")
	f.stat("a")
	f.s.Reset()
	f.link("a", "b")
	f.requests("copy put put put")
	f.link("a", "c")
	f.requests("put copy put")
	f.stat("b")
	f.has("c", "one")
	f.requests("get")
	f.must(errOf(f.SetAttr(f.ctx, "b", Change{Mode: ptr[uint32](0o600)})))
	f.requests("copy")
	f.must(f.Rename(f.ctx, "c", "e", false))
	f.requests("put put delete put list")
	f.must(f.Remove(f.ctx, "e"))
	f.requests("delete put copy")
	f.must(f.Remove(f.ctx, "b"))
	f.requests("delete put copy")
	f.must(f.Remove(f.ctx, "a"))
	f.requests("delete put delete delete")

	f.put("a", "one")
	f.link("a", "b")
	g := mount(t, f.mem, host("there"), long)
	g.s.Reset()
	g.stat("a")
	g.requests("get list get") // one more than of a file with one name
	g.stat("b")
	g.requests("get list")
	g.link("b", "c")
	g.requests("get put copy put") // the roll is not known yet
}

// TestUnlinkWhoseEndIsUnknown: a name that may have gone is asked for again.
func TestUnlinkWhoseEndIsUnknown(t *testing.T) {
	f := mount(t, bucket(), long)
	f.put("a", "text")
	f.link("a", "b")
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		switch op.Verb {
		case faulty.Delete:
			x.Lost = true
		case faulty.Head:
			x.Err = objstore.ErrUnreachable
		}
		return x
	})
	wants(t, f.Remove(f.ctx, "b"), objstore.ErrUnknown)
	f.healed()
	f.absent("b")
	f.must(f.tryPut("b", "new"))
	f.has("a", "text")
}
