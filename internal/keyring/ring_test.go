package keyring

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
)

const obj = "web1/data/a.txt"

func TestOwnEpochIsMadeOnceAndPinned(t *testing.T) {
	b, c, d := newBucket(), newClock(), mustDir(t)
	opt := conf{WriteSet: []Master{aesKey(1), aesKey(99)}, Bucket: b, VolumeRoot: "web1/", Dir: d, Host: "h1", Now: c.now}
	r := mustRing(t, opt)
	id, key := mustCurrent(t, r)
	if want := []string{"web1/.sigil/epochs/" + id.String()}; !slices.Equal(b.keys(), want) {
		t.Fatalf("bucket holds %v", b.keys())
	}
	e, err := ParseEpoch(id, b.object(b.keys()[0]))
	if err != nil {
		t.Fatal(err)
	}
	if e.Host != "h1" || e.Revision != 1 || e.State != Live || !e.Created.Equal(c.now()) || !e.wrappedFor(r.KeyIDs()) || len(e.Wraps) != 2 {
		t.Errorf("made %+v", e)
	}
	before := b.requests()
	if again, key2 := mustCurrent(t, r); again != id || key2 != key || b.requests() != before {
		t.Error("the second call did not keep to the epoch, or asked the bucket")
	}
	if next, key2 := mustCurrent(t, mustRing(t, opt)); next != id || key2 != key {
		t.Error("the next mount made another epoch")
	}
	opt.Dir = nil
	if next, _ := mustCurrent(t, mustRing(t, opt)); next == id {
		t.Error("a host without state took up an epoch that it cannot know for its own")
	}
}

func TestOwnEpochIsLeft(t *testing.T) {
	path := func(id EpochID) string { return epochPath("", id) }
	tests := []struct {
		name string
		do   func(t *testing.T, b *fakeBucket, c *clock, id EpochID, key [KeySize]byte)
		same bool // the epoch stays
	}{
		{"nothing happened", func(*testing.T, *fakeBucket, *clock, EpochID, [KeySize]byte) {}, true},
		{"29 days", func(_ *testing.T, _ *fakeBucket, c *clock, _ EpochID, _ [KeySize]byte) {
			c.advance(29 * 24 * time.Hour)
		}, true},
		{"30 days", func(_ *testing.T, _ *fakeBucket, c *clock, _ EpochID, _ [KeySize]byte) {
			c.advance(30 * 24 * time.Hour)
		}, false},
		{"clock went back two days", func(_ *testing.T, _ *fakeBucket, c *clock, _ EpochID, _ [KeySize]byte) { c.advance(-48 * time.Hour) }, false},
		{"retired", func(t *testing.T, b *fakeBucket, _ *clock, id EpochID, key [KeySize]byte) {
			b.set(path(id), change(t, id, key, b.object(path(id)), func(e *Epoch) { e.State = Retired }))
		}, false},
		{"closed", func(t *testing.T, b *fakeBucket, _ *clock, id EpochID, key [KeySize]byte) {
			b.set(path(id), change(t, id, key, b.object(path(id)), func(e *Epoch) { e.State = Closed }))
		}, false},
		{"a wrap was added", func(t *testing.T, b *fakeBucket, _ *clock, id EpochID, key [KeySize]byte) {
			b.set(path(id), change(t, id, key, b.object(path(id)), func(e *Epoch) {
				w, err := aesKey(77).Wrap(t.Context(), id, &key)
				if err != nil {
					t.Fatal(err)
				}
				e.Wraps = append(e.Wraps, w)
			}))
		}, false},
		{"another key under its id", func(t *testing.T, b *fakeBucket, c *clock, id EpochID, _ [KeySize]byte) {
			b.set(path(id), plant(t, id, aesKey(1), c.now()))
		}, false},
		{"damaged", func(_ *testing.T, b *fakeBucket, _ *clock, id EpochID, _ [KeySize]byte) {
			b.set(path(id), []byte("x"))
		}, false},
		{"deleted", func(_ *testing.T, b *fakeBucket, _ *clock, id EpochID, _ [KeySize]byte) { b.delete(path(id)) }, true},
	}
	for _, tt := range tests {
		for _, how := range []string{"recheck", "remount"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				b, c := newBucket(), newClock()
				opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: mustDir(t), Now: c.now}
				r := mustRing(t, opt)
				id, key := mustCurrent(t, r)
				tt.do(t, b, c, id, key)
				if how == "remount" {
					r = mustRing(t, opt)
				} else if err := r.Recheck(t.Context()); err != nil {
					t.Fatal(err)
				}
				next, nextKey := mustCurrent(t, r)
				if (next == id) != tt.same || (nextKey == key) != tt.same {
					t.Fatalf("the epoch stayed: %v, want %v", next == id, tt.same)
				}
			})
		}
	}
}

// plant makes an epoch object under a key of the attacker, wrapped for m.
func plant(t *testing.T, id EpochID, m Master, now time.Time) []byte {
	t.Helper()
	key := &[KeySize]byte{1, 2, 3}
	w, err := m.Wrap(t.Context(), id, key)
	if err != nil {
		t.Fatal(err)
	}
	e := &Epoch{ID: id, Revision: 1, Created: now, Wraps: []Wrap{w}}
	data, err := e.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOtherKeySetMakesNewEpoch(t *testing.T) {
	b, c, d := newBucket(), newClock(), mustDir(t)
	one, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: d, Now: c.now}))
	both := conf{WriteSet: []Master{aesKey(1), aesKey(2)}, Bucket: b, Dir: d, Now: c.now}
	two, _ := mustCurrent(t, mustRing(t, both))
	if one == two {
		t.Fatal("an epoch was taken up for another key set")
	}
	back, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: d, Now: c.now}))
	slices.Reverse(both.WriteSet)
	if again, _ := mustCurrent(t, mustRing(t, both)); back != one || again != two {
		t.Error("a key set did not find its own epoch again")
	}
}

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

func TestWriteOnlyHost(t *testing.T) {
	b, c, d := newBucket(), newClock(), mustDir(t)
	full, public, id := agePair(t)
	opt := conf{WriteSet: []Master{public}, Bucket: b, Dir: d, Now: c.now}
	r := mustRing(t, opt)
	if r.CanReopen() {
		t.Error("says that it can reopen what it makes")
	}
	eid, key := mustCurrent(t, r)
	if got, err := r.Open(t.Context(), obj, eid, is(key)); err != nil || got != key {
		t.Fatalf("an epoch of this mount: %v", err)
	}
	if err := r.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, _ := mustCurrent(t, r); again != eid {
		t.Error("left its epoch within the mount")
	}
	next := mustRing(t, opt)
	_, err := next.Open(t.Context(), obj, eid, is(key))
	wantErr(t, err, ErrNoKey)
	if nid, _ := mustCurrent(t, next); nid == eid {
		t.Error("sealed under an epoch that it cannot have opened")
	}
	reader := mustRing(t, conf{Masters: []Master{full}, ReadOnly: true, Bucket: b})
	if got, err := reader.Open(t.Context(), obj, eid, is(key)); err != nil || got != key {
		t.Fatalf("the identity's host: %v", err)
	}
	// Stock age opens the blob.
	e, err := ParseEpoch(eid, b.object(epochPath("", eid)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(bytes.NewReader(e.Wraps[0].Blob), id)
	if err != nil {
		t.Fatal(err)
	}
	var got [KeySize + 1]byte
	if n, _ := plain.Read(got[:]); n != KeySize || !bytes.Equal(got[:n], key[:]) {
		t.Error("the blob holds something else than the epoch key")
	}
}

// TestSecretHalfWins: of one age key's halves, given twice, the one that opens
// is used.
func TestSecretHalfWins(t *testing.T) {
	full, public, _ := agePair(t)
	for _, opt := range []conf{
		{WriteSet: []Master{public}, Masters: []Master{full}},
		{WriteSet: []Master{full}, Masters: []Master{public}},
		{WriteSet: []Master{public, full}},
	} {
		opt.Bucket = newBucket()
		if r := mustRing(t, opt); !r.CanReopen() || len(r.KeyIDs()) != 1 {
			t.Errorf("%v cannot reopen", r)
		}
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

// TestRollback shows the bucket an older revision, in a mount and over mounts.
func TestRollback(t *testing.T) {
	for _, how := range []string{"recheck", "remount"} {
		t.Run(how, func(t *testing.T) {
			b, c := newBucket(), newClock()
			maker := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now})
			id, key := mustCurrent(t, maker)
			path := epochPath("", id)
			first := b.object(path)
			second := change(t, id, key, first, func(e *Epoch) { e.State = Retired })
			var said reports
			opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now, Dir: mustDir(t), Report: said.add}
			r := mustRing(t, opt)
			b.set(path, second)
			if _, err := r.Open(t.Context(), obj, id, is(key)); err != nil {
				t.Fatal(err)
			}
			b.set(path, first)
			if how == "remount" {
				r = mustRing(t, opt)
				if _, err := r.Open(t.Context(), obj, id, is(key)); err != nil {
					t.Fatal(err)
				}
			} else if err := r.Recheck(t.Context()); err != nil {
				t.Fatal(err)
			}
			if e := r.known(id)[0]; e.state != Retired || e.epoch.Revision != 2 {
				t.Errorf("fell back to revision %d, %s", e.epoch.Revision, e.state)
			}
			if said.count() == 0 {
				t.Error("the rollback was not reported")
			}
			if !bytes.Equal(b.object(path), second) {
				t.Error("the newer revision was not put over the older one")
			}
		})
	}
}

// TestStateNeverGoesBack: not by a higher revision either.
func TestStateNeverGoesBack(t *testing.T) {
	b, c := newBucket(), newClock()
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now}))
	path := epochPath("", id)
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now, Dir: mustDir(t)}
	r := mustRing(t, opt)
	b.set(path, change(t, id, key, b.object(path), func(e *Epoch) { e.State = Closed }))
	_, err := r.Open(t.Context(), obj, id, is(key))
	wantErr(t, err, ErrWrongKey)
	b.set(path, change(t, id, key, b.object(path), func(e *Epoch) { e.State = Live }))
	if err := r.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = r.Open(t.Context(), obj, id, is(key))
	wantErr(t, err, ErrWrongKey)
	_, err = mustRing(t, opt).Open(t.Context(), obj, id, is(key))
	wantErr(t, err, ErrWrongKey)
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

func TestMissingEpochIsPutBack(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		b, c := newBucket(), newClock()
		id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "web1/", Now: c.now}))
		path := epochPath("web1/", id)
		stored := b.object(path)
		opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "web1/", Now: c.now, Dir: mustDir(t), ReadOnly: readOnly}
		r := mustRing(t, opt)
		if _, err := r.Open(t.Context(), obj, id, is(key)); err != nil {
			t.Fatal(err)
		}
		for how, read := range map[string]func() error{
			"recheck": func() error { return r.Recheck(t.Context()) },
			"remount": func() error { _, err := mustRing(t, opt).Open(t.Context(), obj, id, is(key)); return err },
		} {
			b.delete(path)
			writes := b.writes
			if err := read(); err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			if back := bytes.Equal(b.object(path), stored); back == readOnly {
				t.Errorf("%s, read-only %v: put back %v", how, readOnly, back)
			}
			if readOnly && b.writes != writes {
				t.Errorf("%s: a read-only ring wrote", how)
			}
		}
	}
}

func TestReadOnlyMakesNoEpoch(t *testing.T) {
	b := newBucket()
	r := mustRing(t, conf{Masters: []Master{aesKey(1)}, Bucket: b, ReadOnly: true})
	_, _, err := r.Current(t.Context())
	wantErr(t, err, ErrReadOnly)
	if b.requests() != 0 {
		t.Error("asked the bucket")
	}
}

// TestLostAnswer: a create that was done and whose answer was lost comes back
// as ErrExist of our own object.
func TestLostAnswer(t *testing.T) {
	b := newBucket()
	b.lose = true
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b}))
	if _, err := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b}).Open(t.Context(), obj, id, is(key)); err != nil {
		t.Error(err)
	}
}

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
}

func TestContextEndsAWait(t *testing.T) {
	r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: newBucket()})
	leave, err := r.enter(t.Context(), "current "+r.name)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = r.Current(ctx)
	wantErr(t, err, context.Canceled)
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

func TestSetRefuses(t *testing.T) {
	r, err := New(Options{Masters: []Master{aesKey(1)}, Bucket: newBucket()})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string][]Master{"no key": nil, "a key that is none of the ring's": {aesKey(1), aesKey(2)}} {
		if _, err := r.Set(write); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if mustSet(t, r, aesKey(1), aesKey(1)) != mustSet(t, r, aesKey(1)) {
		t.Error("the same keys give two sets")
	}
}

func TestDirOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "keys")
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	b := newBucket()
	var said reports
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Dir: d, Report: said.add}
	id, key := mustCurrent(t, mustRing(t, opt))
	files, err := os.ReadDir(path)
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		if data, _ := os.ReadFile(filepath.Join(path, f.Name())); bytes.Contains(data, key[:]) {
			t.Errorf("%s holds the key", f.Name())
		}
	}
	sum := sha256.Sum256(key[:])
	if rec, err := d.record(id, sum); err != nil || rec.Sum != sum || !rec.Own || rec.State != Live {
		t.Errorf("record %+v, %v", rec, err)
	}
	// Damage and links are reported, and a new epoch is made.
	for _, f := range files {
		name := filepath.Join(path, f.Name())
		if err := os.Rename(name, name+".moved"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name+".moved", name); err != nil {
			t.Fatal(err)
		}
	}
	if next, _ := mustCurrent(t, mustRing(t, opt)); next == id || said.count() == 0 {
		t.Error("state behind a symbolic link was followed, or not reported")
	}
}

func TestOpenDirRefuses(t *testing.T) {
	base := t.TempDir()
	open := filepath.Join(base, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	mine, link := filepath.Join(base, "mine"), filepath.Join(base, "link")
	if _, err := OpenDir(mine); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, link); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, nil, 0o600)
	for path, want := range map[string]string{open: "chmod 700", link: "not a directory", file: "not a directory"} {
		if _, err := OpenDir(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestDirThatFails: a mount goes on without memory.
func TestDirThatFails(t *testing.T) {
	d := mustDir(t)
	if err := os.RemoveAll(d.path); err != nil {
		t.Fatal(err)
	}
	var said reports
	r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: newBucket(), Dir: d, Report: said.add})
	mustCurrent(t, r)
	if said.count() == 0 {
		t.Error("not reported")
	}
}

// TestWriteOnlyCredentials: who may put and not get keeps to one epoch, though
// every look for it says that nothing is there.
func TestWriteOnlyCredentials(t *testing.T) {
	b, said := newBucket(), &reports{}
	b.denied, b.lose = true, true
	r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Report: said.add})
	id, _ := mustCurrent(t, r)
	for range 3 {
		if err := r.Recheck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if again, _ := mustCurrent(t, r); again != id || len(b.keys()) != 1 {
		t.Errorf("the epoch was left, bucket holds %v", b.keys())
	}
	if said.count() != 0 {
		t.Errorf("reported %q", said.texts)
	}
}

// TestPutBackOnce: an epoch that lay under another prefix goes to the volume
// root, and is looked for there from then on.
func TestPutBackOnce(t *testing.T) {
	b, said := newBucket(), &reports{}
	other := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "web1/data/"})
	id, key := mustCurrent(t, other)
	r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "web1/", Report: said.add})
	if _, err := r.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Fatal(err)
	}
	b.delete(epochPath("web1/data/", id))
	for range 3 {
		if err := r.Recheck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if said.count() != 1 || b.object(epochPath("web1/", id)) == nil {
		t.Errorf("bucket holds %v, reported %q", b.keys(), said.texts)
	}
}

// TestPutBackMeetsAnother: what another host put at the root meanwhile is
// taken up, and one of an older revision replaced.
func TestPutBackMeetsAnother(t *testing.T) {
	for _, theirs := range []uint64{1, 3} {
		b := newBucket()
		id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "web1/data/"}))
		first := b.object(epochPath("web1/data/", id))
		second := change(t, id, key, first, func(*Epoch) {})
		third := change(t, id, key, second, func(e *Epoch) { e.State = Closed })
		b.set(epochPath("web1/data/", id), second)
		r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "web1/"})
		if _, err := r.Open(t.Context(), obj, id, is(key)); err != nil {
			t.Fatal(err)
		}
		b.delete(epochPath("web1/data/", id))
		there, want := first, second
		if theirs == 3 {
			there, want = third, third
		}
		b.set(epochPath("web1/", id), there)
		if err := r.Recheck(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.object(epochPath("web1/", id)), want) {
			t.Errorf("revision %d: the older one stays in the bucket", theirs)
		}
		_, err := r.Open(t.Context(), obj, id, is(key))
		if (theirs == 3) != errors.Is(err, ErrWrongKey) {
			t.Errorf("revision %d: %v", theirs, err)
		}
	}
}
