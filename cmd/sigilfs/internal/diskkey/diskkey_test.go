package diskkey_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/diskkey"
	"github.com/sigilfs/sigilfs/internal/keyring"
)

// ring derives from one epoch key.
type ring struct{ key [32]byte }

func (r ring) Derive(_ context.Context, id keyring.EpochID, salt []byte, info string) ([32]byte, error) {
	secret := append(r.key[:], id[:]...)
	out, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		return [32]byte{}, err
	}
	return [32]byte(out), nil
}

func master(t *testing.T, fill byte) keyring.Master {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	raw := bytes.Repeat([]byte{fill}, 31)
	if err := os.WriteFile(path, append(raw, fill+1), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := keyring.Open(t.Context(), keyring.Spec{Source: "file:" + path}, keyring.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestByEpoch(t *testing.T) {
	r := ring{key: [32]byte{1}}
	key, id := diskkey.New(), keyring.NewEpochID()
	record, err := diskkey.ByEpoch(t.Context(), r, id, diskkey.Spool, key)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(record, key[:]) {
		t.Error("the record shows the key")
	}
	again, err := diskkey.ByEpoch(t.Context(), r, id, diskkey.Spool, key)
	if err != nil || bytes.Equal(record, again) {
		t.Errorf("two records are alike (%v)", err)
	}
	got, err := diskkey.Open(t.Context(), record, diskkey.Spool, r, nil)
	if err != nil || *got != *key {
		t.Errorf("Open: %v", err)
	}
	if _, err := diskkey.Open(t.Context(), record, diskkey.Cache, r, nil); !errors.Is(err, diskkey.ErrRecord) {
		t.Errorf("for another purpose: %v", err)
	}
	if _, err := diskkey.Open(t.Context(), record, diskkey.Spool, ring{key: [32]byte{2}}, nil); !errors.Is(err, diskkey.ErrRecord) {
		t.Errorf("under another epoch key: %v", err)
	}
}

func TestByMaster(t *testing.T) {
	mine, other := master(t, 1), master(t, 7)
	key := diskkey.New()
	record, err := diskkey.ByMaster(t.Context(), mine, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := diskkey.Open(t.Context(), record, diskkey.Spool, ring{}, []keyring.Master{other, mine})
	if err != nil || *got != *key {
		t.Errorf("Open: %v", err)
	}
	if _, err := diskkey.Open(t.Context(), record, diskkey.Spool, ring{}, []keyring.Master{other}); !errors.Is(err, diskkey.ErrNoKey) {
		t.Errorf("without its key: %v", err)
	}
}

// No byte of a record can be changed so that it still gives a key, other
// than one that JSON does not mind.
func TestTampered(t *testing.T) {
	r := ring{key: [32]byte{1}}
	key := diskkey.New()
	record, err := diskkey.ByEpoch(t.Context(), r, keyring.NewEpochID(), diskkey.Spool, key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range record {
		bad := bytes.Clone(record)
		bad[i] ^= 1
		if got, err := diskkey.Open(t.Context(), bad, diskkey.Spool, r, nil); err == nil && *got != *key {
			t.Errorf("byte %d changed: another key came out", i)
		}
	}
}

func FuzzOpen(f *testing.F) {
	record, err := diskkey.ByEpoch(context.Background(), ring{}, keyring.NewEpochID(), diskkey.Spool, diskkey.New())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add([]byte(`{"version":1,"epoch":"aaaaaaaaaaaaaaaaaaaaaaaaaa","key":"aes:00","type":"aes","blob":""}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := diskkey.Open(t.Context(), b, diskkey.Spool, ring{}, nil)
		if (key == nil) == (err == nil) {
			t.Errorf("key %v, error %v", key != nil, err)
		}
	})
}
