package volume

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// sealedForm is an object in the sigil format.
type sealedForm struct {
	header sigil.Header
	rec    *sigil.Record
}

// sealedScheme writes the sigil format.
type sealedScheme struct {
	keys KeySet
	comp *sigil.Compressor // nil: layout 0
}

var (
	_ form   = (*sealedForm)(nil)
	_ scheme = sealedScheme{}
)

// metaMove is the metadata with the trace of a directory rename. Where xattrs
// leave no room for it, versions must do.
const metaMove = "sigil-move"

// isSealed tells whether metadata claim to be of a sigil object.
func isSealed(metadata map[string]string) bool {
	_, header := metadata[sigil.MetaSigil]
	_, seal := metadata[sigil.MetaSeal]
	return header || seal
}

// openSealed opens the metadata of a sigil object. One request has brought it
// and the end of the body, from which late attributes and the size come.
func (v *Volume) openSealed(ctx context.Context, o *object, info objstore.Info, suffix []byte) error {
	h, err := sigil.ParseHeader(info.Metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", info.Key, err)
	}
	rec, err := v.unseal(ctx, info.Key, h)
	if err != nil {
		return err
	}
	return (&sealedForm{header: h, rec: rec}).openBody(ctx, v, o, info, suffix)
}

// openBody is openSealed from where the record is open.
func (f *sealedForm) openBody(ctx context.Context, v *Volume, o *object, info objstore.Info, suffix []byte) (err error) {
	h, rec, size := f.header, f.rec, int64(0)
	if !isMarker(info.Key) {
		var late sigil.Late
		if late, size, err = sigil.OpenSuffix(rec, h, suffix, info.Size); err != nil {
			return fmt.Errorf("%s: %w", info.Key, err)
		}
		rec.Settle(late, size)
	}
	f.settle(o, size)
	o.trace = info.Metadata[metaMove]
	return f.proveEmpty(ctx, v, o, suffix)
}

// settle makes o what the record says.
func (f *sealedForm) settle(o *object, size int64) {
	r := f.rec
	o.form, o.xat = f, r.Xattrs
	o.attr = Attr{
		Mode: r.Mode, UID: r.UID, GID: r.GID, Rdev: r.Rdev, Mtime: r.Mtime, Ctime: r.Ctime,
		Size: size, FileID: validID(r.FileID), Nlink: uint32(min(r.Nlink, math.MaxUint32)),
	}
	o.body = hex.EncodeToString(r.Generation[:])
	o.mark = o.body
}

// unseal opens a header with whichever epoch its seal commits to.
func (v *Volume) unseal(ctx context.Context, key string, h sigil.Header) (*sigil.Record, error) {
	epoch, err := v.opt.Keys.Open(ctx, key, h.Epoch, h.Commits)
	if err != nil {
		v.dropKeyless(h.Epoch, err)
		return nil, fmt.Errorf("%s: epoch %s: %w", key, h.Epoch, err)
	}
	rec, err := h.Open(epoch, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return rec, nil
}

// proveEmpty verifies the one chunk of an empty file, which the lookup has
// brought: nobody reads a file that is said to be empty, so nothing else would
// notice that it was cut to nothing.
func (f *sealedForm) proveEmpty(ctx context.Context, v *Volume, o *object, suffix []byte) error {
	if o.attr.Size != 0 || isMarker(o.id.Key) {
		return nil
	}
	r, err := sigil.NewReader(f.rec, f.header, sigil.WithSuffix(nil, suffix, o.length), o.length, v.frames)
	if err == nil {
		err = r.Verify(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.id.Key, err)
	}
	return nil
}

// ours refuses what no host writes of the volume's own objects, inodes apart: the
// length of what is compressed says nothing of how much memory it takes.
func (f *sealedForm) ours(o *object) error {
	if f.header.Layout != 0 {
		return fmt.Errorf("%s: compressed, as no such object is: %w", o.id.Key, ErrCorrupt)
	}
	return nil
}

func (f *sealedForm) mode(*object) string { return "client" }

func (f *sealedForm) show(_ *object, attrs map[string]string) {
	attrs["epoch"] = f.header.Epoch.String()
	attrs["commitment"] = "yes"
	if f.header.Layout != 0 {
		attrs["compression"] = "zstd"
	}
}

func (f *sealedForm) open(c *content, blob sigil.ReaderAt) (plaintext, error) {
	r, err := sigil.NewReader(f.rec, f.header, blob, c.obj.length, c.v.frames)
	if err != nil {
		return nil, err // not a nil *Reader in an interface
	}
	return r, nil
}

func (f *sealedForm) wrote(_ *object, metadata map[string]string) bool {
	h, err := sigil.ParseHeader(metadata)
	return err == nil && h.Equal(f.header)
}

// restate seals the record anew: data key, generation and body stay, within a
// rule always (who could read the body goes on being able to), else where
// nobody could read it that may not now.
func (f *sealedForm) restate(ctx context.Context, v *Volume, o *object, d draft) (*stored, error) {
	keys, err := f.keySet(ctx, v, o, d)
	if err != nil {
		return nil, err
	}
	return f.reseal(ctx, v, o, d, keys)
}

// reseal seals the record under keys.
func (f *sealedForm) reseal(ctx context.Context, v *Volume, o *object, d draft, keys KeySet) (*stored, error) {
	epoch, err := keys.Current(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: current epoch: %w", d.key, err)
	}
	rec := f.rec.Clone()
	rec.Late = false
	d.describe(v, rec)
	return sealRecord(d, rec, epoch, body{size: o.length})
}

// keySet chooses under which a body that stays is sealed.
func (f *sealedForm) keySet(ctx context.Context, v *Volume, o *object, d draft) (KeySet, error) {
	from, to := v.ruleOf(o), d.rule
	switch {
	case from == to && to.Keys == nil: // sealed all the same, and stays so
		return f.ownKeys(ctx, v, o)
	case from == to:
		return to.Keys, nil
	case to.Keys == nil:
		return nil, errAnew
	}
	if ok, err := f.mayKeep(ctx, to.Keys, o); err != nil || !ok {
		return nil, cmp.Or(err, errAnew)
	}
	return to.Keys, nil
}

// ownKeys is the volume's key set, for an object whose rule has none: only if
// it is for those alone that could read the object already.
func (f *sealedForm) ownKeys(ctx context.Context, v *Volume, o *object) (KeySet, error) {
	keys := v.policy.internal.Keys
	if keys == nil {
		return nil, fmt.Errorf("%s: the policy has no key to seal with: %w", o.id.Key, ErrNoKey)
	}
	ok, err := f.mayKeep(ctx, keys, o)
	if err == nil && !ok {
		err = fmt.Errorf("%s: sealed for other keys than the volume's: %w", o.id.Key, ErrNoKey)
	}
	return keys, err
}

// mayKeep tells whether the data key may go on under keys.
func (f *sealedForm) mayKeep(ctx context.Context, keys KeySet, o *object) (bool, error) {
	for _, id := range []sigil.EpochID{f.rec.SealEpoch, f.header.Epoch} {
		ok, err := keys.MayKeep(ctx, o.id.Key, id)
		if err != nil {
			return false, fmt.Errorf("%s: epoch %s: %w", o.id.Key, id, err)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func (sealedScheme) limit() int64 { return sigil.MaxSize }

func (sealedScheme) writes(f form) bool {
	_, ok := f.(*sealedForm)
	return ok
}

// fits counts the CBOR of a record's field.
func (sealedScheme) fits(xattrs map[string][]byte) error {
	size := cborHead(len(xattrs))
	for name, value := range xattrs {
		size += cborHead(len(name)) + len(name) + cborHead(len(value)) + len(value)
	}
	if size > sigil.MaxXattrs {
		return ErrXattrs
	}
	return nil
}

// cborHead is the length of the head of a text, byte string or map (RFC 8949, 3).
func cborHead(n int) int {
	switch {
	case n < 24:
		return 1
	case n < 256:
		return 2
	}
	return 3
}

// store seals d under a fresh data key. A directory has a record and no body.
func (s sealedScheme) store(ctx context.Context, v *Volume, d draft) (*stored, error) {
	epoch, err := s.keys.Current(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: current epoch: %w", d.key, err)
	}
	if w, err := s.patch(ctx, v, d, epoch); w != nil || err != nil {
		return w, err
	}
	rec := &sigil.Record{Inode: d.inode}
	d.describe(v, rec)
	if d.isDir() {
		rec.Fresh()
		return sealRecord(d, rec, epoch, body{})
	}
	b, err := sigil.NewBody(ctx, rec, s.compressor(v, d.key), d.src, d.attr.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.key, err)
	}
	return sealBody(d, rec, epoch, b)
}

// compressor of the content at key; nil for none. The volume's own objects but
// inodes are small.
func (s sealedScheme) compressor(v *Volume, key string) *sigil.Compressor {
	inodes := v.opt.Root + inodeDir
	if v.own(key) && (!strings.HasPrefix(key, inodes) || strings.HasPrefix(key, inodes+rollDir)) {
		return nil
	}
	return s.comp
}

// sealBody is sealRecord of an object that b is the body of.
func sealBody(d draft, rec *sigil.Record, epoch sigil.Epoch, b *sigil.Body) (*stored, error) {
	w, err := sealRecord(d, rec, epoch, body{size: b.Size(), kept: b.Kept(), drop: b.Close, section: func(ctx context.Context, off, n int64) io.ReadSeeker {
		return b.Section(ctx, off, n)
	}})
	if err != nil {
		b.Close()
	}
	return w, err
}

// describe puts the attributes of d into a record.
func (d draft) describe(v *Volume, rec *sigil.Record) {
	a := d.attr
	rec.Attr = sigil.Attr{Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Ctime: a.Ctime}
	rec.Rdev, rec.Xattrs, rec.Nlink, rec.FileID = a.Rdev, d.xat, 1, a.FileID
	if !d.isDir() {
		rec.Nlink = uint64(a.Nlink)
	}
	rec.Version = v.version(d.key, d.above...)
}

func sealRecord(d draft, rec *sigil.Record, epoch sigil.Epoch, b body) (*stored, error) {
	h, err := rec.Seal(epoch, d.key)
	if errors.Is(err, sigil.ErrXattrTooLarge) {
		err = ErrXattrs
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.key, err)
	}
	o := d.object(b.size)
	(&sealedForm{header: h, rec: rec}).settle(o, d.attr.Size)
	return &stored{obj: o, metadata: traced(h.Metadata(), d.trace), body: b}, nil
}

func traced(md map[string]string, trace string) map[string]string {
	if trace == "" {
		return md
	}
	md[metaMove] = trace
	if objstore.CheckMetadata(md) != nil {
		delete(md, metaMove)
	}
	return md
}

// version of the record; 0 for an object that has none.
func (o *object) version() uint64 {
	if f, ok := o.form.(*sealedForm); ok {
		return f.rec.Version
	}
	return 0
}
