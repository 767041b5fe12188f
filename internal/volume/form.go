package volume

import (
	"context"
	"errors"
	"io"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// form is how the plaintext of one object lies in its body, and its attributes
// in its metadata. What an object is decides on it, not the policy.
type form interface {
	// mode names the form as user.sigil.mode shows it.
	mode(o *object) string

	// open reads the plaintext of c, whose body is in blob as stored.
	open(c *content, blob sigil.ReaderAt) (plaintext, error)

	// restate puts the name and the attributes of d over the body of o.
	// errAnew: the body cannot stay as it is.
	restate(ctx context.Context, v *Volume, o *object, d draft) (*stored, error)

	// show fills in what user.sigil.* tells of the form.
	show(o *object, attrs map[string]string)

	// wrote tells whether the metadata that lie in the store are those of o,
	// and so it is that write which made them.
	wrote(o *object, metadata map[string]string) bool
}

// scheme is how a rule writes new bodies.
type scheme interface {
	// store makes an object of d, whole, but for its place in the bucket.
	store(ctx context.Context, v *Volume, d draft) (*stored, error)

	// writes tells whether f is the form of what it makes.
	writes(f form) bool

	// limit is the most bytes of plaintext that a body takes.
	limit() int64

	// fits refuses extended attributes that an object cannot hold: ErrXattrs.
	fits(xattrs map[string][]byte) error
}

// errAnew: a body must be written whole again to be what the policy asks for.
var errAnew = errors.New("body must be written anew")

// plaintext reads a body as what it means. Safe for concurrent use.
type plaintext interface {
	// ReadAt is io.ReaderAt with a context.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)

	// Verify proves the size.
	Verify(ctx context.Context) error
}

// stored is an object ready to be written.
type stored struct {
	obj      *object // as it will be, but for what the store's answer tells
	metadata map[string]string
	body     body // as stored; not for restate and directories
	behind   bool // attributes of it follow by a copy
}

// body is bytes to be sent, read again for every retry. Sections may be read
// in parallel.
type body struct {
	size    int64
	section func(ctx context.Context, off, n int64) io.ReadSeeker

	// kept are ranges, in order, that the body at from has too, so that they can
	// be copied instead of sent; nil for none.
	kept []sigil.Kept
	from objstore.ID

	drop func() // lets go of what is held for the sending; nil: nothing is
}

// done is said when nothing of b is sent any more, or something is much later.
func (b body) done() {
	if b.drop != nil {
		b.drop()
	}
}

func schemeOf(r *Rule) scheme {
	switch {
	case r.Keys != nil:
		return sealedScheme{r.Keys, r.Compress}
	case r.S3EC != nil:
		return s3ecScheme{r.S3EC}
	default:
		return plainScheme{}
	}
}
