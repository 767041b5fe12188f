package volume

import (
	"errors"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

func strict(o *Options) { o.StrictExcl = true }

// TestStrictExcl: O_EXCL is decided at open, by one PUT, and the content goes
// over it with another; without the option, or without O_EXCL, nothing is sent.
func TestStrictExcl(t *testing.T) { inSetups(t, testStrictExcl) }

func testStrictExcl(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on, strict)
	there := mount(t, f.mem, s.on, host("there"), strict)
	f.s.Reset()
	file, err := f.Create(f.ctx, "lock", Attr{Mode: 0o640, UID: 7}, true)
	f.must(err)
	f.requests("put")
	if got := there.stat("lock"); got.Size != 0 || got.Mode&0o777 != 0o640 || got.UID != 7 {
		t.Errorf("%+v", got)
	}
	_, err = there.Create(there.ctx, "lock", Attr{Mode: 0o640}, true)
	wants(t, err, ErrExist)
	_, err = f.Create(f.ctx, "lock", Attr{Mode: 0o640}, true)
	wants(t, err, ErrExist)
	f.s.Reset()
	f.must(file.Commit(f.ctx))
	f.requests("")
	f.write(file, "held", 0)
	f.must(file.Commit(f.ctx))
	if n := f.s.Counts().Requests[faulty.Put]; n != 1 {
		t.Errorf("%d PUTs", n)
	}
	file.Release()
	there.has("lock", "held")
	f.must(f.Remove(f.ctx, "lock"))
	again, err := there.Create(there.ctx, "lock", Attr{Mode: 0o640}, true)
	f.must(err)
	there.write(again, "mine", 0)
	f.must(again.Commit(there.ctx))
	again.Release()
	f.has("lock", "mine")
	f.s.Reset()
	other := f.create("other", "x", false)
	f.requests("")
	other.Release()
}

// TestStrictExclRace: of many hosts one has the name, from open on.
func TestStrictExclRace(t *testing.T) {
	m := bucket()
	hosts := []*fixture{mount(t, m, strict), mount(t, m, strict, host("b")), mount(t, m, strict, host("c"))}
	for range 20 {
		won := make([]*File, len(hosts))
		var wg sync.WaitGroup
		for i, h := range hosts {
			wg.Go(func() {
				var err error
				if won[i], err = h.Create(h.ctx, "lock", Attr{Mode: 0o600}, true); err != nil && !errors.Is(err, ErrExist) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n := 0
		for i, file := range won {
			if file == nil {
				continue
			}
			n++
			hosts[i].write(file, "mine", 0)
			hosts[i].must(file.Commit(hosts[i].ctx))
			file.Release()
			hosts[i].must(hosts[i].Remove(hosts[i].ctx, "lock"))
		}
		if n != 1 {
			t.Fatalf("%d have the lock", n)
		}
	}
	hosts[0].lists("")
}

// TestStrictExclFails: an open that fails leaves no file here; one whose answer
// was lost has the name.
func TestStrictExclFails(t *testing.T) {
	f := mount(t, bucket(), strict)
	f.failing(ErrQuota, false, faulty.Put)
	_, err := f.Create(f.ctx, "a", Attr{Mode: 0o600}, true)
	wants(t, err, ErrQuota)
	f.healed()
	f.absent("a")
	f.failing(objstore.ErrUnknown, true, faulty.Put)
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o600}, true)
	f.must(err)
	f.healed()
	f.write(file, "x", 0)
	f.must(file.Commit(f.ctx))
	file.Release()
	f.has("a", "x")
	f.lists("", "a")
}

// TestStrictExclStreams: such a file goes up while it is written, as any new one.
func TestStrictExclStreams(t *testing.T) {
	f := mount(t, bucket(), strict)
	text := noise(60*mib, 3)
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o600}, true)
	f.must(err)
	f.writeOn(file, text, 0)
	flown(file)
	if n := f.s.Counts().Requests[faulty.Part]; n == 0 {
		t.Error("nothing went up")
	}
	f.must(file.Commit(f.ctx))
	file.Release()
	mount(t, f.mem, host("there")).has("a", text)
}
