package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	recordPrefix = "sigilfs.key-"
	newPrefix    = ".sigilfs.new-" // of one that is being written
	maxRecord    = 64 << 10        // bytes
	maxRecords   = 64              // of so many volumes; the oldest goes
)

// KeyRecord gives what SetKeyRecord was given for a volume; nil where there is
// nothing. The cache keeps it and does not know what it means.
func (d *Dir) KeyRecord(volume string) ([]byte, error) {
	f, err := os.OpenFile(d.recordPath(volume), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of a cache key: %w", err)
	}
	defer f.Close()
	record, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err == nil && len(record) > maxRecord {
		err = fmt.Errorf("%s is longer than %d bytes", f.Name(), maxRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of a cache key: %w", err)
	}
	return record, nil
}

// SetKeyRecord keeps a record for the mounts of a volume to come: whole or not
// at all. Of 64 volumes; the one whose record is oldest goes.
func (d *Dir) SetKeyRecord(volume string, record []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep the record of a cache key: %w", err)
		}
	}()
	if len(record) > maxRecord {
		return fmt.Errorf("%d bytes are too many", len(record))
	}
	tmp, err := os.CreateTemp(d.path, newPrefix+"*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(record)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), d.recordPath(volume)); err != nil {
		return err
	}
	return d.thinOut()
}

// recordPath is the file of a volume: its name tells nobody which one it is.
func (d *Dir) recordPath(volume string) string {
	sum := sha256.Sum256([]byte(volume))
	return filepath.Join(d.path, recordPrefix+hex.EncodeToString(sum[:8]))
}

// thinOut removes the oldest records above the number that is kept, and what a
// crash left of new ones.
func (d *Dir) thinOut() error {
	all, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	var records, gone []string
	ages := map[string]time.Time{}
	for _, e := range all {
		switch {
		case strings.HasPrefix(e.Name(), newPrefix):
			gone = append(gone, e.Name())
		case strings.HasPrefix(e.Name(), recordPrefix):
			records = append(records, e.Name())
			if info, err := e.Info(); err == nil {
				ages[e.Name()] = info.ModTime()
			}
		}
	}
	slices.SortFunc(records, func(a, b string) int { return ages[a].Compare(ages[b]) })
	gone = append(gone, records[:max(0, len(records)-maxRecords)]...)
	var errs []error
	for _, name := range gone {
		errs = append(errs, os.Remove(filepath.Join(d.path, name)))
	}
	return errors.Join(errs...)
}

// Room is how the file system of a directory stands, in bytes.
type Room struct {
	Total int64 // its size
	Free  int64 // of that, left for this user
	Taken int64 // by the cache
}

// Room looks at it.
func (d *Dir) Room() (Room, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		return Room{}, fmt.Errorf("cache directory: %w", &os.PathError{Op: "statfs", Path: d.path, Err: err})
	}
	r := Room{Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize}
	for _, name := range []string{indexName, blocksName} {
		var file unix.Stat_t
		if err := unix.Lstat(filepath.Join(d.path, name), &file); err == nil {
			r.Taken += file.Blocks * 512
		}
	}
	return r, nil
}
