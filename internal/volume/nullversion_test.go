package volume

import (
	"errors"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// bodiesOf counts the versions of a that are kept.
func bodiesOf(f *fixture) (n int) {
	f.t.Helper()
	for ver, err := range f.mem.Versions(f.ctx, objstore.ListOptions{Prefix: "a"}) {
		f.must(err)
		if !ver.Deleted {
			n++
		}
	}
	return n
}

// suspendedOver has a bucket that kept versions once, and whose null version is the
// current one of a, damaged, or an old one below others.
func suspendedOver(f *fixture, now func(), below bool) (at time.Time) {
	f.t.Helper()
	if below {
		f.mem.SetVersioning(objstore.VersionsStopped)
		f.put("a", "oldest")
		f.mem.SetVersioning(objstore.VersionsKept)
	}
	f.put("a", "whole")
	at = f.opt.Now()
	now()
	if !below {
		f.mem.SetVersioning(objstore.VersionsStopped)
	}
	f.put("a", "latest")
	f.mem.Tamper("a", flipAt(0))
	f.mem.SetVersioning(objstore.VersionsStopped)
	return at
}

// TestNothingOverTheNullVersion: while versioning is suspended a copy would take
// its place, and neither a repair nor a restore makes one. What keeps versions
// again loses nothing.
func TestNothingOverTheNullVersion(t *testing.T) {
	for _, below := range []bool{false, true} {
		for _, told := range []bool{true, false} {
			now := newClock()
			m := mem.New(mem.Options{Versioned: true, Now: now.now})
			f := mountIdle(t, m, func(o *Options) { o.Now = now.now })
			at := suspendedOver(f, func() { now.pass(time.Minute) }, below)
			if !told {
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					if op.Verb == faulty.Versioning {
						x.Err = ErrAccess
					}
					return x
				})
			}
			kept, before := bodiesOf(f), m.Snapshot()
			for _, dry := range []bool{true, false} {
				all, _ := f.verified(VerifyOptions{Data: true, Repair: true, Dry: dry})
				if len(all) != 1 || all[0].Mended != "" || !errors.Is(all[0].Unmended, ErrNotKept) {
					t.Errorf("below %v, told %v, dry %v: %v", below, told, dry, all)
				}
				if did, err := f.bringBack("a", at, dry); !errors.Is(err, ErrNotKept) || len(did) != 0 {
					t.Errorf("below %v, told %v, dry %v: %v, %v", below, told, dry, did, err)
				}
			}
			if is, _ := m.Object("a"); bodiesOf(f) != kept || is.Info.ETag != before["a"].Info.ETag {
				t.Errorf("below %v, told %v: %d versions of %d", below, told, bodiesOf(f), kept)
			}
			f.s.SetScript(nil)
			m.SetVersioning(objstore.VersionsKept)
			f.mended(VerifyOptions{Data: true}, "content a")
			if bodiesOf(f) != kept+1 {
				t.Errorf("below %v, told %v: %d versions of %d and a new one", below, told, bodiesOf(f), kept)
			}
			f.end()
		}
	}
}

// TestBesideTheNullVersion: where there is none of a key, or it is what is copied,
// nothing is lost while versioning is suspended.
func TestBesideTheNullVersion(t *testing.T) {
	for _, source := range []bool{false, true} {
		now := newClock()
		m := mem.New(mem.Options{Versioned: true, Now: now.now})
		f := mountIdle(t, m, func(o *Options) { o.Now = now.now })
		if source {
			m.SetVersioning(objstore.VersionsStopped)
		}
		f.put("a", "whole")
		m.SetVersioning(objstore.VersionsKept)
		now.pass(time.Minute)
		m.Tamper("a", flipAt(0))
		m.SetVersioning(objstore.VersionsStopped)
		f.mended(VerifyOptions{Data: true}, "content a")
		mountIdle(t, m, host("there")).has("a", "whole")
		f.end()
	}
}
