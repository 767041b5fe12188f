package volume

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"pgregory.net/rapid"
)

// forest is a bucket with a tree of fan directories in each, so deep, and n
// files in each; every other directory has a marker.
func forest(t *testing.T, fan, deep, n int) *mem.Store {
	t.Helper()
	f := mount(t, bucket(), host("there"))
	count := 0
	var grow func(dir string, deep int)
	grow = func(dir string, deep int) {
		for i := range n {
			f.put(join(dir, fmt.Sprintf("f%d", i)), "text")
		}
		if deep == 0 {
			return
		}
		for i := range fan {
			sub := join(dir, fmt.Sprintf("d%02d", i))
			if count++; count%2 == 0 {
				f.mkdir(sub)
			}
			grow(sub, deep-1)
		}
	}
	grow("", deep)
	m := f.mem
	f.end()
	pass(3 * time.Second)
	return m
}

// finds walks the tree below dir as find does: each directory is listed, and
// then each name looked up, if that is said. It gives the names and how many of
// them are directories.
func (f *fixture) finds(dir string, stat bool) (names []string, dirs int) {
	f.t.Helper()
	entries := slices.Collect(func(yield func(Entry) bool) {
		for e, err := range f.List(f.ctx, dir, "") {
			f.must(err)
			if !yield(e) {
				return
			}
		}
	})
	for _, e := range entries {
		p := join(dir, e.Name)
		names = append(names, p)
		isDir := strings.HasSuffix(e.Cookie, "/")
		if stat && f.stat(p).isDir() != isDir {
			f.t.Errorf("%s: a directory is none, or one is", p)
		}
		if isDir {
			below, n := f.finds(p, stat)
			names, dirs = append(names, below...), dirs+n+1
		}
	}
	return names, dirs
}

// TestTreeIsListedAhead: find of a tree of small directories costs about one
// LIST a thousand keys.
func TestTreeIsListedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := forest(t, 7, 3, 3) // 400 directories, 1,200 files
		f := mount(t, m, believer)
		f.distant()
		began := time.Now()
		names, dirs := f.finds("", false)
		counts, took := f.s.Counts(), time.Since(began)
		t.Logf("%d names, %d directories: %v in %v", len(names), dirs, counts, took)
		plain := mount(t, m)
		if want, _ := plain.finds("", false); !slices.Equal(names, want) {
			t.Errorf("%d names, want %d", len(names), len(want))
		}
		if counts.Total() > 25 || counts.Requests[faulty.List] != counts.Total() || took > 25*far {
			t.Errorf("%v in %v", counts, took)
		}
		f.end()
		plain.end()
	})
}

// TestTreeIsKnown: find with attributes of a tree that is known costs no more.
func TestTreeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := forest(t, 7, 3, 3)
		f := mount(t, m, believer)
		f.distant()
		f.finds("", true)
		pass(10 * time.Second)
		f.s.Reset()
		names, dirs := f.finds("", true)
		counts := f.s.Counts()
		t.Logf("%d names, %d directories: %v", len(names), dirs, counts)
		if counts.Total() > 2*dirs/10+len(names)/1000 {
			t.Errorf("%v for %d directories", counts, dirs)
		}
		f.end()
	})
}

// TestTreeOfLongDirectories: where a directory has more than a page, the others
// are listed by themselves.
func TestTreeOfLongDirectories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bucket()
		for i := range 6 {
			for j := range 2500 {
				m.Plant(fmt.Sprintf("d/s%d/f%04d", i, j), mem.Object{})
			}
		}
		f := mount(t, m, believer)
		names, _ := f.finds("d", false)
		if len(names) != 6*2501 {
			t.Errorf("%d names", len(names))
		}
		if n := f.s.Counts().Total(); n > 1+6*3+3 {
			t.Errorf("%d requests", n)
		}
		f.end()
	})
}

// TestTreeHidesItsOwn: what the volume keeps for itself is passed over in one
// request.
func TestTreeHidesItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bucket()
		for i := range 10 {
			m.Plant(fmt.Sprintf(".d%02d/f", i), mem.Object{})
			m.Plant(fmt.Sprintf("e%02d/f", i), mem.Object{})
		}
		for i := range 5000 {
			m.Plant(fmt.Sprintf(".sigil/x/%d/y", i), mem.Object{})
		}
		m.Plant(".sigil0", mem.Object{})
		m.Plant(".sigil/"+lastName+"a", mem.Object{})
		m.Plant("e03/.sigil/a", mem.Object{})
		f := mount(t, m, believer)
		names, dirs := f.finds("", false)
		if dirs != 20 || len(names) != 41 {
			t.Errorf("%d directories, %d names", dirs, len(names))
		}
		if n := f.s.Counts().Total(); n > 12 {
			t.Errorf("%d requests", n)
		}
		f.end()
	})
}

// TestTreeFollows: what this host does meanwhile shows at once, and what another
// does within the time that the store is believed.
func TestTreeFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := forest(t, 5, 2, 2)
		f, other := mount(t, m, believer), mount(t, m, host("there"))
		f.list("")
		f.list("d00")
		f.list("d01")
		synctest.Wait() // the rest is here
		f.put("d02/new", "text")
		f.mkdir("d02/dir")
		f.must(f.Remove(f.ctx, "d03/f0"))
		f.lists("d02", "d00", "d01", "d02", "d03", "d04", "dir", "f0", "f1", "new")
		f.lists("d03", "d00", "d01", "d02", "d03", "d04", "f1")
		f.rename("d04", "moved")
		f.lists("moved", "d00", "d01", "d02", "d03", "d04", "f0", "f1")
		f.absent("d04")
		pass(10 * time.Second)
		f.list("d00/d00")
		f.list("d00/d01")
		synctest.Wait()
		other.put("d00/d02/new", "text")
		pass(time.Second)
		f.lists("d00/d02", "f0", "f1", "new")
		f.end()
		other.end()
	})
}

// TestTreeAndCommit: what was listed ahead between the open of a new file and its
// close is given to nobody after that, also where nothing else is remembered.
func TestTreeAndCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := forest(t, 5, 1, 2)
		f := mount(t, m, believer)
		file := f.create("d03/new", "text", false)
		f.list("d00")
		f.list("d01")
		synctest.Wait() // the rest is here
		f.must(file.Commit(f.ctx))
		file.Release()
		f.mu.Lock()
		clear(f.known)
		f.mu.Unlock()
		f.lists("d03", "f0", "f1", "new")
		f.end()
	})
}

// TestRemovedWhileListed: a directory that this host removes while it is listed,
// or listed ahead, is not there any more.
func TestRemovedWhileListed(t *testing.T) {
	c := newClock()
	f := believing(t, c)
	f.mkdir("d")
	for i := range 4 {
		f.mkdir(fmt.Sprint("d/", i))
	}
	c.pass(10 * time.Second)
	for e, err := range f.List(f.ctx, "d", "") {
		f.must(err)
		c.pass(time.Millisecond)
		f.must(f.Rmdir(f.ctx, "d/"+e.Name))
	}
	for i := range 4 {
		f.absent(fmt.Sprint("d/", i))
		f.mkdir(fmt.Sprint("d/", i))
	}
	at := c.now()
	c.pass(time.Millisecond)
	f.must(f.Rmdir(f.ctx, "d/0"))
	f.askAhead(f.ctx, "d", line{"0", listed{kind: asDir}}, at, false)
	f.absent("d/0")
}

// TestDirectoryIsNotSetBack: a listing that shows a directory as it was believes
// nothing that was learned meanwhile less.
func TestDirectoryIsNotSetBack(t *testing.T) {
	c := newClock()
	m := memAt(c)
	mount(t, m, host("there"), func(o *Options) { o.Now = c.now }).mkdir("d")
	c.pass(10 * time.Second)
	f := mount(t, m, indexing(c))
	f.stat("d")
	o := f.recall("d").obj
	info, err := m.Head(f.ctx, o.id)
	f.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10_000 {
			f.reaffirmDir("d", factOf(info), c.now())
		}
	}()
	for range 10_000 {
		next := *o
		if f.note("d", &next, true); f.recall("d").obj != &next {
			t.Fatal("what was known before is believed again")
		}
	}
	<-done
}

// TestTreeOfNobody: nothing stays of what is listed ahead for who goes on no
// more, and the mount ends at once.
func TestTreeOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := forest(t, 5, 2, 2)
		f := mount(t, m, believer)
		f.list("d00")
		f.list("d01")
		synctest.Wait()
		pass(5 * time.Second)
		synctest.Wait()
		f.trees.mu.Lock()
		if len(f.trees.all) != 0 {
			t.Error("still there")
		}
		f.trees.mu.Unlock()
		f.distant()
		f.list("d00")
		f.list("d01")
		f.must(f.Close(f.ctx))
		f.end()
	})
}

// TestTreeFails: trouble with a listing ahead is none of who lists.
func TestTreeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := forest(t, 5, 2, 2)
		f := mount(t, m, believer)
		want, _ := mount(t, m).finds("", false)
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.List && op.Key == "" && op.OfAll > 1 {
				return faulty.Fault{Err: objstore.ErrThrottled}
			}
			return faulty.Fault{}
		})
		if names, _ := f.finds("", false); !slices.Equal(names, want) {
			t.Errorf("%d names, want %d", len(names), len(want))
		}
	})
}

// TestTreeBuild: directories made out of keys are what a listing with delimiter
// says.
func TestTreeBuild(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := bucket()
		part := rapid.SampledFrom([]string{"a", "b", "a!", "a0", "b.", "é", lastName, ""})
		for range rapid.IntRange(0, 40).Draw(rt, "keys") {
			key := "t/" + strings.Join(rapid.SliceOfN(part, 1, 4).Draw(rt, "key"), "/")
			m.Plant(key, mem.Object{})
		}
		b := treeBuild{prefix: "t/", start: "t/a/"}
		for e, err := range m.List(t.Context(), objstore.ListOptions{Prefix: "t/"}) {
			if err != nil {
				rt.Fatal(err)
			}
			b.add(e, time.Time{})
		}
		b.pop("")
		for _, d := range b.done {
			var want []string
			for e, err := range m.List(t.Context(), objstore.ListOptions{Prefix: d.prefix, Delimiter: "/"}) {
				if err != nil {
					rt.Fatal(err)
				}
				want = append(want, e.Key+e.Prefix)
			}
			var got []string
			for _, e := range d.entries {
				got = append(got, e.Key+e.Prefix)
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("%q: %q, want %q", d.prefix, got, want)
			}
		}
		if slices.ContainsFunc(b.done, func(d *treeDir) bool { return path.Clean(d.prefix) == "t/a" && d.prefix == "t/a/" }) {
			rt.Fatal("a directory that was not listed from its beginning")
		}
	})
}
