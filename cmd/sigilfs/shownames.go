package main

import (
	"strings"

	"github.com/sigilfs/sigilfs/internal/volume/named"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// Where names are encrypted a command says what people call a file, and beside it
// the key that it has in the bucket.

// stored is the path in the volume of what somebody calls p.
func (m *mounting) stored(p string) (string, error) {
	stored, err := m.names.Stored(p)
	if err != nil {
		return "", mountError("%w", err)
	}
	return stored, nil
}

// shownPath is what people call a path of the volume, or the path where it is
// nobody's name.
func (m *mounting) shownPath(p string) string { return shownIn(m.names, p) }

// shownIn is shownPath of a volume with such names.
func shownIn(names *named.Names, p string) string {
	if shown, ok := names.Shown(p); ok {
		return shown
	}
	return p
}

// pathOf is what people call the file with this key; not ok where keys are names,
// and of what is none of the volume's.
func (m *mounting) pathOf(key string) (p string, ok bool) {
	rest, ok := strings.CutPrefix(key, m.storedPrefix())
	if m.names == nil || !ok || rest == "" {
		return "", false
	}
	rest, instructions := strings.CutSuffix(rest, s3ec.InstructionSuffix)
	rest, dir := strings.CutSuffix(rest, "/")
	if p, ok = m.names.Shown(rest); !ok {
		return "", false
	}
	if dir {
		p += "/"
	}
	if instructions {
		p += s3ec.InstructionSuffix
	}
	return p, true
}

// keyOrName is a key as people would have it: with the names in it, where they are
// this volume's.
func (m *mounting) keyOrName(key string) string {
	if p, ok := m.pathOf(key); ok {
		return m.set.target.Prefix + p
	}
	return key
}

// withPath adds the path to a document about a key, where the key does not say it.
func (m *mounting) withPath(e event, key string) event {
	if p, ok := m.pathOf(key); ok {
		e["path"] = p
	}
	return e
}
