package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Pin is what this host holds a volume to be, since it first met it. As stored it
// is one JSON line in the file "volume",
//
//	{"version":1,"id":"<26 characters>","names":"<64 hex digits>"}
//
// where names is SHA-256 of the key that encrypts the volume's names, or "clear",
// and id is left out of a volume that has none.
type Pin struct {
	ID    string // of the volume; "" where it has none
	Names string // hex of SHA-256 of the name key; "" where names are not encrypted
}

// ErrPin: the file of a Pin is not one.
var ErrPin = errors.New("what this host remembers of the volume cannot be read")

// clearNames stands for no name key.
const clearNames = "clear"

// maxPin bounds the file in bytes.
const maxPin = 4096

// pinJSON is the line as it is written.
type pinJSON struct {
	Version int    `json:"version"`
	ID      string `json:"id,omitempty"`
	Names   string `json:"names"`
}

func (d *Dir) pinFile() string { return filepath.Join(d.path, "volume") }

// Pin gives what is pinned, and whether anything is. Errors: ErrPin, those of the
// disk.
func (d *Dir) Pin() (p Pin, ok bool, err error) {
	content, err := readSmall(d.pinFile(), maxPin)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, false, nil
	case err != nil:
		return p, false, fmt.Errorf("%s: %w", d.pinFile(), err)
	}
	if p, err = parsePin(content); err != nil {
		return p, false, fmt.Errorf("%s: %w", d.pinFile(), err)
	}
	return p, true, nil
}

var (
	pinID   = regexp.MustCompile(`^[a-z2-7]{26}$`)
	pinHash = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func parsePin(content []byte) (Pin, error) {
	var line pinJSON
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&line); err != nil {
		return Pin{}, ErrPin
	}
	_, more := d.Token()
	readable := line.Names == clearNames
	if !errors.Is(more, io.EOF) || line.Version != 1 || line.ID != "" && !pinID.MatchString(line.ID) || !readable && (line.ID == "" || !pinHash.MatchString(line.Names)) {
		return Pin{}, ErrPin
	}
	p := Pin{ID: line.ID}
	if !readable {
		p.Names = line.Names
	}
	return p, nil
}

func (p Pin) marshal() []byte {
	line := pinJSON{Version: 1, ID: p.ID, Names: p.Names}
	if line.Names == "" {
		line.Names = clearNames
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic("state: pin: " + err.Error()) // strings and a number
	}
	return append(text, '\n')
}

// PinFirst pins p unless something is pinned, and gives what is: two processes may
// be the first.
func (d *Dir) PinFirst(p Pin) (Pin, error) {
	content, err := createOnce(d.pinFile(), p.marshal(), maxPin)
	if err == nil {
		p, err = parsePin(content)
	}
	if err != nil {
		return p, fmt.Errorf("%s: %w", d.pinFile(), err)
	}
	return p, nil
}

// Repin pins p in place of what is pinned.
func (d *Dir) Repin(p Pin) error {
	if err := replace(d.pinFile(), p.marshal()); err != nil {
		return fmt.Errorf("%s: %w", d.pinFile(), err)
	}
	return nil
}

// replace gives path a content that is there whole, or leaves the one it has.
func replace(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
