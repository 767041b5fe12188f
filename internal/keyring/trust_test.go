package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A trusting is two hosts that share a master key, and whoever else has that
// key: all are holders of it, and of the bucket.
type trusting struct {
	t      *testing.T
	bucket *fakeBucket
	clock  *clock
	master *aesMaster
	said   *reports
}

func newTrusting(t *testing.T) *trusting {
	return &trusting{t, newBucket(), newClock(), aesKey(1), &reports{}}
}

// host is one with a memory.
func (w *trusting) host(c conf) mounted {
	w.t.Helper()
	c.Bucket, c.Now, c.Report = w.bucket, w.clock.now, w.said.add
	if c.WriteSet == nil {
		c.WriteSet = []Master{w.master}
	}
	return mustRing(w.t, c)
}

// forge puts an edited revision of an epoch in its place, with a valid MAC,
// signed by sign or nobody.
func (w *trusting) forge(id EpochID, key [KeySize]byte, sign *SigningKey, edit func(*Epoch)) {
	w.t.Helper()
	at := epochPath("", id)
	w.bucket.set(at, forged(w.t, id, key, w.bucket.object(at), sign, edit))
}

func forged(t testing.TB, id EpochID, key [KeySize]byte, stored []byte, sign *SigningKey, edit func(*Epoch)) []byte {
	t.Helper()
	e, err := ParseEpoch(id, stored)
	if err != nil {
		t.Fatal(err)
	}
	e.Revision++
	edit(e)
	if _, err := e.Marshal(&key); err != nil {
		t.Fatal(err)
	}
	if sign != nil {
		e.sign(sign)
	}
	return bytes.Clone(e.stored)
}

func signersOf(keys ...*SigningKey) (all []Signer) {
	for _, k := range keys {
		all = append(all, k.Signer())
	}
	return all
}

func wantSaid(t *testing.T, said *reports, what string) {
	t.Helper()
	if !slices.ContainsFunc(said.texts, func(s string) bool { return strings.Contains(s, what) }) {
		t.Errorf("nothing says %q: %q", what, said.texts)
	}
}

func TestSignersReadWhatIsSigned(t *testing.T) {
	w := newTrusting(t)
	alice, mallory := signingKey(0x90), signingKey(0xa0)
	writer := w.host(conf{Sign: alice, Dir: mustDir(t)})
	id, key := mustCurrent(t, writer)
	stranger := w.host(conf{Sign: mallory, Dir: mustDir(t)})
	planted, plantedKey := mustCurrent(t, stranger)
	bare := w.host(conf{Dir: mustDir(t)})
	unsigned, unsignedKey := mustCurrent(t, bare)

	reader := w.host(conf{Signers: signersOf(signingKey(3), alice), Dir: mustDir(t)})
	if got, err := reader.Open(t.Context(), obj, id, is(key)); err != nil || got != key {
		t.Errorf("what a signer made: %v", err)
	}
	_, err := reader.Open(t.Context(), obj, planted, is(plantedKey))
	wantErr(t, err, ErrUnsigned)
	if !strings.Contains(err.Error(), planted.String()) || !strings.Contains(err.Error(), "signed by none of the signers of this host") {
		t.Errorf("the error says too little: %v", err)
	}
	_, err = reader.Open(t.Context(), obj, unsigned, is(unsignedKey))
	wantErr(t, err, ErrUnsigned)
	if !strings.Contains(err.Error(), "is not signed") {
		t.Errorf("the error says too little: %v", err)
	}
	if keep, err := reader.MayKeep(t.Context(), obj, unsigned); keep || err != nil {
		t.Errorf("a data key under an epoch of a stranger is kept (%v)", err)
	}
	if _, err := w.host(conf{}).Open(t.Context(), obj, planted, is(plantedKey)); err != nil {
		t.Errorf("a host without signers: %v", err)
	}
}

// What somebody planted for a key of KMS is not asked of KMS.
func TestPlantedEpochCostsNoQuestion(t *testing.T) {
	w := newTrusting(t)
	id, key := mustCurrent(t, w.host(conf{}))
	asked := 0
	reader := w.host(conf{Signers: signersOf(signingKey(3)), Masters: []Master{counted{w.master, &asked}}, WriteSet: []Master{aesKey(9)}})
	_, err := reader.Open(t.Context(), obj, id, is(key))
	wantErr(t, err, ErrUnsigned)
	if asked != 0 {
		t.Errorf("%d wraps of it were opened", asked)
	}
}

// An epoch of this host's own is read, whoever writes over it.
func TestOwnEpochNeedsNoSigner(t *testing.T) {
	for name, sign := range map[string]*SigningKey{"unsigned": nil, "signed": signingKey(0x90)} {
		t.Run(name, func(t *testing.T) {
			w := newTrusting(t)
			dir := mustDir(t)
			opt := conf{Sign: sign, Signers: signersOf(signingKey(3)), Dir: dir}
			host := w.host(opt)
			id, key := mustCurrent(t, host)
			again := w.host(opt)
			if got, _ := mustCurrent(t, again); got != id {
				t.Error("the next mount makes another epoch")
			}
			w.forge(id, key, nil, func(e *Epoch) { e.State = Closed })
			for _, h := range []mounted{host, again, w.host(opt)} {
				if err := h.Recheck(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := h.Open(t.Context(), obj, id, is(key)); err != nil {
					t.Errorf("somebody closed it: %v", err)
				}
			}
			wantSaid(t, w.said, "the bucket shows revision 2 of this epoch, which none of the signers signed; it is passed over, and revision 1 used")
		})
	}
}

// The pin names a key, and no object: without the record its word is nobody's.
func TestPinnedEpochWithoutRecord(t *testing.T) {
	w := newTrusting(t)
	dir := mustDir(t)
	opt := conf{Signers: signersOf(signingKey(3)), Dir: dir}
	id, key := mustCurrent(t, w.host(opt))
	w.forge(id, key, nil, func(e *Epoch) { e.State = Closed })
	removeRecords(t, dir)
	host := w.host(opt)
	if _, err := host.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Errorf("the pinned epoch: %v", err)
	}
	if got, _ := mustCurrent(t, host); got == id {
		t.Error("sealed under what somebody wrote over")
	}
	wantSaid(t, w.said, "has wraps and a state that none of the signers signed")
	if recs, err := dir.records(id); err != nil || len(recs) > 0 {
		t.Errorf("what is not believed is remembered: %v, %v", recs, err)
	}
}

// A host with signers follows what one of them signed, and nothing else: each
// revision by itself.
func TestRevisionsAreJudgedOneByOne(t *testing.T) {
	w := newTrusting(t)
	alice := signingKey(0x90)
	id, key := mustCurrent(t, w.host(conf{Sign: alice}))
	var revoked []error
	reader := w.host(conf{
		Signers: signersOf(alice), Dir: mustDir(t),
		Revoked: func(_ EpochID, err error) { revoked = append(revoked, err) },
	})
	open := func() error {
		if err := reader.Recheck(t.Context()); err != nil {
			t.Fatal(err)
		}
		return second(reader.Open(t.Context(), obj, id, is(key)))
	}
	state := func() string {
		e := reader.known(id)[0]
		return fmt.Sprintf("%d %v %d", e.epoch.Revision, e.state, len(e.epoch.Wraps))
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	first := bytes.Clone(w.bucket.object(epochPath("", id)))

	w.forge(id, key, nil, func(e *Epoch) { e.State = Closed })
	if err := open(); err != nil || state() != "1 open 1" {
		t.Errorf("after an unsigned revision: %v, %s", err, state())
	}
	h, _, err := administer(t, reader.Ring).Look(t.Context(), epochPath("", id))
	if err != nil || h.Err != nil {
		t.Errorf("%+v, %v", h, err)
	}
	wantErr(t, h.Amiss(), ErrUnsigned)
	stolen, err := ParseEpoch(id, first)
	if err != nil {
		t.Fatal(err)
	}
	graft := w.bucket.object(epochPath("", id))
	w.bucket.set(epochPath("", id), append(bytes.Clone(graft), base64Line(stolen.Signature)...))
	if err := open(); err != nil || state() != "1 open 1" {
		t.Errorf("under the signature of another revision: %v, %s", err, state())
	}
	w.bucket.set(epochPath("", id), first)
	w.forge(id, key, alice, func(e *Epoch) { e.State = Retired })
	if err := open(); err != nil || state() != "2 retired 1" {
		t.Errorf("after a signed revision: %v, %s", err, state())
	}
	if keep, _ := reader.MayKeep(t.Context(), obj, id); keep {
		t.Error("a data key under a retired epoch is kept")
	}
	w.bucket.set(epochPath("", id), first)
	if err := open(); err != nil || state() != "2 retired 1" {
		t.Errorf("rolled back: %v, %s", err, state())
	}
	if len(revoked) > 0 {
		t.Errorf("revoked: %v", revoked)
	}
	w.forge(id, key, alice, func(e *Epoch) { e.State, e.Revision = Closed, 3 })
	wantErr(t, open(), ErrWrongKey)
	if len(revoked) != 1 {
		t.Errorf("revoked: %v", revoked)
	}
}

// What was seen before there were signers is not held against what they signed.
func TestSignersComeLater(t *testing.T) {
	w := newTrusting(t)
	alice := signingKey(0x90)
	id, key := mustCurrent(t, w.host(conf{Sign: alice}))
	signed := bytes.Clone(w.bucket.object(epochPath("", id)))
	w.forge(id, key, nil, func(e *Epoch) { e.Revision = 900; e.Host = "mallory" })
	dir := mustDir(t)
	if _, err := w.host(conf{Dir: dir}).Open(t.Context(), obj, id, is(key)); err != nil {
		t.Fatal(err)
	}
	reader := w.host(conf{Dir: dir, Signers: signersOf(alice)})
	_, err := reader.Open(t.Context(), obj, id, is(key))
	wantErr(t, err, ErrUnsigned)
	w.bucket.set(epochPath("", id), signed)
	reader = w.host(conf{Dir: dir, Signers: signersOf(alice)})
	if _, err := reader.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(w.bucket.object(epochPath("", id)), signed) {
		t.Error("what is not believed was put in the place of what is")
	}
}

// A revision of an own epoch that was followed while there were no signers says
// nothing once there are some; a state that was seen stays.
func TestOwnEpochWhenSignersComeLater(t *testing.T) {
	w := newTrusting(t)
	dir := mustDir(t)
	before := w.host(conf{Dir: dir})
	id, key := mustCurrent(t, before)
	w.forge(id, key, nil, func(e *Epoch) { e.Host = "mallory" })
	if err := before.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, _ := mustCurrent(t, w.host(conf{Dir: dir})); now != id {
		t.Fatal("it was not followed")
	}
	host := w.host(conf{Dir: dir, Signers: signersOf(signingKey(3))})
	if now, _ := mustCurrent(t, host); now == id {
		t.Error("sealed under an epoch that another changed")
	}
	if _, err := host.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Error(err)
	}
}

// An own epoch whose object somebody wrote over is left: other hosts are shown
// something else. What lies there stays, since it may be a removal of a key.
func TestOverwrittenOwnEpochIsLeft(t *testing.T) {
	w := newTrusting(t)
	host := w.host(conf{Sign: signingKey(0x90), Signers: signersOf(signingKey(3)), Dir: mustDir(t)})
	id, key := mustCurrent(t, host)
	w.forge(id, key, nil, func(e *Epoch) { e.State = Retired })
	there := bytes.Clone(w.bucket.object(epochPath("", id)))
	if err := host.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, _ := mustCurrent(t, host); now == id {
		t.Error("sealed under an epoch that others are shown otherwise")
	}
	if !bytes.Equal(there, w.bucket.object(epochPath("", id))) {
		t.Error("the unsigned revision was written over")
	}
}

func TestWhoMayChangeWhat(t *testing.T) {
	w := newTrusting(t)
	alice, bob := signingKey(0x90), signingKey(0xa0)
	made := func(sign *SigningKey) (*Epoch, [KeySize]byte) {
		id, key := mustCurrent(t, w.host(conf{Sign: sign}))
		e, err := ParseEpoch(id, w.bucket.object(epochPath("", id)))
		if err != nil {
			t.Fatal(err)
		}
		return e, key
	}
	for _, tt := range []struct {
		name    string
		maker   *SigningKey
		changer conf
		want    error
	}{
		{"nobody signs", nil, conf{}, nil},
		{"signed, without a key", alice, conf{}, ErrUnsigned},
		{"signed by another, with a key", alice, conf{Sign: bob}, nil},
		{"unsigned, with a key", nil, conf{Sign: bob}, nil},
		{"signed by a signer, with a key", alice, conf{Sign: bob, Signers: signersOf(alice)}, nil},
		{"signed by a signer, without a key", alice, conf{Signers: signersOf(alice)}, ErrUnsigned},
		{"unsigned, among signers", nil, conf{Sign: bob, Signers: signersOf(alice)}, ErrUnsigned},
		{"signed by a stranger, among signers", bob, conf{Sign: alice, Signers: signersOf(alice)}, ErrUnsigned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, key := made(tt.maker)
			after := *before
			after.Revision++
			err := w.host(tt.changer).Ring.write(&after, &key, before)
			if tt.want != nil {
				wantErr(t, err, tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if sign := tt.changer.Sign; (after.Signature != nil) != (sign != nil) || sign != nil && !after.SignedBy(sign.Signer()) {
				t.Error("it is not signed as it must be")
			}
			if _, err := ParseEpoch(after.ID, after.stored); err != nil {
				t.Error(err)
			}
		})
	}
}

// What an administrator changes he signs, over whatever somebody put there; one
// without a key to sign with is told so, by a dry run too.
func TestAdminSigns(t *testing.T) {
	w := newTrusting(t)
	alice, bob := signingKey(0x90), signingKey(0xa0)
	id, key := mustCurrent(t, w.host(conf{Sign: alice, Dir: mustDir(t)}))
	reader := w.host(conf{Signers: signersOf(alice, bob)})
	if _, err := reader.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Fatal(err)
	}
	retire := Aim{State: Retired}
	for _, dry := range []bool{true, false} {
		bare := administer(t, w.host(conf{Dir: mustDir(t)}).Ring, AdminOptions{Conditional: true, Dry: dry})
		h := all(t, bare)[id]
		_, err := bare.Apply(t.Context(), &h, retire)
		wantErr(t, err, ErrUnsigned)
	}
	admin := w.host(conf{Sign: bob, Signers: signersOf(alice), Dir: mustDir(t)})
	a := administer(t, admin.Ring)
	if _, err := admin.Open(t.Context(), obj, id, is(key)); err != nil { // so he knows what alice signed
		t.Fatal(err)
	}
	h := all(t, a)[id]
	w.forge(id, key, nil, func(e *Epoch) { e.Revision, e.State = 40, Closed })
	if _, err := a.Apply(t.Context(), &h, retire); err != nil || h.Epoch.Revision != 41 || h.State != Retired || !h.Epoch.SignedBy(bob.Signer()) {
		t.Fatalf("%v: %+v", err, h)
	}
	if err := reader.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := reader.known(id)[0]; e.epoch.Revision != 41 || e.state != Retired {
		t.Errorf("the reader knows revision %d, %v", e.epoch.Revision, e.state)
	}
}

// An administrator with signers signs nothing that he does not believe: it would
// be believed for his sake.
func TestAdminVouchesForNoStranger(t *testing.T) {
	w := newTrusting(t)
	alice := signingKey(0x90)
	id, _ := mustCurrent(t, w.host(conf{Sign: signingKey(0xa0)}))
	before := bytes.Clone(w.bucket.object(epochPath("", id)))
	a := administer(t, w.host(conf{Sign: alice, Signers: signersOf(alice)}).Ring)
	h := all(t, a)[id]
	wantErr(t, h.Err, ErrUnsigned)
	_, err := a.Apply(t.Context(), &h, Aim{State: Retired})
	wantErr(t, err, ErrUnsigned)
	if !bytes.Equal(before, w.bucket.object(epochPath("", id))) {
		t.Error("it was changed")
	}
}

func TestEpochsTellTheirSigner(t *testing.T) {
	w := newTrusting(t)
	alice := signingKey(0x90)
	id, key := mustCurrent(t, w.host(conf{Sign: alice}))
	reader := w.host(conf{Signers: signersOf(alice)})
	if _, err := reader.Open(t.Context(), obj, id, is(key)); err != nil {
		t.Fatal(err)
	}
	if all := reader.Epochs(); len(all) != 1 || all[0].Signer != alice.Signer().String() {
		t.Errorf("%+v", all)
	}
}

func base64Line(raw []byte) []byte { return append(base64.StdEncoding.AppendEncode(nil, raw), '\n') }

// counted counts the wraps that are opened.
type counted struct {
	Master
	n *int
}

func (c counted) Unwrap(ctx context.Context, id EpochID, w Wrap) (*[KeySize]byte, error) {
	*c.n++
	return c.Master.Unwrap(ctx, id, w)
}

func removeRecords(t *testing.T, d *Dir) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.path, "*.epoch"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}
