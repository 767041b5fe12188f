package volume

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// maxBroken bounds the answers in a row that break off without a byte.
const maxBroken = 5

// passage reads a range of a body in order, from the store and nothing else, and
// goes on where an answer breaks off. One goroutine uses it, and closes it.
type passage struct {
	store   objstore.Store
	id      objstore.ID
	at, end int64
	body    io.ReadCloser
	broken  int
}

// read fills p. ErrChanged: the body has gone.
func (f *passage) read(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		if err := f.open(ctx); err != nil {
			return err
		}
		n, err := io.ReadFull(f.body, p)
		p, f.at = p[n:], f.at+int64(n)
		if err == nil {
			return nil
		}
		f.close()
		if n > 0 {
			f.broken = 0
		}
		if f.broken++; f.broken > maxBroken || ctx.Err() != nil {
			return fmt.Errorf("%s at %d: %w", f.id.Key, f.at, err)
		}
	}
	return nil
}

func (f *passage) open(ctx context.Context) error {
	if f.body != nil {
		return nil
	}
	_, off, body, err := f.store.Get(ctx, f.id, objstore.Range{Off: f.at, Len: f.end - f.at})
	if err != nil {
		return err
	}
	if off != f.at {
		_ = body.Close()
		return fmt.Errorf("%s: the server gave what is at %d for what is at %d: %w", f.id.Key, off, f.at, io.ErrUnexpectedEOF)
	}
	f.body = body
	return nil
}

func (f *passage) close() {
	if f.body != nil {
		_ = f.body.Close() // what was read of it was read
		f.body = nil
	}
}

// readExactly fills p with what is at off of the body id.
func (v *Volume) readExactly(ctx context.Context, id objstore.ID, p []byte, off int64) error {
	f := &passage{store: v.opt.Store, id: id, at: off, end: off + int64(len(p))}
	defer f.close()
	return f.read(ctx, p)
}

// stripe is how much of a large body is read by one request, in bytes of
// plaintext: whole segments.
const stripe = 32 * sigil.SegmentSize

// readSealed opens every chunk of a body, and tells which do not authenticate:
// its stripes beside each other where others leave room for that.
func (x *Verifier) readSealed(ctx context.Context, s sight, f *sealedForm, tail []byte) (damage, error) {
	n := (s.attr.Size + stripe - 1) / stripe
	found, errs := make([]damage, n), make([]error, n)
	var beside sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range n {
		read := func() {
			if found[i], errs[i] = x.readStripe(ctx, s, f, tail, i*stripe, min(s.attr.Size, (i+1)*stripe)); errs[i] != nil {
				cancel()
			}
		}
		if i == n-1 || !x.extra.TryAcquire(1) {
			read()
			continue
		}
		beside.Go(func() {
			defer x.extra.Release(1)
			read()
		})
	}
	beside.Wait()
	var all damage
	for _, d := range found {
		for _, r := range d.ranges {
			all.add(r)
		}
		all.more = all.more || d.more
	}
	if err := firstCause(errs); err != nil {
		return all, err
	}
	x.bodies.Add(1)
	return all, nil
}

// firstCause gives the error that the others, which were broken off, follow from.
func firstCause(errs []error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil && !errors.Is(err, context.Canceled) })
	if i >= 0 {
		return errs[i]
	}
	return errors.Join(errs...)
}

// readStripe opens the chunks, or frames, of [off, end) of the plaintext.
func (x *Verifier) readStripe(ctx context.Context, s sight, f *sealedForm, tail []byte, off, end int64) (damage, error) {
	sealed := &pending{}
	src := sigil.ReaderAt(sealed)
	if tail != nil {
		src = sigil.WithSuffix(src, tail, s.length)
	}
	r, err := sigil.NewReader(f.rec, f.header, src, s.length, x.v.frames)
	if err == nil && tail != nil {
		err = r.Verify(ctx)
	}
	if err != nil {
		return damage{}, err
	}
	at, length := r.Stored(off, end-off)
	body := &passage{store: x.v.opt.Store, id: s.id, at: at, end: at + length}
	defer body.close()
	plain := make([]byte, r.Unit())
	defer clear(plain)
	var bad damage
	for ; off < end; off += r.Unit() {
		n := min(r.Unit(), end-off)
		at, length := r.Stored(off, n)
		sealed.at, sealed.p = at, slices.Grow(sealed.p[:0], int(length))[:length]
		if err := body.read(ctx, sealed.p); err != nil {
			return bad, err
		}
		whole, err := x.openUnit(ctx, r, sealed, s.id, plain[:n], off)
		if err != nil {
			return bad, err
		}
		if !whole {
			bad.add(objstore.Range{Off: off, Len: n})
		}
		x.read(length)
	}
	return bad, nil
}

// openUnit tells whether a chunk or a frame authenticates. One that does not is asked for
// once more: it may have suffered on its way.
func (x *Verifier) openUnit(ctx context.Context, r *sigil.Reader, c *pending, id objstore.ID, plain []byte, off int64) (bool, error) {
	_, err := r.ReadAt(ctx, plain, off)
	if errors.Is(err, ErrCorrupt) {
		if err = x.v.readExactly(ctx, id, c.p, c.at); err != nil {
			return false, err
		}
		_, err = r.ReadAt(ctx, plain, off)
	}
	if errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	return err == nil, err
}

// pending is the one chunk or frame of a body that is here.
type pending struct {
	p  []byte
	at int64
}

var _ sigil.Viewer = (*pending)(nil)

// ReadAt gives what lies within the chunk.
func (c *pending) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if off < c.at || off+int64(len(p)) > c.at+int64(len(c.p)) {
		return 0, fmt.Errorf("%d bytes at %d of a body of which those at %d are here: %w", len(p), off, c.at, io.ErrUnexpectedEOF)
	}
	return copy(p, c.p[off-c.at:]), nil
}

// View gives the chunk.
func (c *pending) View(_ context.Context, off, n int64, use func([]byte) error) error {
	if off != c.at || n != int64(len(c.p)) {
		return fmt.Errorf("%d bytes at %d of a body of which those at %d are here: %w", n, off, c.at, io.ErrUnexpectedEOF)
	}
	return use(c.p)
}

// read counts bytes that were verified.
func (x *Verifier) read(n int64) {
	x.bytes.Add(n)
	if x.opt.Read != nil {
		x.opt.Read(n)
	}
}

// proveS3EC verifies a body that one tag at its end authenticates. It is read in
// order, and nothing of it is kept.
func (x *Verifier) proveS3EC(ctx context.Context, s sight, f *s3ecForm) (Fault, damage, error) {
	opener, err := s3ec.Unwrap(ctx, f.env, x.v.opt.S3ECKeys, x.v.rule(s.id.Key).Reading)
	if err != nil {
		if unopenable(err) {
			return faultOf(err), damage{}, fmt.Errorf("%s: %w", s.id.Key, err)
		}
		return "", damage{}, err
	}
	body := &inOrder{passage: passage{store: x.v.opt.Store, id: s.id, end: s.length}, x: x}
	defer body.close()
	_, err = opener.Open(ctx, sigil.WithSuffix(body, s.suffix, s.length), s.length)
	switch {
	case errors.Is(err, ErrCorrupt):
		return FaultContent, damage{}, fmt.Errorf("%s: %w", s.id.Key, err)
	case unopenable(err):
		return faultOf(err), damage{}, fmt.Errorf("%s: %w", s.id.Key, err)
	case err != nil:
		return "", damage{}, err
	}
	x.bodies.Add(1)
	if !f.env.Authenticated() { // CBC: to be read is all that can be asked of it
		x.unprovable.Add(1)
		return "", damage{}, body.rest(ctx)
	}
	return "", damage{}, nil
}

// inOrder is a body that is mostly read in order.
type inOrder struct {
	passage
	x *Verifier
}

// ReadAt implements sigil.ReaderAt, by a request of its own where off is not
// where the last read ended.
func (b *inOrder) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.end {
		return 0, io.EOF
	}
	if off != b.at {
		return len(p), b.x.v.readExactly(ctx, b.id, p, off)
	}
	if err := b.passage.read(ctx, p); err != nil {
		return 0, err
	}
	b.x.read(int64(len(p)))
	return len(p), nil
}

// rest reads what was not.
func (b *inOrder) rest(ctx context.Context) error {
	p := make([]byte, sigil.ChunkSize)
	for b.at < b.end {
		if _, err := b.ReadAt(ctx, p[:min(int64(len(p)), b.end-b.at)], b.at); err != nil {
			return err
		}
	}
	return nil
}

// provePlain reads a body that is its own plaintext, and holds it against the
// checksum that S3 keeps of it, where it does.
func (x *Verifier) provePlain(ctx context.Context, s sight) (Fault, damage, error) {
	if s.length == 0 {
		return "", damage{}, nil
	}
	sum, want, err := x.v.checksum(ctx, s.id)
	if err != nil {
		return "", damage{}, err
	}
	body := &inOrder{passage: passage{store: x.v.opt.Store, id: s.id, end: s.length}, x: x}
	defer body.close()
	p := make([]byte, sigil.ChunkSize)
	for body.at < body.end {
		part := p[:min(int64(len(p)), body.end-body.at)]
		if _, err := body.ReadAt(ctx, part, body.at); err != nil {
			return "", damage{}, err
		}
		if sum != nil {
			_, _ = sum.Write(part) // never fails (hash.Hash)
		}
	}
	x.bodies.Add(1)
	switch {
	case sum == nil:
		x.unprovable.Add(1)
	case subtle.ConstantTimeCompare(sum.Sum(nil), want) != 1:
		return FaultContent, damage{}, fmt.Errorf("%s: content is not that of which S3 keeps the checksum: %w", s.id.Key, ErrCorrupt)
	}
	return "", damage{}, nil
}
