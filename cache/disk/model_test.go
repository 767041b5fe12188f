package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
	"pgregory.net/rapid"
)

// A Get gives exactly what was put, or nothing; what was dropped, nothing; and
// while all fits, everything. The files never take more than their bound.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		opt := options()
		opt.Size = rapid.SampledFrom([]int64{disk.MinSize, 64 << 20}).Draw(r, "size")
		path, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		m := mount(t, path, opt)
		defer func() { m.end() }()
		var bodies []cache.Body
		for i := range 6 {
			b := cache.Body{
				ID:    cache.ID{Body: fmt.Sprint("body ", i), KeyID: fmt.Sprint("key ", i%2)},
				Block: rapid.SampledFrom([]int64{1, 4096, 5000, 64 << 10, cache.MaxBlock}).Draw(r, "block"),
				Clear: rapid.Bool().Draw(r, "clear"),
			}
			b.Size = rapid.Int64Range(1, 40*b.Block).Draw(r, "length")
			bodies = append(bodies, b)
		}
		type at struct{ body, block int64 }
		there := map[at]bool{}
		ops := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 60).Draw(r, "ops")
		for _, op := range ops {
			i := rapid.Int64Range(0, int64(len(bodies)-1)).Draw(r, "body")
			b := bodies[i]
			first := rapid.Int64Range(0, blocksOf(b)-1).Draw(r, "first")
			last := rapid.Int64Range(first, blocksOf(b)-1).Draw(r, "last")
			switch {
			case op < 50:
				m.put(b, first, last+1)
				for n := first; n <= last; n++ {
					there[at{i, n}] = true
				}
			case op < 85:
				for n := first; n <= last; n++ {
					got := m.has(b, n, n+1) == 1
					if got && !there[at{i, n}] {
						r.Fatalf("block %d of body %d is there", n, i)
					}
					if !got && there[at{i, n}] && opt.Size > disk.MinSize {
						r.Fatalf("block %d of body %d is not there", n, i)
					}
				}
			case op < 90:
				m.Drop(b)
				for n := range blocksOf(b) {
					delete(there, at{i, n})
				}
			case op < 93:
				m.DropKey(b.ID.KeyID)
				for k := range there {
					if k.body%2 == i%2 {
						delete(there, k)
					}
				}
			default:
				m = m.again(opt)
			}
			if taken := onDisk(t, path); taken > opt.Size {
				r.Fatalf("the files take %d bytes, of %d", taken, opt.Size)
			}
		}
	})
}

// onDisk is what the files take, by the file system's own account. Its blocks
// for the map of a sparse file are a few besides.
func onDisk(t *testing.T, path string) (n int64) {
	t.Helper()
	for _, name := range []string{"sigilfs.index", "sigilfs.blocks"} {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return n
}

// What is reckoned is what the file system says, whatever the blocks are, and
// when all are gone nothing is taken.
func TestAccount(t *testing.T) {
	path := tmpfs(t, "100m")
	m := mount(t, path, options())
	index := func() int64 { return onDisk(t, path) - blocksOnDisk(t, path) }
	for i, block := range []int64{1, 100, 4096, 5000, 64 << 10, cache.MaxBlock} {
		for _, inClear := range []bool{false, true} {
			b := cache.Body{ID: cache.ID{Body: fmt.Sprint(i, inClear)}, Size: block*37 + 1, Block: block, Clear: inClear}
			for _, n := range []int64{3, 5, 4, 0, 15, 16, 36, 37} {
				m.put(b, n, n+1)
				if s, want := m.Stats().Bytes, blocksOnDisk(t, path); s != want {
					t.Errorf("blocks of %d bytes: %d bytes are reckoned, the files take %d", block, s, want)
				}
			}
		}
	}
	if index() > 2*4096 {
		t.Errorf("the index takes %d", index())
	}
	before := m.Stats()
	m = m.again(options())
	if after := m.Stats(); after.Bytes != before.Bytes || after.Extents != before.Extents {
		t.Errorf("%+v, after a restart %+v", before, after)
	}
	m.DropKey("")
	if s := m.Stats(); s.Bytes != 0 || s.Extents != 0 || blocksOnDisk(t, path) != 0 {
		t.Errorf("%+v and %d bytes when all is gone", s, blocksOnDisk(t, path))
	}
}

func blocksOnDisk(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(path, "sigilfs.blocks"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// The bound is kept to the page, for large extents and small, and after a
// mount with a smaller one.
func TestSize(t *testing.T) {
	path := tmpfs(t, "100m")
	opt := options()
	opt.Size = 20 << 20
	m := mount(t, path, opt)
	for i := range 30 {
		m.put(inClear(fmt.Sprint(i), 16*64<<10), 0, 16)
		if n := onDisk(t, path); n > opt.Size {
			t.Fatalf("%d bytes after %d extents", n, i+1)
		}
	}
	if n := onDisk(t, path); n < opt.Size-disk.Stride-3*4096 {
		t.Errorf("full, and %d bytes are taken of %d", n, opt.Size)
	}
	for _, size := range []int64{cache.MaxBlock, 1} { // 17 pages each, then one
		for i := range 1000 {
			m.put(sealed(fmt.Sprint("small ", i), size), 0, 1)
			if n := onDisk(t, path); n > opt.Size {
				t.Fatalf("%d bytes with extents of %d", n, size)
			}
		}
	}
	opt.Size = disk.MinSize
	_ = m.again(opt)
	if n := onDisk(t, path); n > opt.Size {
		t.Errorf("%d bytes, of %d, after a mount with fewer", n, opt.Size)
	}
}

// There are so many slots and no more: the oldest goes.
func TestSlots(t *testing.T) {
	opt := options()
	opt.Size = disk.MinSize // 128 slots
	m := mount(t, t.TempDir(), opt)
	for i := range 500 {
		b := sealed(fmt.Sprint(i), 100)
		m.put(b, 0, 1)
		if m.has(b, 0, 1) != 1 {
			t.Fatalf("%d was not kept", i)
		}
	}
	if s := m.Stats(); s.Extents != 128 || s.Bytes != 128*4096 {
		t.Errorf("%+v", s)
	}
}

// What is used again stays when something larger than the cache is read once.
func TestScan(t *testing.T) {
	opt := options()
	opt.Size = 32 << 20
	m := mount(t, t.TempDir(), opt)
	var hot []cache.Body
	for i := range 20 {
		hot = append(hot, sealed(fmt.Sprint("hot ", i), 16*cache.MaxBlock))
		m.put(hot[i], 0, 16)
	}
	held := func() (n int) {
		for _, b := range hot {
			n += m.has(b, 0, 16)
		}
		return n
	}
	if n := held(); n != 320 {
		t.Fatal(n)
	}
	for round := range 3 {
		scan := sealed(fmt.Sprint("scan ", round), 100*16*cache.MaxBlock)
		for i := range blocksOf(scan) {
			if m.has(scan, i, i+1) == 0 {
				m.put(scan, i, i+1)
			}
		}
		if n := held(); n < 300 {
			t.Errorf("scan %d left %d of 320 blocks", round, n)
		}
		m = m.again(opt) // that they are in use is remembered
	}
}

// What comes again soon after it went belongs to what is used.
func TestGhost(t *testing.T) {
	opt := options()
	opt.Size = disk.MinSize
	m := mount(t, t.TempDir(), opt)
	again := sealed("again", 16*cache.MaxBlock)
	m.put(again, 0, 16)
	other := 0
	others := func(n int) {
		for range n {
			other++
			m.put(sealed(fmt.Sprint(other), 16*cache.MaxBlock), 0, 16)
		}
	}
	others(8)
	if m.has(again, 0, 16) != 0 {
		t.Fatal("it is still there")
	}
	m.put(again, 0, 16)
	others(8)
	if n := m.has(again, 0, 16); n != 16 {
		t.Errorf("%d blocks are left", n)
	}
}

// The cache leaves others the space that it is told to leave, when it writes
// and when it only looks, and takes it back.
func TestFree(t *testing.T) {
	path := t.TempDir()
	free := int64(30 << 20)
	opt := options()
	opt.Free = 10 << 20
	m := mount(t, path, opt.WithFree(func() int64 { return free - blocksOnDisk(t, path) }))
	fill := func() {
		for i := range 40 {
			m.put(sealed(fmt.Sprint(i), 16*cache.MaxBlock), 0, 16)
		}
	}
	fill()
	if s := m.Stats(); s.Bytes > 20<<20 || s.Bytes < 10<<20 {
		t.Errorf("with 20 MiB to take %d bytes are taken", s.Bytes)
	}
	free = 15 << 20
	m.Measure()
	if s := m.Stats(); s.Bytes > 5<<20 || s.Bytes < 3<<20 {
		t.Errorf("with 5 MiB to take %d bytes are taken", s.Bytes)
	}
	free = 5 << 20
	m.Measure()
	fill()
	if s := m.Stats(); s.Bytes != 0 {
		t.Errorf("with nothing to take %d bytes are taken", s.Bytes)
	}
	free = 30 << 20
	m.Measure()
	fill()
	if s := m.Stats(); s.Bytes < 10<<20 {
		t.Errorf("with 20 MiB to take again %d bytes are taken", s.Bytes)
	}
	if len(m.reports()) != 0 {
		t.Error(m.reports())
	}
}

// tmpfs is a file system of its own.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	path := t.TempDir()
	if err := syscall.Mount("none", path, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skip("no file system of its own: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return path
}

// A disk that others have filled is no trouble: what fits is kept.
func TestFullDisk(t *testing.T) {
	path := tmpfs(t, "16m")
	opt := options().WithFree(func() int64 { return plenty }) // does not see it coming
	m := mount(t, path, opt)
	for round := range 4 {
		for i := range 20 {
			m.put(inClear(fmt.Sprint(round, i), 16*64<<10), 0, 16)
		}
		if s := m.Stats(); s.Bytes < 8<<20 || s.Bytes > 16<<20 {
			t.Errorf("round %d: %+v", round, s)
		}
		m.Measure()
	}
	b := inClear("at last", 64<<10)
	m.put(b, 0, 1)
	if m.has(b, 0, 1) != 1 {
		t.Error("nothing is kept any more")
	}
	if len(m.reports()) != 0 {
		t.Error(m.reports())
	}
}

// Where there is room for a block and none for its record, nothing is left of
// the block.
func TestFullIndex(t *testing.T) {
	path := tmpfs(t, "16m")
	m := mount(t, path, options())
	filler, err := os.Create(filepath.Join(path, "of somebody else"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	n := 0
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
		n++
	}
	if err := filler.Truncate(int64(n-1-53) * 4096); err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // of 51 the records have one page
		m.put(sealed(fmt.Sprint(i), 100), 0, 1)
		if s, taken := m.Stats(), blocksOnDisk(t, path); s.Bytes != taken {
			t.Fatalf("%d bytes are taken, and %d by blocks that are known", taken, s.Bytes)
		}
	}
	if s := m.Stats(); s.Lost == 0 || s.Bytes == 0 || len(m.reports()) != 0 {
		t.Errorf("%+v, %v", s, m.reports())
	}
}

// Whoever removes the directory gets the space back, and is told so once.
func TestVanished(t *testing.T) {
	path := tmpfs(t, "64m")
	m := mount(t, path, options())
	b := sealed("a", 16*cache.MaxBlock)
	m.put(b, 0, 16)
	for _, name := range []string{"sigilfs.index", "sigilfs.blocks", "sigilfs.lock"} {
		if err := os.Remove(filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		m.Measure()
		m.put(b, 0, 16)
	}
	if n := m.has(b, 0, 16); n != 0 {
		t.Errorf("%d blocks", n)
	}
	m.DropKey("epoch-1")
	m.Drop(b)
	if r := m.reports(); len(r) != 1 || !errors.Is(r[0], disk.ErrVanished) {
		t.Errorf("reports: %v", r)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil || st.Blocks-st.Bfree > 4 {
		t.Errorf("%d pages are still taken (%v)", st.Blocks-st.Bfree, err)
	}
	m = m.again(options())
	m.put(b, 0, 16)
	if n := m.has(b, 0, 16); n != 16 {
		t.Errorf("the next mount keeps %d blocks", n)
	}
}

// Blocks that somebody cut off are damaged, and can be put again.
func TestEmptied(t *testing.T) {
	path := tmpfs(t, "64m")
	m := mount(t, path, options())
	b := sealed("a", 16*cache.MaxBlock)
	m.put(b, 0, 8)
	if err := os.Truncate(filepath.Join(path, "sigilfs.blocks"), 0); err != nil { // somebody's mistake
		t.Fatal(err)
	}
	if n := m.has(b, 0, 8); n != 0 {
		t.Errorf("%d blocks of an empty file", n)
	}
	m.put(b, 0, 16)
	if n := m.has(b, 0, 16); n != 16 || len(m.reports()) != 0 {
		t.Errorf("%d blocks after it was filled again; %v", n, m.reports())
	}
}

// A disk that fails turns the cache off, once, and nothing else.
func TestTrouble(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	b := sealed("a", 16*cache.MaxBlock)
	m.put(b, 0, 8)
	m.Break()
	for range 3 {
		m.put(b, 0, 16)
		m.Measure()
		m.Drop(b)
		m.DropKey("epoch-1")
	}
	if n := m.has(b, 0, 16); n != 0 {
		t.Errorf("%d blocks", n)
	}
	if r := m.reports(); len(r) != 1 {
		t.Errorf("reports: %v", r)
	}
	if s := m.Stats(); s.Bytes != 0 || s.Extents != 0 || s.Lost < 8 {
		t.Errorf("%+v", s)
	}
}
