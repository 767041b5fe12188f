package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/semaphore"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// object is a body whose fetches are counted, and can be made to fail or wait.
type object struct {
	data  []byte
	block int64

	mu      sync.Mutex
	fetches []span
	fail    error
	gate    chan struct{}           // if set, fetches wait for it
	pass    func(at int64) error    // if set, called before each byte range is given
	closed  int                     // answers that were closed
	cut     func(n int64) int64     // if set, how much an answer gives of n
	more    []byte                  // what an answer gives beyond
	after   map[int64]chan struct{} // the answer goes on after these offsets when they are closed
}

type span struct{ off, n int64 }

func newObject(n int) *object { return sized(n, 100) }

func sized(n int, block int64) *object {
	b := &object{data: make([]byte, n), block: block}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b.data {
		b.data[i] = byte(r.Uint32())
	}
	return b
}

func (b *object) as(name string) Body {
	return Body{ID: ID{Body: name}, Size: int64(len(b.data)), Block: b.block}
}

func (b *object) fetch(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetches = append(b.fetches, span{off, n})
	gate, fail := b.gate, b.fail
	b.mu.Unlock()
	defer b.mu.Lock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	return &answer{ctx: ctx, b: b, at: off, end: off + n}, nil
}

// answer gives a range, a block at a time.
type answer struct {
	ctx     context.Context //nolint:containedctx // as a response's body has it
	b       *object
	at, end int64
	more    bool
}

func (a *answer) Read(p []byte) (int, error) {
	b := a.b
	b.mu.Lock()
	wait, pass, cut, more := b.after[a.at], b.pass, b.cut, b.more
	b.mu.Unlock()
	if wait != nil && a.at < a.end {
		select {
		case <-wait:
		case <-a.ctx.Done():
			return 0, a.ctx.Err()
		}
	}
	if pass != nil {
		if err := pass(a.at); err != nil {
			return 0, err
		}
	}
	if a.at == a.end {
		if len(more) > 0 && !a.more {
			a.more = true
			return copy(p, more), nil
		}
		return 0, io.EOF
	}
	end := min(a.end, (a.at/b.block+1)*b.block)
	if cut != nil {
		if end = min(end, cut(a.end)); end <= a.at {
			return 0, io.EOF
		}
	}
	n := copy(p, b.data[a.at:end])
	a.at += int64(n)
	return n, nil
}

func (a *answer) Close() error {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.b.closed++
	return nil
}

func (b *object) setFail(err error) { b.mu.Lock(); b.fail = err; b.mu.Unlock() }

func (b *object) took() []span {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.fetches
	b.fetches = nil
	slices.SortFunc(f, func(x, y span) int { return int(x.off - y.off) })
	return f
}

func newCache(t testing.TB, opt Options) *Cache {
	c := New(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustRead(t testing.TB, r *Reader, p []byte, off int64) {
	t.Helper()
	if _, err := r.ReadAt(context.Background(), p, off); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// fetched checks what was fetched since the last time.
func (b *object) fetched(t testing.TB, want ...span) {
	t.Helper()
	if f := b.took(); !slices.Equal(f, want) {
		t.Fatalf("fetches %v, want %v", f, want)
	}
}

// sound checks the sums of memory: of what was dropped while it is fetched
// nothing is found.
func (c *Cache) sound(t rapid.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var used, queued int64
	for _, b := range c.bodies {
		for _, x := range b.blocks {
			used += cost(x.size)
			if x.in != nil {
				queued += cost(x.size)
			}
			if x.users < 0 || x.in != nil && (x.users > 0 || x.coming) {
				t.Fatalf("block %+v", x)
			}
		}
	}
	if q := c.spent.bytes + c.kept.bytes + c.ahead.bytes; q != queued {
		t.Fatalf("%d bytes queued, %d counted", queued, q)
	}
	if m := &c.mem; m.out > m.used || int64(len(m.idle))*MaxBlock > max(0, m.own+m.lent-m.out) {
		t.Fatalf("%d idle buffers, memory %+v", len(m.idle), m)
	}
	if m := &c.mem; used > m.used || used < m.used && len(c.running) == 0 || m.used > max(m.own+m.lent, MaxBlock) || m.lent > 0 && m.lent > m.used {
		t.Fatalf("%d bytes found, memory %+v", used, m)
	}
}

func TestReadAtIsTheBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newObject(rapid.IntRange(0, 9000).Draw(t, "size"))
		opt := Options{Bytes: 1500, Segment: 8, Ahead: rapid.SampledFrom([]int64{-1, 1600, 6400}).Draw(t, "ahead")}
		if rapid.Bool().Draw(t, "budget") {
			opt.Budget = semaphore.NewWeighted(3000)
		}
		var disk *shelf
		if rapid.Bool().Draw(t, "disk") {
			disk = newShelf()
			opt.Disk = disk
		}
		c := New(opt)
		r := c.Reader(b.as("a"), b.fetch)
		want := bytes.NewReader(b.data)
		next := int64(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			off := next
			if rapid.IntRange(0, 3).Draw(t, "seek") == 0 {
				off = rapid.Int64Range(0, int64(len(b.data))+10).Draw(t, "off")
			}
			n := rapid.IntRange(1, 1000).Draw(t, "n")
			next = off + int64(n)
			p, q := make([]byte, n), make([]byte, n)
			got, err := r.ReadAt(context.Background(), p, off)
			exp, wantErr := want.ReadAt(q, off)
			if got != exp || err != wantErr || !bytes.Equal(p, q) {
				t.Fatalf("read of %d at %d: %d, %v; want %d, %v", n, off, got, err, exp, wantErr)
			}
			clear(p) // what a caller holds is its own
			switch rapid.IntRange(0, 9).Draw(t, "then") {
			case 0:
				r.Drop()
			case 1:
				r.Rest()
			case 2:
				if off < int64(len(b.data)) {
					r.Seed(off, b.data[off:min(off+int64(n), int64(len(b.data)))])
				}
			case 3:
				c.sweep()
			}
			c.sound(t)
		}
		_ = c.Close()
		if opt.Budget != nil && !opt.Budget.TryAcquire(3000) {
			t.Fatal("not all was given back")
		}
	})
}

// shelf is a Disk in memory.
type shelf struct {
	mu     sync.Mutex
	blocks map[Body]map[int64][]byte
	keys   []string // dropped
	gets   int
	onPut  func()
}

func newShelf() *shelf { return &shelf{blocks: map[Body]map[int64][]byte{}} }

func (s *shelf) Get(b Body, i int64, p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	q, ok := s.blocks[b][i]
	if ok && len(q) != len(p) {
		panic("wrong length")
	}
	copy(p, q)
	return ok
}

func (s *shelf) Put(b Body, i int64, p []byte) {
	if s.onPut != nil {
		s.onPut()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks[b] == nil {
		s.blocks[b] = map[int64][]byte{}
	}
	s.blocks[b][i] = bytes.Clone(p)
}

func (s *shelf) Drop(b Body) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blocks, b)
}

func (s *shelf) DropKey(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, id)
}

func TestAdjacentBlocksComeInOneFetch(t *testing.T) {
	b := newObject(1000)
	c := newCache(t, Options{Ahead: -1})
	r := c.Reader(b.as("a"), b.fetch)
	p := make([]byte, 400)
	mustRead(t, r, p, 0)
	b.fetched(t, span{0, 400})
	mustRead(t, r, p[:350], 250)
	b.fetched(t, span{400, 200})
	mustRead(t, r, p[:100], 950)
	b.fetched(t, span{900, 100})
	mustRead(t, r, p[:400], 550) // around what is there
	b.fetched(t, span{600, 300})
	r.Drop()
	mustRead(t, r, p[:1], 350)
	b.took()
	mustRead(t, r, p[:300], 210)
	b.fetched(t, span{200, 100}, span{400, 200})
}

func TestIdentityIsBodyAndKey(t *testing.T) {
	a, b := newObject(100), &object{data: make([]byte, 100), block: 100}
	c := newCache(t, Options{})
	with := func(id ID) Body { return Body{ID: id, Size: 100, Block: 100} }
	p, q := make([]byte, 100), make([]byte, 100)
	mustRead(t, c.Reader(with(ID{"x", "1"}), a.fetch), p, 0)
	mustRead(t, c.Reader(with(ID{"x", "2"}), b.fetch), q, 0)
	if !bytes.Equal(p, a.data) || !bytes.Equal(q, b.data) {
		t.Fatal("bodies are confused")
	}
	mustRead(t, c.Reader(with(ID{"x", "1"}), nil), q, 0) // shared by readers
	if !bytes.Equal(q, a.data) {
		t.Fatal("second reader reads something else")
	}
	c.DropKey("1")
	a.took()
	b.took()
	mustRead(t, c.Reader(with(ID{"x", "1"}), a.fetch), p, 0)
	mustRead(t, c.Reader(with(ID{"x", "2"}), b.fetch), q, 0)
	a.fetched(t, span{0, 100})
	b.fetched(t)
}

func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(100)
		b.gate = make(chan struct{})
		c := New(Options{})
		r := c.Reader(b.as("a"), b.fetch)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				p := make([]byte, 100)
				mustRead(t, r, p, 0)
				if !bytes.Equal(p, b.data) {
					t.Error("wrong data")
				}
			})
		}
		synctest.Wait()
		close(b.gate)
		wg.Wait()
		b.fetched(t, span{0, 100})
		_ = c.Close()
	})
}

// TestBlocksComeAsTheyArrive: who waits for the first block of a fetch has it
// while the rest is on its way.
func TestBlocksComeAsTheyArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(1000)
		late := make(chan struct{})
		b.after = map[int64]chan struct{}{300: late}
		c := New(Options{Ahead: -1})
		r := c.Reader(b.as("a"), b.fetch)
		var got atomic.Int64
		go func() {
			_ = r.View(context.Background(), 0, 1000, func(p []byte) error { got.Add(int64(len(p))); return nil })
		}()
		synctest.Wait()
		if got.Load() != 300 {
			t.Errorf("%d bytes are there", got.Load())
		}
		mustRead(t, r, make([]byte, 10), 250) // another one, too
		close(late)
		synctest.Wait()
		if got.Load() != 1000 {
			t.Errorf("%d bytes in the end", got.Load())
		}
		b.fetched(t, span{0, 1000})
		_ = c.Close()
	})
}

func TestAWaiterLeavesAndTheFetchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(100)
		b.gate = make(chan struct{})
		c := New(Options{})
		r := c.Reader(b.as("a"), b.fetch)
		ctx, cancel := context.WithCancel(context.Background())
		var left atomic.Bool
		go func() {
			if _, err := r.ReadAt(ctx, make([]byte, 100), 0); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled read: %v", err)
			}
			left.Store(true)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !left.Load() {
			t.Error("the read did not end with its context")
		}
		close(b.gate)
		mustRead(t, r, make([]byte, 100), 0)
		b.fetched(t, span{0, 100})
		c.sound(t)
		_ = c.Close()
	})
}

// TestFetchTimesOut: not when it is slow, but when nothing comes.
func TestFetchTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(300)
		b.after = map[int64]chan struct{}{200: make(chan struct{})}
		b.pass = func(int64) error { <-time.After(50 * time.Second); return nil }
		c := New(Options{Timeout: time.Minute})
		r := c.Reader(b.as("a"), b.fetch)
		start := time.Now()
		n, err := r.ReadAt(context.Background(), make([]byte, 300), 0)
		if n != 200 || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("%d, %v", n, err)
		}
		if d := time.Since(start); d != 160*time.Second {
			t.Errorf("after %v", d)
		}
		_ = c.Close()
	})
}

func TestErrorsAreNotRemembered(t *testing.T) {
	b := newObject(100)
	c := newCache(t, Options{})
	r := c.Reader(b.as("a"), b.fetch)
	broken := errors.New("broken")
	b.setFail(broken)
	p := make([]byte, 100)
	if n, err := r.ReadAt(context.Background(), p, 0); !errors.Is(err, broken) || n != 0 {
		t.Fatalf("%d, %v", n, err)
	}
	b.setFail(nil)
	mustRead(t, r, p, 0)
	if !bytes.Equal(p, b.data) {
		t.Fatal("wrong data")
	}
	c.sound(t)
}

// TestBrokenOff: what came stays, the rest is fetched again.
func TestBrokenOff(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		spoil func(*object)
		err   error
		n     int
	}{
		"error": {func(b *object) {
			b.pass = func(at int64) error {
				if at >= 200 {
					return broken
				}
				return nil
			}
		}, broken, 200},
		"short":         {func(b *object) { b.cut = func(int64) int64 { return 250 } }, io.ErrUnexpectedEOF, 200},
		"short by none": {func(b *object) { b.cut = func(int64) int64 { return 200 } }, io.ErrUnexpectedEOF, 200},
		"long":          {func(b *object) { b.more = []byte{1} }, nil, 200},
		"bad end": {func(b *object) {
			b.pass = func(at int64) error {
				if at == 300 {
					return broken
				}
				return nil
			}
		}, broken, 200},
	} {
		t.Run(name, func(t *testing.T) {
			b := newObject(300)
			tc.spoil(b)
			c := newCache(t, Options{Ahead: -1})
			r := c.Reader(b.as("a"), b.fetch)
			p := make([]byte, 300)
			n, err := r.ReadAt(context.Background(), p, 0)
			if n != tc.n || err == nil || tc.err != nil && !errors.Is(err, tc.err) || !bytes.Equal(p[:n], b.data[:n]) {
				t.Fatalf("%d, %v", n, err)
			}
			b.pass, b.cut, b.more = nil, nil, nil
			b.took()
			mustRead(t, r, p, 0)
			b.fetched(t, span{200, 100})
			c.sound(t)
			if b.closed != 2 {
				t.Errorf("%d answers closed", b.closed)
			}
		})
	}
}

func TestDropFetchesAgain(t *testing.T) {
	b := newObject(300)
	d := newShelf()
	c := newCache(t, Options{Ahead: -1, Disk: d})
	r, other := c.Reader(b.as("a"), b.fetch), c.Reader(b.as("b"), b.fetch)
	p := make([]byte, 300)
	mustRead(t, r, p, 0)
	mustRead(t, other, p, 0)
	b.took()
	r.Drop()
	mustRead(t, r, p, 0)
	b.fetched(t, span{0, 300})
	mustRead(t, other, p, 0)
	b.fetched(t)
}

// A block dropped while it is fetched is not kept by that fetch.
func TestDropDuringFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(100)
		b.gate = make(chan struct{})
		d := newShelf()
		c := New(Options{Disk: d})
		r := c.Reader(b.as("a"), b.fetch)
		go func() { _, _ = r.ReadAt(context.Background(), make([]byte, 100), 0) }()
		synctest.Wait()
		r.Drop()
		close(b.gate)
		synctest.Wait()
		if c.Kept() != 0 || len(d.blocks) != 0 {
			t.Errorf("%d bytes kept, %d on disk", c.Kept(), len(d.blocks))
		}
		_ = c.Close()
	})
}

// Nor does it stay on disk where the drop comes while it is put there.
func TestDropDuringPut(t *testing.T) {
	b := newObject(100)
	d := newShelf()
	c := newCache(t, Options{Disk: d})
	r := c.Reader(b.as("a"), b.fetch)
	d.onPut = r.Drop
	mustRead(t, r, make([]byte, 100), 0)
	_ = c.Close()
	if len(d.blocks) != 0 || c.Kept() != 0 {
		t.Errorf("%d bodies on disk, %d bytes kept", len(d.blocks), c.Kept())
	}
}

// What another request has brought does not stay on disk either, where it is
// dropped while it is put there.
func TestDropDuringSeed(t *testing.T) {
	b := sized(5000, 5000)
	d := newShelf()
	c := newCache(t, Options{Disk: d})
	r := c.Reader(b.as("a"), b.fetch)
	r.Seed(0, b.data)
	if len(d.blocks) != 1 {
		t.Fatal("nothing is on disk")
	}
	r.Drop()
	d.onPut = r.Drop
	r.Seed(0, b.data)
	if len(d.blocks) != 0 || c.Kept() != 0 {
		t.Errorf("%d bodies on disk, %d bytes kept", len(d.blocks), c.Kept())
	}
}

func TestLeastRecentlyUsedGoes(t *testing.T) {
	b := newObject(900)
	c := newCache(t, Options{Bytes: 300, Ahead: -1})
	r := c.Reader(b.as("a"), b.fetch)
	p := make([]byte, 100)
	for _, off := range []int64{0, 400, 800, 0, 200} {
		mustRead(t, r, p, off)
	}
	b.took()
	mustRead(t, r, p, 0)
	mustRead(t, r, p, 800)
	mustRead(t, r, p, 200)
	b.fetched(t)
	mustRead(t, r, p, 400)
	b.fetched(t, span{400, 100})
}

func TestFetchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(4000)
		b.gate = make(chan struct{})
		c := New(Options{Fetches: 3, Ahead: -1})
		r := c.Reader(b.as("a"), b.fetch)
		var wg sync.WaitGroup
		for i := range int64(20) {
			wg.Go(func() { mustRead(t, r, make([]byte, 100), i*200) })
		}
		synctest.Wait()
		if f := b.took(); len(f) != 3 {
			t.Errorf("%d fetches at a time", len(f))
		}
		close(b.gate)
		wg.Wait()
		_ = c.Close()
	})
}

func TestCloseEndsFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newObject(300)
		b.gate = make(chan struct{})
		c := New(Options{Bytes: 100})
		r := c.Reader(b.as("a"), b.fetch)
		for i := range int64(3) { // two of them wait for memory
			go func() {
				if _, err := r.ReadAt(context.Background(), make([]byte, 1), 100*i); !errors.Is(err, ErrClosed) {
					t.Errorf("read during close: %v", err)
				}
			}()
		}
		synctest.Wait()
		_ = c.Close()
		_ = c.Close()
		if _, err := r.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		r.Seed(0, b.data[:100])
		if c.Kept() != 0 {
			t.Errorf("%d bytes kept", c.Kept())
		}
	})
}

func TestSeed(t *testing.T) {
	b := newObject(1050)
	c := newCache(t, Options{Ahead: -1})
	p := make([]byte, 1100)
	r := c.Reader(b.as("a"), b.fetch)
	r.Seed(150, b.data[150:450]) // blocks 2 and 3 are whole
	r.Seed(-1, b.data[:100])
	r.Seed(1000, p[:51])
	mustRead(t, r, p[:200], 200)
	b.fetched(t)
	if !bytes.Equal(p[:200], b.data[200:400]) {
		t.Error("wrong data")
	}
	r.Seed(930, b.data[930:]) // the end, as a lookup brings it
	mustRead(t, r, p[:1000], 930)
	mustRead(t, r, p[:110], 940)
	b.fetched(t)
	if !bytes.Equal(p[:110], b.data[940:]) {
		t.Error("wrong data")
	}
	mustRead(t, r, p[:200], 920)
	b.fetched(t, span{900, 150})
	small := newObject(70)
	s := c.Reader(small.as("s"), small.fetch)
	s.Seed(0, small.data)
	mustRead(t, s, p[:70], 0)
	small.fetched(t)
	c.sound(t)
}

func BenchmarkHit(b *testing.B) {
	src := sized(8<<20, 64<<10)
	c := newCache(b, Options{})
	r := c.Reader(src.as("a"), src.fetch)
	p := make([]byte, 128<<10)
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		mustRead(b, r, p, int64(i)*int64(len(p))%(8<<20))
	}
}

// Blocks count as found when they are here, or on their way for somebody else.
func TestStats(t *testing.T) {
	b := newObject(1000)
	c := newCache(t, Options{Ahead: -1, Bytes: 1 << 20})
	r := c.Reader(b.as("a"), b.fetch)
	if got := c.Stats(); got != (Stats{Own: 1 << 20}) {
		t.Errorf("at the beginning: %+v", got)
	}
	p := make([]byte, 400)
	mustRead(t, r, p, 0)
	first := c.Stats()
	if first.Hits != 0 || first.Misses == 0 || first.Kept == 0 {
		t.Errorf("after the first read: %+v", first)
	}
	mustRead(t, r, p, 0)
	if got := c.Stats(); got.Hits != first.Misses || got.Misses != first.Misses {
		t.Errorf("after the second: %+v, the first had %+v", got, first)
	}
}
