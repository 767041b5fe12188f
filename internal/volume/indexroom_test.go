package volume

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume/attrindex"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestIndexRoom: whatever is learned, told and read of however many directories,
// the index keeps to its memory, and its accounts are right.
func TestIndexRoom(t *testing.T) {
	const all = 64 << 10
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		x := newAttrIndex(c.now, time.Second, all)
		dir := func() string { return fmt.Sprint(rapid.IntRange(0, 20).Draw(rt, "dir")) }
		name := func() string { return fmt.Sprint("name", rapid.IntRange(0, 200).Draw(rt, "name")) }
		entry := func(name string) attrindex.Entry {
			return attrindex.Entry{Name: name, ETag: "e", Modified: 1, Read: 9, Mode: unix.S_IFREG, Version: rapid.Uint64().Draw(rt, "version")}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				total, notes := 0, 0
				for p, r := range x.dirs {
					sum := entryOverhead + len(p) + r.table.Bytes()
					for name := range r.learned {
						sum += entryOverhead + len(name)
					}
					if sum != r.bytes {
						rt.Fatalf("%q: %d bytes, counted %d", p, sum, r.bytes)
					}
					total += sum
					notes += noteCost * (len(r.affirmed) + len(r.told) + len(r.doubted))
				}
				if total != x.bytes || total+notes > all {
					rt.Fatalf("%d bytes and %d of notes, counted %d", total, notes, x.bytes)
				}
			},
			"learn": func(rt *rapid.T) {
				d := dir()
				for range rapid.IntRange(1, 100).Draw(rt, "entries") {
					x.learn(d, entry(name()))
				}
			},
			"affirm": func(rt *rapid.T) {
				d := dir()
				for range rapid.IntRange(1, 50).Draw(rt, "entries") {
					x.affirm(d, name(), fact{etag: "e", modified: 1}, c.now())
				}
			},
			"tell": func(rt *rapid.T) {
				d := dir()
				for range rapid.IntRange(1, 100).Draw(rt, "entries") {
					x.tell(d, entry(name()), func() uint64 { return 1 })
				}
			},
			"doubt": func(*rapid.T) { x.doubt(dir() + "/" + name()) },
			"load": func(rt *rapid.T) {
				var b attrindex.Builder
				for i := range rapid.IntRange(0, 300).Draw(rt, "entries") {
					b.Add(entry(fmt.Sprintf("%s%06d", strings.Repeat("n", 100), i)))
				}
				table, err := attrindex.Parse(b.Bytes())
				if err != nil {
					rt.Fatal(err)
				}
				if r, _ := x.claimLoad(dir()); r != nil {
					x.loaded(r, table, "etag", true)
				}
			},
			"forget": func(*rapid.T) { x.forget(dir()) },
			"pass":   func(*rapid.T) { c.pass(2 * indexAge) },
		})
	})
}

// TestIndexOfMoreMemory: an index that is too large for this host is left to those
// that have the memory, and not replaced by a smaller one.
func TestIndexOfMoreMemory(t *testing.T) {
	for _, n := range []int{10, 1000} {
		x := newAttrIndex(newClock().now, time.Second, 64<<10)
		var b attrindex.Builder
		for i := range n {
			b.Add(attrindex.Entry{Name: fmt.Sprintf("%s%06d", strings.Repeat("n", 100), i), ETag: "e", Modified: 1, Read: 9, Mode: unix.S_IFREG})
		}
		table, err := attrindex.Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		r, _ := x.claimLoad("d")
		x.loaded(r, table, "etag", true)
		for i := range 20 {
			x.learn("d", attrindex.Entry{Name: fmt.Sprint(i), ETag: "e", Modified: 1, Read: 9, Mode: unix.S_IFREG})
		}
		if fits := n == 10; len(x.dueIndexes()) == 1 != fits {
			t.Errorf("%d entries: to be written: %v", n, !fits)
		}
	}
}

// TestIndexWaitsForMemory: an index is read in the memory that content has.
func TestIndexWaitsForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, c := indexBed(t, 10)
		memory := semaphore.NewWeighted(16 << 20)
		f := mount(t, m, indexing(c), func(o *Options) { o.Memory, o.MemoryBytes = memory, 16<<20 })
		f.must(memory.Acquire(f.ctx, 16<<20))
		loaded := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			loaded = f.loadIndex(f.ctx, "d")
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it did not wait")
		default:
		}
		memory.Release(16 << 20)
		<-done
		if !loaded || !memory.TryAcquire(16<<20) {
			t.Error("it is not read, or memory is not given back")
		}
	})
}
