package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/diskkey"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"golang.org/x/sync/semaphore"
)

const (
	// cacheWait is how long a mount waits for another one to leave the cache
	// directory: plain umount(8) returns before the process has ended.
	cacheWait = 5 * time.Second

	// A twentieth of the disk is left free by the cache, and no more than this
	// unless it is asked for.
	mostReserve = 16 << 30
)

// openCache begins to use --cache. A directory that is not safe, or that another
// mount has, refuses the mount; a disk that does not work costs speed only.
func (m *mounting) openCache(ctx context.Context) error {
	if m.set.cacheDir == "" || m.set.cacheSize == 0 {
		return nil
	}
	err := m.claimCache(ctx)
	if err == nil {
		err = m.openDisk(ctx)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, disk.ErrLocked):
		return mountError("%w; unmount that first, or give this mount a directory of its own with --cache", err)
	case errors.Is(err, disk.ErrUnsafe):
		return systemError("%w", err)
	case ctx.Err() != nil:
		return mountError("%s: %w", m.set.target.Spec, context.Cause(ctx))
	case errors.As(err, new(*exitError)):
		return err
	}
	m.log.WithError(err).Warn("nothing is cached on disk in this mount")
	m.closeCache()
	return nil
}

func (m *mounting) claimCache(ctx context.Context) (err error) {
	holder := fmt.Sprintf("process %d, which serves %s on %s", os.Getpid(), m.set.source, m.dir)
	if path, err := filepath.Abs(m.set.cacheDir); err == nil && within(path, m.dir) {
		return m.set.wrong("cache", "lies below the mountpoint")
	}
	m.cacheDir, err = disk.Claim(ctx, m.set.cacheDir, holder, cacheWait)
	if err == nil && within(m.cacheDir.Path(), m.dir) {
		return m.set.wrong("cache", "lies below the mountpoint")
	}
	return err
}

// within tells whether path is dir or lies below it; both are clean.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

func (m *mounting) openDisk(ctx context.Context) error {
	room, err := m.cacheDir.Room()
	if err != nil {
		return err
	}
	key, err := m.cacheKey(ctx)
	if err != nil {
		return err
	}
	defer clear(key[:])
	m.disk, err = disk.Open(m.cacheDir, disk.Options{
		Key: *key, Size: diskSize(m.set.cacheSize, room), Free: m.set.reserveOf(room),
		Report: func(err error) { m.log.WithError(err).Warn("nothing more is cached on disk in this mount") },
	})
	return err
}

// diskSize is --max-cache-size, or half of what the cache could have.
func diskSize(asked int64, room disk.Room) int64 {
	if asked < 0 {
		asked = (room.Free + room.Taken) / 2
	}
	return max(disk.MinSize, asked)
}

// reserveOf is what the cache leaves free of a disk, in bytes.
func (s *settings) reserveOf(room disk.Room) int64 {
	return max(s.diskFree, min(room.Total/20, mostReserve))
}

// cacheKey gives the key of an earlier mount's blocks, if this host can open it
// again; else a new one, and what is there already is lost. Where it cannot be
// said whether it opens, the new key is for this mount only: blocks of the other
// go first when there is no room, and the next mount has what is left of them.
func (m *mounting) cacheKey(ctx context.Context) (*diskkey.Key, error) {
	volume := fmt.Sprintf("%q", m.stateID())
	record, err := m.cacheDir.KeyRecord(volume)
	if err != nil {
		m.log.WithError(err).Debug("the key of the cache")
	}
	masters, err := m.cacheMasters(ctx)
	if err != nil {
		return nil, mountError("--state-key: %w", err)
	}
	if record != nil {
		key, err := diskkey.Open(ctx, record, diskkey.Cache, m.ring, masters)
		switch {
		case err == nil:
			return key, nil
		case !staysShut(err):
			m.log.WithError(err).Warn("what earlier mounts cached on disk is left to the next one, since its key cannot be opened now; that will not have what this one caches")
			return diskkey.New(), nil
		}
		m.log.WithError(err).Info("the cache is begun anew, since its key does not open any more")
	}
	key := diskkey.New()
	if record, err = m.cacheRecord(ctx, key, masters); err == nil && record != nil {
		err = m.cacheDir.SetKeyRecord(volume, record)
	}
	if err != nil {
		m.log.WithError(err).Warn("what is cached on disk will be of no use to the next mount: its key is not kept")
	}
	return key, nil
}

// staysShut tells the errors of a record that will not open later either: it is
// damaged, or its key is not given, wrong or refused. Others may pass.
func staysShut(err error) bool {
	return slices.ContainsFunc(append(doesNotOpen(), diskkey.ErrRecord, diskkey.ErrNoKey), func(is error) bool { return errors.Is(err, is) })
}

// cacheRecord seals the cache key under the own epoch, or under --state-key. Nil
// where this host has neither, or writes nothing: the key ends with the mount.
func (m *mounting) cacheRecord(ctx context.Context, key *diskkey.Key, masters []keyring.Master) ([]byte, error) {
	switch {
	case m.own != nil && m.own.CanReopen() && !m.set.readOnly:
		id, _, err := m.own.Current(ctx)
		if err != nil {
			return nil, err
		}
		return diskkey.ByEpoch(ctx, m.ring, id, diskkey.Cache, key)
	case len(masters) > 0:
		return diskkey.ByMaster(ctx, masters[0], key)
	}
	return nil, nil
}

// cacheMasters is --state-key, where it is given.
func (m *mounting) cacheMasters(ctx context.Context) ([]keyring.Master, error) {
	if m.set.stateKey == "" {
		return nil, nil
	}
	master, err := m.stateMaster(ctx)
	return []keyring.Master{master}, err
}

// newCache makes what is kept in memory, over the disk if there is one. shared
// is memory for what is under way.
func (m *mounting) newCache(shared *semaphore.Weighted) *cache.Cache {
	opt := cache.Options{Bytes: m.set.cacheBytes(), Budget: shared, Ahead: m.set.sharedBytes(), Timeout: m.set.fetchTimeout()}
	if m.disk != nil {
		opt.Disk = m.disk
	}
	return cache.New(opt)
}

// fetchTimeout is how long a fetch may bring no block. Under --download-limit
// all that may be under way take turns: a block of each, twice over.
func (s *settings) fetchTimeout() time.Duration {
	const usual, round = 2 * time.Minute, 2 * 64 * 64 << 10
	if s.downloadLimit == 0 {
		return usual
	}
	return usual + round*time.Second/time.Duration(s.downloadLimit)
}

// closeCache gives the disk and its directory back.
func (m *mounting) closeCache() {
	var errs []error
	if m.disk != nil {
		errs = append(errs, m.disk.Close())
	}
	if m.cacheDir != nil {
		errs = append(errs, m.cacheDir.Close())
	}
	m.disk, m.cacheDir = nil, nil
	if err := errors.Join(errs...); err != nil {
		m.log.WithError(err).Warn("closing the cache on disk")
	}
}
