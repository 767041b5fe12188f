package volume

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"golang.org/x/sync/semaphore"
)

// TestManyHandles: 500 files are open and read at once, with memory for a few
// blocks. That is slow, and nothing else.
func TestManyHandles(t *testing.T) {
	const files = 500
	m := bucket()
	text := noise(70<<10, 9)
	f := mount(t, m)
	for i := range files {
		f.put(fmt.Sprint(i), text)
	}
	f.end()
	c := cache.New(cache.Options{Bytes: 1 << 20, Budget: semaphore.NewWeighted(1 << 20), Ahead: 1 << 20})
	t.Cleanup(func() { _ = c.Close() }) // after the fixture's
	f = mount(t, m, func(o *Options) {
		_ = o.Cache.Close()
		o.Cache = c
	})
	open := make([]*File, files)
	for i := range open {
		open[i] = f.open(fmt.Sprint(i))
	}
	var readers sync.WaitGroup
	for i, file := range open {
		readers.Go(func() {
			defer file.Release()
			p := make([]byte, 35<<10)
			for off := 0; off < len(text); off += len(p) {
				n, err := file.ReadAt(f.ctx, p, int64(off))
				if err != nil || string(p[:n]) != text[off:off+len(p)] {
					t.Errorf("file %d, %d bytes at %d: %v", i, n, off, err)
					return
				}
			}
		})
	}
	readers.Wait()
	if n := c.Kept(); n > 2<<20 {
		t.Errorf("%d bytes are kept", n)
	}
}
