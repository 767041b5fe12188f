package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// openRing proves that the key fits what is in the bucket, can wrap, and that
// the bucket takes an epoch. A read-only mount makes none.
func (m *mounting) openRing(ctx context.Context) error {
	var memory *keyring.Dir
	if m.state != nil {
		var err error
		if memory, err = keyring.OpenDir(m.state.Epochs()); err != nil {
			return systemError("%w", err)
		}
	}
	ring, err := keyring.New(keyring.Options{
		Masters: m.keys.all, Bucket: bucket{m.store}, VolumeRoot: m.set.volumeRoot,
		ReadOnly: m.set.readOnly, Dir: memory, Host: m.host(),
		Report: newReporter(m.log).report,
	})
	if err != nil {
		return mountError("%w", err)
	}
	m.ring = ring
	if m.keySet, err = ring.Set(m.keys.write); err != nil {
		return mountError("%w", err)
	}
	switch err := checkKeys(ctx, m.store, ring, m.keys, m.set.volumeRoot); {
	case errors.Is(err, errWrongKeys):
		m.log.Warnf("%v; files there will not open: give the key under which they were written with --key, once more for each key that only reads", err)
	case err != nil:
		return explainStore(m.set.target.Spec, err)
	}
	if m.set.readOnly {
		return nil
	}
	if _, _, err := m.keySet.Current(ctx); err != nil {
		return explainStore(m.set.target.Spec, err)
	}
	return nil
}

// Bounds of checkKeys. The newest epochs are tried: a host's own is among them.
const (
	maxEpochsListed = 2000
	maxEpochsTried  = 32
)

// errWrongKeys: the volume has epochs, and no configured key opens one.
var errWrongKeys = errors.New("wrong key")

// checkKeys gives errWrongKeys for keys that open nothing of what is there.
// That is a warning: hosts with keys of their own may share a volume. Who holds
// public keys only never reads, and is not warned; who may not list cannot be.
func checkKeys(ctx context.Context, store objstore.Store, ring *keyring.Ring, have keySet, root string) error {
	if !have.canRead() {
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
		case !errors.Is(err, keyring.ErrNoKey) && !errors.Is(err, keyring.ErrWrongKey) && !errors.Is(err, keyring.ErrAccess) && !errors.Is(err, keyring.ErrCorrupt) && !errors.Is(err, keyring.ErrVersion):
			return err
		}
		last = err
	}
	if last == nil {
		return nil
	}
	var ids []string
	for _, master := range have.all {
		ids = append(ids, master.ID())
	}
	return fmt.Errorf("%w: %s opens nothing of what is in %s (%w)", errWrongKeys, strings.Join(ids, " or "), dir, last)
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
