package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Owner says in the lock file who holds it.
type Owner struct {
	PID        int    `json:"pid"`
	Mountpoint string `json:"mountpoint"` // "": it mounts nothing, as sigilfs recover
	Spec       string `json:"spec"`
}

// LockedError is ErrLocked with its owner, zero where the file does not tell.
type LockedError struct {
	Path   string
	Owner  Owner
	Record error // why the file does not tell: it is damaged, or being written at this moment
}

func (e *LockedError) Error() string {
	switch {
	case e.Record != nil:
		return fmt.Sprintf("%v: %s does not tell by whom (%v)", ErrLocked, e.Path, e.Record)
	case e.Owner.PID == 0:
		return fmt.Sprintf("%v: %s", ErrLocked, e.Path)
	case e.Owner.Mountpoint == "": // no mount
		return fmt.Sprintf("%v: process %d works on %s", ErrLocked, e.Owner.PID, e.Owner.Spec)
	}
	return fmt.Sprintf("%v: process %d serves %s on %s", ErrLocked, e.Owner.PID, e.Owner.Spec, e.Owner.Mountpoint)
}

// Unwrap gives ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// maxOwner bounds the lock file's content.
const maxOwner = 16 << 10

// lockFile takes the lock of dir, or gives a *LockedError.
func lockFile(dir string, owner Owner) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		owner, recordErr := readOwner(path)
		return nil, errors.Join(&LockedError{Path: path, Owner: owner, Record: recordErr}, f.Close())
	}
	if err == nil {
		err = writeOwner(f, owner)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

func readOwner(path string) (Owner, error) {
	var owner Owner
	content, err := readSmall(path, maxOwner)
	if err != nil {
		return Owner{}, err
	}
	if json.Unmarshal(content, &owner) != nil || owner.PID <= 0 {
		return Owner{}, errors.New("its record is damaged")
	}
	return owner, nil
}

func writeOwner(f *os.File, owner Owner) error {
	content, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(content, '\n'), 0)
	return err
}

// retryLock is how often a lock is asked for again.
const retryLock = 100 * time.Millisecond

// waitLock takes the lock, for as long as wait tells that it is worth waiting
// for. ctx ends the waiting.
func waitLock(ctx context.Context, dir string, owner Owner, wait func(*LockedError) bool) (*os.File, error) {
	tick := time.NewTicker(retryLock)
	defer tick.Stop()
	for {
		f, err := lockFile(dir, owner)
		locked := (*LockedError)(nil)
		if !errors.As(err, &locked) || !wait(locked) {
			return f, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}
