package volume

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// Kept is a version of an object, as far as it opens.
type Kept struct {
	objstore.Version
	Path string // in the volume; of an inode "", it has as many as it has names

	Content int64  // bytes of plaintext; -1 where nobody can say
	Mode    string // how it is encrypted; "" where it does not open
	Link    string // the key of the inode that a hard-link name stands for; "" for what is none
	Err     error  // why it does not open; nil for what does, and for delete markers
}

// History gives the versions of what is or was at p: of a file, with those of the
// inode that it is or was a name of, or of a directory and all below it, in order
// of their keys and of one key the newest first; only keys greater than after.
// What the volume keeps for itself does not show. Errors: ErrUnsupported where
// versions cannot be asked for, and those of a listing.
func (v *Volume) History(ctx context.Context, p, after string) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		store, ok := v.raw.(objstore.Versioner)
		if !ok {
			yield(objstore.Version{}, fmt.Errorf("versions of %q: %w", p, objstore.ErrUnsupported))
			return
		}
		if p != "" && !v.ofKey(ctx, store, v.fileKey(p), after, yield) {
			return
		}
		dir := v.dirKey(p)
		for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: dir, After: after}) {
			if err == nil && ownPart(ver.Key) != partFile {
				continue
			}
			if !yield(ver, err) || err != nil {
				return
			}
		}
	}
}

// ofKey gives the versions of one key and of its instruction file. False: no more
// are wanted.
func (v *Volume) ofKey(ctx context.Context, store objstore.Versioner, key, after string, yield func(objstore.Version, error) bool) bool {
	keys := []string{key}
	if v.instructed(key) {
		keys = append(keys, s3ec.InstructionKey(key))
	}
	for _, key := range keys {
		if key <= after {
			continue
		}
		for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: key}) {
			if err == nil && ver.Key != key {
				break // the key itself is the first of those that begin with it
			}
			if !yield(ver, err) || err != nil {
				return false
			}
		}
	}
	return true
}

// InodeHistory gives the versions of the inodes that kept, versions of a file, are
// names of.
func (v *Volume) InodeHistory(ctx context.Context, kept []Kept) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		store, ok := v.raw.(objstore.Versioner)
		var seen []string
		for _, k := range kept {
			if !ok || k.Link == "" || slices.Contains(seen, k.Link) {
				continue
			}
			seen = append(seen, k.Link)
			if !v.ofKey(ctx, store, k.Link, "", yield) {
				return
			}
		}
	}
}

// Look opens a version as far as its metadata go. The error is the store's; why
// the version does not open stands in Kept.
func (v *Volume) Look(ctx context.Context, ver objstore.Version) (Kept, error) {
	k := Kept{Version: ver, Content: -1}
	if ownPart(ver.Key) == partFile {
		k.Path = strings.TrimSuffix(strings.TrimPrefix(ver.Key, v.opt.Prefix), "/")
	}
	if ver.Deleted {
		return k, nil
	}
	s, err := v.lookAt(ctx, objstore.ID{Key: ver.Key, VersionID: ver.VersionID})
	switch {
	case unopenable(err):
		k.Err = err
		return k, nil //nolint:nilerr // that is what is told of it
	case err != nil:
		return k, err
	case s.err != nil:
		k.Err = s.err
		return k, nil //nolint:nilerr // as above
	}
	k.Content, k.Mode = s.attr.Size, s.form.mode(s.object)
	if s.isName() {
		k.Link = v.inodeThere(ctx, s.object)
	}
	return k, nil
}

// inodeThere is where the inode of a name is or was.
func (v *Volume) inodeThere(ctx context.Context, name *object) string {
	keys := v.inodeKeys(name)
	store, _ := v.raw.(objstore.Versioner)
	for _, key := range keys {
		for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: key, Limit: 1}) {
			if err == nil && ver.Key == key {
				return key
			}
		}
	}
	if len(keys) == 0 {
		return ""
	}
	return keys[len(keys)-1]
}
