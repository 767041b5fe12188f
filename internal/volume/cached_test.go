package volume

import (
	"errors"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// TestCacheOfTwoBuckets: two buckets that are mounted in turn on one cache, even
// under one cache key, are read each from its own: what they call the same body
// need not be the same.
func TestCacheOfTwoBuckets(t *testing.T) {
	for _, form := range []string{"none", "sse-s3", "s3ec"} {
		t.Run(form, func(t *testing.T) {
			s, dir := setupOf(form), t.TempDir()
			text := noise(300<<10, 1)
			first, second := awsBucket(), awsBucket()
			reads := func(name string) (gets int) {
				t.Helper()
				with, end := onDisk(t, dir)
				defer end()
				m := first
				if name == "second" {
					m = second
				}
				f := mount(t, m, s.on, with, func(o *Options) { o.Bucket = name })
				defer f.end()
				if _, there := m.Object("a"); !there {
					f.put("a", text)
					if name == "second" { // as a copy of the bucket has it
						o, _ := first.Object("a")
						m.Plant("a", o)
					}
				}
				f.stat("a")
				f.s.Reset()
				f.has("a", text)
				return f.s.Counts().Requests[faulty.Get]
			}
			for _, tt := range []struct {
				bucket string
				known  bool
			}{{"first", false}, {"first", true}, {"second", false}, {"first", true}, {"second", true}} {
				if n := reads(tt.bucket); (n == 1) != tt.known { // the lookup
					t.Errorf("the %s bucket is read by %d GETs, known before: %v", tt.bucket, n, tt.known)
				}
			}
		})
	}
}

// TestCacheOfAShutEpoch: a mount drops what an earlier one has cached under an
// epoch that it cannot open, and nothing for an error that may pass.
func TestCacheOfAShutEpoch(t *testing.T) {
	passing := errors.New("no answer")
	for _, tt := range []struct {
		why  error
		kept bool
	}{{ErrNoKey, false}, {ErrWrongKey, false}, {ErrAccess, false}, {passing, true}} {
		m, dir, text := bucket(), t.TempDir(), noise(300<<10, 1)
		under := func(k *fakeKeys, do func(f *fixture)) {
			with, end := onDisk(t, dir)
			defer end()
			f := mount(t, m, with, keys(k))
			defer f.end()
			do(f)
		}
		ours := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
		under(ours, func(f *fixture) {
			f.put("a", text)
			f.has("a", text)
		})
		under(&fakeKeys{epochs: []sigil.Epoch{epoch(2)}, fail: tt.why}, func(f *fixture) {
			for range 2 {
				_, err := f.get("a")
				wants(t, err, tt.why)
			}
		})
		under(ours, func(f *fixture) {
			f.has("a", text)
			if n := f.s.Counts().Requests[faulty.Get]; (n == 1) != tt.kept { // the lookup
				t.Errorf("%v: %d GETs", tt.why, n)
			}
		})
	}
}
