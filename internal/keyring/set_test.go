package keyring

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
)

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

// TestLease: a host that did not look at its own epoch for too long looks before
// it seals under it again, and leaves one that was closed meanwhile; a bucket that
// does not answer lets it not seal. Without a lease it goes on.
func TestLease(t *testing.T) {
	for name, tc := range map[string]struct {
		lease, asleep time.Duration
		fail          error
		looks         bool
	}{
		"fresh":      {time.Hour, time.Minute, nil, false},
		"asleep":     {time.Hour, 2 * time.Hour, nil, true},
		"set back":   {time.Hour, -time.Minute, nil, true},
		"cut off":    {time.Hour, 2 * time.Hour, errors.New("no answer"), true},
		"none asked": {0, 48 * time.Hour, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, c := newBucket(), newClock()
			r := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now, Lease: tc.lease})
			id, key := mustCurrent(t, r)
			before := b.requests()
			if again, _ := mustCurrent(t, r); again != id || b.requests() != before {
				t.Error("looked at once")
			}
			b.set(epochPath("", id), change(t, id, key, b.object(epochPath("", id)), func(e *Epoch) { e.State = Closed }))
			c.advance(tc.asleep)
			b.fail = tc.fail
			now, _, err := r.Current(t.Context())
			switch {
			case !errors.Is(err, tc.fail):
				t.Fatalf("error %v, want %v", err, tc.fail)
			case err == nil && (now == id) == tc.looks:
				t.Errorf("seals under the closed epoch: %v", now == id)
			case tc.fail != nil:
				b.fail = nil
				if now, _ := mustCurrent(t, r); now == id {
					t.Error("seals under the closed epoch when the bucket answers")
				}
			}
			before = b.requests()
			if mustCurrent(t, r); b.requests() != before {
				t.Error("looks again at once")
			}
		})
	}
}
