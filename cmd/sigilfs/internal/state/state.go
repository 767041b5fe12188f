// Package state is what outlives a mount on this machine: one directory for
// each volume, held by one mount at a time.
//
//	ROOT/                       --state-dir, /var/lib/sigilfs or the XDG state directory
//	    host-id                 names this host in the bucket; random, made once
//	    BUCKET-PREFIX-HASH/     one volume: endpoint, bucket and volume root
//	        lock                held by flock while a mount lives; says who and where
//	        volume              what the volume is held to be: its id, and the hash of its name key (Pin)
//	        epochs/             the key ring's memory (keyring.Dir)
//	        moves/              directory renames between rules that this host has begun
//	        customer-keys       which SSE-C key objects have (package keymemory)
//	        spool/TIME-RANDOM/  dirty data, sealed; one directory for each mount
//	        spool.key           only where nothing else could open the spool again
//	        work/RANDOM/        of a command that mounts nothing and writes, while it runs
//
// Everything is 0700 or 0600 and belongs to the user who mounts; symbolic links
// are not followed. A lock goes with its process: what a dead one held is free
// at once. What a dead mount left in its spool is counted, never removed.
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Sentinel errors.
var (
	// ErrUnsafe: a directory belongs to somebody else, others may write to
	// it, or it is no directory.
	ErrUnsafe = errors.New("state directory is not safe to use")

	// ErrLocked: another mount holds the volume's directory.
	ErrLocked = errors.New("the state of this volume is in use")
)

// ID is what the state of a volume is keyed by.
type ID struct {
	Endpoint   string // URL, "" is AWS
	Bucket     string
	VolumeRoot string // "" or ending in "/"
}

// name is a readable part for people and a hash that tells volumes apart.
func (id ID) name() string {
	endpoint := strings.ToLower(strings.TrimRight(id.Endpoint, "/"))
	sum := sha256.Sum256([]byte(endpoint + "\x00" + id.Bucket + "\x00" + id.VolumeRoot))
	readable := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, strings.TrimRight(id.Bucket+"/"+id.VolumeRoot, "/"))
	return readable[:min(len(readable), 64)] + "-" + hex.EncodeToString(sum[:8])
}

// DefaultRoot is where state lies unless configured: /var/lib/sigilfs for
// root, else the XDG state directory (XDG Base Directory Specification 0.8),
// the home directory being that of the user database where HOME is not set.
func DefaultRoot() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/sigilfs", nil
	}
	// The specification says that a relative path is to be ignored.
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sigilfs"), nil
	}
	home := os.Getenv("HOME")
	if !filepath.IsAbs(home) {
		u, err := user.Current()
		if err != nil || !filepath.IsAbs(u.HomeDir) {
			return "", errors.New("there is no home directory to keep state in; give --state-dir")
		}
		home = u.HomeDir
	}
	return filepath.Join(home, ".local", "state", "sigilfs"), nil
}

// makePrivate makes path (parents too) and holds it to be a directory of ours
// that nobody else may write to, or, with strict, even enter. ROOT may be
// entered by others: systemd makes StateDirectory= 0755.
func makePrivate(path string, strict bool) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return private(path, strict)
}

// private is makePrivate of what is there.
func private(path string, strict bool) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	forbidden := uint32(0o022)
	if strict {
		forbidden = 0o077
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK && !strict:
		return privateTarget(path)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%w: %s is not a directory", ErrUnsafe, path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to uid %d, not to uid %d", ErrUnsafe, path, st.Uid, os.Geteuid())
	case st.Mode&forbidden != 0:
		return fmt.Errorf("%w: %s has mode %04o; chmod 700 %s", ErrUnsafe, path, st.Mode&0o777, path)
	}
	return nil
}

// privateTarget lets ROOT itself be a symbolic link, as systemd makes one
// under DynamicUser=.
func privateTarget(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	return private(target, false)
}

// readSmall reads a regular file of ours, at most limit bytes.
func readSmall(path string, limit int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, limit+1)
	n, err := readFull(f, buf)
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return buf[:n], nil
}
