package volume

import (
	"context"
	"errors"
	"io"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// following reads a range of a body as stored. Where the answer breaks off and
// its rest is not at that place any more (another host changed the attributes,
// this one renamed it), it goes on where the body is now. Not safe for
// concurrent use.
type following struct {
	ctx     context.Context //nolint:containedctx // of the fetch: an io.Reader has nowhere else to take it from
	c       *content
	at, end int64
	from    io.ReadCloser
	moved   bool // once; a body that moves with every read is not followed
}

// fetch opens n bytes of the body as stored, from off on.
func (c *content) fetch(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	f := &following{ctx: ctx, c: c, at: off, end: off + n}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// open asks for what is still to come.
func (f *following) open() error {
	return f.c.located(f.ctx, func(id objstore.ID) error {
		_, _, body, err := f.c.v.opt.Store.Get(f.ctx, id, objstore.Range{Off: f.at, Len: f.end - f.at})
		if err == nil {
			f.from = body
		}
		return err
	})
}

func (f *following) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	f.at += int64(n)
	if n > 0 || f.moved || f.at == f.end || !errors.Is(err, ErrChanged) {
		return n, err
	}
	f.moved = true
	_ = f.from.Close()
	f.from = nil
	if err := f.open(); err != nil {
		f.from = io.NopCloser(failing{err})
		return 0, err
	}
	return f.Read(p)
}

func (f *following) Close() error { return f.from.Close() }

// failing gives its error.
type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }
