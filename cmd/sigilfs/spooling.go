package main

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/diskkey"
	"github.com/sigilfs/sigilfs/internal/keyring"
)

// openSpool makes this mount's spool, under a key of its own.
func (m *mounting) openSpool(ctx context.Context) error {
	if m.set.readOnly {
		return nil
	}
	key := diskkey.New()
	defer clear(key[:])
	record, err := m.spoolRecord(ctx, key)
	if err != nil {
		return err
	}
	dir := m.state.NewSpool(time.Now())
	m.spool, err = spool.Open(dir, spool.Options{Limit: m.set.spoolSize, Reserve: m.set.diskFree, Key: key, KeyRecord: record})
	if err != nil {
		return systemError("%w", err)
	}
	m.spoolDir = dir
	return nil
}

// spoolRecord seals the spool key so that a later mount opens it: under the own
// epoch, or, where this host cannot open that again, under a key of its disk.
func (m *mounting) spoolRecord(ctx context.Context, key *diskkey.Key) ([]byte, error) {
	if m.own != nil && m.own.CanReopen() {
		id, _, err := m.own.Current(ctx)
		if err != nil {
			return nil, explainStore(m.set.target.Spec, err)
		}
		record, err := diskkey.ByEpoch(ctx, m.ring, id, diskkey.Spool, key)
		if err != nil {
			return nil, explainStore(m.set.target.Spec, err)
		}
		return record, nil
	}
	master, err := m.stateMaster(ctx)
	if err != nil {
		return nil, mountError("--state-key: %w", err)
	}
	record, err := diskkey.ByMaster(ctx, master, key)
	if err != nil {
		return nil, systemError("%w", err)
	}
	return record, nil
}

// stateMaster is --state-key, or a key file beside the spool.
func (m *mounting) stateMaster(ctx context.Context) (keyring.Master, error) {
	via := m.sources()
	if m.set.stateKey != "" {
		master, err := keyring.Open(ctx, keyring.Spec{Source: m.set.stateKey}, via)
		if err == nil && !master.CanUnwrap() {
			err = errors.New("it only holds public recipients; give a key that this host can open again")
		}
		return master, err
	}
	path := m.state.SpoolKeyFile()
	if _, err := keyring.Generate(keyring.KindAES, path, time.Now()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	m.log.WithField("file", path).Warn("this host cannot open what it writes, so unfinished writes lie on its disk under a key beside them: a stolen disk shows them; --state-key names a better place")
	return keyring.Open(ctx, keyring.Spec{Source: "file:" + path}, via)
}
