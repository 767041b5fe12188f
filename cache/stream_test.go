package cache

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
)

// readAll reads a body in order, n bytes at a time, as fast as it comes.
func readAll(t *testing.T, r *Reader, b *object, n int) {
	t.Helper()
	p := make([]byte, n)
	for off := int64(0); off < r.Size(); off += int64(n) {
		mustRead(t, r, p, off)
		if want := b.data[off:min(off+int64(n), r.Size())]; !bytes.Equal(p[:len(want)], want) {
			t.Fatalf("wrong data at %d", off)
		}
		synctest.Wait()
	}
}

func covered(f []span) (n int64) {
	for _, s := range f {
		n += s.n
	}
	return n
}

// TestSequentialRead: a large body comes in whole segments, each once, after a
// few smaller fetches at the beginning.
func TestSequentialRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(100*1280+50, 10) // 100 segments and a bit, of 128 blocks
		b.pass = func(int64) error { <-time.After(time.Millisecond); return nil }
		c := New(Options{Ahead: 8 * 1280})
		r := c.Reader(b.as("a"), b.fetch)
		readAll(t, r, b, 160)
		f := b.took()
		if got := covered(f); got != int64(len(b.data)) {
			t.Errorf("%d bytes fetched of %d", got, len(b.data))
		}
		if len(f) > 115 {
			t.Errorf("%d fetches: %v", len(f), f)
		}
		for _, s := range f[15 : len(f)-1] {
			if s.off%1280 != 0 || s.n != 1280 {
				t.Fatalf("fetch of %d at %d is no segment", s.n, s.off)
			}
		}
		c.sound(t)
		_ = c.Close()
	})
}

// TestSeveralFetchesAtATime: what lies ahead is on its way while the reader
// waits, and no more of it than may be.
func TestSeveralFetchesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(100*1280, 10)
		b.pass = func(int64) error { <-time.After(time.Millisecond); return nil }
		c := New(Options{Ahead: 8 * 1280})
		r := c.Reader(b.as("a"), b.fetch)
		gate := make(chan struct{})
		p := make([]byte, 320)
		for off := int64(0); off < 30*1280; off += 320 {
			if off == 20*1280 {
				b.mu.Lock()
				b.after = map[int64]chan struct{}{}
				for i := range int64(100) {
					b.after[i*1280] = gate
				}
				b.mu.Unlock()
				break
			}
			mustRead(t, r, p, off)
		}
		b.took()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for off := int64(20 * 1280); off < 40*1280; off += 320 {
				mustRead(t, r, p, off)
			}
		}()
		<-time.After(2 * time.Second)
		synctest.Wait()
		c.mu.Lock()
		running := len(c.running)
		c.mu.Unlock()
		if running < 6 || running > 9 {
			t.Errorf("%d fetches at a time", running)
		}
		close(gate)
		<-done
		_ = c.Close()
	})
}

// TestRandomReads fetch the blocks that they need, and nothing else.
func TestRandomReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(1<<20, 100)
		c := New(Options{})
		r := c.Reader(b.as("a"), b.fetch)
		p := make([]byte, 10)
		x := uint32(7)
		seen := map[int64]bool{}
		for range 500 {
			x = x*1664525 + 1013904223
			off := int64(x>>8) % (1<<20 - 10)
			for _, i := range []int64{off / 100, (off + 9) / 100} {
				seen[i] = true
			}
			mustRead(t, r, p, off)
		}
		synctest.Wait()
		if got := covered(b.took()); got != int64(len(seen))*100 {
			t.Errorf("%d bytes fetched, %d needed", got, len(seen)*100)
		}
		_ = c.Close()
	})
}

// TestNeighboursAreNoStream: of two adjacent blocks nothing follows; of three,
// by two reads, it does.
func TestNeighboursAreNoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(1<<20, 100)
		c := New(Options{})
		r := c.Reader(b.as("a"), b.fetch)
		p := make([]byte, 300)[:100]
		for i := range int64(5) {
			mustRead(t, r, p, 100_000*i)
			mustRead(t, r, p, 100_000*i+100)
			mustRead(t, r, p, 100_000*i) // nor of what is read again
		}
		mustRead(t, r, p[:300], 900_000) // nor of one long read
		synctest.Wait()
		if got := covered(b.took()); got != 1300 {
			t.Errorf("%d bytes fetched", got)
		}
		mustRead(t, r, p, 400_200)
		synctest.Wait()
		if got := covered(b.took()); got < firstWindow*100/2 {
			t.Errorf("%d bytes fetched for a stream", got)
		}
		_ = c.Close()
	})
}

// TestDisorder: the kernel's own reading ahead sends several reads at once, in
// any order; it is one stream all the same.
func TestDisorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(1<<20, 100)
		b.pass = func(int64) error { <-time.After(time.Millisecond); return nil }
		c := New(Options{})
		r := c.Reader(b.as("a"), b.fetch)
		const n = 1000
		var wg sync.WaitGroup
		for base := int64(0); base < 1<<20; base += 4 * n {
			for _, k := range []int64{1, 0, 3, 2} {
				wg.Go(func() { mustRead(t, r, make([]byte, n), base+k*n) })
			}
			wg.Wait()
		}
		f := b.took()
		if covered(f) > 1<<20+100*100 || len(f) > 120 {
			t.Errorf("%d fetches of %d bytes", len(f), covered(f))
		}
		_ = c.Close()
	})
}

// TestBelatedReads: some that come long after their neighbours, and in order,
// do not take over, or end, the stream that they are of.
func TestBelatedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(1<<20, 100)
		b.pass = func(int64) error { <-time.After(time.Millisecond); return nil }
		c := New(Options{Ahead: 30_000, Bytes: 200 * MaxBlock})
		r := c.Reader(b.as("a"), b.fetch)
		const n, back = 1000, 50_000
		p := make([]byte, n)
		for off := int64(0); off < 1<<20; off += n {
			mustRead(t, r, p, off)
			if off > 2*back && off%(40*n) < 5*n {
				mustRead(t, r, p, off-back)
			}
		}
		f := b.took()
		if covered(f) > 1<<20 || len(f) > 120 {
			t.Errorf("%d fetches of %d bytes", len(f), covered(f))
		}
		_ = c.Close()
	})
}

// TestTwoReadersShare: two who read the same body in order, one behind the
// other, fetch it once.
func TestTwoReadersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(1<<20, 100)
		b.pass = func(int64) error { <-time.After(time.Millisecond); return nil }
		c := New(Options{})
		var wg sync.WaitGroup
		for k := range 3 {
			r := c.Reader(b.as("a"), b.fetch)
			wg.Go(func() {
				<-time.After(time.Duration(k) * 10 * time.Millisecond)
				p := make([]byte, 1000)
				for off := int64(0); off < 1<<20; off += 1000 {
					mustRead(t, r, p, off)
				}
			})
		}
		wg.Wait()
		if got := covered(b.took()); got > 1<<20+1000 {
			t.Errorf("%d bytes fetched", got)
		}
		_ = c.Close()
	})
}

// ahead reads a stream until much of it is on its way, and holds that up.
func ahead(t *testing.T, c *Cache, b *object, gate chan struct{}) *Reader {
	r := c.Reader(b.as("a"), b.fetch)
	p := make([]byte, 1000)
	b.pass = func(int64) error { <-time.After(time.Millisecond); return nil }
	off := int64(0)
	for ; off < 20_000; off += 1000 {
		mustRead(t, r, p, off)
	}
	<-time.After(time.Second)
	synctest.Wait()
	b.mu.Lock()
	b.pass = nil
	b.after = map[int64]chan struct{}{}
	for i := int64(0); i < 1<<20; i += 100 {
		b.after[i] = gate
	}
	b.mu.Unlock()
	for ; c.underWay() == 0 && off < 1<<20; off += 1000 {
		mustRead(t, r, p, off)
		synctest.Wait()
	}
	b.took()
	return r
}

func (c *Cache) underWay() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.running)
}

// TestSeekStopsReadingAhead, and so does the last close, or to read no more.
func TestSeekStopsReadingAhead(t *testing.T) {
	for name, leave := range map[string]func(*testing.T, *Reader, *object){
		"seek": func(t *testing.T, r *Reader, b *object) {
			b.mu.Lock()
			b.after = nil
			b.mu.Unlock()
			for i := range int64(20) {
				mustRead(t, r, make([]byte, 10), 900_000+i%2*5000)
			}
		},
		"close": func(_ *testing.T, r *Reader, _ *object) { r.Rest() },
		"pause": func(*testing.T, *Reader, *object) { <-time.After(3 * sweepEvery) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := sized(1<<20, 100)
				c := New(Options{})
				r := ahead(t, c, b, make(chan struct{}))
				if c.underWay() == 0 {
					t.Fatal("nothing is on its way")
				}
				leave(t, r, b)
				synctest.Wait()
				if n := c.underWay(); n != 0 {
					t.Errorf("%d fetches go on", n)
				}
				<-time.After(5 * sweepEvery)
				c.mu.Lock()
				if c.ahead.Len()+c.spent.Len()+len(c.mem.idle)+len(c.streams) > 0 || c.sweeper != nil {
					t.Errorf("%d blocks ahead, %d spent, %d buffers, %d streams, sweeper %v",
						c.ahead.Len(), c.spent.Len(), len(c.mem.idle), len(c.streams), c.sweeper)
				}
				c.mu.Unlock()
				c.sound(t)
				_ = c.Close()
			})
		})
	}
}

// TestWhoWaitsKeepsAFetch: what was begun ahead of a stream that has ended goes
// on for somebody who waits for it.
func TestWhoWaitsKeepsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(1<<20, 100)
		c := New(Options{})
		gate := make(chan struct{})
		r := ahead(t, c, b, gate)
		off := int64(0)
		c.mu.Lock()
		for job := range c.running {
			off = job.blocks[len(job.blocks)-1].off
		}
		c.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			p := make([]byte, 100)
			if _, err := c.Reader(b.as("a"), b.fetch).ReadAt(context.Background(), p, off); err != nil || !bytes.Equal(p, b.data[off:off+100]) {
				t.Errorf("%v", err)
			}
		}()
		synctest.Wait()
		r.Rest()
		synctest.Wait()
		close(gate)
		<-done
		b.fetched(t)
		_ = c.Close()
	})
}

// TestErrorStopsReadingAhead: while the store fails, a read causes few fetches;
// nobody is told of those that nobody waits for.
func TestErrorStopsReadingAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sized(1<<20, 100)
		c := New(Options{})
		gate := make(chan struct{})
		r := ahead(t, c, b, gate)
		close(gate)
		<-time.After(time.Second)
		broken := errors.New("broken")
		b.setFail(broken)
		p, got := make([]byte, 1000), 0
		for i := range int64(600) {
			if _, err := r.ReadAt(context.Background(), p, 21_000+i*1000); err != nil {
				if !errors.Is(err, broken) {
					t.Fatal(err)
				}
				got++
			}
			synctest.Wait()
		}
		if f := b.took(); got == 0 || len(f) > 4*got+10 {
			t.Errorf("%d fetches for %d errors", len(f), got)
		}
		b.setFail(nil)
		mustRead(t, r, p, 800_000)
		_ = c.Close()
	})
}

// TestManyReaders: more who read than there is memory for are slower, and
// nothing else; what is borrowed comes back.
func TestManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := semaphore.NewWeighted(5000)
		c := New(Options{Bytes: 2000, Budget: budget, Fetches: 8})
		var wg sync.WaitGroup
		for k := range 100 {
			b := sized(20_000, 100)
			b.pass = func(int64) error { <-time.After(time.Millisecond); return nil }
			r := c.Reader(b.as(string(rune('A'+k))), b.fetch)
			wg.Go(func() {
				p := make([]byte, 700)
				for off := int64(0); off < 20_000; off += 700 {
					mustRead(t, r, p, off)
					if n := min(700, 20_000-off); !bytes.Equal(p[:n], b.data[off:off+n]) {
						t.Errorf("wrong data at %d", off)
						return
					}
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(k)*time.Millisecond)
			wg.Go(func() { // who gives up calls the next
				defer cancel()
				_, _ = r.ReadAt(ctx, make([]byte, 5000), 1000)
			})
		}
		stop := make(chan struct{})
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					if n := c.Kept(); n > 7000 {
						t.Errorf("%d bytes taken", n)
					}
				}
			}
		}()
		wg.Wait()
		close(stop)
		<-watched
		<-time.After(5 * sweepEvery)
		synctest.Wait()
		c.sound(t)
		if !budget.TryAcquire(5000) {
			t.Error("not all that was borrowed is back")
		}
		budget.Release(5000)
		_ = c.Close()
	})
}

// TestWaitingForMemory: there is room for two blocks only. Who waits goes on
// when somebody has read, or failed; and who then needs no room after all, since
// another one fetches the same, lets the next.
func TestWaitingForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(1000)
		gates := map[int64]chan struct{}{}
		for i := range int64(10) {
			gates[i*100] = make(chan struct{})
		}
		b.after = gates
		broken := errors.New("broken")
		b.pass = func(at int64) error {
			if at == 300 || at == 400 { // the ends of two
				return broken
			}
			return nil
		}
		c := New(Options{Bytes: 200, Ahead: -1})
		r := c.Reader(b.as("a"), b.fetch)
		var wg sync.WaitGroup
		for _, i := range []int64{0, 1, 2, 2, 3, 4, 5} {
			wg.Go(func() {
				_, err := r.ReadAt(context.Background(), make([]byte, 100), i*100)
				if fails := i > 1 && i < 5; fails != errors.Is(err, broken) || !fails && err != nil {
					t.Errorf("block %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		under := b.took()
		for begun := len(under); len(under) > 0; {
			if len(under) > 2 || len(under) < 2 && begun < 6 {
				t.Errorf("%v are on their way", under)
			}
			close(gates[under[0].off])
			synctest.Wait()
			more := b.took()
			begun += len(more)
			under = append(under[1:], more...)
		}
		wg.Wait()
		c.sound(t)
		_ = c.Close()
	})
}

// TestScanLeavesWhatIsReadOften: a sequential read of much does not push out
// what is read at random.
func TestScanLeavesWhatIsReadOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hot, b := sized(1000, 100), sized(1<<20, 100)
		c := New(Options{Bytes: 8000})
		h, r := c.Reader(hot.as("h"), hot.fetch), c.Reader(b.as("a"), b.fetch)
		p := make([]byte, 1)
		for i := range int64(10) {
			mustRead(t, h, p, 100*((i*3)%10))
		}
		hot.took()
		readAll(t, r, b, 1000)
		for i := range int64(10) {
			mustRead(t, h, p, 100*i)
		}
		hot.fetched(t)
		_ = c.Close()
	})
}

// TestDiskServes: what was fetched once comes from the Disk, also what is read
// ahead; the rest by one fetch a gap.
func TestDiskServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := sized(100_000, 100), newShelf()
		c := New(Options{Disk: d})
		readAll(t, c.Reader(b.as("a"), b.fetch), b, 1000)
		_ = c.Close()
		if len(d.blocks[b.as("a")]) != 1000 {
			t.Fatalf("%d blocks on disk", len(d.blocks[b.as("a")]))
		}
		b.took()
		c = New(Options{Disk: d})
		r := c.Reader(b.as("a"), b.fetch)
		readAll(t, r, b, 1000)
		b.fetched(t)
		_ = c.Close()

		for _, i := range []int64{3, 4, 7} {
			delete(d.blocks[b.as("a")], i)
		}
		c = New(Options{Disk: d, Ahead: -1})
		r = c.Reader(b.as("a"), b.fetch)
		mustRead(t, r, make([]byte, 1000), 0)
		b.fetched(t, span{300, 200}, span{700, 100})
		r.Drop()
		if len(d.blocks) != 0 {
			t.Error("a body that was dropped is on disk")
		}
		c.DropKey("k")
		if !slices.Equal(d.keys, []string{"k"}) {
			t.Errorf("keys dropped on disk: %q", d.keys)
		}
		_ = c.Close()
	})
}

// TestBuffersGoRound: who reads much in order takes no more memory from Go than
// the cache has, also while that is all in use.
func TestBuffersGoRound(t *testing.T) {
	const own, size = 2 << 20, 16 << 20
	b := sized(size, MaxBlock)
	c := newCache(t, Options{Bytes: own, Ahead: own})
	r := c.Reader(b.as("a"), b.fetch)
	p := make([]byte, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for off := int64(0); off < size; off += int64(len(p)) {
		mustRead(t, r, p, off)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2*own {
		t.Errorf("%d MiB were allocated to read %d with %d", n>>20, size>>20, own>>20)
	}
	c.sound(t)
}
