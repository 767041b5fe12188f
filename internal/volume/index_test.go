package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"
)

// indexing is a mount with an attribute index, by a clock.
func indexing(c *clock) tweak {
	return func(o *Options) { o.Index, o.Now, o.AttrTimeout = true, c.now, time.Second }
}

// indexBed is a bucket whose directory d, of n files, is indexed by a host that
// has gone.
func indexBed(t *testing.T, n int, tweaks ...tweak) (*mem.Store, *clock) {
	t.Helper()
	c := newClock()
	m := memAt(c)
	f := mount(t, m, slices.Concat([]tweak{indexing(c), host("first")}, tweaks)...)
	f.mkdir("d")
	for i := range n {
		f.put(nameOf(i), fmt.Sprint("content ", i))
	}
	c.pass(3 * time.Second)
	f.end()
	if len(indexes(m)) != 1 {
		t.Fatalf("indexes: %q", indexes(m))
	}
	c.pass(time.Hour)
	return m, c
}

func nameOf(i int) string { return fmt.Sprintf("d/file-%05d", i) }

func indexes(m *mem.Store) (keys []string) {
	for _, key := range m.Keys() {
		if strings.Contains(key, hidden+"/index/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// looks goes through d as find does and gives what it is shown.
func (f *fixture) looks(dir string) map[string]Attr {
	f.t.Helper()
	seen := map[string]Attr{}
	for _, name := range f.list(dir) {
		a, err := f.Attributes(f.ctx, join(dir, name))
		f.must(err)
		seen[name] = a
	}
	return seen
}

// truth is what the objects of a directory say themselves.
func (f *fixture) truth(dir string) map[string]Attr {
	f.t.Helper()
	seen := map[string]Attr{}
	other := mount(f.t, f.mem)
	defer other.end()
	for _, name := range other.list(dir) {
		seen[name] = other.stat(join(dir, name)).Attr
	}
	return seen
}

// agrees checks what is shown of a directory against the truth.
func (f *fixture) agrees(dir string) {
	f.t.Helper()
	got, want := f.looks(dir), f.truth(dir)
	for name, w := range want {
		g := got[name]
		g.Incarnation, w.Incarnation = 0, 0
		if g != w {
			f.t.Errorf("%s shows %+v, is %+v", name, g, w)
		}
	}
	if len(got) != len(want) {
		f.t.Errorf("%d entries, not %d", len(got), len(want))
	}
}

// TestIndexSparesRequests: a known directory costs its listing and one request,
// on this host and on others.
func TestIndexSparesRequests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		n    int
		want string
	}{
		"One page": {50, "list get"},
		"Few":      {2, "list get"},
		"Pages":    {2500, "list list list get"},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := indexBed(t, tc.n)
			for _, h := range []string{"first", "second"} {
				f := mount(t, m, indexing(c), host(h))
				f.looks("d")
				f.requests(tc.want)
				f.agrees("d")
				c.pass(time.Minute)
				f.s.Reset()
				f.looks("d") // known from before
				if n := len(f.s.Ops()); n > len(strings.Fields(tc.want)) {
					t.Errorf("%d requests again", n)
				}
				f.end()
			}
			if n := len(indexes(m)); n != 1 {
				t.Errorf("%d indexes", n)
			}
		})
	}
}

// TestIndexOfMany: a directory that is too large to be remembered as listed is
// listed again as the walk goes on, at 1,000 names a request.
func TestIndexOfMany(t *testing.T) {
	t.Parallel()
	const n, pages = 3500, 4
	m, c := indexBed(t, n)
	f := mount(t, m, indexing(c))
	f.dirs.most = 500
	got := f.looks("d")
	if asked := len(f.s.Ops()); len(got) != n || asked > 2*pages+1+2*walkRow {
		t.Errorf("%d requests for %d entries", asked, len(got))
	}
}

// TestIndexIsSealed: nothing of an index is readable, its name included.
func TestIndexIsSealed(t *testing.T) {
	m, _ := indexBed(t, 5)
	key := indexes(m)[0]
	o, _ := m.Object(key)
	if strings.Contains(string(o.Body), "file-") || strings.Contains(key, "file") || len(key) != len(".sigil/index/")+32 {
		t.Errorf("%s shows names", key)
	}
	if !isSealed(o.Info.Metadata) {
		t.Error("not sealed")
	}
}

// TestIndexIsChecked: what has changed since, in whatever way, is asked for, and
// what has not is not.
func TestIndexIsChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(f *fixture)
		want   string // requests of the walk
	}{
		"Nothing":  {func(*fixture) {}, "list get"},
		"Content":  {func(f *fixture) { f.put(nameOf(3), "anew") }, "list get get"},
		"Mode":     {func(f *fixture) { f.must(errOf(f.SetAttr(f.ctx, nameOf(3), mode(0o600)))) }, "list get get"},
		"Gone":     {func(f *fixture) { f.must(f.Remove(f.ctx, nameOf(3))) }, "list get"},
		"New":      {func(f *fixture) { f.put("d/new", "x") }, "list get get"},
		"Renamed":  {func(f *fixture) { f.must(f.Rename(f.ctx, nameOf(3), "d/new", false)) }, "list get get"},
		"Replaced": {func(f *fixture) { f.must(f.Rename(f.ctx, nameOf(3), nameOf(4), false)) }, "list get get"},
		"Linked":   {func(f *fixture) { f.must(errOf(f.Link(f.ctx, nameOf(3), "d/link"))) }, "list get get get get"},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := indexBed(t, 10)
			other := mount(t, m, func(o *Options) { o.Now = c.now }, host("other"))
			tc.change(other)
			c.pass(time.Minute)
			f := mount(t, m, indexing(c))
			f.agrees("d")
			f.s.Reset()
			f.end()
			f = mount(t, m, indexing(c), func(o *Options) { o.ReadOnly = true })
			f.looks("d")
			if tc.want != "" {
				f.requests(tc.want)
			}
		})
	}
}

// TestIndexIsNoTrust: what is damaged, moved, in the clear, or of other keys is
// no index, and costs what there would cost without.
func TestIndexIsNoTrust(t *testing.T) {
	for name, tamper := range map[string]func(m *mem.Store, key string){
		"Flipped": func(m *mem.Store, key string) { m.Tamper(key, func(o *mem.Object) { o.Body[100] ^= 1 }) },
		"Cut":     func(m *mem.Store, key string) { m.Tamper(key, func(o *mem.Object) { o.Body = o.Body[:len(o.Body)/2] }) },
		"Plain": func(m *mem.Store, key string) {
			m.Tamper(key, func(o *mem.Object) { o.Body, o.Info.Metadata = []byte("sigilix\x01\x00\x00\x00\x00"), nil })
		},
		"Empty": func(m *mem.Store, key string) { m.Tamper(key, func(o *mem.Object) { o.Body = nil }) },
		"Huge":  func(m *mem.Store, key string) { m.Tamper(key, func(o *mem.Object) { o.Body = make([]byte, 17<<20) }) },
		"OfAnother": func(m *mem.Store, key string) {
			o, _ := m.Object("d/file-00001")
			m.Plant(key, o)
		},
		"NoIndex": func(m *mem.Store, key string) {
			f := mount(t, m)
			defer f.end()
			_, err := f.putOwn(f.ctx, draft{key: key}, []byte("something else"))
			f.must(err)
		},
		"Later": func(m *mem.Store, key string) {
			f := mount(t, m)
			defer f.end()
			_, err := f.putOwn(f.ctx, draft{key: key}, []byte("sigilix\x02\x00\x00\x00\x00"))
			f.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := indexBed(t, 4)
			tamper(m, indexes(m)[0])
			log, hook := test.NewNullLogger()
			f := mount(t, m, indexing(c), func(o *Options) { o.Log = log })
			f.agrees("d")
			if n := len(hook.AllEntries()); n != 1 {
				t.Errorf("%d lines of the log: %v", n, hook.AllEntries())
			}
			f.end()
			c.pass(time.Minute)
			f = mount(t, m, indexing(c))
			f.looks("d")
			if mended := len(f.s.Ops()) <= 2; mended == (name == "Later") {
				t.Errorf("rebuilt: %v", mended)
			}
		})
	}
}

// TestIndexAndSameSecond: a change in the second in which an entry was read
// leaves no trace in a listing, so that such an entry is not believed.
func TestIndexAndSameSecond(t *testing.T) {
	for name, tc := range map[string]struct {
		wait     time.Duration // after the write, before it is read
		believed bool
	}{
		"AtOnce": {0, false}, "NextSecond": {time.Second, false}, "Later": {2 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			m := memAt(c)
			writer := mount(t, m, func(o *Options) { o.Now = c.now }, host("writer"))
			for i := range 4 {
				writer.put(nameOf(i), "x")
			}
			c.pass(tc.wait)
			f := mount(t, m, indexing(c))
			f.looks("d")
			for i := range 4 {
				o, _ := m.Object(nameOf(i))
				f.must(errOf(writer.SetAttr(writer.ctx, nameOf(i), mode(0o600))))
				m.Tamper(nameOf(i), func(now *mem.Object) { now.Info.Modified = o.Info.Modified }) // as if in that second
			}
			c.pass(time.Minute)
			f.end()
			reader := mount(t, m, indexing(c))
			perm := reader.looks("d")["file-00000"].Mode & 0o777
			if stale := perm == 0o644; stale != tc.believed {
				t.Errorf("mode %o", perm)
			}
		})
	}
}

// TestIndexIsNotNewerThanMemory: an index that says less than this host knows,
// with objects to match, is an older state.
func TestIndexIsNotNewerThanMemory(t *testing.T) {
	m, c := indexBed(t, 4)
	old := m.Snapshot()
	f := mount(t, m, indexing(c))
	f.looks("d")
	other := mount(t, m, func(o *Options) { o.Now = c.now }, host("other"))
	f.must(errOf(other.SetAttr(other.ctx, nameOf(2), mode(0o600))))
	c.pass(time.Minute)
	if got := f.looks("d")["file-00002"].Mode & 0o777; got != 0o600 {
		t.Fatalf("mode %o", got)
	}
	c.pass(time.Minute)
	for key, o := range old {
		m.Plant(key, o)
	}
	f.index.clear() // what was learned later is forgotten, the objects are not
	c.pass(time.Minute)
	f.s.Reset()
	f.looks("d")
	if !slices.ContainsFunc(f.s.Ops(), func(op faulty.Op) bool { return op.Verb == faulty.Get && op.Key == nameOf(2) }) {
		t.Error("the older state is shown by what an index says")
	}
}

// TestIndexOfWhatDirectoriesHide: where another host has made a directory beside
// a file of the same name, the directory shows, whatever is known of the file.
func TestIndexOfWhatDirectoriesHide(t *testing.T) {
	m, c := indexBed(t, 4)
	m.Plant(nameOf(1)+"/", mem.Object{})
	m.Plant(nameOf(2)+"/x", mem.Object{})
	f := mount(t, m, indexing(c))
	for e, err := range f.List(f.ctx, "d", "") {
		f.must(err)
		if hidden := e.Name == "file-00001" || e.Name == "file-00002"; hidden && e.Type != 0 && e.Type != unix.S_IFDIR {
			t.Errorf("%s is listed as %o", e.Name, e.Type)
		}
	}
	for range 2 {
		for name, a := range f.looks("d") {
			if dir, hidden := a.Mode&unix.S_IFMT == unix.S_IFDIR, name == "file-00001" || name == "file-00002"; dir != hidden {
				t.Errorf("%s is shown as %o", name, a.Mode)
			}
		}
		for e, err := range f.List(f.ctx, "d", "") {
			f.must(err)
			if hidden := e.Name == "file-00001" || e.Name == "file-00002"; hidden && e.Type != 0 && e.Type != unix.S_IFDIR {
				t.Errorf("%s is listed as %o", e.Name, e.Type)
			}
		}
		c.pass(time.Minute)
	}
}

// TestIndexAndOpen: who is told of a file by the index and opens it then has the
// same inode, and its content.
func TestIndexAndOpen(t *testing.T) {
	m, c := indexBed(t, 4)
	f := mount(t, m, indexing(c))
	for name, a := range f.looks("d") {
		file := f.open("d/" + name)
		if got := file.Info().Attr; got != a {
			t.Errorf("told %+v, opened %+v", a, got)
		}
		file.Release()
	}
	f.has(nameOf(1), "content 1")
	c.pass(time.Minute)
	before := f.looks("d")
	c.pass(time.Minute)
	f.put(nameOf(1), "by this host")
	c.pass(time.Minute)
	after := f.looks("d")
	for name, a := range before {
		if own := name == "file-00001"; a.Incarnation != after[name].Incarnation || a.FileID != after[name].FileID || own != (a != after[name]) {
			t.Errorf("%s: %+v, then %+v", name, a, after[name])
		}
	}
	other := mount(t, m, host("other"))
	other.put(nameOf(2), "by another")
	c.pass(time.Minute)
	if now := f.looks("d")["file-00002"]; now.Incarnation == after["file-00002"].Incarnation {
		t.Error("another body, the same incarnation")
	}
}

// TestIndexOfWhatIsOpen: what this host has open or dirty is shown as it is.
func TestIndexOfWhatIsOpen(t *testing.T) {
	m, c := indexBed(t, 4)
	f := mount(t, m, indexing(c))
	f.looks("d")
	file := f.open(nameOf(1))
	defer file.Release()
	f.write(file, "much longer than before", 0)
	c.pass(time.Minute)
	if got := f.looks("d")["file-00001"].Size; got != int64(len("much longer than before")) {
		t.Errorf("%d bytes", got)
	}
}

// TestIndexGoesWithDirectory: nothing is left of a directory that has gone.
func TestIndexGoesWithDirectory(t *testing.T) {
	for name, end := range map[string]func(f *fixture) error{
		"Rmdir": func(f *fixture) error {
			for i := range 3 {
				f.must(f.Remove(f.ctx, nameOf(i)))
			}
			return f.Rmdir(f.ctx, "d")
		},
		"Rename": func(f *fixture) error { return f.Rename(f.ctx, "d", "e", false) },
	} {
		t.Run(name, func(t *testing.T) {
			m, c := indexBed(t, 3)
			old := indexes(m)[0]
			f := mount(t, m, indexing(c))
			f.looks("d")
			f.must(end(f))
			c.pass(time.Minute)
			f.end()
			if slices.Contains(indexes(m), old) {
				t.Errorf("%q are left", indexes(m))
			}
		})
	}
}

// TestNoIndex: none is written where nothing may be written, where the root has
// no key, where there is little to know, and of what is under another rule.
func TestNoIndex(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	for name, tc := range map[string]struct {
		n     int
		tweak tweak
	}{
		"One":       {1, host("a")},
		"NotWanted": {5, func(o *Options) { o.Index = false }},
		"Unsealed":  {5, rules(Rule{Mode: "none"})},
		"OtherRule": {5, rules(Rule{Mode: "client", Keys: k}, Rule{Prefix: "d/", Mode: "client", Keys: &fakeKeys{epochs: []sigil.Epoch{epoch(2)}}})},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			m := memAt(c)
			f := mount(t, m, indexing(c), tc.tweak)
			for i := range tc.n {
				f.put(nameOf(i), "x")
			}
			c.pass(time.Minute)
			f.end()
			if len(indexes(m)) != 0 {
				t.Error(indexes(m))
			}
			f = mount(t, m, indexing(c), tc.tweak)
			f.agrees("d")
		})
	}
	t.Run("ReadOnly", func(t *testing.T) {
		m, c := indexBed(t, 5)
		for _, key := range indexes(m) {
			if err := m.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		f := mount(t, m, indexing(c), func(o *Options) { o.ReadOnly = true })
		f.agrees("d")
		c.pass(time.Minute)
		f.end()
		if len(indexes(m)) != 0 {
			t.Error(indexes(m))
		}
	})
}

// TestIndexOfTwoHosts: who comes second writes what both know.
func TestIndexOfTwoHosts(t *testing.T) {
	c := newClock()
	m := memAt(c)
	a, b := mount(t, m, indexing(c), host("a")), mount(t, m, indexing(c), host("b"))
	for i := range 8 {
		[]*fixture{a, b}[i%2].put(nameOf(i), "x")
	}
	c.pass(time.Minute)
	a.end()
	b.end()
	f := mount(t, m, indexing(c))
	f.looks("d")
	f.requests("list get")
	f.agrees("d")
}

// TestIndexIsWrittenLazily: when a directory is quiet, not before, and not again
// for nothing.
func TestIndexIsWrittenLazily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket(), func(o *Options) { o.Index, o.AttrTimeout = true, time.Second })
		for i := range 20 {
			f.put(nameOf(i), "x")
			pass(time.Second)
		}
		synctest.Wait()
		if len(indexes(f.mem)) != 0 {
			t.Error("written while files were")
		}
		pass(indexQuiet)
		synctest.Wait()
		if len(indexes(f.mem)) != 1 {
			t.Error("not written")
		}
		f.s.Reset()
		pass(time.Hour)
		synctest.Wait()
		f.requests("")
		f.looks("d")
		f.s.Reset()
		pass(time.Hour)
		synctest.Wait()
		f.requests("")
		f.end()
	})
}

// TestIndexAtTheEnd: the end of a mount waits until what was just written can be
// believed, and no longer.
func TestIndexAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket(), func(o *Options) { o.Index, o.AttrTimeout = true, time.Second })
		m := f.mem
		f.mkdir("d")
		f.mkdir("d/e")
		for i := range 20 {
			f.put(nameOf(i), "x")
			f.put(fmt.Sprint("d/e/", i), "x")
		}
		began := time.Now()
		f.end()
		if took := time.Since(began); took < time.Second || took > indexRacy {
			t.Errorf("took %v", took)
		}
		if len(indexes(m)) != 2 {
			t.Error(indexes(m))
		}
		pass(time.Hour)
		f = mount(t, m, func(o *Options) { o.Index, o.AttrTimeout = true, time.Second })
		f.looks("d/e")
		f.requests("list get")
		began = time.Now()
		f.end()
		if took := time.Since(began); took > 0 {
			t.Errorf("a mount that learned nothing took %v to end", took)
		}
	})
}

// TestIndexTrouble: who cannot read or write indexes shows the same, and says so
// once.
func TestIndexTrouble(t *testing.T) {
	for name, err := range map[string]error{"Denied": ErrAccess, "Down": ErrThrottled} {
		t.Run(name, func(t *testing.T) {
			m, c := indexBed(t, 5)
			log, hook := test.NewNullLogger()
			f := mount(t, m, indexing(c), func(o *Options) { o.Log = log })
			f.s.SetScript(func(op faulty.Op) faulty.Fault {
				if strings.Contains(op.Key, "/index/") {
					return faulty.Fault{Err: err}
				}
				return faulty.Fault{}
			})
			f.looks("d")
			for i := range 10 {
				f.put(fmt.Sprint("d/new-", i), "x")
			}
			c.pass(3 * time.Second)
			f.agrees("d")
			f.must(f.Close(f.ctx))
			if n := len(hook.AllEntries()); n == 0 || n > 2 {
				t.Errorf("%d lines: %v", n, hook.AllEntries())
			}
		})
	}
}

// TestRevokedIsNotShown: attributes of what must not be read any more come from
// no index.
func TestRevokedIsNotShown(t *testing.T) {
	m, c := indexBed(t, 5)
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	f := mount(t, m, indexing(c), keys(k))
	f.looks("d")
	f.Revoke(epoch(1).ID)
	c.pass(time.Minute)
	k.epochs = nil
	f.s.Reset()
	f.looks("d")
	for i := range 5 {
		wants(t, f.stat(nameOf(i)).Err, ErrNoKey)
	}
	if a := f.looks("d")["file-00000"]; a.Size == int64(len("content 0")) {
		t.Error("the size of a file is shown whose key is gone")
	}
}

// TestIndexShowsWhatThisHostDoes: what this host removes, moves, links or makes
// anew shows at once, whatever a listing from a moment ago affirmed.
func TestIndexShowsWhatThisHostDoes(t *testing.T) {
	p := nameOf(3)
	for name, tc := range map[string]struct {
		do   func(f *fixture)
		want func(a Attr, err error) bool
	}{
		"Remove":    {func(f *fixture) { f.must(f.Remove(f.ctx, p)) }, func(_ Attr, err error) bool { return errors.Is(err, ErrNotExist) }},
		"Rename":    {func(f *fixture) { f.must(f.Rename(f.ctx, p, "x", false)) }, func(_ Attr, err error) bool { return errors.Is(err, ErrNotExist) }},
		"Directory": {func(f *fixture) { f.must(f.Rename(f.ctx, "d", "e", false)) }, func(_ Attr, err error) bool { return errors.Is(err, ErrNotExist) }},
		"Link":      {func(f *fixture) { f.must(errOf(f.Link(f.ctx, p, "d/link"))) }, func(a Attr, err error) bool { return err == nil && a.Nlink == 2 }},
		"Mode":      {func(f *fixture) { f.must(errOf(f.SetAttr(f.ctx, p, mode(0o600)))) }, func(a Attr, err error) bool { return a.Mode&0o777 == 0o600 }},
		"Content":   {func(f *fixture) { f.put(p, "12345") }, func(a Attr, err error) bool { return a.Size == 5 }},
		"Over":      {func(f *fixture) { f.must(f.Rename(f.ctx, nameOf(1), p, false)) }, func(a Attr, err error) bool { return a.Size == 9 }},
		"AsDirectory": {func(f *fixture) {
			f.must(f.Remove(f.ctx, p))
			f.mkdir(p)
		}, func(a Attr, err error) bool { return err == nil && a.Nlink == 2 }},
		"Unsaid": {func(f *fixture) {
			f.failing(objstore.ErrUnknown, true, faulty.Delete)
			if f.Remove(f.ctx, p) == nil {
				f.t.Log("was told")
			}
			f.healed()
		}, func(_ Attr, err error) bool { return errors.Is(err, ErrNotExist) }},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := indexBed(t, 6)
			f := mount(t, m, indexing(c))
			f.looks("d")
			c.pass(time.Millisecond) // the listing is believed still
			tc.do(f)
			for range 2 { // with what this host remembers of it, and without
				if a, err := f.Attributes(f.ctx, p); !tc.want(a, err) {
					t.Errorf("%+v, %v", a, err)
				}
				f.mu.Lock()
				clear(f.known)
				f.mu.Unlock()
			}
		})
	}
}

// TestIndexOfDirectories: a tree of small directories costs a request for each,
// their markers none.
func TestIndexOfDirectories(t *testing.T) {
	const dirs = 30
	c := newClock()
	m := memAt(c)
	f := mount(t, m, indexing(c))
	for d := range dirs {
		dir := fmt.Sprintf("d/dir-%02d", d)
		f.must(errOf(f.Mkdir(f.ctx, dir, Attr{Mode: 0o750, UID: uint32(d)})))
		for i := range 4 {
			f.put(fmt.Sprint(dir, "/", i), "x")
		}
	}
	c.pass(3 * time.Second)
	f.end()
	c.pass(time.Hour)
	f = mount(t, m, indexing(c))
	f.agrees("d")
	c.pass(time.Hour)
	f.end()
	f = mount(t, m, indexing(c))
	seen := f.looks("d")
	for name := range seen {
		f.looks(join("d", name))
	}
	if n := len(f.s.Ops()); n > dirs+12 {
		t.Errorf("%d requests for %d directories", n, dirs)
	}
	f.agrees("d")
	for i := range 4 {
		f.must(f.Remove(f.ctx, fmt.Sprint("d/dir-00/", i)))
	}
	f.looks("d")
	f.must(f.Rmdir(f.ctx, "d/dir-00"))
	_, err := f.Attributes(f.ctx, "d/dir-00")
	wants(t, err, ErrNotExist)
	f.must(errOf(f.SetAttr(f.ctx, "d/dir-01", mode(0o700))))
	if a := f.looks("d")["dir-01"]; a.Mode&0o777 != 0o700 {
		t.Errorf("mode %o", a.Mode)
	}
}

// TestIndexOfOwnWrites: what this host wrote is not told of a state that another
// has made of it before the index was written, though ETag and size are the same.
func TestIndexOfOwnWrites(t *testing.T) {
	c := newClock()
	m := memAt(c)
	f := mount(t, m, indexing(c))
	f.mkdir("d")
	f.mkdir("d/sub")
	for i := range 5 {
		f.put(nameOf(i), "x")
	}
	c.pass(10 * time.Second)
	other := mount(t, m, func(o *Options) { o.Now = c.now }, host("other"))
	for _, p := range []string{nameOf(2), "d/sub"} {
		other.must(errOf(other.SetAttr(other.ctx, p, mode(0o700))))
	}
	c.pass(time.Minute)
	f.end()
	f = mount(t, m, indexing(c))
	f.agrees("d")
}

// TestIndexOfCopiedBucket: where all objects are as they were, but copied by
// another tool, the index is made anew.
func TestIndexOfCopiedBucket(t *testing.T) {
	m, c := indexBed(t, 10)
	for _, key := range m.Keys() {
		m.Tamper(key, func(o *mem.Object) { o.Info.Modified = c.now() })
	}
	c.pass(time.Hour)
	f := mount(t, m, indexing(c))
	f.agrees("d")
	f.end()
	f = mount(t, m, indexing(c))
	f.looks("d")
	f.requests("list get")
}

// TestIndexOfOthers: a host that has not the keys of an index leaves it to those
// who have, and says so once.
func TestIndexOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket(), believer, func(o *Options) { o.Index = true }, host("there"))
		for d := range 3 {
			for i := range 10 {
				f.put(fmt.Sprintf("d%d/f%d", d, i), "x")
			}
		}
		m := f.mem
		f.end()
		log, hook := test.NewNullLogger()
		f = mount(t, m, believer, keys(&fakeKeys{epochs: []sigil.Epoch{epoch(2)}}), func(o *Options) { o.Index, o.Log = true, log })
		for d := range 3 {
			for i := range 10 {
				f.put(fmt.Sprintf("d%d/new%d", d, i), "x")
			}
		}
		pass(2 * indexQuiet)
		synctest.Wait()
		f.s.Reset()
		pass(time.Hour)
		synctest.Wait()
		f.requests("")
		if n := len(hook.AllEntries()); n != 1 {
			t.Errorf("%d lines of the log: %v", n, hook.AllEntries())
		}
		f.end()
	})
}

// TestIndexHoldsNoEnd: an index that is being written, or read ahead, when the
// mount ends takes no longer than one that is written then.
func TestIndexHoldsNoEnd(t *testing.T) {
	indexed := func(o *Options) { o.Index = true }
	hang := func(verb faulty.Verb) func(op faulty.Op) faulty.Fault {
		return func(op faulty.Op) faulty.Fault {
			if op.Verb == verb && strings.Contains(op.Key, "/index/") {
				return faulty.Fault{Delay: time.Hour}
			}
			return faulty.Fault{}
		}
	}
	t.Run("Written", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := mount(t, bucket(), believer, indexed)
			for i := range 20 {
				f.put(nameOf(i), "x")
			}
			f.s.SetScript(hang(faulty.Put))
			pass(2 * indexQuiet)
			began := time.Now()
			f.must(f.Close(f.ctx))
			if took := time.Since(began); took > indexLimit+indexRacy {
				t.Errorf("the end took %v", took)
			}
			f.end()
		})
	})
	t.Run("ReadAhead", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := mount(t, bucket(), believer, indexed, host("there"))
			for d := range 10 {
				for i := range 5 {
					f.put(fmt.Sprintf("d%d/f%d", d, i), "x")
				}
			}
			m := f.mem
			f.end()
			f = mount(t, m, believer, indexed)
			f.looks("d0")
			f.s.SetScript(hang(faulty.Get))
			f.list("d1")
			synctest.Wait()
			if !slices.ContainsFunc(f.s.Ops(), func(op faulty.Op) bool { return op.Verb == faulty.Get && op.Key == f.indexKey("d5") }) {
				t.Error("none is read ahead")
			}
			began := time.Now()
			f.must(f.Close(f.ctx))
			if took := time.Since(began); took > 0 {
				t.Errorf("the end took %v", took)
			}
			f.end()
		})
	})
}
