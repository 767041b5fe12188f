package sigil

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sigilfs/sigilfs/objcrypt"
	"golang.org/x/sync/errgroup"
)

// fetch reads sealed chunks, and beside them the tail where it was not
// verified yet.
func (r *Reader) fetch(ctx context.Context, p []byte, off int64) error {
	if r.table.Load() != nil {
		return r.read(ctx, p, off)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := r.tail(ctx)
		return err
	})
	g.Go(func() error { return r.read(ctx, p, off) })
	return g.Wait()
}

// tail reads and verifies the tail, once. A failure is not remembered: what the
// source gives next may be whole.
func (r *Reader) tail(ctx context.Context) (*table, error) {
	if t := r.table.Load(); t != nil {
		return t, nil
	}
	select {
	case r.loading <- struct{}{}:
		defer func() { <-r.loading }()
	case <-ctx.Done():
		return nil, fmt.Errorf("tail: %w", context.Cause(ctx))
	}
	if t := r.table.Load(); t != nil {
		return t, nil
	}
	tail := make([]byte, TailSize(r.layout, r.n)) // not longer than the body
	if err := r.read(ctx, tail, r.body-int64(len(tail))); err != nil {
		return nil, err
	}
	t, err := parseTail(r.dek, r.gen, r.layout, r.n, r.body, tail)
	if err != nil {
		return nil, err
	}
	r.table.Store(t)
	return t, nil
}

// read fills p from the body. One that ends early is corrupt: its length was
// known before.
func (r *Reader) read(ctx context.Context, p []byte, off int64) error {
	n, err := r.src.ReadAt(ctx, p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("body ends at %d, not at %d: %w", off+int64(n), r.body, objcrypt.ErrCorrupt)
	default:
		return fmt.Errorf("body at %d: %w", off, err)
	}
}
