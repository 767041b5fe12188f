package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Moves are the directory renames between rules that this host has begun: an
// empty file each, by id, in a directory of the volume's. The ids are hex.
type Moves struct{ path string }

// Moves opens them.
func (d *Dir) Moves() (*Moves, error) {
	m := &Moves{filepath.Join(d.path, "moves")}
	if err := makePrivate(m.path, true); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return m, nil
}

// Begin notes one, durably.
func (m *Moves) Begin(id string) error {
	f, err := os.OpenFile(filepath.Join(m.path, id), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("note a directory rename: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close(), syncDir(m.path)); err != nil {
		return fmt.Errorf("note a directory rename: %w", err)
	}
	return nil
}

// Begun tells whether it is noted.
func (m *Moves) Begun(id string) bool {
	info, err := os.Lstat(filepath.Join(m.path, id))
	return err == nil && info.Mode().IsRegular()
}

// End forgets one. What is not noted is no error.
func (m *Moves) End(id string) error {
	if err := os.Remove(filepath.Join(m.path, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget a directory rename: %w", err)
	}
	return nil
}

// Retain forgets all others.
func (m *Moves) Retain(ids map[string]bool) error {
	all, err := os.ReadDir(m.path)
	if err != nil {
		return fmt.Errorf("directory renames: %w", err)
	}
	for _, e := range all {
		if ids[e.Name()] {
			continue
		}
		if err := m.End(e.Name()); err != nil {
			return err
		}
	}
	return nil
}
