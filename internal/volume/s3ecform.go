package volume

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume/attrmeta"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// S3EC is how a rule writes in the formats of the Amazon S3 Encryption Client.
type S3EC struct {
	Key    s3ec.Sealer
	Format s3ec.Format
}

// s3ecForm is an object in one of those formats. Its attributes lie beside, as
// those of plaintext objects do.
type s3ecForm struct {
	metadata map[string]string // all of it
	env      *s3ec.Envelope
}

// s3ecScheme writes such objects.
type s3ecScheme struct{ *S3EC }

var (
	_ form   = (*s3ecForm)(nil)
	_ scheme = s3ecScheme{}
)

// openS3EC fills in o by the headers of those formats. found is false where it
// has none, in its metadata or, if those are in use, an instruction file.
func (v *Volume) openS3EC(ctx context.Context, o *object, info objstore.Info, suffix []byte, beside instructions) (found bool, err error) {
	kind, err := s3ec.Detect(info.Metadata)
	if err != nil {
		return true, fmt.Errorf("%s: %w", info.Key, err)
	}
	var file []byte
	if kind == s3ec.KindV3Instruction || kind == s3ec.KindNone && v.instructed(info.Key) {
		file, err = beside(ctx, info.Key)
	}
	switch {
	case errors.Is(err, ErrNotExist) && kind == s3ec.KindNone:
		return false, nil
	case errors.Is(err, ErrNotExist):
		return true, fmt.Errorf("%s: its instruction file is missing: %w", info.Key, ErrCorrupt)
	case err != nil:
		return true, err
	case kind == s3ec.KindNone && file == nil:
		return false, nil
	}
	env, err := s3ec.Parse(info.Metadata, file)
	if err == nil {
		err = v.rule(info.Key).Reading.Check(env)
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", info.Key, err)
	}
	return true, v.settleS3EC(ctx, o, info, env, suffix)
}

func (v *Volume) settleS3EC(ctx context.Context, o *object, info objstore.Info, env *s3ec.Envelope, suffix []byte) error {
	o.form = &s3ecForm{metadata: info.Metadata, env: env}
	v.openAttr(o, info)
	size, exact, err := env.PlainSize(info.Size)
	if err == nil && !exact { // the padding says it
		size, err = v.paddedSize(ctx, info, env, suffix)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", info.Key, err)
	}
	o.attr.Size = size
	return nil
}

// paddedSize is the length of a plaintext that is padded, by the end of its body.
func (v *Volume) paddedSize(ctx context.Context, info objstore.Info, env *s3ec.Envelope, suffix []byte) (int64, error) {
	opener, err := s3ec.Unwrap(ctx, env, v.opt.S3ECKeys, v.rule(info.Key).Reading)
	if err != nil {
		return 0, err
	}
	return opener.PlainSize(ctx, sigil.WithSuffix(nil, suffix, info.Size), info.Size)
}

func (f *s3ecForm) mode(*object) string { return "s3ec" }

func (f *s3ecForm) show(_ *object, attrs map[string]string) {
	attrs["commitment"] = "no"
	if f.env.Committing() {
		attrs["commitment"] = "yes"
	}
}

// unproven tells an object of which nobody but an open would notice that it was
// cut to nothing: nobody reads a file that is said to be empty. What is sealed
// is proven by every lookup.
func (o *object) unproven() bool {
	_, ok := o.form.(*s3ecForm)
	return ok && o.attr.Size == 0
}

func (f *s3ecForm) wrote(o *object, metadata map[string]string) bool {
	return metadata[metaMark] == o.mark
}

func (f *s3ecForm) open(c *content, _ sigil.ReaderAt) (plaintext, error) {
	return wholeBody{c, f.env}, nil
}

func (f *s3ecForm) restate(_ context.Context, v *Volume, o *object, d draft) (*stored, error) {
	if d.rule != v.ruleOf(o) {
		return nil, errAnew // nothing tells under which key it is
	}
	md, err := d.metadata(f.metadata)
	if err != nil {
		return nil, err
	}
	n := d.object(o.length)
	n.form, n.body = &s3ecForm{metadata: md, env: f.env}, o.body
	return &stored{obj: n, metadata: md, body: body{size: o.length}}, nil
}

func (s3ecScheme) limit() int64 { return s3ec.MaxSize }

func (s3ecScheme) writes(f form) bool {
	_, ok := f.(*s3ecForm)
	return ok
}

// fits leaves room for the headers of the format.
func (s3ecScheme) fits(xattrs map[string][]byte) error {
	if attrmeta.Size(attrmeta.Attr{Xattrs: xattrs}) > attrmeta.MaxXattrs/2 {
		return ErrXattrs
	}
	return nil
}

// store encrypts d under a data key of its own. What has no content is stored
// as plaintext objects are.
func (s s3ecScheme) store(ctx context.Context, v *Volume, d draft) (*stored, error) {
	if d.isDir() {
		return plainScheme{}.store(ctx, v, d)
	}
	b, err := s3ec.NewBody(ctx, s.Key, s.Format, d.src, d.attr.Size)
	if errors.Is(err, s3ec.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.key, err)
	}
	md, err := d.metadata(b.Metadata())
	if err != nil {
		return nil, err
	}
	o := d.object(b.Size())
	o.form = &s3ecForm{metadata: md, env: b.Envelope()}
	return &stored{obj: o, metadata: md, body: body{size: b.Size(), section: func(ctx context.Context, off, n int64) io.ReadSeeker {
		return b.Section(ctx, off, n)
	}}}, nil
}

// wholeBody reads a body that must be verified whole before any of it is
// believed: from a copy here.
type wholeBody struct {
	c   *content
	env *s3ec.Envelope
}

func (w wholeBody) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = w.c.v.copies.use(ctx, w.c, w.env, func(r *s3ec.Reader) error {
		n, err = r.ReadAt(ctx, p, off)
		return err
	})
	return n, err
}

func (w wholeBody) Verify(ctx context.Context) error {
	return w.c.v.copies.use(ctx, w.c, w.env, func(*s3ec.Reader) error { return nil })
}
