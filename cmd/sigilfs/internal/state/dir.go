package state

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Options of Open.
type Options struct {
	Root  string // "" is DefaultRoot
	ID    ID
	Owner Owner

	// Wait tells whether the owner of the lock is about to end, so that it is
	// worth waiting for; it is asked again and again, and ctx ends the waiting.
	// Nil never waits.
	Wait func(*LockedError) bool
}

// Dir is the state of one volume, held until Close.
type Dir struct {
	path string
	host string
	lock *os.File // nil in one that is only looked at
}

// Open makes the volume's directory where it is missing, and takes it.
// Errors: ErrLocked (as *LockedError), ErrUnsafe, those of the disk.
func Open(ctx context.Context, opt Options) (*Dir, error) {
	path, host, err := prepare(opt.Root, opt.ID)
	if err != nil {
		return nil, err
	}
	wait := opt.Wait
	if wait == nil {
		wait = func(*LockedError) bool { return false }
	}
	lock, err := waitLock(ctx, path, opt.Owner, wait)
	if err != nil {
		return nil, err
	}
	return &Dir{path: path, host: host, lock: lock}, nil
}

// Look gives the volume's directory, which may not be there, whoever holds it:
// to read what dead mounts left. Nothing is changed through it.
func Look(root string, id ID) (*Dir, error) {
	root, err := absolute(root)
	if err != nil {
		return nil, err
	}
	return &Dir{path: filepath.Join(root, id.name())}, nil
}

// Check gives the directory of all state of this host, and whether it is there;
// nothing is made. Errors: ErrUnsafe, those of the disk.
func Check(root string) (path string, there bool, err error) {
	if path, err = absolute(root); err != nil {
		return "", false, err
	}
	err = private(path, false)
	if errors.Is(err, os.ErrNotExist) {
		return path, false, nil
	}
	return path, true, err
}

// Each is Look at all volumes of which there is a directory, in order of their
// names.
func Each(root string) ([]*Dir, error) {
	root, err := absolute(root)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	var all []*Dir
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, &Dir{path: filepath.Join(root, e.Name())})
		}
	}
	return all, nil
}

// Owner tells who holds the directory, or held it last.
func (d *Dir) Owner() (Owner, error) { return readOwner(filepath.Join(d.path, "lock")) }

// absolute is root, or where it is by default.
func absolute(root string) (string, error) {
	if root == "" {
		var err error
		if root, err = DefaultRoot(); err != nil {
			return "", err
		}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	return root, nil
}

func prepare(root string, id ID) (path, host string, err error) {
	if root, err = absolute(root); err != nil {
		return "", "", err
	}
	if err := makePrivate(root, false); err != nil {
		return "", "", fmt.Errorf("state directory: %w", err)
	}
	if host, err = loadHost(root); err != nil {
		return "", "", fmt.Errorf("state directory: %w", err)
	}
	path = filepath.Join(root, id.name())
	if err := makePrivate(path, true); err != nil {
		return "", "", fmt.Errorf("state directory: %w", err)
	}
	return path, host, nil
}

// Path is the volume's directory.
func (d *Dir) Path() string { return d.path }

// Host names this host.
func (d *Dir) Host() string { return d.host }

// Epochs is where the key ring keeps its memory.
func (d *Dir) Epochs() string { return filepath.Join(d.path, "epochs") }

// Journals is where long commands keep how far they are.
func (d *Dir) Journals() string { return filepath.Join(d.path, "journals") }

// CustomerKeys is where it is remembered which SSE-C key objects have.
func (d *Dir) CustomerKeys() string { return filepath.Join(d.path, "customer-keys") }

// Versions is where what this host knows of objects' versions is remembered.
func (d *Dir) Versions() string { return filepath.Join(d.path, "versions.db") }

// SpoolKeyFile is where a key for the spool lies if nothing better is there.
func (d *Dir) SpoolKeyFile() string { return filepath.Join(d.path, "spool.key") }

// Close gives the directory back.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// NewSpool names a spool directory that no mount has used. It is not made.
func (d *Dir) NewSpool(now time.Time) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return filepath.Join(d.path, "spool", now.UTC().Format("20060102T150405Z")+"-"+hex.EncodeToString(random[:]))
}

// Leftover is a spool directory of a mount that is gone.
type Leftover struct {
	Path  string
	Files int
}

// Leftovers gives the spool directories that hold data; those without any are
// removed. The lock says that their mounts are gone; whoever only looks meets
// that of a living mount too, and removes nothing.
func (d *Dir) Leftovers() ([]Leftover, error) {
	root := filepath.Join(d.path, "spool")
	dirs, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spools of earlier mounts: %w", err)
	}
	var all []Leftover
	for _, e := range dirs {
		path := filepath.Join(root, e.Name())
		n, err := countFiles(path)
		switch {
		case err != nil:
			return all, fmt.Errorf("spools of earlier mounts: %w", err)
		case n > 0:
			all = append(all, Leftover{path, n})
		case d.lock != nil:
			if err := os.RemoveAll(path); err != nil {
				return all, fmt.Errorf("spools of earlier mounts: %w", err)
			}
		}
	}
	return all, nil
}

// scrap is what is nothing without the data or the record of its file.
var scrap = regexp.MustCompile(`^[0-9a-f]{32}\.(log|log\.tmp|meta\.tmp)$`)

// countFiles counts the dirty files in a spool directory. Names in it are
// ID.EXTENSION, and a file has data or a record of what it is: a log without
// them, or what was to replace one, is of a file that a kill left half removed.
// The key record has no extension and is nothing without files. What does not
// look so is not the spool's, or is damaged: it counts by itself, since it is
// not for us to remove.
func countFiles(path string) (int, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0, err
	}
	ids := map[string]bool{}
	for _, e := range entries {
		id, _, dotted := strings.Cut(e.Name(), ".")
		if id == "key" || scrap.MatchString(e.Name()) {
			continue
		}
		if !dotted {
			id = "/" + id
		}
		ids[id] = true
	}
	return len(ids), nil
}
