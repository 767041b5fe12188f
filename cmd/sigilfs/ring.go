package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// openRing proves that the key fits what is in the bucket, can wrap, and that
// the bucket takes an epoch. A read-only mount makes none.
func (m *mounting) openRing(ctx context.Context) error {
	if err := m.newRing(ctx); err != nil {
		return err
	}
	switch err := checkKeys(ctx, m.store, m.ring, m.masters(), m.set.volumeRoot); {
	case errors.Is(err, errStrangers):
		m.log.Warnf("%v; files there will not open: add the hosts that made them to --signers, if they are yours, and have them --sign", err)
	case errors.Is(err, errWrongKeys):
		m.log.Warnf("%v; files there will not open: give the key under which they were written with --key, once more for each key that only reads", err)
	case err != nil:
		return explainStore(m.set.target.Spec, err)
	}
	return m.openSets(ctx)
}

// newRing makes the key ring. It asks for nothing yet.
func (m *mounting) newRing(context.Context) error {
	var memory *keyring.Dir
	if m.state != nil {
		var err error
		if memory, err = keyring.OpenDir(m.state.Epochs()); err != nil {
			return systemError("%w", err)
		}
	}
	beneath, err := m.beneath()
	if err != nil {
		return err
	}
	var epochs keyring.Bucket = bucket{m.store, beneath}
	var older keyring.Older
	if m.set.at.given() || m.set.lostEpochs {
		older = olderEpochs(m.store, m.log)
	}
	if m.dry {
		epochs = unwritten{epochs}
	}
	ring, err := keyring.New(keyring.Options{
		Masters: m.masters(), Bucket: epochs, Older: older, VolumeRoot: m.set.volumeRoot,
		ReadOnly: m.set.readOnly, Signers: m.set.signers, Sign: m.sign, Dir: memory, Host: m.host(),
		Report: newReporter(m.log).report, Revoked: m.revoke, Lease: leaseOf(m.set.keyRecheck),
	})
	if err != nil {
		return mountError("%w", err)
	}
	m.ring = ring
	return nil
}

// leaseOf is for how long an own epoch is sealed under without a look at it, where
// looks come so often: only who missed one looks by himself.
func leaseOf(recheck time.Duration) time.Duration {
	if recheck <= 0 {
		return 0
	}
	return recheck + time.Minute
}

// revoke has the volume read nothing more under an epoch.
func (m *mounting) revoke(id keyring.EpochID, _ error) {
	if m.volume != nil {
		m.volume.Revoke(sigil.EpochID(id))
	}
}

// openSets proves, for each rule that seals, that its keys wrap and the bucket
// takes an epoch. The volume's own objects, and so the spool, are under the set
// of the root or, where that does not seal, of the shortest prefix that does.
func (m *mounting) openSets(ctx context.Context) error {
	for _, r := range m.rules { // the longest prefix first
		if r.Mode != config.Client {
			continue
		}
		set, err := m.setOf(r)
		if err != nil {
			return mountError("%s: %w", r.At, err)
		}
		m.own = set
		if m.set.readOnly {
			continue
		}
		if _, _, err := set.Current(ctx); err != nil {
			return explainStore(m.set.target.Spec, err)
		}
	}
	return nil
}

func (m *mounting) setOf(r rule) (*keyring.Set, error) {
	var masters []keyring.Master
	for _, k := range r.keys {
		masters = append(masters, k.master)
	}
	return m.ring.Set(masters)
}

// Bounds of checkKeys. The newest epochs are tried: a host's own is among them.
const (
	maxEpochsListed = 2000
	maxEpochsTried  = 32
)

// errWrongKeys: the volume has epochs, and no configured key opens one.
// errStrangers: none of them is believed.
var (
	errWrongKeys = errors.New("wrong key")
	errStrangers = errors.New("no signer")
)

// checkKeys gives errWrongKeys for keys that open nothing of what is there.
// That is a warning: hosts with keys of their own may share a volume. Who holds
// public keys only never reads, and is not warned; who may not list cannot be.
func checkKeys(ctx context.Context, store objstore.Store, ring *keyring.Ring, have []keyring.Master, root string) error {
	if !slices.ContainsFunc(have, keyring.Master.CanUnwrap) {
		return nil
	}
	dir := root + ".sigil/epochs/"
	epochs, err := newest(ctx, store, dir)
	switch {
	case errors.Is(err, objstore.ErrAccess):
		return nil
	case err != nil:
		return err
	}
	var last error
	strangers := 0
	for _, id := range epochs {
		// Whether it opens is asked, and nothing kept of it: no object is here
		// to show that the epoch is the one it was sealed under.
		opened := false
		_, err := ring.Open(ctx, root, id, func(*[keyring.KeySize]byte) bool {
			opened = true
			return false
		})
		switch {
		case opened:
			return nil
		case !slices.ContainsFunc(doesNotOpen(), func(is error) bool { return errors.Is(err, is) }):
			return err
		case errors.Is(err, keyring.ErrUnsigned):
			strangers++
		}
		last = err
	}
	switch {
	case last == nil:
		return nil
	case strangers == len(epochs):
		return fmt.Errorf("%w: none of --signers signed anything of what is in %s (%w)", errStrangers, dir, last)
	}
	var ids []string
	for _, master := range have {
		ids = append(ids, master.ID())
	}
	return fmt.Errorf("%w: %s opens nothing of what is in %s (%w)", errWrongKeys, strings.Join(ids, " or "), dir, last)
}

// doesNotOpen are the errors of one epoch, not of the bucket.
func doesNotOpen() []error {
	return []error{keyring.ErrNoKey, keyring.ErrWrongKey, keyring.ErrAccess, keyring.ErrUnsigned, keyring.ErrCorrupt, keyring.ErrVersion, objstore.ErrKeyDisabled}
}

// newest gives the ids of the last epochs that were written.
func newest(ctx context.Context, store objstore.Store, dir string) ([]keyring.EpochID, error) {
	var all []objstore.Entry
	for e, err := range store.List(ctx, objstore.ListOptions{Prefix: dir, Delimiter: "/", Limit: maxEpochsListed}) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b objstore.Entry) int { return b.Modified.Compare(a.Modified) })
	var ids []keyring.EpochID
	for _, e := range all {
		if id, err := keyring.ParseEpochID(strings.TrimPrefix(e.Key, dir)); err == nil && len(ids) < maxEpochsTried {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
