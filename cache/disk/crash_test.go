package disk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
)

var files = []string{"sigilfs.index", "sigilfs.blocks"}

// copied is a directory with the files as they are at this moment: what a crash
// leaves.
func copied(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(to, name), content)
	}
	return to
}

// write makes a file, with holes where content has zeros.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 64<<10)
	for off := 0; off < len(content); off += len(zeros) {
		p := content[off:min(off+len(zeros), len(content))]
		if bytes.Equal(p, zeros[:len(p)]) {
			continue
		}
		if _, err := f.WriteAt(p, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

// bodies of all kinds that fit into a few slots, so that slots change hands.
func crowd() (all []cache.Body) {
	for i := range 12 {
		all = append(all, sealed(fmt.Sprint("sealed ", i), int64(i)*200_000+100), inClear(fmt.Sprint("clear ", i), int64(i)*200_000+100))
	}
	return all
}

// A process that ends at any moment has lost nothing that it had written, and
// the next mount gives no wrong byte. One that was written at this very moment
// may be lost.
func TestKilled(t *testing.T) {
	opt := options()
	opt.Size = disk.MinSize
	path := t.TempDir()
	m := mount(t, path, opt)
	var writing sync.WaitGroup
	stop := make(chan struct{})
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b := crowd()[i%24]
			for n := range blocksOf(b) {
				m.Put(b, n, content(b, n))
			}
			m.Flush()
		}
	})
	for range 20 {
		next := mount(t, copied(t, path), opt)
		for _, b := range crowd() {
			next.has(b, 0, blocksOf(b))
		}
		next.end()
	}
	close(stop)
	writing.Wait()
	here := 0
	for _, b := range crowd() {
		here += m.has(b, 0, blocksOf(b))
	}
	next, there := mount(t, copied(t, path), opt), 0
	for _, b := range crowd() {
		there += next.has(b, 0, blocksOf(b))
	}
	if here == 0 || here != there {
		t.Errorf("%d blocks before the crash, %d after", here, there)
	}
}

// After a crash of the machine any page of the files is as it was at some
// moment before. No wrong byte, and the cache goes on working.
func TestPowerLoss(t *testing.T) {
	opt := options()
	opt.Size = disk.MinSize
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		path := t.TempDir()
		m := mount(t, path, opt)
		var moments [3][2][]byte
		for i := range moments {
			for range 1 + r.IntN(8) {
				b := crowd()[r.IntN(24)]
				m.put(b, 0, blocksOf(b))
			}
			change(t, path, func(index, blocks []byte) ([]byte, []byte) {
				moments[i] = [2][]byte{index, blocks}
				return nil, nil
			})
		}
		m.end()
		for i, name := range files {
			last := moments[len(moments)-1][i]
			all := make([]byte, len(last))
			for off := 0; off < len(all); off += 4096 {
				if from := moments[r.IntN(len(moments))][i]; off < len(from) {
					copy(all[off:min(off+4096, len(all))], from[off:])
				}
			}
			write(t, filepath.Join(path, name), all)
		}
		goesOn(t, mount(t, path, opt))
	}
}

// goesOn holds a mount to give no wrong bytes, and to keep what is put.
func goesOn(t *testing.T, m *mounted) {
	t.Helper()
	for _, b := range crowd() {
		m.has(b, 0, blocksOf(b))
	}
	for _, b := range append(crowd()[:10], sealed("new", 500_000), inClear("new", 500_000)) {
		m.put(b, 0, blocksOf(b))
		if n := m.has(b, 0, blocksOf(b)); n != int(blocksOf(b)) {
			t.Errorf("%d of %d blocks are kept afterwards", n, blocksOf(b))
		}
	}
	if len(m.reports()) > 0 {
		t.Error(m.reports())
	}
	m.end()
}

// Whatever is done to the files: a miss.
func TestDamage(t *testing.T) {
	opt := options()
	opt.Size = disk.MinSize
	whole := t.TempDir()
	m := mount(t, whole, opt)
	for _, b := range crowd() {
		m.put(b, 0, blocksOf(b))
	}
	m.end()
	swap := func(p []byte, a, b, n int) {
		x := bytes.Clone(p[a : a+n])
		copy(p[a:], p[b:b+n])
		copy(p[b:], x)
	}
	type contents struct{ index, blocks []byte }
	for _, tt := range []struct {
		name string
		do   func(*contents)
	}{
		{"nothing", func(*contents) {}},
		{"no index", func(c *contents) { c.index = nil }},
		{"no blocks", func(c *contents) { c.blocks = nil }},
		{"index of zeros", func(c *contents) { clear(c.index) }},
		{"another version", func(c *contents) { c.index[16]++ }},
		{"garbage", func(c *contents) { c.index = bytes.Repeat([]byte("garbage "), 5000) }},
		{"cut in a record", func(c *contents) { c.index = c.index[:disk.HeaderSize+100] }},
		{"cut in the header", func(c *contents) { c.index = c.index[:100] }},
		{"cut in a block", func(c *contents) { c.blocks = c.blocks[:disk.Stride+70_000] }},
		{"longer", func(c *contents) {
			c.index = append(c.index, bytes.Repeat([]byte{1}, 1<<20)...)
			c.blocks = append(c.blocks, make([]byte, 200*disk.Stride)...)
		}},
		{"records exchanged", func(c *contents) { swap(c.index, disk.HeaderSize, disk.HeaderSize+disk.RecordSize, disk.RecordSize) }},
		{"a record twice", func(c *contents) {
			copy(c.index[disk.HeaderSize+disk.RecordSize:], c.index[disk.HeaderSize:disk.HeaderSize+disk.RecordSize])
		}},
		{"slots exchanged", func(c *contents) {
			for at := 0; at+2*disk.Stride <= len(c.blocks); at += 2 * disk.Stride {
				swap(c.blocks, at, at+disk.Stride, disk.Stride)
			}
		}},
		{"blocks exchanged", func(c *contents) {
			for at := 0; at+disk.Stride <= len(c.blocks); at += disk.Stride {
				swap(c.blocks, at, at+cache.MaxBlock+4, cache.MaxBlock+4)
			}
		}},
		{"records lost", func(c *contents) {
			for at := disk.HeaderSize; at+disk.RecordSize <= len(c.index); at += 2 * disk.RecordSize {
				clear(c.index[at : at+disk.RecordSize])
			}
		}},
		{"records say more than there is", func(c *contents) {
			for off := disk.HeaderSize; off+disk.RecordSize <= len(c.index); off += disk.RecordSize {
				p := c.index[off : off+disk.RecordSize]
				p[72], p[73] = 0xff, 0xff
				binary.LittleEndian.PutUint32(p[76:], crc32.Checksum(p[:76], crc32.MakeTable(crc32.Castagnoli)))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := copied(t, whole)
			change(t, path, func(index, blocks []byte) ([]byte, []byte) {
				c := contents{index, blocks}
				tt.do(&c)
				return c.index, c.blocks
			})
			m := mount(t, path, opt)
			// The file system's map of the blocks is a few of its own.
			if n, due := blocksOnDisk(t, path), m.Stats().Bytes; onDisk(t, path) > opt.Size || n > due+64<<10 {
				t.Errorf("%d bytes are taken, and %d by blocks that are known", n, due)
			}
			goesOn(t, m)
		})
	}
	t.Run("flips", func(t *testing.T) {
		for seed := range uint64(10) {
			r := rand.New(rand.NewPCG(seed, 1))
			path := copied(t, whole)
			change(t, path, func(index, blocks []byte) ([]byte, []byte) {
				for range 20 {
					index[r.IntN(len(index))] ^= 1 << r.IntN(8)
					blocks[r.IntN(len(blocks))] ^= 1 << r.IntN(8)
				}
				return index, blocks
			})
			goesOn(t, mount(t, path, opt))
		}
	})
	t.Run("under it", func(t *testing.T) {
		path := copied(t, whole)
		m := mount(t, path, opt)
		f, err := os.OpenFile(filepath.Join(path, files[1]), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(make([]byte, 20*disk.Stride), 0)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		goesOn(t, m)
	})
}

// A record that has a sum, and says that the extent is shorter than the body has
// it, does no harm: what is put there is kept, or not.
func TestShortRecord(t *testing.T) {
	for _, b := range []cache.Body{sealed("a", 16*cache.MaxBlock), inClear("b", 16*64<<10)} {
		path := t.TempDir()
		m := mount(t, path, options())
		m.put(b, 0, 16)
		m.end()
		change(t, path, func(index, blocks []byte) ([]byte, []byte) {
			p := index[disk.HeaderSize:][:disk.RecordSize]
			copy(p[68:72], p[64:68]) // one block
			p[72], p[73] = 1, 0
			binary.LittleEndian.PutUint32(p[76:], crc32.Checksum(p[:76], crc32.MakeTable(crc32.Castagnoli)))
			return index, blocks
		})
		for range 2 {
			m = mount(t, path, options())
			m.put(b, 0, 16)
			m.has(b, 0, 16)
			m.end()
		}
		m = mount(t, path, options())
		if n := m.has(b, 0, 16); n != 16 {
			t.Errorf("%s: %d of 16 blocks in the end", b.ID.Body, n)
		}
		m.end()
	}
}

// change gives how the contents of the files, and writes what that gives.
func change(t *testing.T, path string, how func(index, blocks []byte) ([]byte, []byte)) {
	t.Helper()
	var before [2][]byte
	for i, name := range files {
		f, err := os.Open(filepath.Join(path, name))
		if err == nil {
			before[i], err = io.ReadAll(f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index, blocks := how(before[0], before[1])
	if index == nil && blocks == nil {
		return // only looked
	}
	for i, content := range [][]byte{index, blocks} {
		write(t, filepath.Join(path, files[i]), content)
	}
}

// A record is taken only whole, and then says nothing that is out of range.
func FuzzRecord(f *testing.F) {
	path := f.TempDir()
	dir, err := disk.Claim(f.Context(), path, "", 0)
	if err != nil {
		f.Fatal(err)
	}
	c, err := disk.Open(dir, options())
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range []cache.Body{sealed("a", 20*cache.MaxBlock+1), inClear("b", 70_000), {Size: 3, Block: 1}} {
		c.Put(b, 0, make([]byte, min(b.Size, b.Block)))
		c.Flush()
	}
	if err := errors.Join(c.Close(), dir.Close()); err != nil {
		f.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(path, files[0]))
	if err != nil {
		f.Fatal(err)
	}
	for off := disk.HeaderSize; off+disk.RecordSize <= len(index); off += disk.RecordSize {
		f.Add(index[off:off+disk.RecordSize-4], true)
	}
	f.Add(make([]byte, disk.RecordSize), false)
	f.Fuzz(func(t *testing.T, p []byte, sum bool) {
		if sum { // so that more than the sum is looked at
			p = binary.LittleEndian.AppendUint32(bytes.Clone(p), crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
		}
		again, ok := disk.Parse(p)
		if ok && !bytes.Equal(again, p) {
			t.Errorf("% x is read, and written as % x", p, again)
		}
	})
}
