package control

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// All gives every process that lives: those of uid, and for root those of all
// users whose places exist. By mountpoint; the caller closes them.
func All(uid int) []*Peer {
	var all []*Peer
	for _, of := range users(uid) {
		for _, place := range Places(of) {
			all = append(all, in(place, of)...)
		}
	}
	slices.SortFunc(all, func(a, b *Peer) int { return cmp.Compare(a.rec.Dir, b.rec.Dir) })
	return all
}

// mostIn bounds the mounts of one place: it may be another user's.
const mostIn = 1000

// in gives those of a place that belongs to uid; their files are named by what
// they say.
func in(place string, uid int) []*Peer {
	if safe(place, uid) != nil {
		return nil
	}
	var all []*Peer
	paths, _ := filepath.Glob(filepath.Join(place, "*.json")) // the pattern is well-formed
	for _, path := range paths {
		if len(all) == mostIn {
			break
		}
		p := open(path, uid)
		switch {
		case p == nil:
		case filepath.Base(path) == name(p.Record().Dir):
			all = append(all, p)
		default:
			_ = p.Close()
		}
	}
	return all
}

// users are those whose places uid may look into.
func users(uid int) []int {
	all := []int{uid}
	if uid != 0 {
		return all
	}
	for _, pattern := range []string{"/run/user/*/sigilfs", "/tmp/sigilfs-*"} {
		places, _ := filepath.Glob(pattern)
		for _, place := range places {
			text := strings.TrimPrefix(filepath.Base(place), "sigilfs-")
			if text == "sigilfs" {
				text = filepath.Base(filepath.Dir(place))
			}
			if of, err := strconv.Atoi(text); err == nil && of > 0 && !slices.Contains(all, of) {
				all = append(all, of)
			}
		}
	}
	return all
}
