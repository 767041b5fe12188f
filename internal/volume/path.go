package volume

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// hidden is the component below which a volume keeps what is its own.
const hidden = ".sigil"

// maxName is NAME_MAX: the longest component in bytes.
const maxName = 255

// checkPath refuses what no object can stand for: components that are empty,
// `.`, `..`, too long, hold a NUL, are not UTF-8 or are reserved. The root is "".
func checkPath(p string) error {
	if p == "" {
		return nil
	}
	for name := range strings.SplitSeq(p, "/") {
		if err := checkName(name); err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
	}
	return nil
}

// checkPath is checkPath or, where names are encrypted, refuses what is not: so
// that no request tells a name.
func (v *Volume) checkPath(p string) error { return v.checkIn(v.opt.Prefix, p) }

// checkIn is checkPath of what lies below the key prefix of a directory.
func (v *Volume) checkIn(prefix, p string) error {
	if v.hide == nil {
		return checkPath(p)
	}
	if p == "" {
		return nil
	}
	for name := range strings.SplitSeq(p, "/") {
		switch {
		case name == hidden:
			return fmt.Errorf("%q: %w", p, ErrName)
		case v.opt.MaxComponent > 0 && len(name) > v.opt.MaxComponent:
			return fmt.Errorf("%q: component of %d bytes, this server takes %d: %w", p, len(name), v.opt.MaxComponent, ErrTooLong)
		}
	}
	if !v.hide.decodes(v.hide.dir(prefix), p) {
		return fmt.Errorf("%q: name is not encrypted: %w", p, ErrInvalid)
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == hidden:
		return ErrName
	case len(name) > maxName:
		return ErrTooLong
	case !expressible(name):
		return ErrInvalid
	}
	return nil
}

// expressible tells whether a component of a key can be a name in a directory,
// and a name a component of a key: keys are UTF-8 (AWS S3 User Guide, "Object
// key names"), servers refuse others one way or another.
func expressible(name string) bool {
	return name != "" && name != "." && name != ".." && name != hidden &&
		len(name) <= maxName && !strings.ContainsAny(name, "\x00/") && utf8.ValidString(name)
}

// longestName is the most bytes that a name beside p has, as people know it.
func (v *Volume) longestName(p string) int {
	room := objstore.MaxKeyLen - len(v.dirKey(parent(p)))
	if v.hide == nil {
		return min(maxName, room)
	}
	return min(maxName, sigil.DecodedLen(cmp.Or(min(v.opt.MaxComponent, room), room)))
}

// shortened is the beginning of a name: so many bytes at the most, and whole
// characters where names are in keys as they are.
func (v *Volume) shortened(name string, most int) string {
	if len(name) <= most {
		return name
	}
	name = name[:max(0, most)]
	for v.hide == nil && !utf8.ValidString(name) {
		name = name[:len(name)-1]
	}
	return name
}

// nameable tells whether a component that was listed is a name.
func (v *Volume) nameable(name string) bool {
	if v.hide != nil { // which has passed over what is not
		return name != "" && name != hidden
	}
	return expressible(name)
}

// fileKey is the key of the object that a file at p is.
func (v *Volume) fileKey(p string) string {
	if isInodePath(p) {
		return p[1:]
	}
	return v.opt.Prefix + p
}

// dirKey is the key of the marker of directory p, and the prefix of all that
// is in it. For the root of a whole bucket it is "", which no object can have.
func (v *Volume) dirKey(p string) string {
	if p == "" {
		return v.opt.Prefix
	}
	return v.opt.Prefix + p + "/"
}

// keyFor checks p and the length of its key, a directory's with the slash.
func (v *Volume) keyFor(p string, dir bool) (string, error) {
	if err := v.checkPath(p); err != nil {
		return "", err
	}
	key := v.fileKey(p)
	if dir {
		key = v.dirKey(p)
	} else if v.isInstruction(key) {
		return "", fmt.Errorf("%q: %w", p, ErrName)
	}
	if len(key) > objstore.MaxKeyLen {
		return "", fmt.Errorf("%q: key of %d bytes: %w", p, len(key), ErrTooLong)
	}
	return key, nil
}

// parent and base split a path; the parent of a name in the root is "".
func parent(p string) string {
	dir := path.Dir(p)
	if dir == "." {
		return ""
	}
	return dir
}

// below tells whether p lies in directory dir, at any depth; dir itself does not.
func below(p, dir string) bool {
	if dir == "" {
		return p != "" && !isInodePath(p)
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// hashID stands in for the file id of what stores none: implicit directories
// and objects that do not open.
func hashID(key string) uint64 {
	sum := sha256.Sum256([]byte(key))
	return validID(binary.BigEndian.Uint64(sum[:8]))
}

// validID keeps ids off the values that the kernel and go-fuse reserve (0, 1,
// and all ones).
func validID(id uint64) uint64 {
	if id < 2 || id == ^uint64(0) {
		return id ^ 0x5bd1e995<<8
	}
	return id
}
