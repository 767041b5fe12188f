package objstore_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func TestRangeOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 1<<62).Draw(t, "size")
		number := rapid.OneOf(rapid.Int64Range(0, 10), rapid.Int64Range(0, 1<<63-1))
		r := objstore.Range{Off: number.Draw(t, "off"), Len: number.Draw(t, "len")}
		if rapid.Bool().Draw(t, "last") {
			r = objstore.Range{Suffix: number.Draw(t, "suffix")}
		}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		off, n := r.Of(size)
		switch {
		case off < 0 || n < 0 || off > size || n > size-off:
			t.Fatalf("%+v of %d: %d bytes at %d", r, size, n, off)
		case r.Suffix > 0 && (off+n != size || n != min(r.Suffix, size)):
			t.Fatalf("%+v of %d: %d bytes at %d", r, size, n, off)
		case r.Suffix == 0 && off != min(r.Off, size):
			t.Fatalf("%+v of %d begins at %d", r, size, off)
		case r.Suffix == 0 && r.Len > 0 && n < r.Len && off+n != size:
			t.Fatalf("%+v of %d: short by %d", r, size, r.Len-n)
		}
	})
}
