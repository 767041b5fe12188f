package keyring

import (
	"strings"
	"sync"
	"testing"
)

const obj = "web1/data/a.txt"

func TestHostsRace(t *testing.T) {
	b := newBucket()
	rings := []mounted{
		mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: mustDir(t)}),
		mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b}),
	}
	ids := make([]EpochID, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			r := rings[i%2]
			id, key, err := r.Current(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = id
			if _, err := rings[(i+1)%2].Open(t.Context(), obj, id, is(key)); err != nil {
				t.Error(err)
			}
			if err := r.Recheck(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, id := range ids {
		if id != ids[i%2] {
			t.Error("a host made two epochs")
		}
	}
	if len(b.keys()) != 2 {
		t.Errorf("bucket holds %v", b.keys())
	}
}

func TestDerive(t *testing.T) {
	b, d := newBucket(), mustDir(t)
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: d}
	r := mustRing(t, opt)
	id, key := mustCurrent(t, r)
	salt := []byte("sixteen bytes...")
	want := [KeySize]byte(hkdf32(key[:], salt, "sigil/v1/spool"))
	for _, ring := range []mounted{r, mustRing(t, opt)} {
		if got, err := ring.Derive(t.Context(), id, salt, "sigil/v1/spool"); err != nil || got != want {
			t.Errorf("derived another key (%v)", err)
		}
	}
	_, err := r.Derive(t.Context(), NewEpochID(), salt, "sigil/v1/spool")
	wantErr(t, err, ErrNoKey)

	// Who closes the epoch sees nothing of what this host keeps on its disk.
	b.set(epochPath("", id), change(t, id, key, b.object(epochPath("", id)), func(e *Epoch) { e.State = Closed }))
	after := mustRing(t, opt)
	if got, err := after.Derive(t.Context(), id, salt, "sigil/v1/spool"); err != nil || got != want {
		t.Errorf("after it was closed: another key (%v)", err)
	}
	_, err = after.Open(t.Context(), "object", id, is(key))
	wantErr(t, err, ErrWrongKey)
}

func TestNewRefuses(t *testing.T) {
	for name, opt := range map[string]Options{
		"no bucket": {},
		"root":      {Bucket: newBucket(), VolumeRoot: "web1"},
		"host":      {Bucket: newBucket(), Host: strings.Repeat("x", 256)},
	} {
		if _, err := New(opt); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
