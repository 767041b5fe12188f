package control

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrClaimed is that another process of this user is about to mount there.
var ErrClaimed = errors.New("another process is mounting on it")

// Claim is the right of one process of a user to mount on a directory. Looking
// whether something is mounted there and mounting are two steps, and a mount
// takes its time between them: without it two would come to lie one above the
// other. It ends with the process at the latest.
type Claim struct{ f *os.File }

// Take claims dir, in the first of places that can be used. Errors: ErrClaimed,
// those of the system.
//
// All claims are locks of one byte each in one file that stays, at an offset made
// of the directory (fcntl(2), "Open file description locks"): a file for each
// could not be removed without a race.
func Take(places []string, dir string) (*Claim, error) {
	var errs []error
	for _, place := range places {
		f, err := claims(place)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: offset(dir), Len: 1})
		if err == nil {
			return &Claim{f}, nil
		}
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = ErrClaimed
		}
		return nil, errors.Join(err, f.Close())
	}
	return nil, errors.Join(errs...)
}

func claims(place string) (*os.File, error) {
	if err := makePlace(place); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(place, "claims"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
}

// offset is that of dir's byte, below 2^62.
func offset(dir string) int64 {
	sum := sha256.Sum256([]byte(dir))
	return int64(binary.BigEndian.Uint64(sum[:8]) >> 2) //nolint:gosec // below 2^62
}

// Release ends the claim. Twice is no error, nor is that of none.
func (c *Claim) Release() error {
	if c == nil || c.f == nil {
		return nil
	}
	err := c.f.Close()
	c.f = nil
	return err
}
