package keyring

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

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
			// What status and the metrics tell; the bucket has the newer one again.
			if all := r.Epochs(); len(all) != 1 || !all[0].RolledBack {
				t.Errorf("epochs: %+v", all)
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
	var gone []EpochID
	opt := conf{WriteSet: []Master{aesKey(1)}, Bucket: b, Now: c.now, Dir: mustDir(t), Revoked: func(id EpochID, _ error) { gone = append(gone, id) }}
	r := mustRing(t, opt)
	if _, err := r.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Fatal(err)
	}
	b.set(path, change(t, id, key, b.object(path), func(e *Epoch) { e.State = Closed }))
	for range 2 {
		if err := r.Recheck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(gone, []EpochID{id}) {
		t.Errorf("told of %v", gone)
	}
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
