package main

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sigilfs/sigilfs/internal/doctor"
	"golang.org/x/sys/unix"
)

// stateCheck is of the directory of --state-dir, where unfinished writes lie.
const stateCheck = "state"

// tryState looks whether a mount can keep its state there, and makes nothing.
func (e *examination) tryState(context.Context) doctor.Finding {
	if e.set.readOnly {
		return doctor.Finding{Status: doctor.Skipped, Text: "not tried: with --read-only there is no state"}
	}
	const remedy = "name a directory that can be written to with --state-dir"
	path, there, err := state.Check(e.set.stateDir)
	if err != nil {
		return doctor.Finding{Status: doctor.Failure, Text: oneLine(err), Remedy: remedy}
	}
	at, can := path, "is there"
	if !there {
		at, err = canMake(path)
		can = "is not there yet, and a mount can make it in " + at
	} else {
		err = unix.Access(path, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return doctor.Finding{Status: doctor.Failure, Text: fmt.Sprintf("%s cannot be used: %s: %v", path, at, err), Remedy: remedy}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(at, &disk); err != nil {
		return doctor.Finding{Status: doctor.Failure, Text: fmt.Sprintf("%s: %v", at, err), Remedy: remedy}
	}
	return e.stateRoom(path, can, int64(disk.Bavail)*disk.Bsize-e.set.diskFree) //nolint:gosec // far below 2^63
}

// stateRoom compares what unfinished writes may take to what there is for them.
func (e *examination) stateRoom(path, can string, free int64) doctor.Finding {
	const mib = 1 << 20
	free = max(0, free)
	if most := e.set.spoolSize; most > free || free == 0 {
		return doctor.Finding{
			Status: doctor.Warning, Text: fmt.Sprintf("unfinished writes may take %d MiB in %s, and the disk has room for %d MiB", most/mib, path, free/mib),
			Remedy: "make room there, or give less with --spool-size: writes that find no room fail with ENOSPC",
		}
	}
	return doctor.Finding{Text: fmt.Sprintf("%s %s, with room for %d MiB", path, can, free/mib)}
}
