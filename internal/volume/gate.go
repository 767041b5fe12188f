package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// ErrSuspended: the volume writes nothing for now.
var ErrSuspended = errors.New("nothing is written")

// gate is the store of a volume that can be kept from writing. What is dirty then
// stays in the spool, as with any error of the store.
type gate struct {
	objstore.Store
	shut atomic.Pointer[error]
}

// Suspend has every request that writes fail with this error, which it wraps in
// ErrSuspended, until it is called with nil. What is being sent goes on, and is not
// completed.
func (v *Volume) Suspend(why error) {
	if why == nil {
		v.gate.shut.Store(nil)
		return
	}
	err := fmt.Errorf("%w: %w", ErrSuspended, why)
	v.gate.shut.Store(&err)
}

func (g *gate) err() error {
	if why := g.shut.Load(); why != nil {
		return *why
	}
	return nil
}

// Put is Store's.
func (g *gate) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := g.err(); err != nil {
		return objstore.Receipt{}, fmt.Errorf("put %q: %w", key, err)
	}
	return g.Store.Put(ctx, key, body, size, opt)
}

// Copy is Store's.
func (g *gate) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := g.err(); err != nil {
		return objstore.Receipt{}, fmt.Errorf("copy to %q: %w", dst, err)
	}
	return g.Store.Copy(ctx, src, dst, opt)
}

// Delete is Store's.
func (g *gate) Delete(ctx context.Context, id objstore.ID, cond objstore.Condition) error {
	if err := g.err(); err != nil {
		return fmt.Errorf("delete %q: %w", id.Key, err)
	}
	return g.Store.Delete(ctx, id, cond)
}

// Upload is Store's.
func (g *gate) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	if err := g.err(); err != nil {
		return nil, fmt.Errorf("upload %q: %w", key, err)
	}
	up, err := g.Store.Upload(ctx, key, opt)
	if err != nil {
		return nil, err
	}
	return gatedUpload{up, g}, nil
}

// gatedUpload is an upload that the gate keeps from becoming an object.
type gatedUpload struct {
	objstore.Uploader
	gate *gate
}

// Complete is Uploader's.
func (u gatedUpload) Complete(ctx context.Context, cond objstore.Condition) (objstore.Receipt, error) {
	if err := u.gate.err(); err != nil {
		return objstore.Receipt{}, fmt.Errorf("complete an upload: %w", err)
	}
	return u.Uploader.Complete(ctx, cond)
}
