package freshness

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// turnTime is for how long a process keeps the file that another one wants.
const turnTime = 250 * time.Millisecond

// turn is how processes take turns at the file. The library's lock is not fair:
// who gives it back and wants it again is faster than who polls for it. So who
// waits holds a second lock, shared, on a file beside it, at which the owner
// looks now and then.
type turn struct {
	path  string
	make  bool
	until time.Time // others may have it; guarded by the file's mu
}

func newTurn(path string, readOnly bool) *turn {
	return &turn{path: path + ".turn", make: !readOnly}
}

// open gives the second file; nil where there is none to be.
func (t *turn) open() (*os.File, error) {
	flag := os.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if t.make {
		flag |= os.O_CREATE
	}
	f, err := os.OpenFile(t.path, flag, 0o600)
	if errors.Is(err, fs.ErrNotExist) && !t.make {
		return nil, nil
	}
	return f, err
}

// ask says that this process waits for the file, until asked is called. Who has
// just given it away lets others have it first.
func (t *turn) ask() (asked func(), err error) {
	for t.wanted() && time.Now().Before(t.until) {
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // nobody tells when a lock of another process is free
	}
	f, err := t.open()
	if err != nil || f == nil {
		return func() {}, err
	}
	// Who looks holds it for a moment, unless it is stopped just then: so this
	// asks without being seen, rather than wait for that.
	for range 20 {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // as above
	}
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return func() {}, errors.Join(&fs.PathError{Op: "flock", Path: t.path, Err: err}, f.Close())
	}
	return func() { _ = f.Close() }, nil // and with it the lock
}

// wanted tells whether another process waits for the file.
func (t *turn) wanted() bool {
	f, err := t.open()
	if err != nil || f == nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// given notes that the file was given away.
func (t *turn) given() { t.until = time.Now().Add(turnTime) }
