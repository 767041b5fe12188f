package volume

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// asMounted is the cache as the program has it.
func asMounted(t testing.TB) tweak {
	return func(o *Options) {
		_ = o.Cache.Close()
		c := cache.New(cache.Options{Bytes: 64 << 20})
		o.Cache = c
		t.Cleanup(func() { _ = c.Close() })
	}
}

// TestRequestsOfASmallChange: to commit 4 KiB in the middle of a large file
// costs eight requests at most, whatever the mode: one that reads what lies
// around them, the beginning of an upload, two copies, a segment and, where
// there is one, the tail, the end, and a HEAD where the server says nothing of
// encryption. The write before it reads one block and proves the size.
func TestRequestsOfASmallChange(t *testing.T) {
	for setup, want := range map[string]string{
		"client":         "get upload copypart part copypart part complete",
		"client-sse":     "get upload copypart part copypart part complete",
		"none":           "get upload copypart part copypart complete",
		"sse-s3":         "get upload copypart part copypart complete",
		"sse-s3 silent":  "get upload copypart part copypart complete head",
		"sse-kms silent": "get upload copypart part copypart complete head",
		"sse-c silent":   "get upload copypart part copypart complete head",
	} {
		t.Run(setup, func(t *testing.T) {
			s := setupOf(setup)
			m := s.store()
			f := mount(t, m, s.on)
			text := noise(57*mib+12345, 3)
			f.put("a", text)
			f.end()
			f = mount(t, m, s.on, asMounted(t))
			file := f.open("a")
			f.s.Reset()
			const off = 20*mib + 8192
			f.write(file, strings.Repeat("x", 4096), off)
			if n := len(f.s.Ops()); n > 2 {
				t.Errorf("%d requests before the commit", n)
			}
			f.s.Reset()
			f.must(file.Flush(f.ctx))
			f.requests(want)
			file.Release()
			f.has("a", text[:off]+strings.Repeat("x", 4096)+text[off+4096:])
			f.noLeftovers()
		})
	}
}

// TestKilledInASmallChange: the upload of a rewrite is recorded on this host
// alone, and the next mount ends it, wherever the kill was.
func TestKilledInASmallChange(t *testing.T) {
	t.Parallel()
	streamedToTheEnd(t, func(t *testing.T, s *setup) {
		m := s.store()
		text := noise(25*mib, 5)
		f := mount(t, m, s.on)
		f.put("a", text)
		f.end()
		found := 0
		for n := 1; ; n++ {
			for _, after := range []bool{false, true} {
				uploads, more := killChange(t, s, m.Clone(), text, n, after)
				if found += uploads; !more {
					if found < 5 {
						t.Errorf("%d uploads only were under way", found)
					}
					return
				}
				if t.Failed() {
					t.Fatalf("request %d, done %v", n, after)
				}
			}
		}
	})
}

func killChange(t *testing.T, s *setup, m *mem.Store, text string, n int, after bool) (uploads int, more bool) {
	f := mountSpooled(t, m, s.on)
	defer f.end()
	file := f.open("a")
	f.write(file, "changed", 9*mib)
	var r *spool.Remains
	var once sync.Once
	unheard := false
	kill := func(at faulty.Verb) error {
		once.Do(func() { r, uploads, unheard = f.remains(), len(m.Uploads()), after && at == faulty.Upload })
		return faulty.ErrCrashed
	}
	f.s.Reset()
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		switch {
		case op.N < n:
			return faulty.Fault{}
		case op.N > n || !after:
			return faulty.Fault{Err: kill(op.Verb)}
		}
		return faulty.Fault{After: func(error) error { return kill(op.Verb) }}
	})
	err := file.Flush(f.ctx)
	once.Do(func() {})
	file.Release()
	if r == nil {
		f.must(err)
		return 0, false
	}
	if len(m.Uploads()) > 0 && n > 1 {
		for _, key := range m.Keys() {
			if strings.Contains(key, "/uploads/") {
				t.Errorf("recorded in the bucket: %s", key)
			}
		}
	}
	again := mount(t, m, s.on, boot("1"), left(r))
	defer again.end()
	if all := again.leftIn(r); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}
	again.has("a", text[:9*mib]+"changed"+text[9*mib+7:])
	again.must(again.Close(again.ctx))
	if !unheard { // of one that has no part yet nobody knows
		again.noLeftovers()
	}
	return uploads, true
}

// TestOpenSmallChangeIsEnded: what is left to a person keeps no upload alive.
func TestOpenSmallChangeIsEnded(t *testing.T) {
	f := mountSpooled(t, bucket())
	f.put("a", noise(25*mib, 5))
	file := f.open("a")
	defer file.Release()
	f.write(file, "changed", 9*mib)
	var r *spool.Remains
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Complete {
			r, x.Err = f.remains(), faulty.ErrCrashed
		}
		return x
	})
	if file.Commit(f.ctx) == nil || len(f.mem.Uploads()) == 0 && r == nil {
		t.Fatal("not cut")
	}
	m := f.mem
	again := mount(t, m, boot("1"), left(r))
	if all := again.leftIn(r); len(all) != 1 || !errors.Is(all[0].Err, ErrStillOpen) {
		t.Errorf("left: %+v", all)
	}
	again.noLeftovers()
}

// TestStrayUpload: one that can neither be aborted nor recorded is tried
// again, or recorded once that goes: then the next mount ends it.
func TestStrayUpload(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", noise(25*mib, 5))
	file := f.open("a")
	f.write(file, "changed", 9*mib)
	f.failing(objstore.ErrUnreachable, false, faulty.Complete, faulty.Abort, faulty.Put)
	wants(t, file.Commit(f.ctx), objstore.ErrUnreachable)
	if len(f.mem.Uploads()) != 1 {
		t.Fatalf("%v", f.mem.Uploads())
	}
	f.healed()
	f.must(file.Commit(f.ctx))
	file.Release()
	f.must(f.Close(f.ctx))
	again := mount(t, f.mem)
	again.must(again.Close(again.ctx))
	again.noLeftovers()
}
