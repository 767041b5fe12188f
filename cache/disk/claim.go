package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the files in a cache directory.
const (
	lockName   = "sigilfs.lock"
	indexName  = "sigilfs.index"
	blocksName = "sigilfs.blocks"
)

// maxHolder bounds what the lock file says, in bytes.
const maxHolder = 4 << 10

// retryLock is how often a lock that is held is asked for again.
const retryLock = 50 * time.Millisecond

// LockedError is ErrLocked, with what the holder says of itself.
type LockedError struct {
	Path   string // of the directory
	Holder string // one line; "" where the file does not tell
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("%v: %s", ErrLocked, e.Path)
	}
	return fmt.Sprintf("%v: %s is held by %s", ErrLocked, e.Path, e.Holder)
}

// Unwrap gives ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// Dir is a cache directory that this process holds until Close, or its end.
type Dir struct {
	path string
	lock *os.File
}

// Claim makes the directory where it is missing, and takes it; holder is a line
// that others are told who want it. One that is held is waited for up to wait,
// or until ctx ends. Errors: ErrUnsafe, ErrLocked (as *LockedError), those of
// the disk.
func Claim(ctx context.Context, path, holder string, wait time.Duration) (*Dir, error) {
	path, err := ours(path)
	if err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	lock, err := openOurs(filepath.Join(path, lockName))
	if err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	err = waitLock(ctx, lock, path, wait)
	if err == nil && !named(lock) { // removed meanwhile: what has its name now is another's to lock
		_ = lock.Close()
		return Claim(ctx, path, holder, wait)
	}
	if err == nil {
		err = say(lock, holder)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Dir{path: path, lock: lock}, nil
}

// named tells whether f is still what is found under its name.
func named(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(mine, there)
}

// Path is the directory, absolute and without symbolic links.
func (d *Dir) Path() string { return d.path }

// Close gives the directory back. Nobody is its holder then.
func (d *Dir) Close() error { return errors.Join(d.lock.Truncate(0), d.lock.Close()) }

// ours makes path and holds it to be a directory of this user that nobody else
// may write to. It may be a symbolic link, as systemd makes one under
// DynamicUser=, and be read by others, as CacheDirectory= is: its files are not.
func ours(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "", fmt.Errorf("%w: %s is not a directory", ErrUnsafe, path)
	case int(st.Uid) != os.Geteuid():
		return "", fmt.Errorf("%w: %s belongs to uid %d, not to uid %d", ErrUnsafe, path, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return "", fmt.Errorf("%w: %s has mode %04o; chmod 700 %s, or give a directory of its own", ErrUnsafe, path, st.Mode&0o7777, path)
	}
	return path, nil
}

// openOurs opens or makes a file of this user's that nobody else may touch.
func openOurs(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: %s is a symbolic link", ErrUnsafe, path)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(&os.PathError{Op: "fstat", Path: path, Err: err}, f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 || st.Nlink != 1 {
		return nil, errors.Join(fmt.Errorf("%w: %s is not a file of uid %d alone, of mode 0600; remove it", ErrUnsafe, path, os.Geteuid()), f.Close())
	}
	return f, nil
}

func waitLock(ctx context.Context, lock *os.File, path string, wait time.Duration) error {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(retryLock)
	defer tick.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return &LockedError{Path: path, Holder: said(lock)}
		case <-ctx.Done():
			return fmt.Errorf("lock %s: %w", lock.Name(), context.Cause(ctx))
		}
	}
}

// say writes who holds the lock: one line.
func say(lock *os.File, holder string) error {
	holder, _, _ = strings.Cut(holder, "\n")
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(holder[:min(len(holder), maxHolder-1)]+"\n"), 0)
	return err
}

// said is what the holder wrote, printable.
func said(lock *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(lock, 0, maxHolder))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, line)
}
