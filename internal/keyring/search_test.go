package keyring

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTwoHosts(t *testing.T) {
	b, c := newBucket(), newClock()
	h1 := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "web1/", Now: c.now, Dir: mustDir(t)})
	h2 := mustRing(t, conf{WriteSet: []Master{aesKey(2)}, Masters: []Master{aesKey(1)}, Bucket: b, Now: c.now, Dir: mustDir(t)})
	id1, key1 := mustCurrent(t, h1)
	id2, _ := mustCurrent(t, h2)
	if id1 == id2 {
		t.Fatal("one epoch for two hosts")
	}
	got, err := h2.Open(t.Context(), obj, id1, is(key1))
	if err != nil || got != key1 {
		t.Fatalf("the other host's epoch: %v", err)
	}
	wantGets := []string{"web1/data/.sigil/epochs/" + id1.String(), "web1/.sigil/epochs/" + id1.String()}
	if diff := cmp.Diff(wantGets, b.gets); diff != "" {
		t.Error(diff)
	}
	before := b.requests()
	if _, err := h2.Open(t.Context(), "web1/other", id1, is(key1)); err != nil || b.requests() != before {
		t.Errorf("a known epoch took a request (%v)", err)
	}
	_, err = h1.Open(t.Context(), "f", id2, func(*[KeySize]byte) bool { return true })
	wantErr(t, err, ErrNoKey)
	if !strings.Contains(err.Error(), aesKey(2).ID()) {
		t.Errorf("the message does not say which key: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	c := newClock()
	m := aesKey(1)
	id := NewEpochID()
	w, err := m.Wrap(t.Context(), id, &goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	object := func(edit func(*Epoch)) []byte {
		e := &Epoch{ID: id, Revision: 1, Created: c.now(), Wraps: []Wrap{w}}
		edit(e)
		data, err := e.Marshal(&goldenKey)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	good := object(func(*Epoch) {})
	tests := []struct {
		name  string
		at    map[string][]byte
		want  error
		holds bool // check holds for the golden key
	}{
		{"good", map[string][]byte{"web1/": good}, nil, true},
		{"at the bucket's root", map[string][]byte{"": good}, nil, true},
		{"in a deeper directory than the object", map[string][]byte{"web1/data/x/": good}, ErrNoKey, true},
		{"beside the object's directory", map[string][]byte{"web1/dat": good}, ErrNoKey, true},
		{"absent", nil, ErrNoKey, true},
		{"seal does not fit", map[string][]byte{"": good}, ErrCorrupt, false},
		{"closed", map[string][]byte{"": object(func(e *Epoch) { e.State = Closed })}, ErrWrongKey, true},
		{"retired reads", map[string][]byte{"": object(func(e *Epoch) { e.State = Retired })}, nil, true},
		{"malformed", map[string][]byte{"": good[1:]}, ErrCorrupt, true},
		{"newer version", map[string][]byte{"": bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1)}, ErrVersion, true},
		{"MAC fails", map[string][]byte{"": bytes.Replace(good, []byte(`"revision":1`), []byte(`"revision":9`), 1)}, ErrWrongKey, true},
		{"wrap of another epoch", map[string][]byte{"": object(func(e *Epoch) {
			w2, _ := m.Wrap(t.Context(), goldenID, &goldenKey)
			e.Wraps = []Wrap{w2}
		})}, ErrWrongKey, true},
		{"planted before the good one", map[string][]byte{"web1/data/": plant(t, id, m, c.now()), "web1/": good}, nil, true},
		{"damaged before the good one", map[string][]byte{"web1/data/": []byte("x"), "": good}, nil, true},
		{"planted alone", map[string][]byte{"web1/data/": plant(t, id, m, c.now())}, ErrCorrupt, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBucket()
			for prefix, data := range tt.at {
				b.set(epochPath(prefix, id), data)
			}
			r := mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, Now: c.now})
			key, err := r.Open(t.Context(), obj, id, func(k *[KeySize]byte) bool { return tt.holds && *k == goldenKey })
			if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || key != goldenKey) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if tt.want != nil && key != [KeySize]byte{} {
				t.Error("a key came with the error")
			}
		})
	}
}

func TestBucketErrorIsNoMiss(t *testing.T) {
	b := newBucket()
	r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: mustDir(t)})
	id, key := mustCurrent(t, r)
	down := errors.New("unreachable")
	other := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b})
	b.fail = down
	_, err := other.Open(t.Context(), obj, id, is(key))
	wantErr(t, err, down)
	_, _, err = other.Current(t.Context())
	wantErr(t, err, down)
	wantErr(t, r.Recheck(t.Context()), down)
	_, err = other.MayKeep(t.Context(), obj, id)
	wantErr(t, err, down)
	b.fail = nil
	if _, err := other.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Errorf("after the bucket came back: %v", err)
	}
}

func TestMissIsNotedForAWhile(t *testing.T) {
	b, c := newBucket(), newClock()
	r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now})
	id := NewEpochID()
	open := func() error { _, err := r.Open(t.Context(), obj, id, is(goldenKey)); return err }
	wantErr(t, open(), ErrNoKey)
	before := b.requests()
	wantErr(t, open(), ErrNoKey)
	if b.requests() != before {
		t.Error("a miss was searched again at once")
	}
	w, _ := aesKey(1).Wrap(t.Context(), id, &goldenKey)
	e := &Epoch{ID: id, Revision: 1, Created: c.now(), Wraps: []Wrap{w}}
	data, _ := e.Marshal(&goldenKey)
	b.set(epochPath("", id), data)
	c.advance(missLife + time.Second)
	if err := open(); err != nil {
		t.Errorf("the epoch that came was not found: %v", err)
	}
}

// TestPlantedEpochDeniesNothing: who plants an epoch under the id of another,
// where it is found first, does not keep the genuine one from a host that met
// the planted one first, in that mount or a later one.
func TestPlantedEpochDeniesNothing(t *testing.T) {
	b, c := newBucket(), newClock()
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now}))
	planted := [KeySize]byte{1, 2, 3}
	b.set(epochPath("web1/", id), plant(t, id, aesKey(1), c.now()))
	var said reports
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now, Dir: mustDir(t), Report: said.add}
	r := mustRing(t, opt)
	for range 2 {
		for _, k := range [][KeySize]byte{planted, key} {
			if got, err := r.Open(t.Context(), obj, id, is(k)); err != nil || got != k {
				t.Fatalf("what is sealed under %x…: %v", k[:3], err)
			}
		}
		before := b.requests()
		for _, k := range [][KeySize]byte{planted, key} {
			if _, err := r.Open(t.Context(), obj, id, is(k)); err != nil {
				t.Fatal(err)
			}
		}
		if b.requests() != before {
			t.Error("two known keys of one id take requests")
		}
		r = mustRing(t, opt)
	}
	if said.count() == 0 {
		t.Error("two keys of one id are not reported")
	}
	// The memory of the two does not mix.
	b.delete(epochPath("", id))
	b.delete(epochPath("web1/", id))
	for _, k := range [][KeySize]byte{key, planted} {
		if got, err := r.Open(t.Context(), obj, id, is(k)); err != nil || got != k {
			t.Errorf("from memory: %v", err)
		}
	}
	wantErr(t, second(r.Open(t.Context(), obj, id, is([KeySize]byte{9}))), ErrCorrupt)
}

// TestPlantedEpochIsNotOwn: the own epoch, and keys derived from it, are those
// of the key that was pinned, whatever else lies under its id.
func TestPlantedEpochIsNotOwn(t *testing.T) {
	b, c := newBucket(), newClock()
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now, Dir: mustDir(t)}
	id, key := mustCurrent(t, mustRing(t, opt))
	want := [KeySize]byte(hkdf32(key[:], []byte("salt"), "i"))
	b.set(epochPath("", id), plant(t, id, aesKey(1), c.now()))
	r := mustRing(t, opt)
	planted := [KeySize]byte{1, 2, 3}
	if _, err := r.Open(t.Context(), obj, id, is(planted)); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Derive(t.Context(), id, []byte("salt"), "i"); err != nil || got != want {
		t.Errorf("derived from the planted key (%v)", err)
	}
	if got, sealing := mustCurrent(t, r); sealing == planted || got == id && sealing != key {
		t.Error("seals under the planted key")
	}
}
