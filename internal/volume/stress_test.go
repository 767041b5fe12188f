package volume

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestStress has writers, readers, renamers and removers at the same few
// names. What is read is always whole; in the end the mount, a fresh one and
// the bucket agree, and nothing is left behind.
func TestStress(t *testing.T) { inSetups(t, testStress) }

func testStress(t *testing.T, s *setup) {
	rounds := 100
	if testing.Short() {
		rounds = 30
	}
	f := mount(t, s.store(), s.on, func(o *Options) { o.AttrTimeout = 0 })
	f.mkdir("d")
	f.mkdir("e")
	names := strings.Fields("a b d/a d/b e/a e/b")
	pick := func(r *rand.Rand) string { return names[r.IntN(len(names))] }
	var g sync.WaitGroup
	worker := func(seed uint64, op func(r *rand.Rand) error) {
		g.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for range rounds {
				if err := op(r); err != nil && !expected(err) {
					t.Errorf("worker %d: %v", seed, err)
				}
			}
		})
	}
	for n := range 3 {
		seed := uint64(n)
		worker(10+seed, func(r *rand.Rand) error { return f.tryWhole(pick(r), r) })
		worker(20+seed, func(r *rand.Rand) error { return f.readWhole(pick(r)) })
	}
	worker(30, func(r *rand.Rand) error { return f.Rename(f.ctx, pick(r), pick(r), r.IntN(2) == 0) })
	worker(31, func(r *rand.Rand) error { return f.Rename(f.ctx, "d", "e/sub", false) })
	worker(32, func(r *rand.Rand) error { return f.Rename(f.ctx, "e/sub", "d", false) })
	worker(33, func(r *rand.Rand) error { return f.Remove(f.ctx, pick(r)) })
	worker(34, func(r *rand.Rand) error {
		mode := r.Uint32() & 0o777
		return errOf(f.SetAttr(f.ctx, pick(r), Change{Mode: &mode}))
	})
	worker(35, func(*rand.Rand) error {
		for _, err := range f.List(f.ctx, "d", "") {
			if err != nil {
				return err
			}
		}
		return nil
	})
	g.Wait()
	mine := treeOf(f)
	f.must(f.Close(f.ctx))
	sameTree(t, treeOf(mount(t, f.mem, s.on)), mine)
	for p := range mine {
		if strings.Contains(p, "conflict") {
			t.Errorf("a conflict with ourselves: %s", p)
		}
	}
	f.noLeftovers()
	if f.opt.Spool.Used() != 0 || f.Dirty() != 0 {
		t.Errorf("%d dirty, spool holds %d", f.Dirty(), f.opt.Spool.Used())
	}
}

// expected tells the errors of operations that meet each other's.
func expected(err error) bool {
	for _, e := range []error{ErrNotExist, ErrExist, ErrIsDir, ErrNotDir, ErrNotEmpty, ErrInvalid} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// tryWhole writes a file of one letter as a temporary file and renames it, or
// in place, by a new handle.
func (f *fixture) tryWhole(p string, r *rand.Rand) error {
	text := strings.Repeat(string(rune('a'+r.IntN(26))), 100+r.IntN(100<<10))
	if r.IntN(2) == 0 {
		return f.tryPut(p, text)
	}
	tmp := fmt.Sprintf("tmp%d", r.Uint64())
	file, err := f.Create(f.ctx, tmp, Attr{Mode: 0o644}, true)
	if err != nil {
		return err
	}
	defer file.Release()
	if _, err := file.WriteAt(f.ctx, []byte(text), 0); err != nil {
		return err
	}
	if err := f.Rename(f.ctx, tmp, p, false); err != nil {
		return errors.Join(err, f.Remove(f.ctx, tmp))
	}
	return nil
}

// readWhole reads a file, which may be written in place meanwhile: blocks are
// of one letter each, or zeros where one was truncated.
func (f *fixture) readWhole(p string) error {
	text, err := f.get(p)
	if err != nil {
		return err
	}
	kinds := map[byte]bool{}
	for i := range len(text) {
		kinds[text[i]] = true
	}
	if len(kinds) > 4 {
		return fmt.Errorf("%s reads as %d different letters", p, len(kinds))
	}
	return nil
}

// TestConcurrentAppend: no append is lost or overwritten, commits in between.
func TestConcurrentAppend(t *testing.T) { inSetups(t, testConcurrentAppend) }

func testConcurrentAppend(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	f.put("log", "")
	var g sync.WaitGroup
	for n := range 4 {
		g.Go(func() {
			file, err := f.Open(f.ctx, "log", OpenOptions{Write: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Release()
			for i := range 50 {
				if _, err := file.Append(f.ctx, fmt.Appendf(nil, "%d.%03d\n", n, i)); err != nil {
					t.Error(err)
				}
				if i%10 == n {
					if err := file.Commit(f.ctx); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	g.Wait()
	f.must(f.Close(f.ctx))
	text, err := mount(t, f.mem, s.on).get("log")
	f.must(err)
	lines := strings.Fields(text)
	seen := map[string]bool{}
	for _, l := range lines {
		seen[l] = true
	}
	if len(lines) != 200 || len(seen) != 200 {
		t.Errorf("%d lines, %d different", len(lines), len(seen))
	}
}
