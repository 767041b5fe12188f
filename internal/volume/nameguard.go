package volume

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// nameGuard is the store of a volume whose names are encrypted. Within the volume all
// paths and keys are as the bucket has them; named.Names converts them for people.
// The guard sees to it that no mistake there writes a readable name: it makes no
// object whose key does not decode. Of listings it passes over what does not: such
// keys are nobody's, or were tampered with.
type nameGuard struct {
	objstore.Store
	root  string // volume root
	names *sigil.Names

	hidden atomic.Uint64 // entries passed over
}

// mine tells whether each component of a key below the volume root decodes, but
// those of the volume's own objects, and an instruction file's after its object's.
func (g *nameGuard) mine(key string) bool {
	rest, ok := strings.CutPrefix(key, g.root)
	return ok && g.decodes("", rest)
}

// decodes is mine of what lies in the directory dir below the root.
func (g *nameGuard) decodes(dir, rest string) bool {
	for rest != "" {
		name, more, slash := strings.Cut(rest, "/")
		if name == hidden {
			return slash
		}
		if !slash {
			name = strings.TrimSuffix(name, s3ec.InstructionSuffix)
		}
		if _, err := g.names.Decode(dir, name); err != nil {
			return false
		}
		dir, rest = join(dir, name), more
	}
	return true
}

// Mine tells whether what lies at a key below the volume root has a name there: where
// names are encrypted all others are foreign, or were tampered with, and hidden.
func (v *Volume) Mine(key string) bool { return v.hide == nil || v.hide.mine(key) }

// check refuses to write what is not mine.
func (g *nameGuard) check(key string) error {
	if !g.mine(key) {
		return fmt.Errorf("%q: the name is not encrypted: %w", key, objstore.ErrInvalid)
	}
	return nil
}

// List is Store's, of what is mine.
func (g *nameGuard) List(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		f, left := filter{nameGuard: g}, opt.Limit
		for {
			seen, last := 0, ""
			for e, err := range g.Store.List(ctx, opt) {
				if err != nil {
					yield(e, err)
					return
				}
				seen, last = seen+1, e.Key+e.Prefix
				if f.hides(last) {
					continue
				}
				if !yield(e, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
			// A limit counts what is given. What was hidden of it is made up for, by
			// larger requests each time: there may be much of that.
			if opt.Limit == 0 || seen < opt.Limit {
				return
			}
			opt.After, opt.Limit = last, min(listPage, 4*opt.Limit)
		}
	}
}

// filter is one listing.
type filter struct {
	*nameGuard
	dir string // a directory of which it is known that it is mine, with the slash
}

// hides tells whether a key is not mine; of a row of keys in one directory that is
// asked for once.
func (f *filter) hides(key string) bool {
	i := strings.LastIndexByte(strings.TrimSuffix(key, "/"), '/') + 1
	ok := false
	if f.dir != "" && key[:i] == f.dir && strings.HasPrefix(key, f.root) {
		ok = f.decodes(strings.TrimSuffix(f.dir[len(f.root):], "/"), key[i:])
	} else if ok = f.mine(key); ok && i > len(f.root) && !strings.Contains("/"+key[:i], "/"+hidden+"/") {
		f.dir = key[:i]
	}
	if !ok {
		f.hidden.Add(1)
	}
	return !ok
}

// Put is Store's.
func (g *nameGuard) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := g.check(key); err != nil {
		return objstore.Receipt{}, err
	}
	return g.Store.Put(ctx, key, body, size, opt)
}

// Copy is Store's.
func (g *nameGuard) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := g.check(dst); err != nil {
		return objstore.Receipt{}, err
	}
	return g.Store.Copy(ctx, src, dst, opt)
}

// Upload is Store's.
func (g *nameGuard) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	if err := g.check(key); err != nil {
		return nil, err
	}
	return g.Store.Upload(ctx, key, opt)
}

// rekey gives the key under which what is at key lies when the directory from has
// become to: both are keys of markers, and key lies in from. What is in a directory
// is encrypted for it, so all of the rest changes.
func (v *Volume) rekey(key, from, to string) (string, error) {
	rest := strings.TrimPrefix(key, from)
	if v.hide == nil {
		return to + rest, nil
	}
	old, dir := v.hide.dir(from), v.hide.dir(to)
	out := to
	for rest != "" {
		name, more, slash := strings.Cut(rest, "/")
		end := ""
		if !slash {
			name, end = cutInstruction(name)
		}
		said, err := v.hide.names.Decode(old, name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		next, err := v.hide.names.Encode(dir, said)
		if err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		old, dir, rest = join(old, name), join(dir, next), more
		if out += next + end; slash {
			out += "/"
		}
	}
	return out, nil
}

// repath is rekey of a path in the directory from, or of from itself.
func (v *Volume) repath(p, from, to string) (string, error) {
	if p == from {
		return to, nil
	}
	key, err := v.rekey(v.fileKey(p), v.dirKey(from), v.dirKey(to))
	return strings.TrimPrefix(key, v.opt.Prefix), err
}

// cutInstruction takes the ending of an instruction file off a name.
func cutInstruction(name string) (object, end string) {
	object, ok := strings.CutSuffix(name, s3ec.InstructionSuffix)
	if !ok {
		return name, ""
	}
	return object, s3ec.InstructionSuffix
}

// dir is where the directory with this key lies below the root, as associated data.
func (g *nameGuard) dir(key string) string {
	return strings.TrimSuffix(strings.TrimPrefix(key, g.root), "/")
}

// nameOf is the name at p as people know it, and beside gives the path of another
// in its directory.
func (v *Volume) nameOf(p string) (string, error) {
	if v.hide == nil {
		return base(p), nil
	}
	return v.hide.names.Decode(v.hide.dir(v.dirKey(parent(p))), base(p))
}

func (v *Volume) beside(p, name string) (string, error) {
	if v.hide == nil {
		return join(parent(p), name), nil
	}
	name, err := v.hide.names.Encode(v.hide.dir(v.dirKey(parent(p))), name)
	return join(parent(p), name), err
}
