package named

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/sigilfs/sigilfs/internal/volume"
)

// Volume is what a volume.Volume does with files and directories, by their names.
// Methods are those of volume.Volume, and so are their errors.
type Volume struct {
	v     *volume.Volume
	names *Names
}

// Of shows v by names; nil: they are stored as they are.
func Of(v *volume.Volume, names *Names) Volume { return Volume{v, names} }

// Names converts the paths of this volume's other operations.
func (v Volume) Names() *Names { return v.names }

// at does op at the stored path of p. What cannot be a name is not there.
func at[T any](v Volume, p string, op func(stored string) (T, error)) (T, error) {
	stored, err := v.names.Stored(p)
	if err != nil {
		var none T
		return none, err
	}
	return op(stored)
}

// seek is at of what only looks: what can be no name is not there.
func seek[T any](v Volume, p string, op func(stored string) (T, error)) (T, error) {
	out, err := at(v, p, op)
	if v.names != nil && (errors.Is(err, volume.ErrInvalid) || errors.Is(err, volume.ErrName)) {
		return out, fmt.Errorf("%w: %w", err, volume.ErrNotExist)
	}
	return out, err
}

// nothing is what of an operation that gives no more than an error.
type nothing struct{}

func (v Volume) do(p string, op func(stored string) error) error {
	_, err := at(v, p, func(stored string) (nothing, error) { return nothing{}, op(stored) })
	return err
}

// Stat is volume.Volume's.
func (v Volume) Stat(ctx context.Context, p string) (volume.Info, error) {
	return seek(v, p, func(p string) (volume.Info, error) { return v.v.Stat(ctx, p) })
}

// Glance is volume.Volume's.
func (v Volume) Glance(ctx context.Context, p string) (volume.Info, error) {
	return seek(v, p, func(p string) (volume.Info, error) { return v.v.Glance(ctx, p) })
}

// Attributes is volume.Volume's.
func (v Volume) Attributes(ctx context.Context, p string) (volume.Attr, error) {
	return seek(v, p, func(p string) (volume.Attr, error) { return v.v.Attributes(ctx, p) })
}

// Readlink is volume.Volume's.
func (v Volume) Readlink(ctx context.Context, p string) (string, error) {
	return seek(v, p, func(p string) (string, error) { return v.v.Readlink(ctx, p) })
}

// List is volume.Volume's: in the order of what is stored, which is not that of the
// names where they are encrypted. Cookies are what is stored.
func (v Volume) List(ctx context.Context, p, after string) iter.Seq2[volume.Entry, error] {
	if v.names == nil {
		return v.v.List(ctx, p, after)
	}
	return func(yield func(volume.Entry, error) bool) {
		dir, err := v.names.Stored(p)
		if err != nil {
			yield(volume.Entry{}, err)
			return
		}
		for e, err := range v.v.List(ctx, dir, after) {
			if err != nil {
				yield(e, err)
				return
			}
			name, ok := v.names.name(dir, e.Name)
			if !ok {
				continue
			}
			e.Name = name
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Mkdir is volume.Volume's.
func (v Volume) Mkdir(ctx context.Context, p string, a volume.Attr) (volume.Info, error) {
	return at(v, p, func(p string) (volume.Info, error) { return v.v.Mkdir(ctx, p, a) })
}

// Mknod is volume.Volume's.
func (v Volume) Mknod(ctx context.Context, p string, a volume.Attr) (volume.Info, error) {
	return at(v, p, func(p string) (volume.Info, error) { return v.v.Mknod(ctx, p, a) })
}

// Symlink is volume.Volume's. The target is content.
func (v Volume) Symlink(ctx context.Context, p, target string, a volume.Attr) (volume.Info, error) {
	return at(v, p, func(p string) (volume.Info, error) { return v.v.Symlink(ctx, p, target, a) })
}

// Link is volume.Volume's.
func (v Volume) Link(ctx context.Context, from, to string) (volume.Info, error) {
	return at(v, from, func(from string) (volume.Info, error) {
		return at(v, to, func(to string) (volume.Info, error) { return v.v.Link(ctx, from, to) })
	})
}

// Remove is volume.Volume's.
func (v Volume) Remove(ctx context.Context, p string) error {
	return v.do(p, func(p string) error { return v.v.Remove(ctx, p) })
}

// Rmdir is volume.Volume's.
func (v Volume) Rmdir(ctx context.Context, p string) error {
	return v.do(p, func(p string) error { return v.v.Rmdir(ctx, p) })
}

// Rename is volume.Volume's.
func (v Volume) Rename(ctx context.Context, from, to string, noReplace bool) error {
	return v.do(from, func(from string) error {
		return v.do(to, func(to string) error { return v.v.Rename(ctx, from, to, noReplace) })
	})
}

// SetAttr is volume.Volume's.
func (v Volume) SetAttr(ctx context.Context, p string, c volume.Change) (volume.Info, error) {
	return at(v, p, func(p string) (volume.Info, error) { return v.v.SetAttr(ctx, p, c) })
}

// SyncDir is volume.Volume's.
func (v Volume) SyncDir(ctx context.Context, p string) error {
	return v.do(p, func(p string) error { return v.v.SyncDir(ctx, p) })
}

// Open is volume.Volume's.
func (v Volume) Open(ctx context.Context, p string, o volume.OpenOptions) (*volume.File, error) {
	return seek(v, p, func(p string) (*volume.File, error) { return v.v.Open(ctx, p, o) })
}

// Create is volume.Volume's.
func (v Volume) Create(ctx context.Context, p string, a volume.Attr, excl bool) (*volume.File, error) {
	return at(v, p, func(p string) (*volume.File, error) { return v.v.Create(ctx, p, a, excl) })
}
