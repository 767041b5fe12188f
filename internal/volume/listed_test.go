package volume

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"pgregory.net/rapid"
)

// believing mounts a host at a clock that believes the store for a second.
func believing(t *testing.T, c *clock, tweaks ...tweak) *fixture {
	t.Helper()
	return mount(t, memAt(c), append([]tweak{at(c)}, tweaks...)...)
}

func at(c *clock) tweak {
	return func(o *Options) { o.Now, o.AttrTimeout = c.now, time.Second }
}

// born is what the kernel asks of a volume when a program creates a file.
func (f *fixture) born(p string) {
	f.t.Helper()
	f.absent(p)
	file := f.create(p, "x", true)
	f.must(file.Commit(f.ctx))
	file.Release()
}

func perFile(n int, f *fixture) float64 {
	defer f.s.Reset()
	return float64(f.s.Counts().Total()) / float64(n)
}

// TestCreateCostsOnePut in a directory that is listed once a second, not once a
// file; in a new one, and in one that had files already.
func TestCreateCostsOnePut(t *testing.T) {
	for _, each := range []time.Duration{0, 30 * time.Millisecond} {
		for _, old := range []int{0, 100, 2500} {
			t.Run(fmt.Sprintf("Each=%v,Old=%d", each, old), func(t *testing.T) {
				c := newClock()
				f := believing(t, c)
				f.mkdir("d")
				for i := range old {
					f.mem.Plant(fmt.Sprintf("d/old%05d", i), mem.Object{})
				}
				f.s.Reset()
				const files = 500
				for i := range files {
					f.born(fmt.Sprintf("d/f%d", i))
					c.pass(each)
				}
				counts := f.s.Counts()
				if got := perFile(files, f); got > 1.1 {
					t.Errorf("%.3f requests a file: %v", got, counts)
				}
			})
		}
	}
}

// TestLongDirectory is not listed for a lookup: each absent name costs one LIST
// of what begins like it.
func TestLongDirectory(t *testing.T) {
	c := newClock()
	f := believing(t, c)
	f.dirs.most = 100
	for i := range 200 {
		f.mem.Plant(fmt.Sprintf("d/f%03d", i), mem.Object{})
	}
	f.absent("d/a")
	f.absent("d/b") // tries, and finds it too long
	f.s.Reset()
	for _, name := range []string{"c", "f", "f000-", "z"} {
		f.absent("d/" + name)
	}
	f.requests("list list list list")
	f.put("d/e/x", "deeper")
	c.pass(2 * time.Second)
	if !f.stat("d/e").isDir() || f.stat("d/f007").isDir() {
		t.Error("not what they are")
	}
	f.mem.Plant("d/g/x", mem.Object{})
	f.absent("d/z")
	if !f.stat("d/g").isDir() { // between g and g/ nothing is
		t.Error("not a directory")
	}
}

// TestListingAnswers: a listing that an application made answers for names that
// are not there, and spares the question whether a file is a directory.
func TestListingAnswers(t *testing.T) {
	c := newClock()
	f := believing(t, c)
	f.put("d/a", "x")
	f.mkdir("d/sub")
	c.pass(2 * time.Second)
	f.lists("d", "a", "sub")
	f.s.Reset()
	f.absent("d/b")
	f.requests("")
	f.stat("d/a")
	f.requests("get")
	f.stat("d/sub")
	f.requests("head")
}

// TestAbsenceEnds: another host's file shows within AttrTimeout, and its
// exclusive creation is never overwritten.
func TestAbsenceEnds(t *testing.T) {
	for name, make := range map[string]func(f *fixture) error{
		"File":  func(f *fixture) error { return f.tryPut("d/new", "theirs") },
		"Dir":   func(f *fixture) error { return errOf(f.Mkdir(f.ctx, "d/new", Attr{Mode: 0o755})) },
		"Below": func(f *fixture) error { return f.tryPut("d/new/x", "theirs") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			f := believing(t, c)
			other := mount(t, f.mem, at(c), host("there"))
			f.mkdir("d")
			f.born("d/1")
			f.born("d/2")
			f.absent("d/new")
			f.must(make(other))
			c.pass(time.Second)
			f.stat("d/new")
		})
	}
}

func TestExclusiveWinner(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(f *fixture) error
		want error
	}{
		"Create": {func(f *fixture) error {
			file := f.create("d/new", "mine", true)
			defer file.Release()
			return file.Commit(f.ctx)
		}, ErrExist},
		"CreateAny": {func(f *fixture) error { // what it has not seen it does not replace
			file := f.create("d/new", "mine", false)
			defer file.Release()
			return file.Commit(f.ctx)
		}, ErrChanged},
		"Mknod":   {func(f *fixture) error { return errOf(f.Mknod(f.ctx, "d/new", Attr{})) }, ErrExist},
		"Symlink": {func(f *fixture) error { return errOf(f.Symlink(f.ctx, "d/new", "x", Attr{})) }, ErrExist},
		"Rename":  {func(f *fixture) error { return f.Rename(f.ctx, "d/1", "d/new", true) }, ErrExist},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			f := believing(t, c)
			other := mount(t, f.mem, at(c), host("there"))
			f.mkdir("d")
			f.born("d/1")
			f.born("d/2")
			f.absent("d/new")
			c.pass(10 * time.Millisecond)
			other.put("d/new", "theirs")
			c.pass(900 * time.Millisecond)
			wants(t, tc.make(f), tc.want)
			f.has("d/new", "theirs") // at once: the listing is doubted
			other.has("d/new", "theirs")
		})
	}
	t.Run("Mkdir", func(t *testing.T) {
		c := newClock()
		f := believing(t, c)
		other := mount(t, f.mem, at(c), host("there"))
		f.born("1")
		f.born("2")
		f.absent("new")
		other.mkdir("new")
		wants(t, errOf(f.Mkdir(f.ctx, "new", Attr{})), ErrExist)
		f.stat("new")
	})
}

// TestListingLacksOwn: what this host has made is never hidden, whatever a
// listing says.
func TestListingLacksOwn(t *testing.T) {
	c := newClock()
	f := believing(t, c)
	f.mkdir("d")
	f.born("d/1")
	f.mkdir("d/sub")
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		return faulty.Fault{Hide: func(key string) bool { return strings.HasPrefix(key, "d/1") || strings.HasPrefix(key, "d/sub") }}
	})
	for range 3 {
		c.pass(990 * time.Millisecond)
		f.absent("d/x")
		f.absent("d/y")
		f.has("d/1", "x")
		f.stat("d/sub")
		f.lists("d", "1", "sub")
	}
}

// TestListingUnderWay: what this host makes while a directory is listed is not
// overlooked, though the listing has passed its place.
func TestListingUnderWay(t *testing.T) {
	c := newClock()
	f := believing(t, c)
	f.absent("d/0")
	reached, release := make(chan struct{}), make(chan struct{})
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb != faulty.List {
			return faulty.Fault{}
		}
		return faulty.Fault{Hide: func(string) bool { return true }, After: func(err error) error {
			close(reached)
			<-release
			return err
		}}
	})
	done := make(chan error)
	go func() {
		_, err := f.Stat(f.ctx, "d/1")
		done <- err
	}()
	<-reached
	f.healed()
	file := f.create("d/2", "x", true)
	f.must(file.Commit(f.ctx))
	file.Release()
	f.mu.Lock()
	clear(f.known) // as if there were too many to remember
	f.mu.Unlock()
	close(release)
	wants(t, <-done, ErrNotExist)
	f.s.Reset()
	f.has("d/2", "x")
	f.absent("d/3")
	f.requests("get") // of the lookup of d/2, which brings its content
}

// TestListingFails: trouble with a listing is no news of a name.
func TestListingFails(t *testing.T) {
	c := newClock()
	f := believing(t, c)
	f.put("d/a", "x")
	f.absent("d/0")
	c.pass(2 * time.Second)
	f.absent("d/0")
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.List {
			return faulty.Fault{Err: objstore.ErrUnreachable}
		}
		return faulty.Fault{}
	})
	for range 3 {
		wants(t, errOf(f.Stat(f.ctx, "d/1")), objstore.ErrUnreachable)
	}
	f.healed()
	f.has("d/a", "x")
	f.absent("d/1")
}

// TestListingFollows: renames and removals keep what is remembered right.
func TestListingFollows(t *testing.T) {
	c := newClock()
	f := believing(t, c)
	f.mkdir("d")
	f.born("d/1")
	f.born("d/2")
	f.mkdir("d/sub")
	f.born("d/sub/a")
	f.rename("d/2", "d/3")
	f.absent("d/2")
	f.has("d/3", "x")
	f.must(f.Remove(f.ctx, "d/3"))
	f.absent("d/3")
	f.rename("d/sub", "d/moved")
	f.absent("d/sub")
	f.absent("d/sub/a")
	f.has("d/moved/a", "x")
	f.must(f.Remove(f.ctx, "d/moved/a"))
	f.must(f.Rmdir(f.ctx, "d/moved"))
	f.absent("d/moved")
	f.mkdir("d/moved")
	f.absent("d/moved/a")
	f.born("d/moved/a")
	f.lists("d/moved", "a")
	f.lists("d", "1", "moved")
}

// TestDirNamesBounds: whatever is done, the memory is bounded and accounted.
func TestDirNamesBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		n := newDirNames(c.now, time.Second, 30*nameOverhead)
		n.most = 20
		var runs []*dirListing
		path := func() string {
			return fmt.Sprintf("%d/%d", rapid.IntRange(0, 80).Draw(rt, "dir"), rapid.IntRange(0, 30).Draw(rt, "name"))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				total := 0
				for dir, r := range n.dirs {
					sum := 0
					for name := range r.names {
						sum += len(name) + nameOverhead
					}
					if r.dir != dir || sum != r.bytes || len(r.names) > n.most {
						rt.Fatalf("%q: %d bytes, counted %d, %d names", dir, sum, r.bytes, len(r.names))
					}
					total += sum
				}
				for _, l := range runs {
					sum := 0
					for name := range l.names {
						sum += len(name) + nameOverhead
					}
					total += sum
				}
				if total != n.bytes || total > n.room || len(n.dirs) > maxDirRecords {
					rt.Fatalf("%d bytes, counted %d, %d directories", total, n.bytes, len(n.dirs))
				}
			},
			"pass":  func(*rapid.T) { c.pass(300 * time.Millisecond) },
			"add":   func(*rapid.T) { n.add(path(), asFile) },
			"drop":  func(*rapid.T) { n.drop(path(), asFile|asDir) },
			"dir":   func(*rapid.T) { n.drop(parent(path()), asDir) },
			"doubt": func(*rapid.T) { n.doubt(path()) },
			"met":   func(*rapid.T) { n.met(path(), true) },
			"seed":  func(*rapid.T) { n.seed(path(), c.now()) },
			"plan": func(*rapid.T) {
				if l := n.plan(parent(path())).list; l != nil {
					runs = append(runs, l)
				}
			},
			"start": func(*rapid.T) { runs = append(runs, n.start(parent(path()), c.now())) },
			"give": func(rt *rapid.T) {
				if len(runs) == 0 {
					return
				}
				l := rapid.SampledFrom(runs).Draw(rt, "listing")
				for i := range rapid.IntRange(0, 30).Draw(rt, "names") {
					l.give(line{name: fmt.Sprint(i), listed: listed{kind: asFile}}, fmt.Sprint(i))
				}
			},
			"end": func(rt *rapid.T) {
				if len(runs) == 0 {
					return
				}
				runs[0].end(rapid.Bool().Draw(rt, "whole"))
				runs = runs[1:]
			},
		})
	})
}

// remembering is a setup where everything is believed that can be, on a server
// that does not look at the conditions of copies.
func remembering() *setup {
	return &setup{
		bucket: func() *mem.Store { return mem.New(mem.Options{IgnoreCopyConditions: true}) },
		tweak: func(o *Options) {
			o.AttrTimeout, o.AttrDelay, o.Capabilities.CopyConditions = time.Hour, time.Hour, false
		},
	}
}

// TestModelRemembers: with memory, listings and attributes that wait, a volume
// is what it is without.
func TestModelRemembers(t *testing.T) {
	for _, faults := range []bool{false, true} {
		t.Run(fmt.Sprintf("Faults=%v", faults), func(t *testing.T) {
			few(t, "20", func() {
				rapid.Check(t, func(rt *rapid.T) {
					m := &machine{t: rt, tb: t, setup: remembering(), ref: newRef(), faults: faults}
					m.f = m.mount(m.setup.store())
					rt.Repeat(m.actions())
					m.remount()
					m.f.end()
				})
			})
		})
	}
}

// TestModelOfTwoRemembers: what one host does the other sees when AttrTimeout
// has passed.
func TestModelOfTwoRemembers(t *testing.T) {
	few(t, "20", func() {
		rapid.Check(t, func(rt *rapid.T) {
			c := newClock()
			s := &setup{
				bucket: func() *mem.Store { return memAt(c) },
				tweak:  func(o *Options) { o.Now, o.AttrTimeout, o.AttrDelay = c.now, time.Second, time.Hour },
				tick:   func() { c.pass(time.Second) },
			}
			modelOfTwo(t, rt, s)
		})
	})
}
