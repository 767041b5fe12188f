package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// content reads the plaintext of one body: its form over the block cache over
// the store. Safe for concurrent use.
type content struct {
	v    *Volume
	obj  *object
	id   atomic.Pointer[objstore.ID] // where the body is now: attribute changes and renames move it
	blob *cache.Reader               // as stored

	mu sync.Mutex // guards r
	r  plaintext
}

// contentOf opens the body of o, or says why it does not open.
func (v *Volume) contentOf(o *object) (*content, error) {
	if o.err != nil {
		return nil, o.err
	}
	c := &content{v: v, obj: o}
	c.id.Store(&o.id)
	c.blob = v.opt.Cache.Reader(v.cached(o), c.fetch)
	r, err := c.reader()
	if err != nil {
		return nil, err
	}
	c.r = r
	return c, nil
}

func (c *content) reader() (plaintext, error) {
	r, err := c.obj.form.open(c, c.blob)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.obj.id.Key, err)
	}
	return r, nil
}

// cached is the body of o as the cache knows it. Blocks of a sealed one are its
// chunks, and its generation is found in no other bucket; any other body goes by
// where it lies.
func (v *Volume) cached(o *object) cache.Body {
	b := cache.Body{ID: cache.ID{Body: o.body, KeyID: o.cacheKey()}, Size: o.length, Block: sigil.ChunkSize}
	if _, sealed := o.form.(*sealedForm); sealed {
		b.Block += sigil.TagSize
		return b
	}
	_, b.Clear = o.form.(*plainForm)
	b.ID.Body = v.opt.Bucket + "\x00" + o.body
	return b
}

// cacheKey names the key under which the body is encrypted to the cache.
func (o *object) cacheKey() string {
	if f, ok := o.form.(*sealedForm); ok {
		return f.header.Epoch.String()
	}
	return o.state.KMSKeyID
}

// moved says that the body lies at id now.
func (c *content) moved(id objstore.ID) { c.id.Store(&id) }

// ReadAt reads plaintext as io.ReaderAt does. A block that does not
// authenticate is fetched once more; then it is ErrCorrupt.
func (c *content) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := c.allowed(ctx); err != nil {
		return 0, err
	}
	n, err := c.readAt(ctx, p, off)
	if err := c.allowedStill(ctx); err != nil {
		return 0, err
	}
	return n, err
}

func (c *content) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := c.current().ReadAt(ctx, p, off)
	if !errors.Is(err, ErrCorrupt) {
		return n, c.name(err)
	}
	r, err := c.renew()
	if err != nil {
		return 0, err
	}
	n, err = r.ReadAt(ctx, p, off)
	return n, c.name(err)
}

// Verify proves the size: nothing is appended to, or committed over, a body
// that was cut. It fetches once more as ReadAt does.
func (c *content) Verify(ctx context.Context) error {
	err := c.current().Verify(ctx)
	if !errors.Is(err, ErrCorrupt) {
		return c.name(err)
	}
	r, err := c.renew()
	if err != nil {
		return err
	}
	return c.name(r.Verify(ctx))
}

func (c *content) current() plaintext {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r
}

// renew drops all cached blocks of the body and everything concluded from them.
func (c *content) renew() (plaintext, error) {
	c.blob.Drop()
	c.v.copies.drop(c.obj.body)
	r, err := c.reader()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r = r
	return r, nil
}

func (c *content) name(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return fmt.Errorf("%s: %w", c.id.Load().Key, err)
}

// stream gives w the whole body as stored. A small one may have been fetched
// ahead.
func (c *content) stream(ctx context.Context, w io.Writer) error {
	if n := c.obj.length; n > 0 && n <= smallFile {
		return c.blob.View(ctx, 0, n, func(p []byte) error {
			_, err := w.Write(p)
			return err
		})
	}
	var body io.ReadCloser
	err := c.located(ctx, func(id objstore.ID) (err error) {
		_, _, body, err = c.v.opt.Store.Get(ctx, id, objstore.Range{})
		return err
	})
	if err != nil {
		return err
	}
	defer body.Close()
	n, err := io.Copy(w, body)
	if err == nil && n != c.obj.length {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// located runs get on this very body. Where the key holds another ETag but
// still the same body (another host changed the attributes), it goes on with
// that. get has done nothing where it gives ErrChanged or ErrNotExist.
func (c *content) located(ctx context.Context, get func(objstore.ID) error) error {
	id := *c.id.Load()
	err := get(id)
	if !errors.Is(err, ErrChanged) && !errors.Is(err, ErrNotExist) {
		return err
	}
	if now := *c.id.Load(); now != id {
		return get(now)
	}
	o, ferr := c.v.fetch(ctx, id.Key)
	if ferr != nil && !errors.Is(ferr, ErrNotExist) {
		return ferr // whether the body has gone is not known
	}
	if ferr == nil && o.isName() { // another host has linked it
		o, ferr = c.v.inodeBehind(ctx, o)
	}
	if ferr != nil && !errors.Is(ferr, ErrNotExist) {
		return ferr
	}
	if now := *c.id.Load(); now != id { // meanwhile
		return get(now)
	}
	if ferr != nil || !c.obj.same(o) {
		c.v.distrust(c.obj)
		return fmt.Errorf("%s: %w", id.Key, ErrChanged)
	}
	c.moved(o.id)
	return get(o.id)
}

// readAll reads a whole small object of at most limit bytes.
func (v *Volume) readAll(ctx context.Context, o *object, limit int64) ([]byte, error) {
	if o.attr.Size > limit {
		return nil, fmt.Errorf("%s: %d bytes where at most %d are expected: %w", o.id.Key, o.attr.Size, limit, ErrCorrupt)
	}
	c, err := v.contentOf(o)
	if err != nil {
		return nil, err
	}
	p := make([]byte, o.attr.Size)
	if _, err := c.ReadAt(ctx, p, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p, c.Verify(ctx)
}
