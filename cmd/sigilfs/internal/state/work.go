package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Share gives the volume's directory, and makes it where it is missing, without
// taking it: a mount of this host may hold it, and other commands share it. What
// all of them write in it are whole files, put in place at once.
func Share(root string, id ID) (*Dir, error) {
	path, host, err := prepare(root, id)
	if err != nil {
		return nil, err
	}
	return &Dir{path: path, host: host}, nil
}

// Work is what a command keeps on the disk while it runs beside a mount:
// work/NAME/ in the volume's directory, held by flock. Nothing of it is of use to
// anybody when the command has ended.
type Work struct {
	path, host string
	held       []*os.File // its own, and those of the dead
	dead       []Dead
}

// Dead is a command of this host that was killed.
type Dead struct {
	Host string // by which it was known in the bucket
	path string
}

// NewWork makes a directory for a command, and takes hold of those that killed
// ones have left. Release lets go of all.
func (d *Dir) NewWork() (*Work, error) {
	w, err := d.works(true)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return w, nil
}

// DeadWork takes hold of what killed commands have left.
func (d *Dir) DeadWork() (*Work, error) {
	w, err := d.works(false)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return w, nil
}

// works holds the directory of all while it looks: between making a directory and
// holding it, it would pass for a dead one's.
func (d *Dir) works(own bool) (*Work, error) {
	root := filepath.Join(d.path, "work")
	if err := makePrivate(root, true); err != nil {
		return nil, err
	}
	all, err := hold(root, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	w := &Work{}
	if err := w.bury(root, d.host); err != nil {
		return nil, errors.Join(err, w.Release())
	}
	if !own {
		return w, nil
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	name := hex.EncodeToString(random[:])
	w.path, w.host = filepath.Join(root, name), workHost(d.host, name)
	if err := makePrivate(w.path, true); err != nil {
		return nil, errors.Join(err, w.Release())
	}
	f, err := hold(w.path, unix.LOCK_EX)
	if err != nil {
		return nil, errors.Join(err, w.Release())
	}
	w.held = append(w.held, f)
	return w, nil
}

// workHost names a command in the bucket: not as the host's mount, which ends
// what it finds there under its own name.
func workHost(host, name string) string { return host + "-" + name }

// bury finds the dead ones: nobody holds their directories.
func (w *Work) bury(root, host string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		f, err := hold(path, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return err
		}
		w.held = append(w.held, f)
		w.dead = append(w.dead, Dead{workHost(host, e.Name()), path})
	}
	return nil
}

// hold opens a directory and takes its lock.
func hold(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// Host names the command in the bucket; no other has or had the name.
func (w *Work) Host() string { return w.host }

// Spool names a directory for a spool, which is not made.
func (w *Work) Spool() string { return filepath.Join(w.path, "spool") }

// Dead gives the hosts of commands that were killed.
func (w *Work) Dead() []string {
	var all []string
	for _, d := range w.dead {
		all = append(all, d.Host)
	}
	return all
}

// Bury removes what the dead have left here: what they left in the bucket has
// been seen to.
func (w *Work) Bury() error {
	var errs []error
	for _, d := range w.dead {
		errs = append(errs, os.RemoveAll(d.path))
	}
	w.dead = nil
	return errors.Join(errs...)
}

// Release removes the command's own directory, and lets go of all.
func (w *Work) Release() error {
	var errs []error
	if w.path != "" {
		errs = append(errs, os.RemoveAll(w.path))
	}
	for _, f := range w.held {
		errs = append(errs, f.Close())
	}
	w.path, w.held = "", nil
	return errors.Join(errs...)
}
