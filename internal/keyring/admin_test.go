package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// administer gives an Admin of a ring.
func administer(t fataler, r *Ring, opt ...AdminOptions) *Admin {
	o := AdminOptions{Conditional: true}
	if len(opt) > 0 {
		o = opt[0]
	}
	a, err := r.Admin(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return a
}

type fataler interface{ Fatalf(string, ...any) }

// all gives the epochs of the volume root, by id.
func all(t *testing.T, a *Admin) map[EpochID]Held {
	t.Helper()
	found := map[EpochID]Held{}
	if err := a.Each(t.Context(), []string{a.ring.root}, func(h Held) error { found[h.ID] = h; return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

func only(ids ...string) func(Wrap) bool {
	return func(w Wrap) bool { return slices.Contains(ids, w.Key) }
}

// TestAdminRewrap: from one key to two others, as keys rewrap does it: the host
// that made the epoch finds it retired, and what was sealed opens throughout.
func TestAdminRewrap(t *testing.T) {
	b, from, to := newBucket(), aesKey(1), aesKey(2)
	full, public, _ := agePair(t)
	dir := mustDir(t)
	host := mustRing(t, conf{WriteSet: []Master{from}, Masters: []Master{to}, Bucket: b, VolumeRoot: "v/", Dir: dir, Host: "web1"})
	id, key := mustCurrent(t, host)
	r := mustRing(t, conf{WriteSet: []Master{to, public}, Masters: []Master{from}, Bucket: b, VolumeRoot: "v/"})
	a := administer(t, r.Ring)
	h := all(t, a)[id]
	if h.Err != nil || h.Shown != 1 || h.Epoch.Host != "web1" {
		t.Fatalf("held %+v", h)
	}
	c, err := a.Apply(t.Context(), &h, Aim{Add: []Master{to, public}})
	if err != nil || h.Shown != 2 || h.State != Live || !cmp.Equal(c.Added, []string{to.ID(), public.ID()}) {
		t.Fatalf("%+v, %v: %+v", c, err, h)
	}
	if c, err := a.Apply(t.Context(), &h, Aim{Add: []Master{public, to}}); err != nil || !c.None() || h.Shown != 2 {
		t.Errorf("again: %+v, %v", c, err)
	}
	drop := Aim{Drop: func(w Wrap) bool { return w.Key == from.ID() }}
	if c, err = a.Apply(t.Context(), &h, drop); err != nil || h.Shown != 3 || h.State != Retired || c.To != Retired {
		t.Fatalf("%+v, %v: %+v", c, err, h)
	}
	for _, m := range []Master{to, full} {
		cold := mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, VolumeRoot: "v/"})
		if got, err := cold.Open(t.Context(), "v/file", id, is(key)); err != nil || got != key {
			t.Errorf("with %s: %v", m.ID(), err)
		}
	}
	if err := host.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next, _ := mustCurrent(t, host); next == id {
		t.Error("the host goes on sealing under a retired epoch")
	}
	if _, err := host.Open(t.Context(), "v/file", id, is(key)); err != nil {
		t.Errorf("the host does not read it any more: %v", err)
	}
}

func TestAdminRefuses(t *testing.T) {
	mine, other := aesKey(1), aesKey(2)
	_, public, _ := agePair(t)
	setup := func(write ...Master) (*fakeBucket, *Admin, Held) {
		b := newBucket()
		id, _ := mustCurrent(t, mustRing(t, conf{WriteSet: write, Bucket: b}))
		a := administer(t, mustRing(t, conf{WriteSet: []Master{mine}, Masters: []Master{public}, Bucket: b}).Ring)
		return b, a, all(t, a)[id]
	}
	t.Run("the only wrap", func(t *testing.T) {
		_, a, h := setup(mine)
		_, err := a.Apply(t.Context(), &h, Aim{Drop: only(mine.ID())})
		wantErr(t, err, ErrOnlyWay)
	})
	t.Run("beside one for a key that is not configured", func(t *testing.T) {
		b, a, h := setup(mine, other)
		_, err := a.Apply(t.Context(), &h, Aim{Drop: only(mine.ID())})
		wantErr(t, err, ErrOnlyWay)
		if e, _ := ParseEpoch(h.ID, b.object(h.Path())); e.Revision != 1 {
			t.Error("it was changed")
		}
	})
	t.Run("a wrap that does not open", func(t *testing.T) {
		b, _, h := setup(mine, other)
		r := mustRing(t, conf{WriteSet: []Master{mine}, Bucket: b})
		_, _, err := administer(t, r.Ring).change(t.Context(), "", h.ID, false, func(_ context.Context, e *entry) (*Epoch, error) {
			bad := Wrap{Key: other.ID(), Type: KindAES, Blob: make([]byte, 60)}
			return &Epoch{Wraps: []Wrap{e.epoch.Wraps[0], bad}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a := administer(t, mustRing(t, conf{WriteSet: []Master{mine, other}, Bucket: b}).Ring)
		h = all(t, a)[h.ID]
		_, got := a.Apply(t.Context(), &h, Aim{Drop: only(mine.ID())})
		wantErr(t, got, ErrOnlyWay)
	})
	t.Run("an escrow that is public here will do", func(t *testing.T) {
		_, a, h := setup(mine, public)
		if _, err := a.Apply(t.Context(), &h, Aim{Drop: only(mine.ID())}); err != nil {
			t.Error(err)
		}
	})
	t.Run("a server without conditions", func(t *testing.T) {
		b, a, h := setup(mine)
		a = administer(t, a.ring, AdminOptions{})
		_, err := a.Apply(t.Context(), &h, Aim{State: Retired})
		wantErr(t, err, ErrNoConditions)
		if e, _ := ParseEpoch(h.ID, b.object(h.Path())); e.State != Live {
			t.Error("it was changed")
		}
	})
	t.Run("a dry run", func(t *testing.T) {
		b, a, h := setup(mine)
		a = administer(t, a.ring, AdminOptions{Dry: true})
		c, err := a.Apply(t.Context(), &h, Aim{Add: []Master{public}, Drop: only(mine.ID())})
		if err != nil || c.To != Retired || len(c.Added) != 1 || len(c.Dropped) != 1 {
			t.Errorf("%+v, %v", c, err)
		}
		if e, _ := ParseEpoch(h.ID, b.object(h.Path())); e.Revision != 1 {
			t.Error("it was changed")
		}
	})
	t.Run("what does not open", func(t *testing.T) {
		_, a, h := setup(other)
		wantErr(t, h.Err, ErrNoKey)
		if !cmp.Equal(h.KeyIDs(), []string{other.ID()}) {
			t.Errorf("keys %v", h.KeyIDs())
		}
		_, err := a.Apply(t.Context(), &h, Aim{State: Retired})
		wantErr(t, err, ErrNoKey)
	})
}

// TestAdminRace: who loses a race works on what the winner left.
func TestAdminRace(t *testing.T) {
	b, one, two, three := newBucket(), aesKey(1), aesKey(2), aesKey(3)
	id, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{one}, Bucket: b}))
	admin := func() *Admin {
		return administer(t, mustRing(t, conf{WriteSet: []Master{one, two, three}, Bucket: b}).Ring)
	}
	first, second := admin(), admin()
	h := all(t, first)[id]
	b.replacing = func(string) (error, bool) {
		b.replacing = nil
		theirs := all(t, second)[id]
		if _, err := second.Apply(t.Context(), &theirs, Aim{Add: []Master{three}, State: Retired}); err != nil {
			t.Error(err)
		}
		return nil, false
	}
	if _, err := first.Apply(t.Context(), &h, Aim{Add: []Master{two}}); err != nil || h.Shown != 3 || h.State != Retired || len(h.Epoch.Wraps) != 3 {
		t.Errorf("%+v, %v", h, err)
	}
	// One that never wins gives up.
	b.replacing = func(key string) (error, bool) {
		b.set(key, b.object(key))
		return nil, false
	}
	_, err := first.Apply(t.Context(), &h, Aim{State: Closed})
	wantErr(t, err, ErrChanged)
}

// TestAdminLostAnswer: an answer that is lost is no failure where the request
// was done, and is one where it was not.
func TestAdminLostAnswer(t *testing.T) {
	lost := errors.New("connection reset")
	for name, tt := range map[string]struct {
		answer error
		done   bool
		want   error
		rev    uint64
	}{
		"done":               {lost, true, nil, 2},
		"not done":           {lost, false, lost, 1},
		"done, and repeated": {ErrChanged, true, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b, m := newBucket(), aesKey(1)
			id, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b}))
			a := administer(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b}).Ring)
			h := all(t, a)[id]
			b.replacing = func(string) (error, bool) { return tt.answer, tt.done }
			if _, err := a.Apply(t.Context(), &h, Aim{State: Retired}); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if e, _ := ParseEpoch(id, b.object(h.Path())); e.Revision != tt.rev {
				t.Errorf("revision %d, want %d", e.Revision, tt.rev)
			}
		})
	}
}

// TestAdminRollback: a change is made of the newest revision that is known, not
// of the older one that the bucket shows again; without one the newest is put
// back.
func TestAdminRollback(t *testing.T) {
	for name, aim := range map[string]func(Master) Aim{
		"changed":  func(m Master) Aim { return Aim{Add: []Master{m}} },
		"put back": func(Master) Aim { return Aim{} },
	} {
		t.Run(name, func(t *testing.T) {
			b, one, two, dir := newBucket(), aesKey(1), aesKey(2), mustDir(t)
			id, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{one}, Bucket: b}))
			old := b.object(epochPath("", id))
			a := administer(t, mustRing(t, conf{WriteSet: []Master{one, two}, Bucket: b, Dir: dir}).Ring)
			h := all(t, a)[id]
			if _, err := a.Apply(t.Context(), &h, Aim{State: Retired}); err != nil {
				t.Fatal(err)
			}
			b.set(h.Path(), old)
			// Another process of this host, so that only the disk remembers.
			a = administer(t, mustRing(t, conf{WriteSet: []Master{one, two}, Bucket: b, Dir: dir}).Ring)
			if h = all(t, a)[id]; h.Shown != 1 || h.Epoch.Revision != 2 || h.State != Retired || h.Newest() {
				t.Fatalf("held %+v", h)
			}
			wantErr(t, h.Amiss(), ErrRolledBack)
			if _, err := a.Apply(t.Context(), &h, aim(two)); err != nil {
				t.Fatal(err)
			}
			e, err := ParseEpoch(id, b.object(h.Path()))
			if err != nil || e.State != Retired || e.Revision != h.Epoch.Revision || e.Revision < 2 || !all(t, a)[id].Newest() {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

// TestAdminLook: what lies at a key is looked at by itself, and what this host has
// seen is known to be missing.
func TestAdminLook(t *testing.T) {
	b, m, dir := newBucket(), aesKey(1), mustDir(t)
	id, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, VolumeRoot: "v/w/", Dir: dir}))
	a := administer(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, VolumeRoot: "v/w/", Dir: dir}).Ring)
	path := epochPath("v/w/", id)
	for key, want := range map[string]bool{path: true, epochPath("v/", id): false, path + "x": false, "v/w/" + id.String(): false, "": false} {
		if h, ok, err := a.Look(t.Context(), key); err != nil || ok != want || ok && (h.Path() != path || h.Amiss() != nil) {
			t.Errorf("%s: %+v, %v, %v", key, h, ok, err)
		}
	}
	missing := func() bool {
		gone, err := a.Missing(t.Context(), id)
		if err != nil {
			t.Error(err)
		}
		return gone
	}
	stored := b.object(path)
	b.set(path, []byte("nothing"))
	if h, ok, err := a.Look(t.Context(), path); !ok || err != nil || !errors.Is(h.Amiss(), ErrCorrupt) || missing() {
		t.Errorf("%+v, %v, %v", h, ok, err)
	}
	b.delete(path)
	if _, ok, err := a.Look(t.Context(), path); ok || err != nil || !missing() {
		t.Errorf("%v, %v", ok, err)
	}
	b.set(epochPath("", id), stored)
	if missing() {
		t.Error("it lies above")
	}
}

// TestAdminPlanted: an epoch that took the place of a remembered one is not
// changed: its maker would get new wraps of his own key.
func TestAdminPlanted(t *testing.T) {
	b, m, dir := newBucket(), aesKey(1), mustDir(t)
	id, _ := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, Dir: dir}))
	his := *aesKey(0x60).key
	w, err := m.Wrap(t.Context(), id, &his)
	if err != nil {
		t.Fatal(err)
	}
	planted := &Epoch{ID: id, Revision: 9, Created: newClock().now(), Wraps: []Wrap{w}}
	stored, err := planted.Marshal(&his)
	if err != nil {
		t.Fatal(err)
	}
	b.set(epochPath("", id), stored)
	a := administer(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, Dir: dir}).Ring)
	h := all(t, a)[id]
	wantErr(t, h.Err, ErrCorrupt)
	_, err = a.Apply(t.Context(), &h, Aim{State: Retired})
	wantErr(t, err, ErrCorrupt)
}

// TestAdminReplicas: two regions' names of one multi-Region key are one key.
func TestAdminReplicas(t *testing.T) {
	const east, west = "arn:aws:kms:us-east-1:111122223333:key/mrk-1", "arn:aws:kms:us-west-2:111122223333:key/mrk-1"
	e := &Epoch{Wraps: []Wrap{{Key: east, Type: KindKMS}}}
	here := &kmsMaster{id: west}
	if c := (Aim{Add: []Master{here}}).Change(Held{Epoch: e}); !c.None() {
		t.Errorf("a replica was added: %+v", c)
	}
	here.context = map[string]string{"team": "a"}
	if c := (Aim{Add: []Master{here}}).Change(Held{Epoch: e}); len(c.Added) != 1 || len(c.Dropped) != 0 {
		t.Errorf("under another context: %+v", c)
	}
	here.id = east
	c := (Aim{Add: []Master{here}}).Change(Held{Epoch: e})
	if len(c.Added) != 1 || len(c.Dropped) != 1 || c.To != Live {
		t.Errorf("the same key under another context: %+v", c)
	}
}

func TestAdminPlaces(t *testing.T) {
	b, m := newBucket(), aesKey(1)
	for _, root := range []string{"", "a/", "a/b/", "a/x/y/z/", "other/"} {
		mustCurrent(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, VolumeRoot: root}))
	}
	b.set("a/file", nil)
	b.set("a/b/.sigil/index/x", nil)
	b.set("a/empty/.sigil.txt", nil)
	for range 3 {
		b.set("a/q/"+strings.Repeat("w/", len(b.keys()))+"f", nil)
	}
	a := administer(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, VolumeRoot: "a/"}).Ring)
	got, err := a.Places(t.Context(), 100, time.Minute)
	want := Places{Above: []string{""}, Within: []string{"a/", "a/b/", "a/x/y/z/"}, Whole: true}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = a.Places(t.Context(), 3, time.Minute); err != nil || got.Whole {
		t.Errorf("with 3 requests: %+v, %v", got, err)
	}
}

// TestAdminSameKeyTwice: a key set may name one key twice, by a copy of its file
// or by an alias. An epoch is wrapped for it once: with two wraps for one key it
// would open for nobody.
func TestAdminSameKeyTwice(t *testing.T) {
	b, from, to := newBucket(), aesKey(1), aesKey(2)
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{from}, Bucket: b}))
	a := administer(t, mustRing(t, conf{WriteSet: []Master{to}, Masters: []Master{from}, Bucket: b}).Ring)
	h := all(t, a)[id]
	c, err := a.Apply(t.Context(), &h, Aim{Add: []Master{to, aesKey(2)}, Drop: only(from.ID())})
	if err != nil || !cmp.Equal(c.Added, []string{to.ID()}) {
		t.Errorf("%+v, %v", c, err)
	}
	cold := mustRing(t, conf{WriteSet: []Master{to}, Bucket: b})
	if got, err := cold.Open(t.Context(), "file", id, is(key)); err != nil || got != key {
		t.Error(err)
	}
}

// TestWriteReadsAgain: what would not be read again never lies in the bucket.
func TestWriteReadsAgain(t *testing.T) {
	b, m := newBucket(), aesKey(1)
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b}))
	a := administer(t, mustRing(t, conf{WriteSet: []Master{m}, Bucket: b}).Ring)
	_, _, err := a.change(t.Context(), "", id, false, func(_ context.Context, e *entry) (*Epoch, error) {
		return &Epoch{Wraps: slices.Repeat(e.epoch.Wraps, 2)}, nil
	})
	wantErr(t, err, ErrCorrupt)
	many := make([]Wrap, 0, 20000)
	for i := range cap(many) {
		many = append(many, Wrap{Key: fmt.Sprintf("aes:%032x", i), Type: KindAES, Blob: []byte{1}})
	}
	_, _, err = a.change(t.Context(), "", id, false, func(context.Context, *entry) (*Epoch, error) { return &Epoch{Wraps: many}, nil })
	if err == nil || !strings.Contains(err.Error(), "wrap it for fewer keys") {
		t.Error(err)
	}
	if got, err := mustRing(t, conf{WriteSet: []Master{m}, Bucket: b}).Open(t.Context(), "file", id, is(key)); err != nil || got != key {
		t.Error(err)
	}
}

// TestAdminClosedFollows: a closed epoch goes over to other keys as well, so that
// who has these alone knows that it is closed; and stays so.
func TestAdminClosedFollows(t *testing.T) {
	b, from, to := newBucket(), aesKey(1), aesKey(2)
	id, key := mustCurrent(t, mustRing(t, conf{WriteSet: []Master{from}, Bucket: b}))
	a := administer(t, mustRing(t, conf{WriteSet: []Master{to}, Masters: []Master{from}, Bucket: b}).Ring)
	h := all(t, a)[id]
	for _, aim := range []Aim{{State: Closed}, {Add: []Master{to}}, {Drop: only(from.ID())}} {
		if _, err := a.Apply(t.Context(), &h, aim); err != nil {
			t.Fatal(err)
		}
	}
	r := mustRing(t, conf{WriteSet: []Master{to}, Bucket: b})
	if h = all(t, administer(t, r.Ring))[id]; h.Err != nil || h.State != Closed || !cmp.Equal(h.KeyIDs(), []string{to.ID()}) {
		t.Errorf("held %+v for %v", h, h.KeyIDs())
	}
	_, err := r.Open(t.Context(), "file", id, is(key))
	wantErr(t, err, ErrWrongKey)
	_, err = a.Apply(t.Context(), &h, Aim{Drop: only(to.ID())})
	wantErr(t, err, ErrOnlyWay)
}
