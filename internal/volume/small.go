package volume

import (
	"context"

	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// Small files are read by whoever looks them up: so a lookup that has brought
// all of one keeps it, and where a directory of them is read one after the other
// they are fetched whole ahead.

// wanted is how much of the end of the file at p a lookup asks for, in bytes.
func (v *Volume) wanted(p string) int64 {
	if size, ok := v.dirs.size(p); ok && size <= smallFile && v.walks.wants(parent(p)) {
		return smallFile
	}
	return sigil.TailReadSize
}

// seed keeps the last bytes of the body of o, which a lookup has brought, for who
// reads it.
func (v *Volume) seed(o *object, end []byte) {
	if len(end) == 0 || o.err != nil || o.isDir() || o.isName() {
		return
	}
	v.opt.Cache.Reader(v.cached(o), nil).Seed(o.length-int64(len(end)), end)
}

// warm has the content of o at hand, if it is a small file. Trouble is no
// matter: who reads it will have it too.
func (v *Volume) warm(ctx context.Context, o *object) {
	if o == nil || o.err != nil || o.attr.Mode&unix.S_IFMT != unix.S_IFREG || o.length == 0 || o.length > smallFile {
		return
	}
	if c, err := v.contentOf(o); err == nil {
		_ = c.blob.View(ctx, 0, o.length, func([]byte) error { return nil })
		_ = c.allowedStill(ctx)
	}
}
