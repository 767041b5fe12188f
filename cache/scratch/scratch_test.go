package scratch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants checks an error, and that nothing else came with it.
func wants(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// random gives n bytes, the same for the same n.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func mustNew(t testing.TB, dir string, b *Budget) *File {
	t.Helper()
	f, err := New(dir, b)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

// filled is a finished File that holds content.
func filled(t testing.TB, content []byte) *File {
	t.Helper()
	f := mustNew(t, t.TempDir(), NewBudget(1<<30))
	n, err := f.Write(content)
	if err != nil || n != len(content) {
		t.Fatalf("wrote %d of %d: %v", n, len(content), err)
	}
	must(t, f.Finish())
	return f
}

func TestSizesAroundBlocks(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, BlockSize - 1, BlockSize, BlockSize + 1, 2*BlockSize - 1, 2 * BlockSize, 3*BlockSize + 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			want := random(n)
			f := filled(t, want)
			if f.Size() != int64(n) {
				t.Errorf("size %d", f.Size())
			}
			if used := f.budget.Used(); used != int64(sealedLen(int64(n))) || used != stat(t, f).Size {
				t.Errorf("used %d, on disk %d, sealed length %d", used, stat(t, f).Size, sealedLen(int64(n)))
			}
			got := make([]byte, n)
			if m, err := f.ReadAt(t.Context(), got, 0); m != n || err != nil || !bytes.Equal(got, want) {
				t.Errorf("whole: %d bytes, %v", m, err)
			}
			got = append(got, 0)
			if m, err := f.ReadAt(t.Context(), got, 0); m != n || err != io.EOF || !bytes.Equal(got[:n], want) {
				t.Errorf("beyond the end: %d bytes, %v", m, err)
			}
			for _, off := range []int64{int64(n), int64(n) + 1, 1 << 62} {
				if m, err := f.ReadAt(t.Context(), got, off); m != 0 || err != io.EOF {
					t.Errorf("at %d: %d bytes, %v", off, m, err)
				}
			}
			if m, err := f.ReadAt(t.Context(), nil, 0); m != 0 || err != nil {
				t.Errorf("of nothing: %d bytes, %v", m, err)
			}
		})
	}
}

func stat(t testing.TB, f *File) (st unix.Stat_t) {
	t.Helper()
	must(t, unix.Fstat(int(f.f.Fd()), &st))
	return st
}

// Whatever the sizes of writes and reads, what comes out went in.
func TestAnyWritesAnyReads(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		f, err := New(dir, NewBudget(1<<30))
		must(t, err)
		defer f.Close()
		var want []byte
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, BlockSize+1), 0, 6).Draw(rt, "writes") {
			p := random(n)
			if m, err := f.Write(p); m != n || err != nil {
				rt.Fatalf("write: %d, %v", m, err)
			}
			want = append(want, p...)
		}
		must(t, f.Finish())
		model := bytes.NewReader(want)
		for range 5 {
			off := rapid.Int64Range(0, int64(len(want))+10).Draw(rt, "off")
			n := rapid.IntRange(0, 2*BlockSize).Draw(rt, "n")
			got, exp := make([]byte, n), make([]byte, n)
			gn, gerr := f.ReadAt(t.Context(), got, off)
			en, eerr := model.ReadAt(exp, off)
			if n == 0 { // bytes.Reader gives EOF for nothing at the end
				eerr = nil
			}
			if gn != en || gerr != eerr || !bytes.Equal(got, exp) {
				rt.Fatalf("read %d at %d: %d, %v; want %d, %v", n, off, gn, gerr, en, eerr)
			}
		}
	})
}

func TestReadersAreIndependent(t *testing.T) {
	want := random(5*BlockSize + 100)
	f := filled(t, want)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range 200 {
				off := r.IntN(len(want))
				p := make([]byte, r.IntN(len(want)-off)+1)
				if _, err := f.ReadAt(t.Context(), p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
					t.Errorf("%d bytes at %d: %v", len(p), off, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Close meanwhile ends reads with ErrClosed or lets them end well.
func TestCloseMeanwhile(t *testing.T) {
	want := random(4 * BlockSize)
	f := filled(t, want)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			p := make([]byte, len(want))
			for {
				_, err := f.ReadAt(t.Context(), p, 0)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil || !bytes.Equal(p, want) {
					t.Errorf("read: %v", err)
					return
				}
			}
		})
	}
	must(t, f.Close())
	wg.Wait()
}

func TestOrderOfCalls(t *testing.T) {
	f := mustNew(t, t.TempDir(), NewBudget(1<<20))
	p := make([]byte, 4)
	_, err := f.Write([]byte("abcd"))
	must(t, err)
	if n, err := f.ReadAt(t.Context(), p, 0); n != 0 || !errors.Is(err, errUnfinished) {
		t.Errorf("read before Finish: %d, %v", n, err)
	}
	must(t, f.Finish())
	wants(t, f.Finish(), errFinished)
	_, err = f.Write(p)
	wants(t, err, errFinished)
	_, err = f.ReadAt(t.Context(), p, -1)
	wants(t, err, errOffset)
	must(t, f.Close())
	must(t, f.Close())
	_, err = f.ReadAt(t.Context(), p, 0)
	wants(t, err, ErrClosed)
	_, err = f.Write(p)
	wants(t, err, ErrClosed)
	wants(t, f.Finish(), ErrClosed)
	if f.Size() != 4 {
		t.Errorf("size %d after Close", f.Size())
	}
	if _, err := New(t.TempDir(), nil); err == nil {
		t.Error("no budget, and no error")
	}
	if _, err := New(filepath.Join(t.TempDir(), "missing"), NewBudget(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	f := filled(t, random(3*BlockSize))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := f.ReadAt(ctx, make([]byte, 10), 0); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
}
