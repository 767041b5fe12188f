package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

const testRoot = "web/"

func newMaster(t *testing.T) keyring.Master {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := keyring.Generate(keyring.KindAES, path, time.Now()); err != nil {
		t.Fatal(err)
	}
	m, err := keyring.Open(t.Context(), keyring.Spec{Source: "file:" + path}, keyring.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newRecipient(t *testing.T) keyring.Master {
	t.Helper()
	public, err := keyring.Generate(keyring.KindAge, filepath.Join(t.TempDir(), "key"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := keyring.Open(t.Context(), keyring.Spec{Source: "age:" + public.Recipient}, keyring.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ringAndSet is what a mount with one rule has.
type ringAndSet struct {
	keys
	keySet
}

// newRing gives a ring whose first key writes.
func newRing(t *testing.T, store objstore.Store, masters ...keyring.Master) ringAndSet {
	t.Helper()
	r, err := keyring.New(keyring.Options{Masters: masters, Bucket: bucket{store: store}, VolumeRoot: testRoot, Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := r.Set(masters[:1])
	if err != nil {
		t.Fatal(err)
	}
	return ringAndSet{keys{r}, keySet{set}}
}

func TestCheckKeys(t *testing.T) {
	store := mem.New(mem.Options{})
	mine, other, public := newMaster(t), newMaster(t), newRecipient(t)
	check := func(masters ...keyring.Master) error {
		return checkKeys(t.Context(), store, newRing(t, store, masters...).ring, masters, testRoot)
	}
	if err := check(mine); err != nil {
		t.Errorf("an empty bucket: %v", err)
	}
	if _, _, err := newRing(t, store, mine).set.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := check(mine); err != nil {
		t.Errorf("the right key: %v", err)
	}
	if err := check(other); !errors.Is(err, errWrongKeys) {
		t.Errorf("the wrong key: %v", err)
	}
	if err := check(other, mine); err != nil {
		t.Errorf("the right key only reads: %v", err)
	}
	if err := check(public); err != nil {
		t.Errorf("a host that only writes: %v", err)
	}
	if _, _, err := newRing(t, store, other).set.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := check(mine); err != nil {
		t.Errorf("epochs of two hosts: %v", err)
	}
}

// A host is told at mount that it believes nothing of what is there.
func TestCheckKeysOfStrangers(t *testing.T) {
	store, mine := mem.New(mem.Options{}), newMaster(t)
	if _, _, err := newRing(t, store, mine).set.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader, err := keyring.New(keyring.Options{
		Masters: []keyring.Master{mine}, Bucket: bucket{store: store}, VolumeRoot: testRoot, Signers: make([]keyring.Signer, 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := checkKeys(t.Context(), store, reader, []keyring.Master{mine}, testRoot); !errors.Is(err, errStrangers) {
		t.Errorf("an epoch of a stranger: %v", err)
	}
}

// A volume opens through the adapter what was sealed through it.
func TestKeysAdapter(t *testing.T) {
	store := mem.New(mem.Options{})
	master := newMaster(t)
	epoch, err := newRing(t, store, master).Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k := newRing(t, store, master)
	got, err := k.Open(t.Context(), testRoot+"a/b", epoch.ID, func(e sigil.Epoch) bool { return e == epoch })
	if err != nil || got != epoch {
		t.Errorf("Open: %v, %v", got, err)
	}
	if _, err := k.Open(t.Context(), testRoot+"a/b", sigil.EpochID{1}, func(sigil.Epoch) bool { return true }); !errors.Is(err, volume.ErrNoKey) {
		t.Errorf("an unknown epoch: %v", err)
	}
	stranger := newRing(t, store, newMaster(t))
	if _, err := stranger.Open(t.Context(), testRoot+"a/b", epoch.ID, func(sigil.Epoch) bool { return true }); !errors.Is(err, volume.ErrNoKey) {
		t.Errorf("another's epoch: %v", err)
	}
}

// denied answers every Get as a bucket policy, or KMS, may.
type denied struct {
	objstore.Store
	err error
}

func (d denied) Get(context.Context, objstore.ID, objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	return objstore.Info{}, 0, nil, fmt.Errorf("get: %w", d.err)
}

// An epoch under a key that S3 may not use is there all the same: what is
// sealed under it is not ours to read now, and it is not made anew.
func TestEpochUnderAKeyOfTheServer(t *testing.T) {
	store := mem.New(mem.Options{})
	master := newMaster(t)
	dir, err := keyring.OpenDir(filepath.Join(t.TempDir(), "epochs"))
	if err != nil {
		t.Fatal(err)
	}
	mount := func(store objstore.Store) ringAndSet {
		r, err := keyring.New(keyring.Options{Masters: []keyring.Master{master}, Bucket: bucket{store: store}, VolumeRoot: testRoot, Dir: dir, Host: "h"})
		if err != nil {
			t.Fatal(err)
		}
		set, err := r.Set([]keyring.Master{master})
		if err != nil {
			t.Fatal(err)
		}
		return ringAndSet{keys{r}, keySet{set}}
	}
	epoch, err := mount(store).Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for cause, want := range map[error]error{objstore.ErrKeyAccess: volume.ErrKeyAccess, objstore.ErrKeyDisabled: volume.ErrKeyDisabled} {
		m := mount(denied{store, cause})
		_, err := m.Open(t.Context(), testRoot+"a", epoch.ID, func(sigil.Epoch) bool { return true })
		if !errors.Is(err, want) || errors.Is(err, volume.ErrNoKey) {
			t.Errorf("%v: opened with %v", cause, err)
		}
		if e, err := m.Current(t.Context()); !errors.Is(err, want) {
			t.Errorf("%v: epoch %v, %v", cause, e.ID, err)
		}
		if keys := store.Keys(); len(keys) != 1 {
			t.Errorf("%v: %q", cause, keys)
		}
	}
	if _, _, err := (bucket{store: denied{store, objstore.ErrKeyMissing}}).Get(t.Context(), "e"); !errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("deleted: %v", err)
	}
}

func TestBucketAdapter(t *testing.T) {
	store := mem.New(mem.Options{})
	b := bucket{store: store}
	if _, _, err := b.Get(t.Context(), "e"); !errors.Is(err, keyring.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, _, err := (bucket{store: denied{store, objstore.ErrAccess}}).Get(t.Context(), "e"); !errors.Is(err, keyring.ErrNotExist) {
		t.Errorf("denied: %v", err)
	}
	if _, _, err := b.Get(t.Context(), strings.Repeat("d", objstore.MaxKeyLen)+"/e"); !errors.Is(err, keyring.ErrNotExist) {
		t.Errorf("no room for the key: %v", err)
	}
	if err := b.Create(t.Context(), "e", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "e", []byte("two")); !errors.Is(err, keyring.ErrExist) {
		t.Errorf("created twice: %v", err)
	}
	data, etag, err := b.Get(t.Context(), "e")
	if err != nil || string(data) != "one" {
		t.Fatalf("%q, %v", data, err)
	}
	if err := b.Replace(t.Context(), "e", []byte("three"), etag); err != nil {
		t.Error(err)
	}
	if err := b.Replace(t.Context(), "e", []byte("four"), etag); !errors.Is(err, keyring.ErrChanged) {
		t.Errorf("replaced an old version: %v", err)
	}
	big := bytes.Repeat([]byte("x"), keyring.MaxEpochSize+100)
	if err := b.Create(t.Context(), "big", big); err != nil {
		t.Fatal(err)
	}
	if data, _, err := b.Get(t.Context(), "big"); err != nil || len(data) != keyring.MaxEpochSize+1 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}
