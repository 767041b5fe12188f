package disk_test

import (
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
)

// What a block costs that is read, or written, in order.
func BenchmarkBlocks(b *testing.B) {
	for _, body := range []cache.Body{sealed("ciphertext", 32<<20), inClear("clear", 32<<20)} {
		dir, err := disk.Claim(b.Context(), b.TempDir(), "", 0)
		if err != nil {
			b.Fatal(err)
		}
		c, err := disk.Open(dir, options())
		if err != nil {
			b.Fatal(err)
		}
		p := content(body, 0)
		b.Run("put "+body.ID.Body, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for i := range b.N {
				n := int64(i) % 500
				if n == 0 {
					c.Drop(body)
				}
				c.Put(body, n, p)
				if i%64 == 63 {
					c.Flush()
				}
			}
		})
		for n := range int64(500) {
			c.Put(body, n, p)
			if n%64 == 63 {
				c.Flush()
			}
		}
		c.Flush()
		b.Run("get "+body.ID.Body, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for i := range b.N {
				if !c.Get(body, int64(i)%500, p) {
					b.Fatal("it is not there")
				}
			}
		})
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		_ = dir.Close()
	}
}
