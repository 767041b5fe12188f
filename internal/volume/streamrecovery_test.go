package volume

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// larger writes a file that its spool does not hold, and changes attributes
// that its upload began with.
func (f *fixture) larger(p, text string) *File {
	f.t.Helper()
	file := f.began(p, text)
	f.must(errOf(file.SetAttr(f.ctx, Change{
		Mode: ptr[uint32](0o600), UID: ptr[uint32](7), Mtime: ptr[int64](1e18 + 3), Xattrs: map[string][]byte{"user.a": []byte("b")},
	})))
	return file
}

// TestStreamKilledAtItsEnd: an object of which parts are nowhere else is
// whole once its upload is completed, whoever hears of that: the next mount
// gives it the attributes that lack and forgets its note. Before, it is
// partial, and a person's.
func TestStreamKilledAtItsEnd(t *testing.T) {
	t.Parallel()
	text := noise(42*mib, 6)
	streamedToTheEnd(t, func(t *testing.T, s *setup) {
		for n := 0; ; n++ { // requests after the first of the end
			for _, after := range []bool{false, true} {
				if !killStream(t, s, text, n, after) {
					if n < 2 {
						t.Error("there are more requests than that")
					}
					return
				}
				if t.Failed() {
					t.Fatalf("request %d from Complete on, done %v", n, after)
				}
			}
		}
	})
}

// killStream kills at request n from the Complete on; false: there are less.
func killStream(t *testing.T, s *setup, text string, n int, after bool) bool {
	m := s.store()
	f := mountSpooledOf(t, 24, m, s.on)
	defer f.end()
	file := f.larger("a", text)
	like := file.Info()
	var r *spool.Remains
	var once sync.Once
	kill := func() error {
		once.Do(func() { r = f.remains() })
		return faulty.ErrCrashed
	}
	var mu sync.Mutex // guards at
	at := -1
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		mu.Lock()
		defer mu.Unlock()
		if at >= 0 || op.Verb == faulty.Complete {
			at++
		}
		switch {
		case at < n:
			return faulty.Fault{}
		case at > n || !after:
			return faulty.Fault{Err: kill()}
		}
		return faulty.Fault{After: func(error) error { return kill() }}
	})
	err := file.Flush(f.ctx)
	once.Do(func() {})
	file.Release()
	if r == nil {
		f.must(err)
		return false
	}
	again := mount(t, m, s.on, boot("1"), left(r))
	defer again.end()
	left := again.leftIn(r)
	if n == 0 && !after {
		again.absent("a")
		if len(left) != 1 || !errors.Is(left[0].Err, ErrPartial) {
			t.Errorf("left: %+v", left)
		}
		return true
	}
	if len(left) != 0 {
		t.Errorf("whole, and left: %+v", left)
	}
	again.must(again.Close(again.ctx))
	again.shows(s, "a", text, like)
	again.noLeftovers()
	return true
}

// TestLostEndOfAStream: the answer to its Complete was lost, the commit failed
// for that, and then the process dies, or ends.
func TestLostEndOfAStream(t *testing.T) {
	t.Parallel()
	text := noise(42*mib, 7)
	streamedToTheEnd(t, func(t *testing.T, s *setup) {
		for _, ends := range []string{"killed", "unmounted", "asked"} {
			m := s.store()
			f := mountSpooledOf(t, 24, m, s.on)
			file := f.larger("a", text)
			like := file.Info()
			completed := false
			f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
				switch {
				case completed:
					x.Err = objstore.ErrUnreachable
				case op.Verb == faulty.Complete:
					completed = true
					x.After = func(error) error { return objstore.ErrUnknown }
				}
				return x
			})
			if file.Flush(f.ctx) == nil {
				t.Fatal("confirmed what nobody knows")
			}
			var r *spool.Remains
			if ends == "unmounted" {
				file.Release()
				_ = f.Close(f.ctx)
				_ = f.opt.Spool.Close()
				r = f.take(f.dir)
			} else {
				r = f.remains()
				file.Release()
			}
			again := mountIdle(t, m, s.on, boot("1"), left(r))
			if ends == "asked" {
				rec := NewRecovery(again.Volume, []*spool.Remains{r})
				for _, l := range again.leftIn(r) {
					done, err := rec.Replay(again.ctx, l.ID)
					again.must(err)
					if !done.Done || done.Path != "a" {
						t.Errorf("%+v", done)
					}
				}
			}
			again.must(again.Start(again.ctx))
			if all := again.leftIn(r); len(all) != 0 {
				t.Errorf("%s: whole, and left: %+v", ends, all)
			}
			again.must(again.Close(again.ctx))
			again.shows(s, "a", text, like)
			again.noLeftovers()
			again.end()
			f.end()
		}
	})
}

// TestWrittenOnWhileCompleting: what was uploaded is read from the object that
// it became, and what came after it from the spool.
func TestWrittenOnWhileCompleting(t *testing.T) {
	text, more := noise(42*mib, 8), noise(100_000, 9)
	for _, done := range []bool{false, true} {
		m := bucket()
		f := mountSpooledOf(t, 24, m)
		a := f.larger("a", text)
		var r *spool.Remains
		var once sync.Once
		f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
			if op.Verb != faulty.Complete && r == nil {
				return x
			}
			kill := func() error {
				once.Do(func() {
					f.write(a, more, int64(len(text)))
					r = f.remains()
				})
				return faulty.ErrCrashed
			}
			if done && op.Verb == faulty.Complete {
				return faulty.Fault{After: func(error) error { return kill() }}
			}
			return faulty.Fault{Err: kill()}
		})
		if a.Commit(f.ctx) == nil {
			t.Fatal("committed")
		}
		a.Release()
		again := mount(t, m, boot("1"), left(r))
		all := again.leftIn(r)
		if len(all) != 1 {
			t.Fatalf("left: %+v", all)
		}
		rec := NewRecovery(again.Volume, []*spool.Remains{r})
		var out file
		_, xerr := rec.Export(again.ctx, all[0].ID, &out, false)
		replayed, err := rec.Replay(again.ctx, all[0].ID)
		if !done {
			wants(t, xerr, ErrPartial)
			wants(t, err, ErrPartial)
			again.absent("a")
			continue
		}
		again.must(errors.Join(xerr, err))
		// The last block of 64 KiB may be lost by a kill.
		whole := text + more
		for name, got := range map[string]string{"export": string(out.b), "replay": need(again.get("a"))} {
			if !strings.HasPrefix(whole, got) || len(got) < len(text) {
				t.Errorf("%s: %s", name, brief(got))
			}
		}
		if replayed.Path != "a" || replayed.Done {
			t.Errorf("%+v", replayed)
		}
	}
}
