package volume

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/errgroup"
)

// onePut is the longest body in bytes that goes up in a single PUT.
const onePut = 16 << 20

// parallelParts bounds the parts of one upload that are in flight: each holds
// some chunks of it, sealed, in memory.
const parallelParts = 4

// draft is an object to be written whole: attributes and plaintext.
type draft struct {
	key   string
	rec   *sigil.Record // attributes, file id; put fills in the rest
	src   sigil.ReaderAt
	size  int64
	class string
	cond  objstore.Condition
}

// newRecord is the record of a new object.
func (v *Volume) newRecord(a Attr, xattrs map[string][]byte) *sigil.Record {
	return &sigil.Record{
		Attr:   sigil.Attr{Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Ctime: a.Ctime},
		Rdev:   a.Rdev,
		Xattrs: xattrs,
		FileID: a.FileID,
		Nlink:  1,
	}
}

// newFileID draws a st_ino.
func newFileID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return validID(binary.BigEndian.Uint64(b[:]))
}

// maxAhead is how far ahead of the clock a version may be and still be counted
// on from. Beyond that somebody's clock, or somebody, is wrong: counting on
// would carry the mistake into everything written after.
const maxAhead = uint64(365 * 24 * time.Hour)

// version is what the next seal gets: the time, but above every version known
// for the objects it replaces and above every seal of this mount.
func (v *Volume) version(known ...*object) uint64 {
	now := uint64(v.opt.Now().UnixNano())
	next := now
	for _, o := range known {
		switch {
		case o == nil || o.rec == nil:
		case o.rec.Version > now+maxAhead:
			v.opt.Log.WithField("key", o.id.Key).Warn("version is over a year ahead of the clock and is not counted on from")
		default:
			next = max(next, o.rec.Version+1)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lastVersion = max(next, v.lastVersion+1)
	return v.lastVersion
}

// put seals the draft under a fresh data key and writes it, in one PUT or as a
// multipart upload. It comes back with the object as it now is in the store,
// proved by the answer, or by the seal where the answer was lost. A directory
// marker (a key that ends in a slash) has no body.
func (v *Volume) put(ctx context.Context, d draft) (*object, error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	epoch, err := v.opt.Keys.Current(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: current epoch: %w", d.key, err)
	}
	if strings.HasSuffix(d.key, "/") {
		return v.putMarker(ctx, d, epoch)
	}
	body, err := sigil.NewBody(d.rec, d.src, d.size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.key, err)
	}
	o, opt, err := v.seal(d, epoch, body.Size())
	if err != nil {
		return nil, err
	}
	if body.Size() > onePut {
		id, err := v.upload(ctx, d, body, opt)
		return v.settleOutcome(ctx, o, id, err)
	}
	if err := v.guard(ctx, v.opt.Capabilities.PutConditions, d.key, d.cond); err != nil {
		return nil, err
	}
	id, err := v.opt.Store.Put(ctx, d.key, body.Section(ctx, 0, body.Size()), body.Size(), opt)
	return v.settleOutcome(ctx, o, id, err)
}

// putMarker writes a directory: a record and no body.
func (v *Volume) putMarker(ctx context.Context, d draft, epoch sigil.Epoch) (*object, error) {
	d.rec.Fresh()
	o, opt, err := v.seal(d, epoch, 0)
	if err != nil {
		return nil, err
	}
	if err := v.guard(ctx, v.opt.Capabilities.PutConditions, d.key, d.cond); err != nil {
		return nil, err
	}
	id, err := v.opt.Store.Put(ctx, d.key, bytes.NewReader(nil), 0, opt)
	return v.settleOutcome(ctx, o, id, err)
}

// seal makes the metadata of the draft, and the object that it will be.
func (v *Volume) seal(d draft, epoch sigil.Epoch, length int64) (*object, objstore.PutOptions, error) {
	h, err := d.rec.Seal(epoch, d.key)
	if errors.Is(err, sigil.ErrXattrTooLarge) {
		err = ErrXattrs
	}
	if err != nil {
		return nil, objstore.PutOptions{}, fmt.Errorf("%s: %w", d.key, err)
	}
	o := &object{
		id: objstore.ID{Key: d.key}, length: length, class: d.class,
		header: h, rec: d.rec, attr: d.rec.Attr, size: d.size, seen: v.opt.Now(),
	}
	return o, objstore.PutOptions{Condition: d.cond, Metadata: h.Metadata(), StorageClass: d.class}, nil
}

// settleOutcome decides what a write of o came to, which gave got and err. An
// answer that was lost, or a condition that failed because the first try of a
// retried request had succeeded, is recognised by the seal that lies there.
func (v *Volume) settleOutcome(ctx context.Context, o *object, got objstore.Receipt, err error) (*object, error) {
	if err == nil {
		o.id = got.ID
		return o, nil
	}
	if !doubtful(err) {
		return nil, err
	}
	info, herr := v.opt.Store.Head(ctx, objstore.ID{Key: o.id.Key})
	if herr != nil {
		return nil, err
	}
	h, herr := sigil.ParseHeader(info.Metadata)
	if herr != nil || !h.Equal(o.header) || info.Size != o.length {
		return nil, err
	}
	o.id = info.ID
	return o, nil
}

// doubtful tells the failures after which the object may be ours all the same.
func doubtful(err error) bool {
	for _, e := range []error{objstore.ErrUnknown, objstore.ErrExist, objstore.ErrChanged, objstore.ErrNoUpload} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// upload sends a body in parts of whole segments, several at a time.
func (v *Volume) upload(ctx context.Context, d draft, body *sigil.Body, opt objstore.PutOptions) (objstore.Receipt, error) {
	cond := opt.Condition
	opt.Condition = objstore.Condition{}
	up, err := v.beginUpload(ctx, d.key, opt)
	if err != nil {
		return objstore.Receipt{}, err
	}
	if err := sendParts(ctx, up, body); err != nil {
		return objstore.Receipt{}, up.giveUp(ctx, err)
	}
	if err := v.guard(ctx, v.opt.Capabilities.UploadConditions, d.key, cond); err != nil {
		return objstore.Receipt{}, up.giveUp(ctx, err)
	}
	return up.complete(ctx, cond)
}

func sendParts(ctx context.Context, up objstore.Uploader, body *sigil.Body) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelParts)
	for n, r := range parts(body.Size()) {
		g.Go(func() error { return up.Part(ctx, n+1, body.Section(ctx, r.Off, r.Len), r.Len) })
	}
	return g.Wait()
}

// sealedSegment is a whole segment as stored, in bytes.
const sealedSegment = sigil.SegmentSize + sigil.SegmentSize/sigil.ChunkSize*sigil.TagSize

// parts cuts a body of several segments into parts, after sigil.PartSegments.
// The last part takes what is left, the tail with it, and a remainder under
// the smallest part that S3 takes.
func parts(length int64) []objstore.Range {
	var cut []objstore.Range
	for off := int64(0); off < length; {
		n := min(int64(sigil.PartSegments(len(cut)))*sealedSegment, length-off)
		if left := length - off - n; left < objstore.MinPartSize {
			n += left
		}
		cut = append(cut, objstore.Range{Off: off, Len: n})
		off += n
	}
	return cut
}

// reseal puts a changed record over the body of o, which lies at dst
// afterwards, alone or beside o: a metadata copy inside the store. The data
// key, the generation and the body stay.
func (v *Volume) reseal(ctx context.Context, o *object, dst string, cond objstore.Condition, change func(*sigil.Record)) (*object, error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	if o.err != nil {
		return nil, o.err
	}
	epoch, err := v.opt.Keys.Current(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: current epoch: %w", dst, err)
	}
	rec := o.rec.Clone()
	rec.Attr, rec.Late = o.attr, false
	rec.Version = v.version(o)
	if change != nil {
		change(rec)
	}
	n, opt, err := v.seal(draft{key: dst, rec: rec, size: o.size, class: o.class, cond: cond}, epoch, o.length)
	if err != nil {
		return nil, err
	}
	var id objstore.Receipt
	if !strings.HasSuffix(dst, "/") {
		id, err = v.copyBody(ctx, o, dst, opt)
	} else if err = v.guard(ctx, v.opt.Capabilities.PutConditions, dst, cond); err == nil {
		id, err = v.opt.Store.Put(ctx, dst, bytes.NewReader(nil), 0, opt)
	}
	return v.settleOutcome(ctx, n, id, err)
}

// maxCopy is the longest body that one CopyObject takes.
const maxCopy = objstore.MaxPartSize

// copyPart is the length of the ranges in which a longer one is copied.
const copyPart = 1 << 30

// copyBody copies the body of o to dst with new metadata, in one request or by
// a multipart copy.
func (v *Volume) copyBody(ctx context.Context, o *object, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	if o.length <= v.maxCopy {
		if err := v.guardCopy(ctx, o, dst, &opt); err != nil {
			return objstore.Receipt{}, err
		}
		return v.opt.Store.Copy(ctx, o.id, dst, opt)
	}
	cond := opt.Condition
	opt.Condition = objstore.Condition{}
	up, err := v.beginUpload(ctx, dst, opt)
	if err != nil {
		return objstore.Receipt{}, err
	}
	if err := copyParts(ctx, up, o, v.copyPart); err != nil {
		return objstore.Receipt{}, up.giveUp(ctx, err)
	}
	if err := v.guard(ctx, v.opt.Capabilities.UploadConditions, dst, cond); err != nil {
		return objstore.Receipt{}, up.giveUp(ctx, err)
	}
	return up.complete(ctx, cond)
}

// guardCopy looks at the destination of a copy where the server ignores
// conditions there. Over itself an object is guarded as the source of the copy.
func (v *Volume) guardCopy(ctx context.Context, o *object, dst string, opt *objstore.PutOptions) error {
	if v.opt.Capabilities.CopyConditions {
		return nil
	}
	cond := opt.Condition
	opt.Condition = objstore.Condition{}
	return v.guard(ctx, dst == o.id.Key, dst, cond)
}

func copyParts(ctx context.Context, up objstore.Uploader, o *object, part int64) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelParts)
	for i := range (o.length + part - 1) / part {
		r := objstore.Range{Off: i * part, Len: min(part, o.length-i*part)}
		g.Go(func() error { return up.CopyPart(ctx, int(i)+1, o.id, r) })
	}
	return g.Wait()
}

// changeXattrs applies a Change's attributes to a copy of old.
func changeXattrs(old, change map[string][]byte) map[string][]byte {
	if len(change) == 0 {
		return old
	}
	out := maps.Clone(old)
	if out == nil {
		out = map[string][]byte{}
	}
	for name, value := range change {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = value
		}
	}
	return out
}
