package volume

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sigilfs/sigilfs/cache/spool"
)

// Target of an export: a file that is empty.
type Target interface {
	io.WriterAt
	Truncate(size int64) error
}

// Gap is a range of an export that could not be read, and is zeros.
type Gap struct {
	Off, Len int64
	Err      error
}

// Export writes the whole content of a file to w, or gives the error because of
// which it is not whole. With salvage it writes what can be read, be it older
// than what was written last, and lists the rest.
func (r *Recovery) Export(ctx context.Context, id string, w Target, salvage bool) ([]Gap, error) {
	l, err := r.open(id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.left.Close() }() // it was only read
	if !salvage && !l.exportable() && !errors.Is(l.Err, errUploaded) {
		return nil, named(l.Err, "export", l.name())
	}
	src, err := r.exportBase(ctx, l)
	if err == nil && !salvage && !l.exportable() {
		err = l.Err
	}
	if err != nil && !salvage {
		return nil, named(err, "export", l.name())
	}
	if salvage {
		l.left.Salvage()
	}
	x := &export{l: l, src: src, noBase: err, w: w, salvage: salvage}
	if err := w.Truncate(l.Size); err != nil {
		return nil, err
	}
	err = x.run(ctx)
	return x.gaps, named(err, "export", l.name())
}

// exportable tells whether l may be exported as it is: all that is wrong with
// it is for a person to know.
func (l *leftover) exportable() bool {
	return l.Err == nil || unasked(l.Err) || errors.Is(l.Err, ErrElsewhere)
}

// exportBase is what the parts come from that are not in the spool; nil where
// there are none.
func (r *Recovery) exportBase(ctx context.Context, l *leftover) (*content, error) {
	sent := errors.Is(l.Err, errUploaded)
	switch {
	case !sent && !l.lacks(spool.Base):
		return nil, nil
	case l.note.Key == "":
		return nil, fmt.Errorf("%w: %w", ErrPartial, ErrUnnamed)
	case errors.Is(l.Err, ErrElsewhere):
		return nil, fmt.Errorf("%w: the rest is in %s", ErrElsewhere, l.note.Key)
	}
	where, err := r.locate(ctx, l)
	if err != nil {
		return nil, err
	}
	if l.complete(r, where); !l.whole && !l.lacks(spool.Base) {
		return nil, nil
	}
	if src, err := r.borrowed(ctx, l, where); src != nil || err != nil {
		return src, err
	}
	return r.base(ctx, l, where)
}

// exportPiece is how much is read at a time, in bytes. A multiple of a block,
// so that what is damaged takes no more with it.
const exportPiece = spool.BlockSize

// export is one that is under way.
type export struct {
	l       *leftover
	src     *content // nil for none
	noBase  error    // why
	w       Target
	salvage bool
	gaps    []Gap
}

func (x *export) run(ctx context.Context) error {
	p := make([]byte, exportPiece)
	for off := int64(0); off < x.l.Size; {
		kind, end := x.l.left.Extent(off)
		if kind == spool.Zero {
			off = end
			continue
		}
		n := min(exportPiece-off%exportPiece, x.l.Size-off)
		if err := x.piece(ctx, p[:n], off); err != nil {
			return err
		}
		off += n
	}
	return nil
}

func (x *export) piece(ctx context.Context, p []byte, off int64) error {
	n, err := x.l.left.ReadAt(p, off, func(off int64, p []byte) error {
		if kind, _ := x.l.content().Extent(off); kind == spool.Sent {
			return errUploaded
		}
		if x.src == nil {
			return fmt.Errorf("%w: %w", ErrPartial, x.noBase)
		}
		n, err := x.src.ReadAt(ctx, p, off)
		return filled(n, len(p), err)
	})
	err = filled(n, len(p), err)
	switch {
	case err == nil:
		_, err = x.w.WriteAt(p, off)
		return err
	case !x.salvage || ctx.Err() != nil:
		return err
	}
	x.missed(Gap{off, int64(len(p)), err})
	return nil
}

// missed joins neighbours.
func (x *export) missed(g Gap) {
	if n := len(x.gaps); n > 0 && x.gaps[n-1].Off+x.gaps[n-1].Len == g.Off {
		x.gaps[n-1].Len += g.Len
		return
	}
	x.gaps = append(x.gaps, g)
}
