// Package control is how `sigilfs umount` finds the process that serves a
// mountpoint, sees how far it is, and knows when it has ended: one small file
// for each mountpoint, in a directory that only its owner can write to.
//
// The file is locked by flock for as long as the process lives, so that a dead
// one is never waited for and the pid in it never believed alone. A new
// process on the same mountpoint renames a file of its own into the place:
// who watched the old one goes on seeing the old one.
package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// Record is what the serving process tells.
type Record struct {
	PID      int    `json:"pid"`
	Dir      string `json:"dir"`
	Spec     string `json:"spec"`
	ReadOnly bool   `json:"read-only"` // it cannot write, whatever the kernel lets through
	Ending   bool   `json:"ending"`    // it commits what is left, and ends
	Pending  int64  `json:"pending"`   // bytes that are not committed yet
	Done     bool   `json:"done"`      // all is committed; a process that ends without having said so was killed
	Failed   string `json:"failed"`    // why it ends without having committed all; "" if it did
}

// maxRecord bounds a file, and maxPending what one may say: it may be another
// user's, and is reckoned with.
const (
	maxRecord  = 64 << 10
	maxPending = 1 << 56
)

// Places are the directories in which the processes of uid leave their files,
// in the order of preference. They do not depend on the environment, which
// mount and umount need not share.
func Places(uid int) []string {
	run := fmt.Sprintf("/run/user/%d/sigilfs", uid)
	if uid == 0 {
		run = "/run/sigilfs"
	}
	return []string{run, fmt.Sprintf("/tmp/sigilfs-%d", uid)}
}

// name is the file of a mountpoint.
func name(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:16]) + ".json"
}

// File is a process's own. It belongs to one goroutine.
type File struct {
	f    *os.File
	dir  *os.File // in which it is, see hold; nil: is not held
	path string
	rec  Record
}

// Create writes rec, in the first of places that can be used.
func Create(places []string, rec Record) (*File, error) {
	var errs []error
	for _, place := range places {
		f, err := create(place, rec)
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("control file: %w", errors.Join(errs...))
}

// makePlace makes a place where it is missing. Its errors are also those of safe.
func makePlace(place string) error {
	if err := os.Mkdir(place, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return safe(place, os.Geteuid())
}

func create(place string, rec Record) (*File, error) {
	if err := makePlace(place); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(place, ".new-*")
	if err != nil {
		return nil, err
	}
	c := &File{f: f, path: filepath.Join(place, name(rec.Dir))}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = c.Update(func(r *Record) { *r = rec })
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	c.dir = hold(place)
	return c, nil
}

// hold keeps a place in /tmp from systemd-tmpfiles, which removes there what is
// older than ten days, but for directories that are locked (tmpfiles.d(5)). Nil:
// it could not, and the file may go before its mount.
func hold(place string) *os.File {
	dir, err := os.OpenFile(place, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	if unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
		_ = dir.Close()
		return nil
	}
	return dir
}

// safe refuses a place that another user made, /tmp being everybody's.
func safe(place string, uid int) error {
	var st unix.Stat_t
	if err := unix.Lstat(place, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: place, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != uid || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s is not a directory of uid %d alone", place, uid)
	}
	return nil
}

// Socket is where the process may be asked for more: a path beside the file.
func (c *File) Socket() string { return socketOf(c.path) }

func socketOf(path string) string { return strings.TrimSuffix(path, ".json") + ".sock" }

// Update changes the record. A reader may meet it half written and asks again.
func (c *File) Update(change func(*Record)) error {
	change(&c.rec)
	text, err := json.Marshal(c.rec)
	if err != nil {
		return err
	}
	if err := c.f.Truncate(0); err != nil {
		return err
	}
	_, err = c.f.WriteAt(text, 0)
	return err
}

// Announced tells whether a Peer of this file says that it takes the mount away.
func (c *File) Announced() bool {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(c.f.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}

// Remove takes the file away, unless another process has put its own in the
// place. Its lock stays until the process ends, for those who wait for that.
func (c *File) Remove() error {
	if c.dir != nil {
		defer c.dir.Close() // twice is an error that nobody needs
	}
	mine, err := c.f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(c.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(c.path)
}

// Peer is the file of another process.
type Peer struct {
	f    *os.File
	path string
	uid  int
	rec  Record
}

// Socket is where the process may be asked for more. What listens there is not
// to be believed unless it is of UID.
func (p *Peer) Socket() string { return socketOf(p.path) }

// UID is the user whose process it is.
func (p *Peer) UID() int { return p.uid }

// Find gives the process of uid that serves dir, nil where none is known.
func Find(places []string, uid int, dir string) *Peer {
	for _, place := range places {
		if safe(place, uid) != nil {
			continue
		}
		p := open(filepath.Join(place, name(dir)), uid)
		if p == nil {
			continue
		}
		if p.Record().Dir == dir {
			return p
		}
		_ = p.Close()
	}
	return nil
}

// open gives the process that has the file path, nil if none has.
func open(path string, uid int) *Peer {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	p := &Peer{f: f, path: path, uid: uid}
	if p.Alive() {
		return p
	}
	_ = p.Close()
	return nil
}

// Alive tells whether the process still runs.
func (p *Peer) Alive() bool {
	fd := int(p.f.Fd())
	if unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == nil {
		_ = unix.Flock(fd, unix.LOCK_UN)
		return false
	}
	return true
}

// Announce tells the process that its mount is about to be taken away by a
// command that waits for its end. It holds until Close: a lock of another kind
// than flock, which does not see it (fcntl(2), "Open file description locks").
func (p *Peer) Announce() error {
	return unix.FcntlFlock(p.f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
}

// Record gives what the process told last.
func (p *Peer) Record() Record {
	var rec Record
	text, err := io.ReadAll(io.NewSectionReader(p.f, 0, maxRecord))
	if err == nil && json.Unmarshal(text, &rec) == nil {
		rec.Failed = strings.Map(printable, rec.Failed)
		rec.Pending = min(max(rec.Pending, 0), maxPending)
		p.rec = rec
	}
	return p.rec
}

// printable takes what a terminal obeys out of another user's words.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// Close forgets the process.
func (p *Peer) Close() error { return p.f.Close() }
