package volume

import (
	"fmt"
	"path"
	"strings"

	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// KeyFlaws is what a key alone shows. names, of the volume at root, is nil where
// names are not encrypted.
func KeyFlaws(key, root string, names *sigil.Names) []Flaw {
	var flaws []Flaw
	text := unnameable(key)
	if names != nil {
		text = ""
		if g := (&nameGuard{root: root, names: names}); strings.HasPrefix(key, root) && !g.mine(key) {
			text = "a name that was not encrypted for its place in this volume, or was changed: mounts hide it"
		}
	}
	if text != "" {
		flaws = append(flaws, Flaw{Kind: FlawName, Text: text})
	}
	if text := foreignOwn(key); text != "" {
		flaws = append(flaws, Flaw{Kind: FlawForeign, Text: text})
	}
	return flaws
}

func (v *Volume) keyFlaws(key string) []Flaw { return KeyFlaws(key, v.opt.Root, v.opt.Names) }

// unnameable says why no path expresses a key; "" where one does.
func unnameable(key string) string {
	for name := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		switch {
		case name == hidden || expressible(name):
		case name == "":
			return "an empty component"
		case name == "." || name == "..":
			return "a component " + name
		case len(name) > maxName:
			return fmt.Sprintf("a component of %d bytes, at most %d are a name", len(name), maxName)
		default:
			return "a component that is not UTF-8, or has a NUL"
		}
	}
	return ""
}

// hiddenPart gives what of a key comes after its first .sigil/.
func hiddenPart(key string) (rest string, ok bool) {
	if rest, ok := strings.CutPrefix(key, hidden+"/"); ok {
		return rest, true
	}
	_, rest, ok = strings.Cut(key, "/"+hidden+"/")
	return rest, ok
}

// foreignOwn says why no volume has made an object below .sigil/; "" where one
// may have, or it does not lie there. An object `.sigil` is hidden as well.
func foreignOwn(key string) string {
	if path.Base(key) == hidden {
		return "an object named " + hidden + ", which is a volume's directory"
	}
	rest, ok := hiddenPart(key)
	if !ok {
		return ""
	}
	if _, nested := hiddenPart(rest); nested {
		return hidden + " within " + hidden
	}
	dir, name, _ := strings.Cut(rest, "/")
	switch dir {
	case "epochs":
		if !isID(name) {
			return "an epoch without an id"
		}
	case "volume", "hiding":
		if rest != dir {
			return "below what is an object"
		}
	case "inodes":
		if id := strings.TrimPrefix(name, rollDir); !strings.HasPrefix(name, "open/") && !isID(strings.SplitN(id, "/", 2)[0]) {
			return "an inode without an id"
		}
	case "index":
		if !isHex32(name) {
			return "an attribute index of no directory"
		}
	case "journal", "uploads", "doctor":
	default:
		return "no volume keeps anything there"
	}
	if name == "" && dir != "volume" && dir != "hiding" {
		return "no volume makes a marker there"
	}
	return ""
}

func isID(name string) bool {
	_, err := sigil.ParseEpochID(name)
	return err == nil
}

func isHex32(name string) bool {
	return len(name) == 32 && strings.Trim(name, "0123456789abcdef") == ""
}

// InternalKey tells the keys of a volume's objects that are no sigil objects:
// epochs and the volume object, whose keys are wrapped, and what a doctor tried
// with.
func InternalKey(key string) bool {
	rest, ok := hiddenPart(key)
	return ok && foreignOwn(key) == "" &&
		(rest == "volume" || strings.HasPrefix(rest, "epochs/") || strings.HasPrefix(rest, "doctor/"))
}

// Shadows finds files beside whose name keys go on with a slash. It is shown keys
// in bytewise order, and holds those alone that the next may begin with: each
// longer than the one before, and the beginning of it.
type Shadows struct{ Files []string }

// flaws tells which files the key shadows that came before.
func (s *Shadows) flaws(key string) (flaws []Flaw) {
	for _, file := range s.meet(key) {
		flaws = append(flaws, Flaw{Kind: FlawShadowed, Key: file, Text: "a file, and a directory of that name holds " + path.Base(key)})
	}
	return flaws
}

// meet gives the files that key shadows, each once.
func (s *Shadows) meet(key string) (shadowed []string) {
	for n := len(s.Files); n > 0 && !strings.HasPrefix(key, s.Files[n-1]); n-- {
		s.Files = s.Files[:n-1]
	}
	kept := s.Files[:0]
	for _, f := range s.Files {
		if len(key) > len(f) && key[len(f)] == '/' {
			shadowed = append(shadowed, f)
		} else {
			kept = append(kept, f)
		}
	}
	s.Files = kept
	if !isMarker(key) {
		s.Files = append(s.Files, key)
	}
	return shadowed
}
