package volume

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func (f *fixture) journals() (n int) {
	for _, key := range f.mem.Keys() {
		if strings.Contains(key, ".sigil/journal/") {
			n++
		}
	}
	return n
}

// dying makes a directory d and renames it to e, but dies at the first request
// that which tells.
func dying(t *testing.T, m *mem.Store, name string, which func(faulty.Op) bool) {
	f := mount(t, m, host(name))
	for _, p := range strings.Fields("d/a d/b d/c") {
		f.put(p, p)
	}
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if which(op) {
			f.s.CrashAt(op.N+1, false)
			return faulty.Fault{Err: faulty.ErrCrashed}
		}
		return faulty.Fault{}
	})
	if err := f.Rename(f.ctx, "d", "e", false); err == nil {
		t.Fatal("survived")
	}
	close(f.stop)
	f.done.Wait()
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	if f.journals() != 1 {
		t.Fatalf("%d journals", f.journals())
	}
}

// TestTakeover: another host completes a rename when its owner has been silent
// for a minute, not before.
func TestTakeover(t *testing.T) {
	for _, verb := range []faulty.Verb{faulty.Copy, faulty.Delete} {
		synctest.Test(t, func(t *testing.T) {
			m := bucket()
			dying(t, m, "dead", func(op faulty.Op) bool { return op.Verb == verb && op.OfAll == 2 })
			pass(silence / 2)
			f := mount(t, m)
			if f.journals() != 1 {
				t.Error("taken from a host that may live")
			}
			f.must(f.Close(f.ctx))
			pass(silence)
			f = mount(t, m)
			f.lists("", "e")
			f.lists("e", "a", "b", "c")
			f.has("e/b", "d/b")
			f.must(f.Close(f.ctx))
			f.noLeftovers()
		})
	}
}

// TestHeartbeat: a rename that takes long stays its owner's, also by a clock that
// is ahead.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		f.put("d/a", "1")
		gate := make(chan struct{})
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			switch {
			case op.Verb == faulty.Copy:
				return faulty.Fault{Wait: gate}
			case op.Verb == faulty.Put:
				return faulty.Fault{Lost: true} // a beat knows its own
			}
			return faulty.Fault{}
		})
		done := make(chan error)
		go func() { done <- f.Rename(f.ctx, "d", "e", false) }()
		pass(5*time.Minute + time.Second)
		ahead := func(o *Options) { o.Now = func() time.Time { return time.Now().Add(5 * time.Minute) } }
		other := mount(t, f.mem, host("there"), ahead)
		if other.journals() != 1 {
			t.Error("taken from a living host")
		}
		other.must(other.Close(other.ctx))
		close(gate)
		f.must(<-done)
		f.must(f.Close(f.ctx))
		f.noLeftovers()
		mount(t, f.mem).has("e/a", "1")
	})
}

// TestTakenOver: a host that was silent and wakes up again gives way, and
// removes nothing that the other has made.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		for _, p := range strings.Fields("d/a d/b") {
			f.put(p, p)
		}
		gate := make(chan struct{})
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			switch {
			case op.Verb == faulty.Copy && op.OfAll == 2:
				return faulty.Fault{Wait: gate, Err: objstore.ErrAccess}
			case op.Verb == faulty.Put && op.OfAll > 1:
				return faulty.Fault{Err: objstore.ErrUnreachable}
			}
			return faulty.Fault{}
		})
		f.s.Reset()
		done := make(chan error)
		go func() { done <- f.Rename(f.ctx, "d", "e", false) }()
		pass(2 * silence)
		other := mount(t, f.mem, host("there"))
		other.lists("e", "a", "b")
		other.has("e/a", "d/a")
		f.healed()
		close(gate)
		if err := <-done; err == nil {
			t.Error("no error")
		}
		f.must(f.Close(f.ctx))
		other.lists("", "e")
		other.has("e/a", "d/a")
		other.has("e/b", "d/b")
		other.must(other.Close(other.ctx))
		f.noLeftovers()
	})
}

// TestTakenOverInUndo: who takes a rename over whose copies are going again has
// them go too: nothing is removed under both names.
func TestTakenOverInUndo(t *testing.T) { synctest.Test(t, testTakenOverInUndo) }

func testTakenOverInUndo(t *testing.T) {
	f := mount(t, bucket())
	for _, p := range strings.Fields("d/a d/b d/c") {
		f.put(p, p)
	}
	f.movePage = 1 // one after another
	gate, undoing := make(chan struct{}), false
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		switch {
		case op.Verb == faulty.Copy && op.Key == "e/c":
			x.Err = objstore.ErrAccess
		case op.Verb == faulty.Delete && strings.HasPrefix(op.Key, "e/"):
			undoing, x.Wait = true, gate
		case op.Verb == faulty.Put && undoing:
			x.Err = objstore.ErrUnreachable
		}
		return x
	})
	done := make(chan error)
	go func() { done <- f.Rename(f.ctx, "d", "e", false) }()
	pass(2 * silence)
	if !undoing {
		t.Fatal("not undone")
	}
	other := mount(t, f.mem, host("there"))
	if other.journals() != 0 {
		t.Error("not taken over")
	}
	close(gate)
	wants(t, <-done, ErrAccess)
	f.healed()
	f.must(f.Close(f.ctx))
	other.must(other.Close(other.ctx))
	f.noLeftovers()
	third := mount(t, f.mem)
	for _, p := range strings.Fields("d/a d/b d/c") {
		third.has(p, p)
	}
	third.lists("", "d")
}

// TestWrittenMeanwhile: what another host writes while a rename lies unfinished
// is kept, under whichever name it wrote.
func TestWrittenMeanwhile(t *testing.T) {
	for _, p := range []string{"d/a", "d/b", "d/c", "e/a", "e/b", "e/c"} {
		synctest.Test(t, func(t *testing.T) {
			m := bucket()
			dying(t, m, "here", func(op faulty.Op) bool { return op.Verb == faulty.Delete })
			pass(time.Second)
			other := mount(t, m, host("there"))
			other.put(p, "newer")
			f := mount(t, m)
			f.lists("", "e")
			f.has("e"+p[1:], "newer")
			f.must(f.Close(f.ctx))
			other.must(other.Close(other.ctx))
			f.noLeftovers()
		})
	}
}

// TestBadJournals are reported and left alone; they keep no mount from coming.
func TestBadJournals(t *testing.T) {
	m := bucket()
	f := mount(t, m)
	f.put("a", "1")
	m.Plant(".sigil/journal/plain", mem.Object{Body: []byte(`{"version":1,"from":"d/","to":"e/"}`)})
	o, _ := m.Object("a")
	m.Plant(".sigil/journal/swapped", o)
	g := mount(t, m)
	g.has("a", "1")
	if g.journals() != 2 {
		t.Errorf("%d journals", g.journals())
	}
	g.failing(objstore.ErrAccess, false, faulty.List)
	wants(t, g.resumeMoves(g.ctx), ErrAccess)
	wants(t, g.sweep(g.ctx), ErrAccess)
}

// TestJournalLeftover: a journal that cannot be removed when its rename is
// done goes later, and moves nothing again.
func TestJournalLeftover(t *testing.T) {
	f := mount(t, bucket())
	f.put("d/a", "1")
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Delete && strings.HasPrefix(op.Key, ".sigil/") {
			return faulty.Fault{Err: objstore.ErrThrottled}
		}
		return faulty.Fault{}
	})
	f.rename("d", "e")
	f.put("d/new", "2")
	f.healed()
	f.must(f.doChores(f.ctx))
	f.must(f.Close(f.ctx))
	f.noLeftovers()
	g := mount(t, f.mem)
	g.has("d/new", "2")
	g.has("e/a", "1")
}

// TestUnknownJournal: one whose answer was lost for good is not found later.
func TestUnknownJournal(t *testing.T) {
	f := mount(t, bucket())
	f.put("d/a", "1")
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		switch op.Verb {
		case faulty.Put:
			return faulty.Fault{Lost: true}
		case faulty.Head:
			return faulty.Fault{Err: objstore.ErrUnreachable}
		}
		return faulty.Fault{}
	})
	wants(t, f.Rename(f.ctx, "d", "e", false), objstore.ErrUnknown)
	f.healed()
	f.must(f.Close(f.ctx))
	f.noLeftovers()
	mount(t, f.mem).has("d/a", "1")
}

// TestMultipartCopy: over the limit of one CopyObject the body goes in ranges.
func TestMultipartCopy(t *testing.T) {
	m := mem.New(mem.Options{MinPartSize: 1})
	f := mount(t, m)
	f.maxCopy, f.copyPart = 100<<10, 64<<10
	text := noise(200<<10, 4)
	f.put("a", text)
	f.put("b", "old")
	f.s.Reset()
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
	f.rename("a", "b")
	if n := f.s.Counts().Requests[faulty.CopyPart]; n != 8 {
		t.Errorf("%d parts", n)
	}
	mount(t, m).has("b", text)
	for _, verb := range []faulty.Verb{faulty.Upload, faulty.CopyPart, faulty.Complete} {
		f.failing(objstore.ErrQuota, false, verb)
		wants(t, f.Rename(f.ctx, "b", "c", false), ErrQuota)
		f.healed()
		f.noLeftovers()
	}
	f.lists("", "b")
}

// TestBounds: what is remembered of paths has a bound.
func TestBounds(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "1")
	obj := f.recall("a").obj
	for i := range maxKnown + 100 {
		p := string(rune('A'+i%26)) + strings.Repeat("x", i/26%200) + time.Duration(i).String()
		f.note(p, obj, false)
		f.touch(p + "/x")
	}
	if len(f.known) > maxKnown || len(f.touched) > maxKnown {
		t.Errorf("%d known, %d touched", len(f.known), len(f.touched))
	}
	f.has("a", "1")
	if !slices.Contains(f.list(""), "a") {
		t.Error("not listed")
	}
}
