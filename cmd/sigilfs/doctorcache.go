package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/internal/doctor"
	"golang.org/x/sys/unix"
)

// cacheCheck is of the directory of --cache, where one is given.
const cacheCheck = "cache"

// tryCache does with it what a mount does, and leaves nothing there but a lock
// file that nobody holds. A directory that is missing is not made.
func (e *examination) tryCache(ctx context.Context) doctor.Finding {
	const remedy = "name a directory of this user alone with --cache"
	path, err := filepath.Abs(e.set.cacheDir)
	if err != nil {
		return failing(err, remedy)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return newCacheDir(path)
	}
	dir, err := disk.Claim(ctx, path, fmt.Sprintf("process %d, sigilfs doctor", os.Getpid()), 0)
	switch {
	case errors.Is(err, disk.ErrLocked):
		return doctor.Finding{Status: doctor.Warning, Text: oneLine(err), Remedy: "give this mount a directory of its own with --cache, unless the two take turns"}
	case errors.Is(err, disk.ErrUnsafe):
		return failing(err, remedy)
	}
	if err == nil {
		defer dir.Close()
		err = dir.Try()
	}
	if err != nil {
		return doctor.Finding{Status: doctor.Warning, Text: "a mount would cache nothing on disk: " + oneLine(err), Remedy: "give a directory on a local file system, as ext4 or xfs, with --cache"}
	}
	room, err := dir.Room()
	if err != nil {
		return failing(err, remedy)
	}
	return e.cacheRoom(path, room)
}

// newCacheDir is for a directory that a mount would make.
func newCacheDir(path string) doctor.Finding {
	above, err := canMake(path)
	if err != nil {
		return doctor.Finding{Status: doctor.Warning, Text: fmt.Sprintf("a mount would cache nothing on disk: %s cannot be made in %s: %v", path, above, err), Remedy: fmt.Sprintf("make %s, of mode 0700, for the user of the mount", path)}
	}
	return doctor.Finding{Text: fmt.Sprintf("%s is not there yet, and a mount can make it in %s", path, above)}
}

// canMake tells whether path can be made, with all above it: in the directory
// that is there already.
func canMake(path string) (above string, err error) {
	above = filepath.Dir(path)
	for above != filepath.Dir(above) {
		if _, err := os.Stat(above); err == nil {
			break
		}
		above = filepath.Dir(above)
	}
	return above, unix.Access(above, unix.W_OK|unix.X_OK)
}

// cacheRoom compares what may be cached to what can be.
func (e *examination) cacheRoom(path string, room disk.Room) doctor.Finding {
	const mib = 1 << 20
	wanted := diskSize(e.set.cacheSize, room)
	fits := max(0, room.Taken+room.Free-e.set.reserveOf(room))
	if fits < wanted {
		return doctor.Finding{
			Status: doctor.Warning,
			Text:   fmt.Sprintf("%s may take %d MiB, and the disk has room for %d MiB with what is left free for others", path, wanted/mib, fits/mib),
			Remedy: "make room there, or give less with --max-cache-size",
		}
	}
	return doctor.Finding{Text: fmt.Sprintf("%s can be used, and takes %d MiB of at most %d MiB", path, room.Taken/mib, wanted/mib)}
}
