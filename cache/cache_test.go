package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// body is an object whose fetches are counted and can be made to fail.
type body struct {
	data []byte

	mu      sync.Mutex
	fetches []span
	fail    error
	gate    chan struct{} // if set, fetches wait for it
}

type span struct{ off, n int64 }

func newBody(n int) *body {
	b := &body{data: make([]byte, n)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b.data {
		b.data[i] = byte(r.Uint32())
	}
	return b
}

func (b *body) fetch(ctx context.Context, off int64, p []byte) (int, error) {
	b.mu.Lock()
	b.fetches = append(b.fetches, span{off, int64(len(p))})
	fail, gate := b.fail, b.gate
	b.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if fail != nil {
		return 0, fail
	}
	return copy(p, b.data[off:]), nil
}

func (b *body) setFail(err error) { b.mu.Lock(); b.fail = err; b.mu.Unlock() }

func (b *body) took() []span {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.fetches
	b.fetches = nil
	return f
}

func newCache(t testing.TB, opt Options) *Cache {
	c := New(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestReadAtIsTheBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBody(rapid.IntRange(0, 5000).Draw(t, "size"))
		c := New(Options{Bytes: 1000, BlockSize: 100, Coalesce: 300, ReadAhead: rapid.IntRange(-1, 3).Draw(t, "ahead")})
		defer c.Close()
		r := c.Reader(ID{Body: "a"}, int64(len(b.data)), b.fetch)
		want := bytes.NewReader(b.data)
		for range rapid.IntRange(1, 20).Draw(t, "reads") {
			off := rapid.Int64Range(0, int64(len(b.data))+10).Draw(t, "off")
			n := rapid.IntRange(1, 3000).Draw(t, "n")
			p, q := make([]byte, n), make([]byte, n)
			got, err := r.ReadAt(context.Background(), p, off)
			exp, wantErr := want.ReadAt(q, off)
			if got != exp || err != wantErr || !bytes.Equal(p, q) {
				t.Fatalf("read of %d at %d: %d, %v; want %d, %v", n, off, got, err, exp, wantErr)
			}
			clear(p) // what a caller holds is its own
			if rapid.Bool().Draw(t, "drop") {
				c.Drop(ID{Body: "a"}, off, int64(n))
			}
			if kept := c.Kept(); kept > 1000 {
				t.Fatalf("%d bytes kept", kept)
			}
		}
	})
}

func TestAdjacentBlocksComeInOneFetch(t *testing.T) {
	b := newBody(1000)
	c := newCache(t, Options{BlockSize: 100, Coalesce: 400, ReadAhead: -1})
	r := c.Reader(ID{Body: "a"}, 1000, b.fetch)
	p := make([]byte, 400)
	mustRead(t, r, p, 0)
	if f := b.took(); len(f) != 1 || f[0] != (span{0, 400}) {
		t.Fatalf("fetches %v", f)
	}
	mustRead(t, r, p[:350], 250)
	if f := b.took(); len(f) != 1 || f[0] != (span{400, 200}) {
		t.Fatalf("fetches %v", f)
	}
	mustRead(t, r, p[:100], 950)
	if f := b.took(); len(f) != 1 || f[0] != (span{900, 100}) {
		t.Fatalf("fetches %v", f)
	}
}

func mustRead(t testing.TB, r *Reader, p []byte, off int64) {
	t.Helper()
	if _, err := r.ReadAt(context.Background(), p, off); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestIdentityIsBodyAndKey(t *testing.T) {
	a, b := newBody(100), &body{data: make([]byte, 100)}
	c := newCache(t, Options{BlockSize: 100})
	p, q := make([]byte, 100), make([]byte, 100)
	mustRead(t, c.Reader(ID{"x", "1"}, 100, a.fetch), p, 0)
	mustRead(t, c.Reader(ID{"x", "2"}, 100, b.fetch), q, 0)
	if !bytes.Equal(p, a.data) || !bytes.Equal(q, b.data) {
		t.Fatal("bodies are confused")
	}
	mustRead(t, c.Reader(ID{"x", "1"}, 100, nil), q, 0) // shared by readers
	if !bytes.Equal(q, a.data) {
		t.Fatal("second reader reads something else")
	}
}

func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(100)
		b.gate = make(chan struct{})
		c := New(Options{BlockSize: 100})
		r := c.Reader(ID{Body: "a"}, 100, b.fetch)
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
		if f := b.took(); len(f) != 1 {
			t.Errorf("fetches %v", f)
		}
		_ = c.Close()
	})
}

func TestAWaiterLeavesAndTheFetchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(100)
		b.gate = make(chan struct{})
		c := New(Options{BlockSize: 100})
		r := c.Reader(ID{Body: "a"}, 100, b.fetch)
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
		if f := b.took(); len(f) != 1 {
			t.Errorf("fetches %v", f)
		}
		_ = c.Close()
	})
}

func TestFetchTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(100)
		b.gate = make(chan struct{})
		c := New(Options{BlockSize: 100, Timeout: time.Minute})
		r := c.Reader(ID{Body: "a"}, 100, b.fetch)
		start := time.Now()
		if _, err := r.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("after %v", d)
		}
		_ = c.Close()
	})
}

func TestErrorsAreNotRemembered(t *testing.T) {
	b := newBody(100)
	c := newCache(t, Options{BlockSize: 100})
	r := c.Reader(ID{Body: "a"}, 100, b.fetch)
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
}

func TestShortFetch(t *testing.T) {
	b := newBody(300)
	c := newCache(t, Options{BlockSize: 100, ReadAhead: -1})
	short := func(_ context.Context, off int64, p []byte) (int, error) { return copy(p, b.data[off:150]), io.EOF }
	p := make([]byte, 300)
	n, err := c.Reader(ID{Body: "a"}, 300, short).ReadAt(context.Background(), p, 0)
	if n != 150 || !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(p[:n], b.data[:n]) {
		t.Fatalf("%d, %v", n, err)
	}
	if c.Kept() != 100 {
		t.Fatalf("%d bytes kept, one block was whole", c.Kept())
	}
	lying := func(_ context.Context, _ int64, p []byte) (int, error) { return len(p) + 1, nil }
	if _, err := c.Reader(ID{Body: "b"}, 300, lying).ReadAt(context.Background(), p, 0); err == nil {
		t.Fatal("a fetch of more than was asked is believed")
	}
}

func TestDropFetchesAgain(t *testing.T) {
	b := newBody(300)
	c := newCache(t, Options{BlockSize: 100, ReadAhead: -1})
	r := c.Reader(ID{Body: "a"}, 300, b.fetch)
	p := make([]byte, 300)
	mustRead(t, r, p, 0)
	b.took()
	c.Drop(ID{Body: "a"}, 150, 1)
	c.Drop(ID{Body: "other"}, 0, 1<<40)
	mustRead(t, r, p, 0)
	if f := b.took(); len(f) != 1 || f[0] != (span{100, 100}) {
		t.Fatalf("fetches %v", f)
	}
	c.Drop(ID{Body: "a"}, 0, 1<<40)
	if c.Kept() != 0 {
		t.Fatalf("%d bytes kept", c.Kept())
	}
}

// A block dropped while it is fetched is not kept by that fetch.
func TestDropDuringFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(100)
		b.gate = make(chan struct{})
		c := New(Options{BlockSize: 100})
		r := c.Reader(ID{Body: "a"}, 100, b.fetch)
		go func() { _, _ = r.ReadAt(context.Background(), make([]byte, 100), 0) }()
		synctest.Wait()
		c.Drop(ID{Body: "a"}, 0, 100)
		close(b.gate)
		synctest.Wait()
		if c.Kept() != 0 {
			t.Errorf("%d bytes kept", c.Kept())
		}
		_ = c.Close()
	})
}

func TestLeastRecentlyUsedGoes(t *testing.T) {
	b := newBody(400)
	c := newCache(t, Options{Bytes: 300, BlockSize: 100, ReadAhead: -1})
	r := c.Reader(ID{Body: "a"}, 400, b.fetch)
	p := make([]byte, 100)
	for _, off := range []int64{0, 100, 200, 0, 300} {
		mustRead(t, r, p, off)
	}
	b.took()
	mustRead(t, r, p, 0)
	mustRead(t, r, p, 200)
	mustRead(t, r, p, 300)
	if f := b.took(); len(f) != 0 {
		t.Fatalf("fetches %v", f)
	}
	mustRead(t, r, p, 100)
	if f := b.took(); len(f) != 1 {
		t.Fatalf("fetches %v", f)
	}
}

func TestReadAheadOfSequentialReadsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(2000)
		c := New(Options{BlockSize: 100, ReadAhead: 2})
		r := c.Reader(ID{Body: "a"}, 2000, b.fetch)
		p := make([]byte, 100)
		mustRead(t, r, p, 500)
		synctest.Wait()
		if f := b.took(); len(f) != 1 || f[0].n != 100 {
			t.Errorf("random read: fetches %v", f)
		}
		mustRead(t, r, p, 600)
		synctest.Wait()
		if f := b.took(); len(f) != 2 {
			t.Errorf("sequential read: fetches %v", f)
		}
		mustRead(t, r, p, 700)
		synctest.Wait()
		if f := b.took(); len(f) != 1 || f[0] != (span{900, 100}) {
			t.Errorf("next sequential read: fetches %v", f)
		}
		_ = c.Close()
	})
}

func TestFetchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(2000)
		b.gate = make(chan struct{})
		c := New(Options{BlockSize: 100, Fetches: 3, ReadAhead: -1})
		r := c.Reader(ID{Body: "a"}, 2000, b.fetch)
		var wg sync.WaitGroup
		for i := range int64(20) {
			wg.Go(func() { mustRead(t, r, make([]byte, 100), i*100) })
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
		b := newBody(100)
		b.gate = make(chan struct{})
		c := New(Options{BlockSize: 100})
		r := c.Reader(ID{Body: "a"}, 100, b.fetch)
		go func() {
			if _, err := r.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
				t.Errorf("read during close: %v", err)
			}
		}()
		synctest.Wait()
		_ = c.Close()
		_ = c.Close()
		if _, err := r.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	})
}

func BenchmarkHit(b *testing.B) {
	src := newBody(8 << 20)
	c := newCache(b, Options{})
	r := c.Reader(ID{Body: "a"}, 8<<20, src.fetch)
	p := make([]byte, 128<<10)
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		mustRead(b, r, p, int64(i)*int64(len(p))%(8<<20))
	}
}
