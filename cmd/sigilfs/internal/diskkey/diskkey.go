// Package diskkey makes keys of what a mount keeps on this host's disk, the
// spool and the read cache, and the record from which a later process on this
// host gets such a key again. The record lies in the clear beside what the key
// seals, one line of JSON; the key in it is sealed in one of two ways:
//
//	by the host's own epoch  {"version":1,"epoch":ID,"salt":…,"blob":…}
//	    blob = nonce(12) || AES-256-GCM under HKDF-SHA256(epoch key, salt,
//	    purpose), AAD the purpose; salt is 16 random bytes.
//	by a master key          {"version":1,"epoch":ID,"key":…,"type":…,"blob":…}
//	    blob as that key wraps an epoch key; ID is random and names no epoch.
//	    For hosts that cannot open their own epoch in a later mount.
package diskkey

import (
	"bytes"
	"context"
	"crypto/aes" //nolint:depguard // no object format: this seals one key for this host's disk
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/keyring"
)

// Purpose is what a key is for. A record by an epoch opens for no other.
type Purpose string

// Purposes.
const (
	Spool Purpose = "sigil/v1/spool"
	Cache Purpose = "sigil/v1/cache"
)

// Key seals what is on disk.
type Key = [keyring.KeySize]byte

// Sentinel errors.
var (
	ErrRecord = errors.New("record of a key is damaged")
	ErrNoKey  = errors.New("no key opens the record of a key")
)

const saltSize = 16

// MaxRecord is the most bytes that a record has.
const MaxRecord = 64 << 10

// Deriver is the key ring, as far as it is needed here.
type Deriver interface {
	Derive(ctx context.Context, id keyring.EpochID, salt []byte, info string) ([keyring.KeySize]byte, error)
}

var _ Deriver = (*keyring.Ring)(nil)

// recordJSON is a record. Salt tells the two kinds apart.
type recordJSON struct {
	Version int    `json:"version"`
	Epoch   string `json:"epoch"`
	Salt    []byte `json:"salt,omitempty"`
	Key     string `json:"key,omitempty"`
	Type    string `json:"type,omitempty"`
	Blob    []byte `json:"blob"`
}

// New draws a key.
func New() *Key {
	key := new(Key)
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	return key
}

// ByEpoch gives the record of key under this host's own epoch id.
func ByEpoch(ctx context.Context, ring Deriver, id keyring.EpochID, use Purpose, key *Key) ([]byte, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt)
	aead, err := epochAEAD(ctx, ring, id, salt, use)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	blob := aead.Seal(nonce, nonce, key[:], []byte(use))
	return marshal(recordJSON{Version: 1, Epoch: id.String(), Salt: salt, Blob: blob})
}

// ByMaster gives the record of key under a master key of this host alone.
func ByMaster(ctx context.Context, m keyring.Master, key *Key) ([]byte, error) {
	id := keyring.NewEpochID()
	w, err := m.Wrap(ctx, id, key)
	if err != nil {
		return nil, fmt.Errorf("seal a key of the disk: %w", err)
	}
	return marshal(recordJSON{Version: 1, Epoch: id.String(), Key: w.Key, Type: w.Type, Blob: w.Blob})
}

// Open gives the key of a record. ErrNoKey: it needs a master key that is not
// among masters. ErrRecord: it is not a record, or was changed. Other errors
// are the ring's or a master's.
func Open(ctx context.Context, record []byte, use Purpose, ring Deriver, masters []keyring.Master) (*Key, error) {
	r, id, err := parse(record)
	if err != nil {
		return nil, fmt.Errorf("open a key of the disk: %w", err)
	}
	if r.Salt != nil {
		return openByEpoch(ctx, ring, id, use, r)
	}
	for _, m := range masters {
		if m.ID() == r.Key && m.Kind() == r.Type && m.CanUnwrap() {
			key, err := m.Unwrap(ctx, id, keyring.Wrap{Key: r.Key, Type: r.Type, Blob: r.Blob})
			if err != nil {
				return nil, fmt.Errorf("open a key of the disk: %w", err)
			}
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: it is sealed under %s", ErrNoKey, r.Key)
}

func openByEpoch(ctx context.Context, ring Deriver, id keyring.EpochID, use Purpose, r recordJSON) (*Key, error) {
	aead, err := epochAEAD(ctx, ring, id, r.Salt, use)
	if err != nil {
		return nil, err
	}
	if len(r.Blob) != aead.NonceSize()+keyring.KeySize+aead.Overhead() {
		return nil, fmt.Errorf("open a key of the disk: %w", ErrRecord)
	}
	plain, err := aead.Open(nil, r.Blob[:aead.NonceSize()], r.Blob[aead.NonceSize():], []byte(use))
	if err != nil {
		return nil, fmt.Errorf("open a key of the disk: it does not authenticate: %w", ErrRecord)
	}
	defer clear(plain)
	key := Key(plain)
	return &key, nil
}

func epochAEAD(ctx context.Context, ring Deriver, id keyring.EpochID, salt []byte, use Purpose) (cipher.AEAD, error) {
	key, err := ring.Derive(ctx, id, salt, string(use))
	if err != nil {
		return nil, fmt.Errorf("key of the disk: %w", err)
	}
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("key of the disk: %w", err)
	}
	return cipher.NewGCM(block)
}

func marshal(r recordJSON) ([]byte, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the record of a key: %w", err)
	}
	return append(line, '\n'), nil
}

// parse checks structure only.
func parse(record []byte) (recordJSON, keyring.EpochID, error) {
	var r recordJSON
	var id keyring.EpochID
	if len(record) > MaxRecord {
		return r, id, fmt.Errorf("%w: over %d bytes", ErrRecord, MaxRecord)
	}
	dec := json.NewDecoder(bytes.NewReader(record))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || dec.More() {
		return r, id, fmt.Errorf("%w: not one JSON line of known members", ErrRecord)
	}
	id, err := keyring.ParseEpochID(r.Epoch)
	byEpoch := len(r.Salt) == saltSize && r.Key == "" && r.Type == ""
	byMaster := r.Salt == nil && r.Key != "" && r.Type != ""
	if err != nil || r.Version != 1 || !byEpoch && !byMaster {
		return r, id, fmt.Errorf("%w: members do not fit", ErrRecord)
	}
	return r, id, nil
}
