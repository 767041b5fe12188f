package volume

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// far is the latency at which walks are timed.
const far = 15 * time.Millisecond

// distant has each request take that long.
func (f *fixture) distant() {
	f.s.SetScript(func(faulty.Op) faulty.Fault { return faulty.Fault{Delay: far} })
}

// believer believes the store for a second, by the time of the bubble.
func believer(o *Options) { o.AttrTimeout = time.Second }

// strewn is a bucket with n files of size bytes in d, not written just now, and
// their names.
func strewn(t *testing.T, n, size int, tweaks ...tweak) (*mem.Store, []string) {
	t.Helper()
	f := mount(t, bucket(), append([]tweak{host("there")}, tweaks...)...)
	f.mkdir("d")
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("d/f%04d", i)
		f.put(names[i], noise(size, byte(i)))
	}
	m := f.mem
	f.end()
	pass(3 * time.Second)
	return m, names
}

// goes looks up each name, as the kernel does for whoever walks, and reads it if
// that is said. It gives the time that took.
func (f *fixture) goes(names []string, read bool) time.Duration {
	f.t.Helper()
	began := time.Now()
	for _, p := range names {
		f.stat(p)
		if read {
			_, err := f.get(p)
			f.must(err)
		}
	}
	return time.Since(began)
}

// roomy is a cache as large as a mount has it.
func roomy(t *testing.T) tweak {
	c := cache.New(cache.Options{})
	t.Cleanup(func() { _ = c.Close() })
	return func(o *Options) { o.Cache = c }
}

func shuffled(names []string) []string {
	out := slices.Clone(names)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // an order, no secret
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// TestWalkAsksAhead: who stats a directory that was listed, in any order, waits
// for about one in sixteen round trips, and no object is asked for twice.
func TestWalkAsksAhead(t *testing.T) {
	for name, order := range map[string]func([]string) []string{
		"Listed":   slices.Clone[[]string],
		"Shuffled": shuffled,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 300
				m, names := strewn(t, n, 10)
				f := mount(t, m, believer)
				f.distant()
				f.list("d")
				f.s.Reset()
				took := f.goes(order(names), false)
				counts := f.s.Counts().Requests
				t.Logf("%v, %v", took, counts)
				if took > n*far/8 {
					t.Errorf("took %v", took)
				}
				if counts[faulty.Get] != n || counts[faulty.List] > 2 {
					t.Errorf("requests %v", counts)
				}
				f.end()
			})
		})
	}
}

// TestWalkAgain: what is known is believed anew by the listing alone, also when
// a walk takes longer than that is believed.
func TestWalkAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		m, names := strewn(t, n, 10)
		f := mount(t, m, believer)
		f.list("d")
		f.goes(names, false)
		pass(10 * time.Second)
		f.s.Reset()
		f.list("d")
		f.goes(shuffled(names), false)
		f.requests("list")
		pass(10 * time.Second)
		f.list("d")
		f.s.Reset()
		for _, p := range names {
			f.stat(p)
			pass(20 * time.Millisecond)
		}
		synctest.Wait()
		if counts := f.s.Counts(); counts.Total() > 40 {
			t.Errorf("a walk of 10 s: %v", counts)
		}
		f.end()
	})
}

// TestWalkOfNobody: a few lookups have little asked ahead, and no more when
// nobody goes on.
func TestWalkOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 300, 10)
		f := mount(t, m, believer)
		f.list("d")
		f.s.Reset()
		f.goes(names[:2], false)
		synctest.Wait()
		f.requests("get get")
		f.goes(names[2:3], false)
		synctest.Wait()
		if got := f.s.Counts().Requests[faulty.Get]; got > 1+firstAhead {
			t.Errorf("%d requests", got)
		}
		f.s.Reset()
		pass(time.Minute)
		f.requests("")
		f.end()
	})
}

// TestWalkUnlisted: names that are looked up in order, as by the receiver of
// rsync, are a walk too; in disorder they are not.
func TestWalkUnlisted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		m, names := strewn(t, n, 10)
		f := mount(t, m, believer)
		f.distant()
		if took := f.goes(names, false); took > n*far/8 {
			t.Errorf("took %v", took)
		}
		f.end()
		f = mount(t, m, believer)
		some := shuffled(names)[:20]
		f.goes(some, false)
		synctest.Wait()
		if got := f.s.Counts().Requests[faulty.Get]; got != len(some) {
			t.Errorf("%d objects asked for, of %d", got, len(some))
		}
		f.end()
	})
}

// TestWalkWithoutBelief: where nothing is believed, nothing is asked ahead.
func TestWalkWithoutBelief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 50, 10)
		f := mount(t, m)
		f.list("d")
		f.s.Reset()
		f.goes(names, false)
		synctest.Wait()
		if got := f.s.Counts().Requests[faulty.Get]; got != len(names) {
			t.Errorf("%d requests", got)
		}
		f.end()
	})
}

// TestWalkSeesOthers: what another host does shows within the time that the
// store is believed, also in the middle of a walk.
func TestWalkSeesOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(f *fixture, p string)
		seen func(info Info, err error) bool
	}{
		"Write": {
			func(f *fixture, p string) { f.put(p, "replaced") },
			func(info Info, err error) bool { return err == nil && info.Size == 8 },
		},
		"Mode": {
			func(f *fixture, p string) { f.must(errOf(f.SetAttr(f.ctx, p, mode(0o600)))) },
			func(info Info, err error) bool { return err == nil && info.Mode&0o777 == 0o600 },
		},
		"Remove": {
			func(f *fixture, p string) { f.must(f.Remove(f.ctx, p)) },
			func(_ Info, err error) bool { return err != nil },
		},
		"Directory": {
			func(f *fixture, p string) {
				f.must(f.Remove(f.ctx, p))
				f.mkdir(p)
			},
			func(info Info, err error) bool { return err == nil && info.isDir() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, names := strewn(t, 200, 10)
				f, other := mount(t, m, believer), mount(t, m, host("there"))
				for range 3 {
					f.list("d")
					f.goes(names[:100], false)
					p := names[150]
					tc.do(other, p)
					pass(time.Second)
					f.goes(names[100:150], false)
					if info, err := f.Stat(f.ctx, p); !tc.seen(info, err) {
						t.Errorf("%o of %d bytes, %v", info.Mode, info.Size, err)
					}
					_ = other.Remove(other.ctx, p)
					_ = other.Rmdir(other.ctx, p)
					other.put(p, "as before")
					pass(5 * time.Second)
				}
				f.end()
				other.end()
			})
		})
	}
}

// TestRacyIsNotBelieved: a change of attributes that another host made in the
// second of the last one is seen, though no listing shows it.
func TestRacyIsNotBelieved(t *testing.T) {
	c := newClock()
	f := believing(t, c, rules(Rule{Mode: "none"}))
	other := mount(t, f.mem, at(c), host("there"), rules(Rule{Mode: "none"}))
	other.put("d/a", "x")
	f.list("d")
	if f.stat("d/a").Mode&0o777 != 0o644 {
		t.Fatal("not as written")
	}
	before, _ := f.mem.Object("d/a")
	f.must(errOf(other.SetAttr(other.ctx, "d/a", mode(0o600))))
	after, _ := f.mem.Object("d/a")
	if before.Info.ETag != after.Info.ETag || !before.Info.Modified.Equal(after.Info.Modified) {
		t.Fatal("a listing would show it")
	}
	for range 3 {
		c.pass(5 * time.Second)
		f.list("d")
		if f.stat("d/a").Mode&0o777 != 0o600 {
			t.Error("still as before the change")
		}
	}
	f.s.Reset() // by now it is not racy any more
	c.pass(5 * time.Second)
	f.list("d")
	f.stat("d/a")
	f.requests("list")
}

// TestWalkOfDirectories: which directories have markers one listing tells, and of
// those one request each the rest.
func TestWalkOfDirectories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		w := mount(t, bucket(), host("there"))
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("d/s%02d", i))
			if i%2 == 0 {
				w.mkdir(names[i])
			}
			w.put(names[i]+"/x", "text")
		}
		m := w.mem
		w.end()
		f := mount(t, m, believer)
		f.distant()
		f.list("d")
		f.s.Reset()
		took := f.goes(names, false)
		counts := f.s.Counts()
		if counts.Total() > n/2+8 || took > n*far/8 {
			t.Errorf("took %v: %v", took, counts)
		}
		f.end()
	})
}

// TestWalkYields: a rename of the directory does not wait for the end of a walk,
// and what comes of the walk is right.
func TestWalkYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 400, 10)
		f := mount(t, m, believer)
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Get {
				return faulty.Fault{Delay: time.Second / 4}
			}
			return faulty.Fault{}
		})
		f.list("d")
		f.goes(names[:3], false)
		f.s.SetScript(nil)
		began := time.Now()
		f.rename("d", "e")
		if took := time.Since(began); took > time.Second {
			t.Errorf("rename took %v", took)
		}
		f.absent(names[10])
		f.has("e"+names[10][1:], noise(10, 10))
		f.end()
	})
}

// TestWalkEndsWithTheMount.
func TestWalkEndsWithTheMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 400, 10)
		f := mount(t, m, believer)
		f.list("d")
		f.goes(names[:2], false)
		f.s.SetScript(func(faulty.Op) faulty.Fault { return faulty.Fault{Delay: time.Hour} })
		go func() { _, _ = f.Stat(f.ctx, names[2]) }()
		f.s.SetScript(func(faulty.Op) faulty.Fault { return faulty.Fault{} })
		f.goes(names[3:10], false)
		began := time.Now()
		f.must(f.Close(f.ctx))
		if took := time.Since(began); took > time.Second {
			t.Errorf("the end took %v", took)
		}
		f.end()
	})
}

// TestWalkFails: what cannot be asked ahead is asked by whoever needs it.
func TestWalkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 100, 10)
		f := mount(t, m, believer)
		f.list("d")
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Get && op.OfAll%3 == 0 {
				return faulty.Fault{Err: objstore.ErrThrottled}
			}
			return faulty.Fault{}
		})
		for _, p := range names {
			_, err := f.Stat(f.ctx, p)
			for ; err != nil; _, err = f.Stat(f.ctx, p) {
				wants(t, err, ErrThrottled)
			}
		}
		f.end()
	})
}

// TestWalkReads: who reads the small files of a directory, in any order, waits
// for far fewer round trips than there are files, and each is asked for once,
// whole.
func TestWalkReads(t *testing.T) {
	for name, tc := range map[string]struct {
		order func([]string) []string
		size  int
		least time.Duration // times faster than one after the other
		setup string
	}{
		"Listed":       {slices.Clone[[]string], 6000, 10, "client"},
		"Shuffled":     {shuffled, 6000, 8, "client"},
		"Plain":        {shuffled, 6000, 8, "none"},
		"Authenticate": {slices.Clone[[]string], 6000, 8, "s3ec"},
		"Tiny":         {shuffled, 1000, 8, "client"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 200
				s := setupOf(tc.setup)
				m, names := strewn(t, n, tc.size, s.on)
				f := mount(t, m, s.on, believer, roomy(t))
				f.distant()
				f.list("d")
				f.s.Reset()
				took := f.goes(tc.order(names), true)
				counts := f.s.Counts().Requests
				t.Logf("%v, %v", took, counts)
				if serial := 2 * n * far; took > serial/tc.least {
					t.Errorf("took %v", took)
				}
				if counts[faulty.Get] > n+3 || counts[faulty.List] > 4 {
					t.Errorf("requests %v", counts)
				}
				for i, p := range names {
					f.has(p, noise(tc.size, byte(i)))
				}
				f.end()
			})
		})
	}
}

// TestWalkKeepsToItsRoom: what is fetched ahead and not read is bounded, and
// given up when nobody goes on.
func TestWalkKeepsToItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 150, 120_000)
		const room = 6 << 20
		f := mount(t, m, believer, roomy(t), func(o *Options) { o.AheadBytes = room })
		f.list("d")
		f.goes(names[:10], true)
		synctest.Wait()
		if down := f.s.Counts().Down; down > room+20*smallFile || down < room/2 {
			t.Errorf("%d bytes", down)
		}
		f.goes(names[10:60], true)
		pass(10 * time.Second)
		f.walks.mu.Lock()
		defer f.walks.mu.Unlock()
		for dir, w := range f.walks.all {
			if len(w.ahead) > 0 || w.sweep != nil {
				t.Errorf("%s: %d names are still held", dir, len(w.ahead))
			}
		}
		if f.walks.bytes != 0 {
			t.Errorf("%d bytes are still held", f.walks.bytes)
		}
	})
}

// TestLookupBringsSmallFile: a file of up to 4,080 bytes costs one round trip
// and one request for its content, or none where a lookup came before.
func TestLookupBringsSmallFile(t *testing.T) {
	for _, size := range []int{0, 1, 4080} {
		synctest.Test(t, func(t *testing.T) {
			m, names := strewn(t, 1, size)
			f := mount(t, m, believer)
			f.distant()
			began := time.Now()
			f.has(names[0], noise(size, 0))
			if took := time.Since(began); took != far {
				t.Errorf("%d bytes: %v", size, took)
			}
			f.requests("get list") // the latter: whether it is a directory
			f.end()
		})
	}
}

// TestWalkTwice: who looks at all files before he reads them, as rsync, waits for
// few round trips in both passes.
func TestWalkTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		m, names := strewn(t, n, 6000)
		f := mount(t, m, believer, roomy(t))
		f.distant()
		f.list("d")
		f.s.Reset()
		took := f.goes(names, false)
		pass(1500 * time.Millisecond)
		took += f.goes(names, true)
		counts := f.s.Counts()
		t.Logf("%v, %v", took, counts)
		if took > 2*n*far/8 || counts.Total() > 2*n+20 {
			t.Errorf("%v in %v", counts, took)
		}
		f.end()
	})
}

// TestWatchIsNoWalk: who looks at a few files over and over has nothing asked
// ahead.
func TestWatchIsNoWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 100, 10)
		f := mount(t, m, believer)
		f.list("d")
		f.s.Reset()
		for range 20 {
			f.goes(names[:2], true)
			pass(time.Second)
		}
		synctest.Wait()
		for _, op := range f.s.Ops() {
			if op.Verb == faulty.Get && op.Key != names[0] && op.Key != names[1] {
				t.Fatalf("asks for %s", op.Key)
			}
		}
		f.end()
	})
}

// TestTour: who goes through many directories with few files each waits for
// about one round trip in each.
func TestTour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dirs, files = 20, 6
		w := mount(t, bucket(), host("there"))
		for i := range dirs {
			for j := range files {
				w.put(fmt.Sprintf("d%02d/f%d", i, j), noise(6000, byte(i+j)))
			}
		}
		m := w.mem
		w.end()
		pass(3 * time.Second)
		for _, read := range []bool{false, true} {
			f := mount(t, m, believer, roomy(t))
			f.distant()
			began := time.Now()
			for i := range dirs {
				dir := fmt.Sprintf("d%02d", i)
				f.stat(dir)
				var names []string
				for _, name := range f.list(dir) {
					names = append(names, join(dir, name))
				}
				f.goes(names, read)
			}
			counts, took := f.s.Counts(), time.Since(began)
			t.Logf("%v, %v", took, counts)
			if took > 4*dirs*far || counts.Requests[faulty.Get] > dirs*(files+1)+20 {
				t.Errorf("%v in %v", counts, took)
			}
			f.end()
		}
	})
}

// TestWalkOfOwn: what this host has written itself is asked ahead too.
func TestWalkOfOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		f := mount(t, bucket(), believer, roomy(t))
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("d/f%04d", i)
			f.put(names[i], noise(6000, byte(i)))
		}
		pass(5 * time.Second)
		f.distant()
		f.list("d")
		if took := f.goes(names, true); took > 2*n*far/8 {
			t.Errorf("took %v", took)
		}
		f.end()
	})
}

// TestLongListing: the next page of a long directory is asked for while one is
// given, no page twice, and no entry is looked at.
func TestLongListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20_500
		m := bucket()
		for i := range n {
			m.Plant(fmt.Sprintf("d/f%06d", i), mem.Object{})
		}
		f := mount(t, m, believer)
		f.distant()
		began, got := time.Now(), 0
		for _, err := range f.List(f.ctx, "d", "") {
			f.must(err)
			if got++; got%listPage == 0 {
				pass(far) // as long as a page takes
			}
		}
		if took := time.Since(began); got != n || took > (n/listPage+2)*far {
			t.Errorf("%d entries in %v", got, took)
		}
		f.requests(strings.Repeat("list ", n/listPage+1))
		if len(f.dirs.dirs["d"].names) > maxDirNames {
			t.Error("all is remembered")
		}
		f.end()
	})
}

// TestLongDirectoryIsWalked: a directory that is too long to be remembered is
// asked ahead of too, page by page.
func TestLongDirectoryIsWalked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, names := strewn(t, 400, 10)
		f := mount(t, m, believer)
		f.dirs.most = 100
		f.distant()
		f.list("d")
		if took := f.goes(names, false); took > 400*far/8 {
			t.Errorf("took %v", took)
		}
		f.end()
	})
}

// TestHundredThousandEntries: a very long directory takes a LIST for each
// thousand of its entries and nothing else, and what is remembered meanwhile and
// afterwards is bounded.
func TestHundredThousandEntries(t *testing.T) {
	t.Parallel()
	const n, most = 100_000, 3 << 20
	m := bucket()
	for i := range n {
		m.Plant(fmt.Sprintf("d/f%06d", i), mem.Object{})
	}
	f := mount(t, m, long, func(o *Options) { o.Index = true })
	got, last := 0, ""
	for e, err := range f.List(f.ctx, "d", "") {
		f.must(err)
		if e.Name <= last {
			t.Fatalf("%s after %s", e.Name, last)
		}
		got, last = got+1, e.Name
		if got%listPage != 0 {
			continue
		}
		if held := f.remembered(); held > most {
			t.Fatalf("%d bytes are remembered after %d entries", held, got)
		}
	}
	if counts := f.s.Counts(); got != n || counts.Requests[faulty.List] > n/listPage+2 || counts.Total() > n/listPage+4 {
		t.Errorf("%d entries by %v", got, counts)
	}
	if held := f.remembered(); held > most {
		t.Errorf("%d bytes are remembered", held)
	}
}

// remembered is what is held of names and attributes, in bytes, by the account
// that is kept of it; a path that is known counts as a KiB.
func (f *fixture) remembered() int {
	n := 0
	for mu, bytes := range map[*sync.Mutex]*int{&f.dirs.mu: &f.dirs.bytes, &f.index.mu: &f.index.bytes} {
		mu.Lock()
		n += *bytes
		mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return n + len(f.known)<<10
}

// turnstile holds the Gets of some objects until it lets one in after the other,
// and counts those that it holds.
type turnstile struct {
	objstore.Store
	free map[string]bool // by key: goes in at once
	in   chan struct{}
	held atomic.Int64
}

func (s *turnstile) Get(ctx context.Context, id objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	if !s.free[id.Key] && strings.HasPrefix(id.Key, "d/f") {
		s.held.Add(1)
		select {
		case <-s.in:
		case <-ctx.Done():
		}
		s.held.Add(-1)
	}
	return s.Store.Get(ctx, id, r)
}

// TestSixteenAtATime: as many requests of a walk are under way, whether it reads
// or not, and when one ends the next begins; never one more.
func TestSixteenAtATime(t *testing.T) {
	for _, read := range []bool{false, true} {
		t.Run(fmt.Sprintf("Read=%v", read), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, names := strewn(t, 200, 6000)
				gate := &turnstile{free: map[string]bool{}, in: make(chan struct{})}
				for _, p := range names[:walkSorted] {
					gate.free[p] = true
				}
				f := mount(t, m, believer, roomy(t), func(o *Options) { gate.Store, o.Store = o.Store, gate })
				f.list("d")
				f.goes(names[:walkSorted], read)
				for n := range 2 * parallelAhead {
					synctest.Wait()
					if held := gate.held.Load(); held != 16 {
						t.Fatalf("%d requests are under way after %d", held, n)
					}
					gate.in <- struct{}{}
				}
				close(gate.in)
				f.goes(names, read)
				f.end()
			})
		})
	}
}
