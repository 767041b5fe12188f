package keyring

import (
	"testing"
	"time"
)

func TestMayKeep(t *testing.T) {
	b, c := newBucket(), newClock()
	opt := conf{WriteSet: []Master{aesKey(1)}, Masters: []Master{aesKey(2)}, Bucket: b, Now: c.now}
	r := mustRing(t, opt)
	own, _ := mustCurrent(t, r)
	same, sameKey := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now}))
	wider, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1), aesKey(2)}, Bucket: b, Now: c.now}))
	foreign, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(3)}, Bucket: b, Now: c.now}))
	for _, tt := range []struct {
		name string
		id   EpochID
		want bool
	}{{"own", own, true}, {"of the same set", same, true}, {"of a wider set", wider, false}, {"that does not open", foreign, false}, {"absent", NewEpochID(), false}} {
		if got, err := r.MayKeep(t.Context(), obj, tt.id); err != nil || got != tt.want {
			t.Errorf("an epoch %s: %v, %v", tt.name, got, err)
		}
	}
	path := epochPath("", same)
	b.set(path, change(t, same, sameKey, b.object(path), func(e *Epoch) { e.State = Retired }))
	c.advance(missLife + time.Second)
	if got, err := r.MayKeep(t.Context(), obj, same); err != nil || got {
		t.Errorf("a retired epoch: %v, %v", got, err)
	}
}

// TestMayKeepAsksMemory: what was seen retired under an id is not undone by
// what lies there now under another key.
func TestMayKeepAsksMemory(t *testing.T) {
	b, c := newBucket(), newClock()
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now}))
	path := epochPath("", id)
	b.set(path, change(t, id, key, b.object(path), func(e *Epoch) { e.State = Retired }))
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now, Dir: mustDir(t)}
	if _, err := mustRing(t, opt).Open(t.Context(), obj, id, is(key)); err != nil {
		t.Fatal(err)
	}
	b.set(epochPath("web1/", id), plant(t, id, aesKey(1), c.now()))
	r := mustRing(t, opt)
	if keep, err := r.MayKeep(t.Context(), obj, id); err != nil || keep {
		t.Errorf("before it is opened: %v, %v", keep, err)
	}
	for _, k := range [][KeySize]byte{{1, 2, 3}, key} {
		if _, err := r.Open(t.Context(), obj, id, is(k)); err != nil {
			t.Fatal(err)
		}
	}
	if keep, err := r.MayKeep(t.Context(), obj, id); err != nil || keep {
		t.Errorf("of two that are open: %v, %v", keep, err)
	}
}
