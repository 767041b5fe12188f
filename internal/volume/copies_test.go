package volume

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache/scratch"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

func scratchSize(n int64) tweak { return func(o *Options) { o.ScratchSize = n } }

// TestVerifiedBeforeTheFirstByte: a bit flipped anywhere is ErrCorrupt wherever
// one reads, and nothing can be built on such an object.
func TestVerifiedBeforeTheFirstByte(t *testing.T) {
	for _, format := range []string{"s3ec", "s3ec-v2"} {
		s := setupOf(format)
		text := noise(200<<10, 1)
		for _, at := range []int{0, 100 << 10, len(text) + s3ec.TagSize - 1} {
			f := mount(t, s.store(), s.on)
			f.put("a", text)
			f.mem.Tamper("a", func(o *mem.Object) { o.Body[at] ^= 1 })
			file := f.open("a")
			for _, off := range []int64{0, 150 << 10} {
				n, err := file.ReadAt(f.ctx, make([]byte, 10), off)
				wants(t, err, ErrCorrupt)
				if n != 0 {
					t.Errorf("%d bytes were given", n)
				}
			}
			wants(t, errOf(file.WriteAt(f.ctx, []byte("x"), 5)), ErrCorrupt)
			wants(t, errOf(file.Append(f.ctx, []byte("x"))), ErrCorrupt)
			file.Release()
			wants(t, f.Rename(f.ctx, "a", "b", false), nil) // which looks at no body
			f.put("b", "new")                               // nor does who wants none of it
			f.has("b", "new")
		}
	}
}

// TestCutToATag: a body cut to the length of a tag looks like that of an empty
// file, which nobody would read.
func TestCutToATag(t *testing.T) {
	for _, format := range []string{"s3ec", "s3ec-v2"} {
		s := setupOf(format)
		f := mount(t, s.store(), s.on)
		f.put("a", "content")
		f.put("empty", "")
		f.mem.Tamper("a", func(o *mem.Object) { o.Body = o.Body[:s3ec.TagSize] })
		_, err := f.Open(f.ctx, "a", OpenOptions{})
		wants(t, err, ErrCorrupt)
		again := mount(t, f.mem, s.on)
		file := again.open("empty")
		again.reads(file, "")
		file.Release()
	}
}

// TestFetchedOnce: however a version is read, by however many, its body comes
// once; a new version comes once more, and a chmod or rename not at all.
func TestFetchedOnce(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on, long)
	text := noise(1<<20, 1)
	f.put("a", text)
	f.s.Reset()
	file := f.open("a")
	defer file.Release()
	var g sync.WaitGroup
	for n := range 8 {
		g.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for range 20 {
				off, p := r.IntN(len(text)), make([]byte, 1+r.IntN(100<<10))
				n, err := file.ReadAt(f.ctx, p, int64(off))
				if err != nil && off+len(p) <= len(text) || string(p[:n]) != text[off:min(len(text), off+len(p))] {
					t.Errorf("at %d: %d bytes, %v", off, n, err)
				}
			}
		})
	}
	g.Wait()
	f.requests("get")
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
	f.rename("a", "b")
	f.reads(file, text)
	f.requests("copy list copy delete") // the look for b
	f.write(file, "more", 0)
	f.must(file.Commit(f.ctx))
	f.requests("put")
	f.reads(file, "more"+text[4:])
	f.requests("get")
}

// TestScratchSpace: a body that can never fit says so, those that fit take
// turns, and those that are read at the same time wait for each other.
func TestScratchSpace(t *testing.T) {
	s := setupOf("s3ec")
	const body = 300 << 10
	f := mount(t, s.store(), s.on, long, scratchSize(2*scratch.Sealed(body+s3ec.TagSize)))
	for i := range 6 {
		f.put(fmt.Sprint("f", i), noise(body, byte(i)))
	}
	big := noise(3*body, 9)
	f.put("big", big)
	_, err := f.get("big")
	wants(t, err, ErrTooLarge)
	if info := f.stat("big"); info.Err != nil || info.Size != 3*body {
		t.Errorf("%+v", info)
	}
	f.put("big", "smaller") // what is not read need not fit
	f.has("big", "smaller")
	f.must(errOf(f.SetAttr(f.ctx, "big", Change{Mode: ptr[uint32](0o600)})))
	f.s.Reset()
	for range 2 {
		f.has("f0", noise(body, 0))
		f.has("f1", noise(body, 1))
	}
	f.requests("get get")
	f.has("f2", noise(body, 2)) // f0, or f1, goes
	f.has("f1", noise(body, 1))
	f.requests("get")
	var g sync.WaitGroup
	for n := range 12 {
		g.Go(func() {
			for i := range 6 {
				i = (i + n) % 6
				if got, err := f.get(fmt.Sprint("f", i)); err != nil || got != noise(body, byte(i)) {
					t.Errorf("f%d: %s, %v", i, brief(got), err)
				}
			}
		})
	}
	g.Wait()
	if k := f.copies; k.budget.Used() > k.budget.Limit() || k.taken > k.budget.Limit() || k.taken < 0 {
		t.Errorf("used %d, taken %d of %d", k.budget.Used(), k.taken, k.budget.Limit())
	}
	f.settle()
	if f.copies.budget.Used() != 0 || f.copies.taken != 0 {
		t.Errorf("used %d, taken %d after the end", f.copies.budget.Used(), f.copies.taken)
	}
}

// TestCloseWhileFetching: the end of the mount does not wait for a body that
// does not come, and nothing is left behind.
func TestCloseWhileFetching(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on)
	f.put("a", noise(300<<10, 1))
	file := f.open("a")
	defer file.Release()
	began := make(chan struct{})
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get {
			close(began)
			return faulty.Fault{Wait: make(chan struct{})}
		}
		return faulty.Fault{}
	})
	read := make(chan error)
	go func() {
		_, err := file.ReadAt(f.ctx, make([]byte, 10), 0)
		read <- err
	}()
	<-began
	f.settle()
	wants(t, <-read, ErrClosed)
	wants(t, errOf(file.ReadAt(f.ctx, make([]byte, 10), 0)), ErrClosed)
}

// TestInterruptedReader: who stops waiting does not stop the others.
func TestInterruptedReader(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on)
	text := noise(300<<10, 1) // a small one is read when it is looked up
	f.put("a", text)
	file := f.open("a")
	defer file.Release()
	began, hold := make(chan struct{}), make(chan struct{})
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get {
			close(began)
			return faulty.Fault{Wait: hold}
		}
		return faulty.Fault{}
	})
	ctx, cancel := context.WithCancel(f.ctx)
	read := make(chan error)
	go func() {
		_, err := file.ReadAt(ctx, make([]byte, 10), 0)
		read <- err
	}()
	<-began
	cancel()
	wants(t, <-read, context.Canceled)
	close(hold)
	f.reads(file, text)
}

// TestScratchFailure: a store that fails says so, and the next read tries again.
func TestScratchFailure(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on)
	f.put("a", noise(300<<10, 1))
	file := f.open("a")
	defer file.Release()
	f.failing(objstore.ErrThrottled, false, faulty.Get)
	wants(t, errOf(textOf(f.ctx, file)), ErrThrottled)
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		return faulty.Fault{Body: func(r io.Reader) io.Reader { return faulty.Cut(100 << 10)(r) }}
	})
	wants(t, errOf(textOf(f.ctx, file)), io.ErrUnexpectedEOF)
	f.healed()
	f.reads(file, noise(300<<10, 1))
}
