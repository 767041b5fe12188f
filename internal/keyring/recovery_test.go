package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// saved makes a volume of one epoch and its recovery file to an age identity.
func saved(t *testing.T) (b *fakeBucket, id EpochID, key [KeySize]byte, file []byte, safe *ageMaster) {
	t.Helper()
	b = newBucket()
	m := aesKey(1)
	host := mustRing(t, conf{WriteSet: []Master{m}, Bucket: b, VolumeRoot: "v/"})
	id, key = mustCurrent(t, host)
	a := administer(t, host.Ring)
	safe, _, identity := agePair(t)
	lock, err := RecipientLock([]string{identity.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	info := RecoveryInfo{Bucket: "bucket", VolumeRoot: "v/", Made: newClock().now(), Host: "web1"}
	if err := a.WriteRecovery(&out, info, []Held{all(t, a)[id]}, lock); err != nil {
		t.Fatal(err)
	}
	return b, id, key, out.Bytes(), safe
}

func TestRecoveryRoundTrip(t *testing.T) {
	b, id, key, file, safe := saved(t)
	info, got, err := ReadRecovery(t.Context(), bytes.NewReader(file), RecoveryWays{Masters: []Master{aesKey(3), safe}})
	if err != nil || info.Bucket != "bucket" || info.VolumeRoot != "v/" || info.Host != "web1" || len(got) != 1 {
		t.Fatalf("%+v, %d epochs, %v", info, len(got), err)
	}
	if got[0].ID != id || got[0].At != "v/" || *got[0].key != key || !bytes.Equal(got[0].Epoch.stored, b.object("v/.sigil/epochs/"+id.String())) {
		t.Errorf("%+v", got[0])
	}
	_, _, err = ReadRecovery(t.Context(), bytes.NewReader(file), RecoveryWays{Masters: []Master{aesKey(3)}})
	wantErr(t, err, ErrKeySource)
	other, _, _ := agePair(t)
	_, _, err = ReadRecovery(t.Context(), bytes.NewReader(file), RecoveryWays{Masters: []Master{other}})
	wantErr(t, err, ErrKeySource)
	for name, damage := range map[string]func([]byte) []byte{
		"cut":      func(f []byte) []byte { return f[:len(f)-100] },
		"no armor": func([]byte) []byte { return []byte("sigilfs recovery file") },
		"altered":  func(f []byte) []byte { return bytes.Replace(f, []byte("\n-----END"), []byte("A\n-----END"), 1) },
	} {
		if _, got, err := ReadRecovery(t.Context(), bytes.NewReader(damage(bytes.Clone(file))), RecoveryWays{Masters: []Master{safe}}); err == nil || got != nil {
			t.Errorf("%s: %v, %d epochs", name, err, len(got))
		}
	}
}

// TestRecoveryFits: what ReadRecovery would not take for its size is not written.
func TestRecoveryFits(t *testing.T) {
	b := newBucket()
	host := mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b})
	id, _ := mustCurrent(t, host)
	_, _, identity := agePair(t)
	lock, err := RecipientLock([]string{identity.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	a := administer(t, host.Ring)
	held := []Held{all(t, a)[id]}
	var file bytes.Buffer
	if err := a.WriteRecovery(&file, RecoveryInfo{}, held, lock); err != nil {
		t.Fatal(err)
	}
	size := int64(file.Len()) // which is the same for every file key
	for _, room := range []int64{0, 100, size / 2, size - 1} {
		wantErr(t, writeRecovery(&recoveryRoom{io.Discard, room}, RecoveryInfo{}, held, lock), ErrManyEpochs)
	}
	if err := writeRecovery(&recoveryRoom{io.Discard, size}, RecoveryInfo{}, held, lock); err != nil {
		t.Error(err)
	}
}

func TestRecoveryPassphrase(t *testing.T) {
	_, err := PassphraseLock([]byte("too short"))
	wantErr(t, err, ErrKeySource)
	lock, err := PassphraseLock([]byte("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBucket()
	var file bytes.Buffer
	a := administer(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b}).Ring)
	if err := a.WriteRecovery(&file, RecoveryInfo{}, nil, lock); err != nil {
		t.Fatal(err)
	}
	say := func(pass string) RecoveryWays {
		return RecoveryWays{Passphrase: func(context.Context) ([]byte, error) { return []byte(pass), nil }}
	}
	if _, _, err := ReadRecovery(t.Context(), bytes.NewReader(file.Bytes()), say("correct horse battery")); err != nil {
		t.Error(err)
	}
	_, _, err = ReadRecovery(t.Context(), bytes.NewReader(file.Bytes()), say("another one, and wrong"))
	wantErr(t, err, ErrKeySource)
	_, _, err = ReadRecovery(t.Context(), bytes.NewReader(file.Bytes()), RecoveryWays{})
	wantErr(t, err, ErrKeySource)
}

// TestRestore: what becomes of an epoch of a recovery file, by what lies there.
func TestRestore(t *testing.T) {
	old, next := aesKey(1), aesKey(2)
	const path = "v/.sigil/epochs/"
	for name, tt := range map[string]struct {
		there func(b *fakeBucket, a *Admin, h Held)
		add   []Master
		over  bool
		want  error
		check func(Restored) bool
		state Phase
		rev   uint64
	}{
		"missing":             {there: func(b *fakeBucket, _ *Admin, h Held) { b.delete(h.Path()) }, check: func(r Restored) bool { return r.Created }, rev: 1},
		"missing, rewrapped":  {there: func(b *fakeBucket, _ *Admin, h Held) { b.delete(h.Path()) }, add: []Master{next}, check: func(r Restored) bool { return r.Created && len(r.Added) == 1 }, rev: 2},
		"there":               {check: func(r Restored) bool { return !r.Created && !r.Over && r.Replaced == 0 && r.Shown == 1 }, rev: 1},
		"there, rewrapped":    {add: []Master{next}, check: func(r Restored) bool { return len(r.Added) == 1 }, rev: 2},
		"newer there":         {there: func(_ *fakeBucket, a *Admin, h Held) { _, _ = a.Apply(t.Context(), &h, Aim{State: Closed}) }, check: func(r Restored) bool { return r.Replaced == 0 && r.Shown == 2 }, state: Closed, rev: 2},
		"something else":      {there: func(b *fakeBucket, _ *Admin, h Held) { b.set(h.Path(), []byte("else")) }, want: ErrOther},
		"something else over": {there: func(b *fakeBucket, _ *Admin, h Held) { b.set(h.Path(), []byte("else")) }, over: true, check: func(r Restored) bool { return r.Over }, rev: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, id, key, file, safe := saved(t)
			host := administer(t, mustRing(t, conf{WriteSet: []Master{old}, Bucket: b, VolumeRoot: "v/"}).Ring)
			if tt.there != nil {
				tt.there(b, host, all(t, host)[id])
			}
			_, got, err := ReadRecovery(t.Context(), bytes.NewReader(file), RecoveryWays{Masters: []Master{safe}})
			if err != nil {
				t.Fatal(err)
			}
			// Who imports holds none of the keys that it was wrapped for.
			a := administer(t, mustRing(t, conf{WriteSet: []Master{next}, Bucket: b, VolumeRoot: "v/"}).Ring)
			r, err := a.Restore(t.Context(), "v/", got[0], tt.add, tt.over)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if tt.want != nil {
				return
			}
			e, err := ParseEpoch(id, b.object(path+id.String()))
			if err != nil || e.Verify(&key) != nil || e.State != tt.state || e.Revision != tt.rev || !tt.check(r) {
				t.Errorf("%+v, %v: %+v", e, err, r)
			}
			again, err := a.Restore(t.Context(), "v/", got[0], tt.add, tt.over)
			if err != nil || again.Created || again.Over || again.Replaced != 0 || len(again.Added) != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// TestRestoreRaces: an answer that is lost, and somebody who is first.
func TestRestoreRaces(t *testing.T) {
	b, id, _, file, safe := saved(t)
	b.delete("v/.sigil/epochs/" + id.String())
	_, got, err := ReadRecovery(t.Context(), bytes.NewReader(file), RecoveryWays{Masters: []Master{safe}})
	if err != nil {
		t.Fatal(err)
	}
	b.lose = true
	a := administer(t, mustRing(t, conf{WriteSet: []Master{aesKey(2)}, Bucket: b, VolumeRoot: "v/"}).Ring)
	if r, err := a.Restore(t.Context(), "v/", got[0], nil, false); err != nil || !r.Created {
		t.Errorf("%+v, %v", r, err)
	}
	dry := administer(t, a.ring, AdminOptions{Dry: true})
	b.delete("v/.sigil/epochs/" + id.String())
	r, err := dry.Restore(t.Context(), "v/", got[0], []Master{aesKey(2)}, false)
	if err != nil || !r.Created || !cmp.Equal(r.Added, []string{aesKey(2).ID()}) || b.object("v/.sigil/epochs/"+id.String()) != nil {
		t.Errorf("dry: %+v, %v", r, err)
	}
}

// FuzzParseRecovery: whatever is in a file, an epoch comes out of it only whole.
func FuzzParseRecovery(f *testing.F) {
	key := goldenKey
	stored, err := os.ReadFile("testdata/epoch-v1")
	if err != nil {
		f.Fatal(err)
	}
	line, _ := json.Marshal(recoveryLine{goldenID.String(), "v/", key[:], string(stored)})
	f.Add([]byte(`{"sigilfs-recovery":1,"bucket":"b","epochs":1}` + "\n" + string(line) + "\n"))
	f.Add([]byte{})
	f.Add([]byte(`{"sigilfs-recovery":2}` + "\n"))
	f.Add([]byte(`{"sigilfs-recovery":1,"epochs":1}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, all, err := parseRecovery(bytes.NewReader(data))
		if err != nil {
			if all != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrWrongKey) {
				t.Fatalf("%v with %d epochs", err, len(all))
			}
			return
		}
		if info.Version != 1 || len(all) != info.Epochs {
			t.Fatalf("%+v of %d", info, len(all))
		}
		for _, r := range all {
			if r.Epoch.Verify(r.key) != nil || r.At != "" && !strings.HasSuffix(r.At, "/") {
				t.Fatal("an epoch that is not whole")
			}
		}
	})
}

// Without a bucket a recovery file opens what is sealed; what is closed it does
// not, nor what none of the signers signed.
func TestRecover(t *testing.T) {
	_, id, key, file, safe := saved(t)
	_, got, err := ReadRecovery(t.Context(), bytes.NewReader(file), RecoveryWays{Masters: []Master{safe}})
	if err != nil {
		t.Fatal(err)
	}
	ring := func(opt Options) *Ring {
		opt.Bucket, opt.ReadOnly = newBucket(), true
		r, err := New(opt)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := ring(Options{})
	if err := r.Recover(got[0]); err != nil {
		t.Fatal(err)
	}
	if have, err := r.Open(t.Context(), "v/file", id, is(key)); err != nil || have != key {
		t.Errorf("%v", err)
	}
	closed := got[0]
	e := *closed.Epoch
	e.Revision, e.State = 2, Closed
	if _, err := e.Marshal(closed.key); err != nil {
		t.Fatal(err)
	}
	closed.Epoch = &e
	for _, order := range [][]Recovered{{closed, got[0]}, {got[0], closed}} {
		r = ring(Options{})
		for _, one := range order {
			if err := r.Recover(one); err != nil {
				t.Fatal(err)
			}
		}
		_, err = r.Open(t.Context(), "v/file", id, is(key))
		wantErr(t, err, ErrWrongKey)
	}
	wantErr(t, ring(Options{Signers: signersOf(signingKey(0x90))}).Recover(got[0]), ErrUnsigned)
}

// A recovery file that somebody else made does not plant an epoch in the place of
// one that this host remembers.
func TestRestoreKnowsAnotherKey(t *testing.T) {
	b, id, _, file, safe := saved(t)
	_, got, err := ReadRecovery(t.Context(), bytes.NewReader(file), RecoveryWays{Masters: []Master{safe}})
	if err != nil {
		t.Fatal(err)
	}
	a := administer(t, mustRing(t, conf{WriteSet: []Master{aesKey(1)}, Bucket: b, VolumeRoot: "v/", Dir: mustDir(t)}).Ring)
	if h := all(t, a)[id]; h.Err != nil {
		t.Fatal(h.Err)
	} else if _, err := a.Apply(t.Context(), &h, Aim{State: Retired}); err != nil { // which is remembered
		t.Fatal(err)
	}
	planted := got[0]
	planted.key = &[KeySize]byte{1}
	e := *planted.Epoch
	if _, err := e.Marshal(planted.key); err != nil {
		t.Fatal(err)
	}
	planted.Epoch = &e
	at := epochPath("v/", id)
	b.delete(at)
	_, err = a.Restore(t.Context(), "v/", planted, nil, false)
	wantErr(t, err, ErrOther)
	if b.object(at) != nil {
		t.Error("it was planted")
	}
}

// To a host with signers an unsigned revision is something else, which the signed
// one replaces on demand.
func TestRestoreOverUnsigned(t *testing.T) {
	w := newTrusting(t)
	alice := signingKey(0x90)
	id, key := mustCurrent(t, w.host(conf{Sign: alice, Dir: mustDir(t)}))
	at := epochPath("", id)
	signed := bytes.Clone(w.bucket.object(at))
	epoch, err := ParseEpoch(id, signed)
	if err != nil {
		t.Fatal(err)
	}
	w.forge(id, key, nil, func(e *Epoch) { e.Revision, e.State = 40, Closed })
	stranger := w.host(conf{Signers: signersOf(alice)})
	_, err = stranger.Open(t.Context(), obj, id, is(key))
	wantErr(t, err, ErrUnsigned)
	a := administer(t, stranger.Ring)
	from := Recovered{ID: id, Epoch: epoch, key: &key}
	_, err = a.Restore(t.Context(), "", from, nil, false)
	wantErr(t, err, ErrOther)
	if r, err := a.Restore(t.Context(), "", from, nil, true); err != nil || !r.Over || !bytes.Equal(signed, w.bucket.object(at)) {
		t.Errorf("%+v, %v", r, err)
	}
}
