package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/diskkey"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sirupsen/logrus"
)

// unopened is a spool of a dead mount that cannot be opened now.
type unopened struct {
	state.Leftover
	err error
}

// openLeftovers opens what dead mounts left, for the volume to replay. What
// cannot be opened is told of and stays.
func (m *mounting) openLeftovers(ctx context.Context) error {
	if m.set.readOnly {
		return nil
	}
	sealed, err := m.takeLeftovers(ctx)
	if err != nil {
		m.log.WithError(err).Warn("what earlier mounts left behind could not be looked at")
	}
	for _, s := range sealed {
		m.log.WithFields(logrus.Fields{"files": s.Files, "dir": s.Path}).WithError(s.err).
			Warn("what an earlier mount left uncommitted cannot be opened now; it is kept, sealed")
	}
	return nil
}

func (m *mounting) takeLeftovers(ctx context.Context) (sealed []unopened, err error) {
	all, err := m.state.Leftovers()
	if len(all) == 0 {
		return nil, err
	}
	masters, merr := m.spoolMasters(ctx)
	err = errors.Join(err, merr)
	for _, l := range all {
		r, lerr := m.openLeftover(ctx, l.Path, masters)
		m.shut = m.shut || lerr != nil
		switch {
		case lerr == nil:
			m.left = append(m.left, r)
		case !errors.Is(lerr, spool.ErrBusy): // else a living mount's own
			sealed = append(sealed, unopened{l, lerr})
		}
	}
	return sealed, err
}

func (m *mounting) openLeftover(ctx context.Context, path string, masters []keyring.Master) (*spool.Remains, error) {
	record, err := spool.ReadKeyRecord(path)
	if err != nil {
		return nil, err
	}
	ring := diskkey.Deriver(noRing{})
	if m.ring != nil {
		ring = m.ring
	}
	key, err := diskkey.Open(ctx, record, diskkey.Spool, ring, masters)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	return spool.Recover(path, key)
}

// spoolMasters are the keys under which a spool of this host may lie: those of
// the mount, --state-key, and that beside the spools.
func (m *mounting) spoolMasters(ctx context.Context) ([]keyring.Master, error) {
	all := m.masters()
	var errs []error
	add := func(source string) {
		master, err := keyring.Open(ctx, keyring.Spec{Source: source}, m.sources())
		if err != nil {
			errs = append(errs, err)
			return
		}
		all = append(all, master)
	}
	if m.set.stateKey != "" {
		add(m.set.stateKey)
	}
	if path := m.state.SpoolKeyFile(); !errors.Is(lstat(path), fs.ErrNotExist) {
		add("file:" + path)
	}
	return all, errors.Join(errs...)
}

func lstat(path string) error {
	_, err := os.Lstat(path)
	return err
}

// closeLeftovers lets go of them; a directory of which nothing is left goes.
func (m *mounting) closeLeftovers() error {
	var errs []error
	for _, r := range m.left {
		errs = append(errs, r.Close())
		_ = os.Remove(r.Path()) // goes if it is empty
	}
	m.left = nil
	return errors.Join(errs...)
}

// bootID names this run of the kernel (proc_sys_kernel(5)); "" where it is not
// told: then nothing counts as safe that is not synced.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
