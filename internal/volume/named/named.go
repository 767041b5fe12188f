// Package named shows a volume by the names that people give to files, whatever
// they are in the bucket. Below it, in package volume, paths and keys are as they
// are stored: where names are encrypted, encrypted. So nothing there can tell a
// name, and all that goes by the order of keys goes by theirs.
//
//	Names    names to paths of a volume, and back
//	Volume   volume.Volume's operations on files, by names
package named

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// reserved is the component below which a volume keeps what is its own.
const reserved = ".sigil"

// maxDirs bounds the directories whose paths are remembered: twice as many are.
const maxDirs = 2048

// Names converts paths. A nil one has names that are stored as they are. Safe for
// concurrent use.
type Names struct {
	siv  *sigil.Names
	base string // where all paths begin, below the volume root: stored, without a slash at its end
	most int    // bytes of a stored component; 0 is no limit

	mu           sync.Mutex // guards what follows
	young, older map[string]string
}

// New converts paths below the directory base of the volume root, as it is called
// by people, "" for the root itself, for a server that takes components of so many
// bytes; 0 is no limit. A nil siv gives nil. Errors: those of Stored.
func New(siv *sigil.Names, base string, most int) (*Names, error) {
	if siv == nil {
		return nil, nil
	}
	n := &Names{siv: siv, most: most}
	stored, err := n.Stored(strings.Trim(base, "/"))
	if err != nil {
		return nil, err
	}
	return &Names{siv: siv, base: stored, most: most}, nil
}

// Longest is the most bytes that a name may have.
func (n *Names) Longest() int {
	if n == nil || n.most == 0 {
		return sigil.MaxName
	}
	return min(sigil.MaxName, sigil.DecodedLen(n.most))
}

// Base is the stored form of base, with a slash at its end unless it is "".
func (n *Names) Base() string {
	if n == nil || n.base == "" {
		return ""
	}
	return n.base + "/"
}

// Stored gives the path in the volume of what people call p. Errors:
// volume.ErrName, volume.ErrTooLong, volume.ErrInvalid for what is no path.
func (n *Names) Stored(p string) (string, error) {
	if n == nil || p == "" {
		return p, nil
	}
	dir, name := "", p
	if i := strings.LastIndexByte(p, '/'); i == 0 {
		return "", fmt.Errorf("%q: %w", p, volume.ErrInvalid)
	} else if i > 0 {
		var err error
		if dir, err = n.storedDir(p[:i]); err != nil {
			return "", err
		}
		name = p[i+1:]
	}
	stored, err := n.component(dir, name)
	if err != nil {
		return "", fmt.Errorf("%q: %w", p, err)
	}
	return join(dir, stored), nil
}

// storedDir is Stored of a directory, which is remembered.
func (n *Names) storedDir(p string) (string, error) {
	if stored, ok := n.remembered(p); ok {
		return stored, nil
	}
	stored, err := n.Stored(p)
	if err == nil {
		n.remember(p, stored)
	}
	return stored, err
}

func (n *Names) component(dir, name string) (string, error) {
	switch {
	case name == reserved:
		return "", volume.ErrName
	case len(name) > n.Longest():
		return "", volume.ErrTooLong
	}
	stored, err := n.siv.Encode(join(n.base, dir), name)
	if errors.Is(err, sigil.ErrName) {
		return "", volume.ErrInvalid
	}
	return stored, err
}

// Shown gives what people call a path of the volume; not ok of one that is not of
// this volume's names.
func (n *Names) Shown(p string) (shown string, ok bool) {
	if n == nil || p == "" {
		return p, true
	}
	var dir string
	for name := range strings.SplitSeq(p, "/") {
		said, ok := n.name(dir, name)
		if !ok {
			return "", false
		}
		dir, shown = join(dir, name), join(shown, said)
	}
	return shown, true
}

// name gives what people call a component in the stored directory dir.
func (n *Names) name(dir, stored string) (string, bool) {
	if n == nil {
		return stored, true
	}
	said, err := n.siv.Decode(join(n.base, dir), stored)
	return said, err == nil && said != reserved
}

func (n *Names) remembered(dir string) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if stored, ok := n.young[dir]; ok {
		return stored, true
	}
	stored, ok := n.older[dir]
	return stored, ok
}

func (n *Names) remember(dir, stored string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.young == nil || len(n.young) >= maxDirs {
		n.young, n.older = map[string]string{}, n.young
	}
	n.young[strings.Clone(dir)] = stored
}

func join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}
