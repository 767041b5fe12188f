package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// openKeys opens each configured key once, and gives the rules theirs.
func (m *mounting) openKeys(ctx context.Context) error {
	opened := map[string]*key{}
	for _, k := range m.set.policy.Keys {
		made, err := m.openKey(ctx, k)
		if err != nil {
			return keySourceError(k, err)
		}
		opened[k.Name] = made
		m.opened = append(m.opened, made)
	}
	m.rules = resolve(m.set, opened)
	return m.openSigning(ctx)
}

// masters are the opened keys that wrap or open epochs.
func (m *mounting) masters() []keyring.Master {
	var all []keyring.Master
	for _, k := range m.opened {
		if k.master != nil {
			all = append(all, k.master)
		}
	}
	return all
}

// sources is how keys are reached: commands complain on our stderr, passphrases
// are asked for on the terminal.
func (m *mounting) sources() keyring.Sources {
	via := keyring.Sources{Stderr: m.stderr, Passphrase: askPassphrase}
	if m.kms != nil {
		via.KMS = m.kms
	}
	return via
}

// keySourceError says which key it was. Its source may be a secret by mistake
// and is not shown.
func keySourceError(k config.Key, err error) error {
	where := k.At.String()
	if k.At.Line > 0 {
		where += ": key " + k.Name
	}
	if strings.HasPrefix(k.Source, "file:") {
		return mountError("%s: %w (key files have mode 0600)", where, err)
	}
	return mountError("%s: %w", where, err)
}

// keys is the key ring as a volume sees it.
type keys struct{ ring *keyring.Ring }

// keySet is a key set of it.
type keySet struct{ set *keyring.Set }

var (
	_ volume.Keys   = keys{}
	_ volume.KeySet = keySet{}
)

func (k keySet) Current(ctx context.Context) (sigil.Epoch, error) {
	id, key, err := k.set.Current(ctx)
	if err != nil {
		return sigil.Epoch{}, keyError(err)
	}
	return epoch(id, key), nil
}

func (k keySet) MayKeep(ctx context.Context, object string, id sigil.EpochID) (bool, error) {
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

func (k keys) KeyIDs(id sigil.EpochID) []string { return k.ring.EpochKeys(keyring.EpochID(id)) }

// EpochState is for surveys.
func (k keys) EpochState(id sigil.EpochID) string { return k.ring.EpochState(keyring.EpochID(id)) }

func epoch(id keyring.EpochID, key [keyring.KeySize]byte) sigil.Epoch {
	return sigil.Epoch{ID: sigil.EpochID(id), Key: sigil.Key(key)}
}

// keyError gives the ring's errors the names that volume has for them.
func keyError(err error) error {
	for _, pair := range [][2]error{
		{keyring.ErrNoKey, volume.ErrNoKey},
		{keyring.ErrWrongKey, volume.ErrWrongKey},
		{keyring.ErrAccess, volume.ErrKeyAccess},
		{keyring.ErrUnsigned, volume.ErrWrongKey},
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
