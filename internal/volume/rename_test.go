package volume

import (
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"golang.org/x/sys/unix"
)

func (f *fixture) rename(from, to string) {
	f.t.Helper()
	f.must(f.Rename(f.ctx, from, to, false))
}

func TestRenameKinds(t *testing.T) { inSetups(t, testRenameKinds) }

func testRenameKinds(t *testing.T, s *setup) {
	for _, tc := range []struct {
		name, from, to string
		noReplace      bool
		want           error
	}{
		{"FileToNothing", "f", "new", false, nil},
		{"FileOverFile", "f", "g", false, nil},
		{"FileOverFileNoReplace", "f", "g", true, ErrExist},
		{"FileToNothingNoReplace", "f", "new", true, nil},
		{"FileOverDir", "f", "d", false, ErrIsDir},
		{"FileOverDirNoReplace", "f", "d", true, ErrExist},
		{"FileOverDirty", "f", "dirty", false, nil},
		{"FileOverDirtyNoReplace", "f", "dirty", true, ErrExist},
		{"DirtyToNothing", "dirty", "new", false, nil},
		{"DirToNothing", "d", "new", false, nil},
		{"DirToNothingNoReplace", "d", "new", true, nil},
		{"DirOverEmpty", "d", "empty", false, nil},
		{"DirOverEmptyNoReplace", "d", "empty", true, ErrExist},
		{"DirOverFull", "d", "full", false, ErrNotEmpty},
		{"DirOverFile", "d", "f", false, ErrNotDir},
		{"DirOverDirty", "d", "dirty", false, ErrNotDir},
		{"DirOverDirtyNoReplace", "d", "dirty", true, ErrExist},
		{"DirIntoItself", "d", "d/sub", false, ErrInvalid},
		{"DirToParentsName", "d/e", "d/e2", false, nil},
		{"ImplicitDir", "imp", "new", false, nil},
		{"Nothing", "none", "new", false, ErrNotExist},
		{"Itself", "f", "f", false, nil},
		{"ItselfDir", "d", "d", false, nil},
		{"Deeper", "f", "full/f", false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, s.store(), s.on)
			f.put("f", "file")
			f.put("g", "other")
			f.mkdir("d")
			f.mkdir("d/e")
			f.put("d/x", "dx")
			f.put("d/e/y", "dey")
			f.mkdir("empty")
			f.mkdir("full")
			f.put("full/z", "z")
			f.put("imp/a/b", "iab")
			dirty := f.create("dirty", "dirty", false)
			defer dirty.Release()
			before := treeOf(f)
			err := f.Rename(f.ctx, tc.from, tc.to, tc.noReplace)
			wants(t, err, tc.want)
			want := before
			if err == nil {
				want = movedTree(before, tc.from, tc.to)
			}
			sameTree(t, treeOf(f), want)
			sameTree(t, treeOf(mountSettled(f, s)), want)
			f.noLeftovers()
		})
	}
}

// mountSettled commits all and gives another mount of the bucket.
func mountSettled(f *fixture, s *setup) *fixture {
	f.t.Helper()
	for _, file := range f.allFiles() {
		f.must(file.Commit(f.ctx))
	}
	return mount(f.t, f.mem, s.on, host("there"))
}

// tree gives every path and its content; directories read "/".
func treeOf(f *fixture) map[string]string {
	f.t.Helper()
	out := map[string]string{}
	var walk func(dir string)
	walk = func(dir string) {
		for e, err := range f.List(f.ctx, dir, "") {
			f.must(err)
			p := join(dir, e.Name)
			if f.stat(p).isDir() {
				out[p] = "/"
				walk(p)
				continue
			}
			text, err := f.get(p)
			f.must(err)
			out[p] = text
		}
	}
	walk("")
	return out
}

func movedTree(t map[string]string, from, to string) map[string]string {
	out := map[string]string{}
	for p, text := range t {
		if from != to && (p == from || below(p, from)) {
			p = to + p[len(from):]
		} else if p == to && from != to {
			continue
		}
		out[p] = text
	}
	return out
}

func sameTree(t testing.TB, got, want map[string]string) {
	t.Helper()
	for p, text := range want {
		if g, ok := got[p]; !ok || g != text {
			t.Errorf("%s: %s, want %s", p, brief(g), brief(text))
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s should not be there", p)
		}
	}
}

func TestRenameKeepsFile(t *testing.T) { inSetups(t, testRenameKeepsFile) }

func testRenameKeepsFile(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	f.put("a", "abc")
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o4711), Mtime: ptr[int64](12345), Xattrs: map[string][]byte{"user.x": []byte("y")}})))
	before := f.stat("a")
	f.rename("a", "b")
	after := f.stat("b")
	if after.FileID != before.FileID || after.Incarnation != before.Incarnation || after.Mode != before.Mode || after.Mtime != 12345 || string(after.Xattrs["user.x"]) != "y" {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	f.absent("a")
}

func TestRenameOpenDirty(t *testing.T) { inSetups(t, testRenameOpenDirty) }

func testRenameOpenDirty(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	file := f.create("a", "one", false)
	f.rename("a", "b")
	if file.Path() != "b" {
		t.Fatalf("path %q", file.Path())
	}
	f.absent("a")
	f.write(file, " two", 3)
	f.must(file.Commit(f.ctx))
	file.Release()
	mount(t, f.mem, s.on).has("b", "one two")
	f.lists("", "b")
}

func TestRenameOverOpen(t *testing.T) { inSetups(t, testRenameOverOpen) }

func testRenameOverOpen(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	f.put("a", "new")
	f.put("b", noise(100<<10, 1))
	reader := f.open("b")
	ghost := f.open("b")
	f.write(ghost, "unsaved", 0)
	f.rename("a", "b")
	f.has("b", "new")
	f.reads(reader, "unsaved"+noise(100<<10, 1)[7:])
	if info := reader.Info(); info.Nlink != 0 {
		t.Errorf("nlink %d", info.Nlink)
	}
	f.must(ghost.Commit(f.ctx)) // to no name
	f.has("b", "new")
	reader.Release()
	ghost.Release()
	f.settle()
	f.noLeftovers()
	f.lists("", "b")
}

// settle waits until the background has nothing to do, then ends it.
func (f *fixture) settle() {
	f.t.Helper()
	f.must(f.Close(f.ctx))
}

// TestRenameFails: neither name loses anything, dirty data of the target least
// of all.
func TestRenameFails(t *testing.T) { inSetups(t, testRenameFails) }

func testRenameFails(t *testing.T, s *setup) {
	for name, fails := range map[string]func(faulty.Op) bool{
		"Park": func(op faulty.Op) bool { return op.Verb == faulty.Copy && op.Key != "b" },
		"Copy": func(op faulty.Op) bool { return op.Verb == faulty.Copy && op.Key == "b" },
		"Get":  func(op faulty.Op) bool { return op.Verb == faulty.Get },
		"List": func(op faulty.Op) bool { return op.Verb == faulty.List },
	} {
		t.Run(name, func(t *testing.T) {
			f := mount(t, s.store(), s.on)
			f.put("a", "from")
			f.put("b", "to")
			file := f.open("b")
			f.write(file, "TO", 0)
			f.s.SetScript(func(op faulty.Op) faulty.Fault {
				if fails(op) {
					return faulty.Fault{Err: objstore.ErrAccess}
				}
				return faulty.Fault{}
			})
			wants(t, f.Rename(f.ctx, "a", "b", false), ErrAccess)
			f.healed()
			f.has("a", "from")
			f.has("b", "TO")
			f.must(file.Commit(f.ctx))
			file.Release()
			f.has("b", "TO")
			f.settle()
			f.noLeftovers()
			mount(t, f.mem, s.on).has("b", "TO")
		})
	}
}

func TestRenameDirWithOpenFiles(t *testing.T) { inSetups(t, testRenameDirWithOpenFiles) }

func testRenameDirWithOpenFiles(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	f.mkdir("d")
	f.put("d/clean", noise(100<<10, 5))
	f.put("d/sub/deep", "deep")
	clean := f.open("d/clean")
	dirty := f.create("d/sub/dirty", "dirty", false)
	incarnation := clean.Info().Incarnation
	f.rename("d", "e")
	if clean.Path() != "e/clean" || dirty.Path() != "e/sub/dirty" {
		t.Fatal(clean.Path(), dirty.Path())
	}
	f.reads(clean, noise(100<<10, 5))
	f.write(clean, "more", 0)
	f.write(dirty, " more", 5)
	if got := f.stat("e/clean"); got.Incarnation != incarnation {
		t.Error("a rename is no new version")
	}
	f.must(clean.Commit(f.ctx))
	f.must(dirty.Commit(f.ctx))
	clean.Release()
	dirty.Release()
	f.absent("d")
	mount(t, f.mem, s.on).has("e/clean", "more"+noise(100<<10, 5)[4:])
	mount(t, f.mem, s.on).has("e/sub/dirty", "dirty more")
	f.noLeftovers()
}

// TestRenameDirFails: the tree is whole under its old name, and the copies are
// gone.
func TestRenameDirFails(t *testing.T) { inSetups(t, testRenameDirFails) }

func testRenameDirFails(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	f.mkdir("d")
	for _, p := range strings.Fields("d/a d/b d/c/x d/c/y") {
		f.put(p, p)
	}
	before := treeOf(f)
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		switch {
		case op.Verb == faulty.Copy && op.OfAll == 3:
			return faulty.Fault{Err: objstore.ErrAccess}
		case op.Verb == faulty.Copy && op.OfAll == 2:
			return faulty.Fault{Lost: true}
		}
		return faulty.Fault{}
	})
	if err := f.Rename(f.ctx, "d", "e", false); err == nil {
		t.Fatal("should fail")
	}
	f.healed()
	sameTree(t, treeOf(f), before)
	f.noLeftovers()
	f.rename("d", "e")
	sameTree(t, treeOf(f), movedTree(before, "d", "e"))
	f.noLeftovers()
}

// TestRenameDirHalfWay: once everything is copied the rename is completed in
// the background, as soon as the store lets it.
func TestRenameDirHalfWay(t *testing.T) { inSetups(t, testRenameDirHalfWay) }

func testRenameDirHalfWay(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	for _, p := range strings.Fields("d/a d/b d/c/x d/c/y") {
		f.put(p, p)
	}
	before := treeOf(f)
	f.failing(objstore.ErrAccess, false, faulty.Delete)
	wants(t, f.Rename(f.ctx, "d", "e", false), ErrAccess)
	f.healed()
	f.must(f.doChores(f.ctx))
	f.settle()
	sameTree(t, treeOf(mount(t, f.mem, s.on)), movedTree(before, "d", "e"))
	f.noLeftovers()
}

func TestRenameDirLimit(t *testing.T) {
	f := mount(t, bucket(), func(o *Options) { o.RenameDirLimit = 2 })
	f.put("d/a", "1")
	f.put("d/b", "1")
	f.rename("d", "e")
	f.put("e/c", "1")
	wants(t, f.Rename(f.ctx, "e", "d", false), ErrCrossing)
	f.lists("", "e")
}

func TestRenameEmptyImplicit(t *testing.T) {
	f := mount(t, bucket())
	f.put("d/e/x", "1")
	f.stat("d/e")
	f.must(f.Remove(f.ctx, "d/e/x"))
	f.rename("d/e", "d/f")
	f.lists("d", "f")
	f.absent("d/e")
	if f.stat("d/f").Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Error("not a directory")
	}
}

// TestRenameOverForeign: what another host has put there meanwhile is seen.
func TestRenameOverForeign(t *testing.T) { inSetups(t, testRenameOverForeign) }

func testRenameOverForeign(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on, long)
	f.put("a", "mine")
	f.put("b", "old")
	f.stat("b")
	other := mount(t, f.mem, s.on, host("there"))
	other.put("b", "theirs")
	other.put("a", "changed")
	f.rename("a", "b") // sees another version of both only when it is refused
	mount(t, f.mem, s.on).has("b", "changed")
	f.absent("a")
	f.put("c", "1")
	other.put("new", "theirs")
	wants(t, f.Rename(f.ctx, "c", "new", true), ErrExist)
	other.has("new", "theirs")
	other.must(other.Remove(other.ctx, "c"))
	wants(t, f.Rename(f.ctx, "c", "d", false), ErrNotExist)
}

// TestRenameWhoseEndIsUnknown: where nobody knows whether the old name has gone,
// it is asked for again before anything is written there, and the new name shows.
func TestRenameWhoseEndIsUnknown(t *testing.T) {
	for _, done := range []bool{false, true} {
		f := mount(t, bucket(), long)
		f.put("dir/a", "old")
		f.absent("dir/b") // so that it is believed
		f.absent("dir/c")
		f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
			switch {
			case op.Verb == faulty.Delete && done:
				x.Lost = true
			case op.Verb == faulty.Delete, op.Verb == faulty.Head:
				x.Err = objstore.ErrUnknown
			}
			return x
		})
		wants(t, f.Rename(f.ctx, "dir/a", "dir/b", false), objstore.ErrUnknown)
		f.healed()
		f.has("dir/b", "old")
		if done {
			f.absent("dir/a")
		} else {
			f.has("dir/a", "old")
		}
		f.must(f.tryPut("dir/a", "new"))
		f.lists("dir", "a", "b")
	}
}

// TestRenameOverUncommitted: the copy of a rename that failed, since nobody heard
// of it, is no other host's file to what was being written under its name.
func TestRenameOverUncommitted(t *testing.T) { inSetups(t, testRenameOverUncommitted) }

func testRenameOverUncommitted(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	f.put("from", "old")
	file := f.create("to", "new", false)
	copied := false
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		switch {
		case copied:
			x.Err = objstore.ErrUnreachable
		case op.Key == f.opt.Prefix+"to" && (op.Verb == faulty.Copy || op.Verb == faulty.Put):
			copied, x.Lost = true, true
		}
		return x
	})
	wants(t, f.Rename(f.ctx, "from", "to", false), objstore.ErrUnknown)
	f.healed()
	f.must(file.Commit(f.ctx))
	file.Release()
	f.has("from", "old")
	f.has("to", "new")
	f.lists("", "from", "to")
}
