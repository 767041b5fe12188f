package volume

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// pageful makes a directory d of n files in several directories, and has
// renames hold little of it.
func pageful(f *fixture, n int) (names []string) {
	f.t.Helper()
	f.mostHeld, f.movePage = 3, 4
	f.mkdir("d")
	for i := range n {
		if i%5 == 0 {
			f.mkdir(fmt.Sprintf("d/%02d", i))
		}
		name := fmt.Sprintf("%02d/%02d", i-i%5, i)
		f.put("d/"+name, name)
		names = append(names, name)
	}
	return names
}

// TestRenameOfManyPages: a directory of which not all is held is renamed as any
// other: what is open goes along, linked files stay linked, and what another
// host writes meanwhile keeps its old name.
func TestRenameOfManyPages(t *testing.T) { inSetups(t, testRenameOfManyPages) }

func testRenameOfManyPages(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	names := pageful(f, 21)
	linked := s == nil || s.name == "client"
	if linked {
		f.must(errOf(f.Link(f.ctx, "d/20/20", "d/20/name")))
	}
	file := f.open("d/15/17")
	f.write(file, "open", 0)
	other := mount(t, f.mem, s.on, host("there"))
	var wrote atomic.Bool
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Delete && wrote.CompareAndSwap(false, true) {
			other.put("d/10/12", "newer")
			other.put("d/10/unknown", "new")
		}
		return x
	})
	f.rename("d", "e")
	f.healed()
	f.write(file, "open still", 0)
	f.must(file.Commit(f.ctx))
	file.Release()
	f.must(f.Close(f.ctx))
	third := mount(t, f.mem, s.on, host("third"))
	for _, name := range names {
		want := name
		if name == "15/17" {
			want = "open still"
		}
		third.has("e/"+name, want)
	}
	third.lists("d", "10")
	third.lists("d/10", "12", "unknown")
	third.has("d/10/12", "newer")
	if linked && (third.stat("e/20/name").Nlink != 2 || third.stat("e/20/name").FileID != third.stat("e/20/20").FileID) {
		t.Errorf("%+v", third.stat("e/20/name"))
	}
}

// endsWhole ends f, which has the tree under dir and nothing else.
func (f *fixture) endsWhole(dir string, names []string) {
	f.t.Helper()
	f.lists("", dir)
	for _, name := range names {
		f.has(dir+"/"+name, name)
	}
	f.must(f.Close(f.ctx))
	f.noLeftovers()
	f.end()
}

// TestManyPagesKilled: killed at any request, the tree is whole under the old
// name or, when the next mount is there, under the new one.
func TestManyPagesKilled(t *testing.T) {
	m := bucket()
	f := mount(t, m)
	names := pageful(f, 11)
	f.end()
	for n := 1; ; n++ {
		f := mount(t, m.Clone())
		f.mostHeld, f.movePage = 3, 4
		f.s.CrashAt(n, n%2 == 0)
		err := f.Rename(f.ctx, "d", "e", false)
		crashed := f.s.Crashed()
		store := f.mem
		f.end()
		again := mount(t, store)
		again.mostHeld, again.movePage = 3, 4
		dir := "e"
		if slices.Equal(again.list(""), []string{"d"}) && err != nil {
			dir = "d"
		}
		if again.endsWhole(dir, names); t.Failed() {
			t.Fatalf("request %d", n)
		}
		if !crashed {
			if n < 40 {
				t.Errorf("%d requests", n)
			}
			return
		}
	}
}

// TestManyPagesTakenOver: killed at any request, and written to by another host
// in the same moment, under either name, a third host has all of it.
func TestManyPagesTakenOver(t *testing.T) {
	for _, name := range []string{"client", "none"} {
		s := setupOf(name)
		t.Run(name, func(t *testing.T) { testManyPagesTakenOver(t, &s) })
	}
}

func testManyPagesTakenOver(t *testing.T, s *setup) {
	for n, more := 1, true; more; n++ {
		synctest.Test(t, func(t *testing.T) { more = overtaken(t, s, n) })
		if t.Failed() {
			t.Fatalf("request %d", n)
		}
		if !more && n < 30 {
			t.Errorf("%d requests", n)
		}
	}
}

func overtaken(t *testing.T, s *setup, n int) (crashed bool) {
	f := mount(t, s.store(), s.on, host("dead"))
	names, store := pageful(f, 8), f.mem
	f.end()
	f = mount(t, store, s.on, host("dead"))
	f.mostHeld, f.movePage = 3, 4
	f.s.CrashAt(n, n%2 == 0)
	err := f.Rename(f.ctx, "d", "e", false)
	crashed = f.s.Crashed()
	f.end()
	if !crashed {
		f.must(err)
	}
	want := map[string]string{}
	for _, name := range names {
		want[name] = name
	}
	other := mount(t, store, s.on, host("writer"))
	write := func(name, text string) {
		p := "d/" + name
		if _, err := other.Stat(other.ctx, p); err != nil {
			p = "e/" + name
		}
		other.put(p, text)
		want[name] = text
	}
	write(names[2], "newer")
	write(names[6], "newer still")
	if _, err := other.Stat(other.ctx, "d/05"); err == nil {
		other.put("d/05/added", "added")
		want["05/added"] = "added"
	}
	other.must(other.Close(other.ctx))
	other.end()
	pass(2 * silence)
	third := mount(t, store, s.on, host("third"))
	for name, text := range want {
		if got, err := third.get("e/" + name); err == nil && got == text {
			continue
		}
		third.has("d/"+name, text)
	}
	third.must(third.Close(third.ctx))
	if t.Failed() {
		return true
	}
	third.noLeftovers()
	third.end()
	return crashed
}

// TestManyPagesUndone: where a copy fails, all goes back.
func TestManyPagesUndone(t *testing.T) {
	f := mount(t, bucket())
	names := pageful(f, 21)
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Copy && strings.HasSuffix(op.Key, "/18") {
			x.Err = objstore.ErrAccess
		}
		return x
	})
	wants(t, f.Rename(f.ctx, "d", "e", false), ErrAccess)
	f.healed()
	f.lists("", "d")
	for _, name := range names {
		f.has("d/"+name, name)
	}
	f.must(f.Close(f.ctx))
	f.noLeftovers()
}

// TestUndoKilled: once the journal says that the copies go again, the next mount
// goes on with that, wherever the kill was.
func TestUndoKilled(t *testing.T) {
	m := bucket()
	f := mount(t, m)
	names := pageful(f, 6)
	f.end()
	for n := 1; ; n++ {
		f := mount(t, m.Clone())
		f.movePage = 4
		crash := 0
		f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
			switch {
			case op.Verb == faulty.Copy && strings.HasSuffix(op.Key, "/05"):
				crash, x.Err = op.N+n, objstore.ErrAccess
			case crash > 0 && op.N >= crash:
				x.Err = faulty.ErrCrashed
			}
			return x
		})
		crashed := false
		if f.Rename(f.ctx, "d", "e", false) == nil {
			t.Error("renamed")
		}
		for _, key := range f.mem.Keys() {
			crashed = crashed || strings.HasPrefix(key, "e/") || strings.Contains(key, ".sigil/journal/")
		}
		store := f.mem.Clone()
		f.end()
		again := mount(t, store)
		dir := "d"
		if n < 4 && slices.Equal(again.list(""), []string{"e"}) { // the journal did not say so yet
			dir = "e"
		}
		if again.endsWhole(dir, names); t.Failed() {
			t.Fatalf("request %d", n)
		}
		if !crashed {
			if n < 10 {
				t.Errorf("%d requests", n)
			}
			return
		}
	}
}

// TestTally finds every source of the rest by the state that was copied, in
// less than a third of the memory.
func TestTally(t *testing.T) {
	tl := &tally{most: 10}
	key := func(i int) string { return fmt.Sprintf("d/%06d", i) }
	for page := range 100 {
		var copied []moved
		for i := range 20 {
			if n := page*20 + i; n%7 != 0 {
				copied = append(copied, moved{src: key(n), etag: fmt.Sprint(n), key: "x"})
			}
		}
		tl.add(key(page*20+19), copied)
	}
	if len(tl.held) > 10 || len(tl.known) != 0 {
		t.Errorf("%d held, %d known", len(tl.held), len(tl.known))
	}
	f := &finder{rest: tl.rest}
	for n := len(tl.held); n < 2000; n++ {
		s, ok := f.find(key(n))
		if want := n%7 != 0; ok != want || ok && s.etag != short(fmt.Sprint(n)) {
			t.Fatalf("%d: %v, %v", n, s, ok)
		}
		if _, ok := f.find(key(n) + "new"); ok {
			t.Fatal("finds what was not copied")
		}
	}
}

// TestRenameTells: a directory rename that takes long says how far it is.
func TestRenameTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := logtest.NewNullLogger()
		f := mount(t, bucket(), func(o *Options) { o.Log = log })
		pageful(f, 6)
		gate := make(chan struct{})
		f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
			if op.Verb == faulty.Copy && strings.HasSuffix(op.Key, "/04") {
				x.Wait = gate
			}
			return x
		})
		done := make(chan error)
		go func() { done <- f.Rename(f.ctx, "d", "e", false) }()
		pass(11 * time.Second)
		synctest.Wait()
		close(gate)
		f.must(<-done)
		told := 0
		for _, e := range lines.AllEntries() {
			if e.Message == "renaming a directory" {
				told++
				if e.Level != logrus.InfoLevel || e.Data["total"] != 9 || e.Data["copied"] != int64(7) || e.Data["removed"] != int64(0) || e.Data["to"] != "e" {
					t.Errorf("%v", e.Data)
				}
			}
		}
		if told != 2 {
			t.Errorf("told %d times", told)
		}
		f.must(f.Close(f.ctx))
	})
}
