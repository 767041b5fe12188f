package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume/attrmeta"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// metaMark is the metadata that tells one write of an object from another,
// where nothing sealed does: so that a write whose answer was lost is
// recognised.
const metaMark = "sigil-write"

// plainForm is an object whose body is the plaintext, encrypted by the server
// or by nobody. Its attributes lie in its metadata as s3fs and rclone have them.
type plainForm struct {
	metadata map[string]string // all of it: what others wrote stays
}

// plainScheme writes such objects.
type plainScheme struct{}

var (
	_ form   = (*plainForm)(nil)
	_ scheme = plainScheme{}
)

// openPlain fills in o by metadata that is not sealed.
func (v *Volume) openPlain(o *object, info objstore.Info) {
	o.form = &plainForm{metadata: info.Metadata}
	v.openAttr(o, info)
	o.attr.Size = info.Size
}

// openAttr reads the attributes of an object that does not seal them; those it
// lacks are the mount's defaults.
func (v *Volume) openAttr(o *object, info objstore.Info) {
	a := attrmeta.Decode(info.Metadata)
	typ, perm := uint32(unix.S_IFREG), v.opt.FileMode
	if isMarker(info.Key) {
		typ, perm = unix.S_IFDIR, v.opt.DirMode
	}
	mode := a.Mode
	switch {
	case mode == 0:
		mode = typ | perm
	case mode&unix.S_IFMT == 0 || isMarker(info.Key) || mode&unix.S_IFMT == unix.S_IFDIR:
		mode = typ | mode&^unix.S_IFMT
	}
	modified := info.Modified.UnixNano()
	o.attr = Attr{Mode: mode, UID: v.opt.UID, GID: v.opt.GID, Rdev: a.Rdev, Mtime: modified, Ctime: modified, FileID: hashID(info.Key)}
	set(&o.attr.UID, a.UID)
	set(&o.attr.GID, a.GID)
	set(&o.attr.Mtime, a.Mtime)
	set(&o.attr.Ctime, a.Ctime)
	o.xat, o.mark, o.body = a.Xattrs, info.Metadata[metaMark], bodyOf(info.ID)
	v.adoptKin(o)
}

// bodyOf names the body of an object that does not do so itself.
func bodyOf(id objstore.ID) string { return id.Key + "\x00" + id.ETag + "\x00" + id.VersionID }

// adoptKin recognises in o what this host knows already: what is at a path
// keeps the file id, and this host's own copy of a body the body's name.
func (v *Volume) adoptKin(o *object) {
	p := strings.TrimSuffix(strings.TrimPrefix(o.id.Key, v.opt.Prefix), "/")
	v.mu.Lock()
	defer v.mu.Unlock()
	if c, ok := v.unheard[o.mark]; ok && c.length == o.length {
		defer func() { o.body = c.body }()
	}
	// What did not open for a moment (its key was denied, say) knows neither.
	if d := v.known[p]; d != nil && d.dir == isMarker(o.id.Key) && (d.obj == nil || d.obj.err == nil) && o.adopt(d.obj) {
		return
	}
	if f := v.files[p]; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		o.adopt(f.base)
	}
}

// unheardCopy is a copy of a body whose answer has not come yet, or was lost:
// should it show, by its mark, it is no other host's version.
type unheardCopy struct {
	body    string
	length  int64
	key     string
	version uint64 // tells it from sealed copies of the same body by other hosts
}

// maxUnheard bounds those that are remembered.
const maxUnheard = 1024

// expect remembers a copy of o that is about to be made, until heard is called
// with what came of it; or for longer, if nobody knows that.
func (v *Volume) expect(o, made *object) (heard func(error)) {
	mark := made.mark
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, there := v.unheard[mark]; there {
		return func(error) {}
	}
	if v.unheard == nil || len(v.unheard) >= maxUnheard {
		v.unheard = map[string]unheardCopy{}
	}
	v.unheard[mark] = unheardCopy{o.body, o.length, made.id.Key, made.version()}
	return func(err error) {
		if lost := (*unsettled)(nil); errors.As(err, &lost) {
			return
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.unheard, mark)
	}
}

// isUnheard tells whether o is such a copy of base; or, where nothing was known
// to be, one that a rename or a copy has put there.
func (v *Volume) isUnheard(o, base *object) bool {
	if o == nil {
		return false
	}
	v.mu.Lock()
	c, ok := v.unheard[o.mark]
	v.mu.Unlock()
	if base == nil {
		return ok && c.key == o.id.Key && c.version == o.version()
	}
	return ok && base.same(o)
}

// adopt is that of one object that was where o is; false where there was none.
func (o *object) adopt(old *object) bool {
	if old == nil {
		return false
	}
	o.attr.FileID = old.attr.FileID
	if old.sameID(o) {
		o.body = old.body
	}
	return true
}

// sameID tells whether the store says the same of both.
func (o *object) sameID(other *object) bool {
	return o.id.Key == other.id.Key && o.id.ETag == other.id.ETag && o.id.VersionID == other.id.VersionID &&
		o.length == other.length
}

func (f *plainForm) mode(o *object) string { return o.state.String() }

func (f *plainForm) show(*object, map[string]string) {}

func (f *plainForm) wrote(o *object, metadata map[string]string) bool {
	return metadata[metaMark] == o.mark
}

func (f *plainForm) open(c *content, blob sigil.ReaderAt) (plaintext, error) {
	return asIs{blob, c.obj.length}, nil
}

// asIs is a body that is its own plaintext.
type asIs struct {
	sigil.ReaderAt
	size int64
}

// ReadAt keeps to the size.
func (r asIs) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	left := r.size - off
	if off < 0 || left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) <= left {
		return r.ReaderAt.ReadAt(ctx, p, off)
	}
	n, err := r.ReaderAt.ReadAt(ctx, p[:left], off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

// Verify has nothing to prove: the store says how long the body is.
func (asIs) Verify(context.Context) error { return nil }

func (f *plainForm) restate(_ context.Context, v *Volume, o *object, d draft) (*stored, error) {
	if d.rule != v.ruleOf(o) && d.rule.scheme != scheme(plainScheme{}) {
		return nil, errAnew
	}
	md, err := d.metadata(f.metadata)
	if err != nil {
		return nil, err
	}
	n := d.object(o.length)
	n.form, n.body = &plainForm{metadata: md}, o.body
	return &stored{obj: n, metadata: md, body: body{size: o.length}}, nil
}

// metadata gives the attributes of d beside the metadata that others wrote.
func (d draft) metadata(old map[string]string) (map[string]string, error) {
	a := attrmeta.Attr{
		Mode: d.attr.Mode, UID: &d.attr.UID, GID: &d.attr.GID, Rdev: d.attr.Rdev,
		Mtime: &d.attr.Mtime, Ctime: &d.attr.Ctime, Xattrs: d.xat,
	}
	md := attrmeta.Merge(old, a)
	for name, value := range md {
		md[name] = printable(value)
	}
	md[metaMark] = d.mark
	err := objstore.CheckMetadata(md)
	for _, dispensable := range []string{metaMark, "ctime"} { // where others have taken the space
		if err == nil {
			break
		}
		delete(md, dispensable)
		err = objstore.CheckMetadata(md)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.key, ErrXattrs, err)
	}
	return md, nil
}

// printable gives what others wrote as a header can hold it: as S3 itself tells
// it (RFC 2047).
func printable(value string) string {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return mime.BEncoding.Encode("UTF-8", value)
		}
	}
	return value
}

// maxPlain is the largest object that S3 takes, in bytes.
const maxPlain = 5 << 40

func (plainScheme) limit() int64 { return maxPlain }

func (plainScheme) writes(f form) bool {
	_, ok := f.(*plainForm)
	return ok
}

// isPlain tells whether the bytes of a body are those of its plaintext.
func (c *content) isPlain() bool {
	_, ok := c.obj.form.(*plainForm)
	return ok
}

func (plainScheme) fits(xattrs map[string][]byte) error {
	if attrmeta.Size(attrmeta.Attr{Xattrs: xattrs}) > attrmeta.MaxXattrs {
		return ErrXattrs
	}
	return nil
}

func (plainScheme) store(_ context.Context, v *Volume, d draft) (*stored, error) {
	md, err := d.metadata(nil)
	if err != nil {
		return nil, err
	}
	o := d.object(d.attr.Size)
	o.form = &plainForm{metadata: md}
	if d.isDir() {
		o.system = withType(d.system, attrmeta.DirectoryType)
		return &stored{obj: o, metadata: md}, nil
	}
	b := body{size: d.attr.Size, section: func(ctx context.Context, off, n int64) io.ReadSeeker {
		return newSection(ctx, d.src, off, n)
	}}
	if d.base != nil && d.base.isPlain() && v.patchable(b.size, inPlace(d.same)) {
		b.kept, b.from = inPlace(d.same), *d.base.id.Load()
	}
	return &stored{obj: o, metadata: md, body: b}, nil
}

func withType(system map[string]string, contentType string) map[string]string {
	out := map[string]string{"content-type": contentType}
	maps.Copy(out, system)
	return out
}
