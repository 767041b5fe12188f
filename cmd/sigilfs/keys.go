package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// keySet are the opened keys: write wrap what is written here, all open.
type keySet struct {
	write, all []keyring.Master
}

// canRead tells whether any of the keys opens what it wraps.
func (k keySet) canRead() bool {
	return slices.ContainsFunc(k.all, keyring.Master.CanUnwrap)
}

func (m *mounting) openKeys(ctx context.Context) error {
	via := m.sources()
	for i, spec := range m.set.keys {
		master, err := keyring.Open(ctx, keyring.Spec{Source: spec}, via)
		if err != nil {
			return keySourceError("--key", spec, err)
		}
		if i == 0 {
			m.keys.write = append(m.keys.write, master)
		}
		m.keys.all = append(m.keys.all, master)
	}
	for _, spec := range m.set.alsoKeys {
		master, err := keyring.Open(ctx, keyring.Spec{Source: spec}, via)
		if err != nil {
			return keySourceError("--also-key", spec, err)
		}
		m.keys.write = append(m.keys.write, master)
		m.keys.all = append(m.keys.all, master)
	}
	return nil
}

// sources is how keys are reached: commands complain on our stderr, passphrases
// are asked for on the terminal.
func (m *mounting) sources() keyring.Sources {
	return keyring.Sources{Stderr: m.stderr, Passphrase: askPassphrase}
}

// keySourceError says which flag it was. spec may be a secret by mistake and is
// not shown.
func keySourceError(flag, spec string, err error) error {
	if strings.HasPrefix(spec, "file:") {
		return mountError("%s: %w (key files have mode 0600)", flag, err)
	}
	return mountError("%s: %w", flag, err)
}

// keys is the key ring, and the key set of a mount, as a volume sees them.
type keys struct {
	ring *keyring.Ring
	set  *keyring.Set
}

var (
	_ volume.Keys   = keys{}
	_ volume.KeySet = keys{}
)

func (k keys) Current(ctx context.Context) (sigil.Epoch, error) {
	id, key, err := k.set.Current(ctx)
	if err != nil {
		return sigil.Epoch{}, keyError(err)
	}
	return epoch(id, key), nil
}

func (k keys) MayKeep(ctx context.Context, object string, id sigil.EpochID) (bool, error) {
	ok, err := k.set.MayKeep(ctx, object, keyring.EpochID(id))
	if err != nil {
		return false, keyError(err)
	}
	return ok, nil
}

func (k keys) Open(ctx context.Context, object string, id sigil.EpochID, check func(sigil.Epoch) bool) (sigil.Epoch, error) {
	key, err := k.ring.Open(ctx, object, keyring.EpochID(id), func(key *[keyring.KeySize]byte) bool {
		return check(epoch(keyring.EpochID(id), *key))
	})
	if err != nil {
		return sigil.Epoch{}, keyError(err)
	}
	return epoch(keyring.EpochID(id), key), nil
}

func epoch(id keyring.EpochID, key [keyring.KeySize]byte) sigil.Epoch {
	return sigil.Epoch{ID: sigil.EpochID(id), Key: sigil.Key(key)}
}

// keyError gives the ring's errors the names that volume has for them.
func keyError(err error) error {
	for _, pair := range [][2]error{
		{keyring.ErrNoKey, volume.ErrNoKey},
		{keyring.ErrWrongKey, volume.ErrWrongKey},
		{keyring.ErrAccess, volume.ErrAccess},
		{keyring.ErrCorrupt, volume.ErrCorrupt},
		{keyring.ErrVersion, volume.ErrVersion},
		{keyring.ErrReadOnly, volume.ErrReadOnly},
	} {
		if errors.Is(err, pair[0]) {
			return fmt.Errorf("%w: %w", pair[1], err)
		}
	}
	return err
}
