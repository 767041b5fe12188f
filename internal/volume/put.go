package volume

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// onePut is the longest body in bytes that goes up in a single PUT.
const onePut = 16 << 20

// parallelParts bounds the parts of one upload that are in flight: each holds
// some chunks of it, sealed, in memory.
const parallelParts = 4

// draft is an object to be written: attributes and plaintext.
type draft struct {
	key    string
	rule   *Rule // nil: that of key
	attr   Attr  // Size is that of the plaintext
	xat    map[string][]byte
	src    sigil.ReaderAt
	class  string
	system map[string]string
	cond   objstore.Condition
	above  []*object      // what it replaces: its version is higher
	mark   string         // "" is a random one; see object
	trace  string         // as in object
	lock   *objstore.Lock // nil: as the bucket has it
	older  bool           // it is made of an object that is in an older state than was known
	want   *asked         // the rule's, or what the source of a copy has; filled in by complete

	// base is a body, mostly that which the draft replaces, and same tells which
	// ranges of the plaintext, in order, it has at the same place; nil where
	// nothing is known of that.
	base *content
	same []objstore.Range

	inode sigil.Generation // what a hard-link name points to

	announce func(*stored)                      // before it is sent; nil: nobody needs to know
	jot      func(u uploading, over bool) error // notes an upload and, once it is over, that it is; nil: nothing can
	self     bool                               // a copy of an object over itself
	only     bool                               // once the base is replaced, the content is in the new object only

	tags map[string]string // that it has beside the one that names an SSE-C key
	// still is asked last before a body that was sent becomes the object, or one
	// that was not looked at lately is copied; nil: nobody.
	still func(context.Context) error
}

func (d draft) isDir() bool { return strings.HasSuffix(d.key, "/") }

// object is the one that d will be, as far as its form does not matter.
func (d draft) object(length int64) *object {
	return &object{
		id: objstore.ID{Key: d.key}, length: length, class: d.class, system: d.system, attr: d.attr, xat: d.xat, mark: d.mark, rule: d.rule,
	}
}

// newFileID draws a st_ino.
func newFileID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return validID(binary.BigEndian.Uint64(b[:]))
}

// newMark draws a mark.
func newMark() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// put encrypts the draft as its rule has it and writes it, in one PUT or as a
// multipart upload. It comes back with the object as it now is in the store,
// proved by the answer, or by its mark where the answer was lost.
func (v *Volume) put(ctx context.Context, d draft) (*object, error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	d = v.complete(d)
	if err := v.mayHold(d); err != nil {
		return nil, err
	}
	w, err := d.rule.scheme.store(ctx, v, d)
	if err != nil {
		return nil, err
	}
	if d.announce != nil {
		d.announce(w)
	}
	return v.send(ctx, d, w)
}

// mayHold refuses a symbolic link whose target would be readable, where names are
// not.
func (v *Volume) mayHold(d draft) error {
	if v.hide != nil && d.attr.Mode&unix.S_IFMT == unix.S_IFLNK && d.rule.Keys == nil && d.rule.S3EC == nil {
		return fmt.Errorf("%s: mode %s: %w", d.key, d.rule.Mode, ErrPlainLink)
	}
	return nil
}

// complete fills in what a draft leaves open.
func (v *Volume) complete(d draft) draft {
	if d.rule == nil {
		d.rule = v.rule(d.key)
	}
	if d.mark == "" {
		d.mark = newMark()
	}
	d.want = d.rule.want
	return d
}

// send writes an object that is new as a whole.
func (v *Volume) send(ctx context.Context, d draft, w *stored) (*object, error) {
	opt := v.options(d, w)
	opt.Tags = withTags(d.tags, v.newTags(d.want))
	defer w.body.done()
	small, err := v.recent.load(ctx, d, &w.body)
	if err != nil {
		return nil, err
	}
	got, err := v.taggingOf(d, opt, func(opt objstore.PutOptions) (objstore.Receipt, error) { return v.transmit(ctx, d, w, opt) })
	var o *object
	if wantsKey(err) && d.cond != (objstore.Condition{}) {
		o, err = v.sendKeyed(ctx, d, w, err)
	} else {
		o, err = v.settle(ctx, d, w, got, err)
	}
	if err == nil {
		v.recent.keep(o, small)
	}
	return o, err
}

func (v *Volume) transmit(ctx context.Context, d draft, w *stored, opt objstore.PutOptions) (objstore.Receipt, error) {
	if w.body.size > v.onePut {
		return v.upload(ctx, d, w.body, opt)
	}
	if err := d.settled(ctx); err != nil {
		return objstore.Receipt{}, err
	}
	if err := v.guard(ctx, v.opt.Capabilities.PutConditions, d.key, d.cond); err != nil {
		return objstore.Receipt{}, err
	}
	if d.isDir() {
		return v.opt.Store.Put(ctx, d.key, bytes.NewReader(nil), 0, opt)
	}
	return v.opt.Store.Put(ctx, d.key, w.body.section(ctx, 0, w.body.size), w.body.size, opt)
}

// settled tells whether what d replaces is still what it was.
func (d draft) settled(ctx context.Context) error {
	if d.still == nil {
		return nil
	}
	return d.still(ctx)
}

// options of a request that makes w.
func (v *Volume) options(d draft, w *stored) objstore.PutOptions {
	return objstore.PutOptions{
		Condition: d.cond, Metadata: w.metadata, StorageClass: d.class, System: w.obj.system, Encryption: d.want.headers(), Lock: d.lock,
	}
}

// settle decides what a write of w came to, which gave got and err. An answer
// that was lost, or a condition that failed because the first try of a retried
// request had succeeded, is recognised by the mark that lies there.
func (v *Volume) settle(ctx context.Context, d draft, w *stored, got objstore.Receipt, err error) (*object, error) {
	o := w.obj
	if err != nil {
		v.suspect(v.pathOf(d.key)) // something is there, or may be
		info, ours := v.recognise(ctx, o, d.want, err)
		if !ours && errors.Is(err, objstore.ErrUnknown) {
			return nil, &unsettled{error: err, mark: o.mark}
		}
		if !ours {
			return nil, err
		}
		got = objstore.Receipt{ID: info.ID, Answered: info.Answered, Encrypted: info.Encrypted}
	}
	o.id, o.seen, o.wrote = got.ID, v.opt.Now(), got.Answered
	o.body = cmp.Or(o.body, bodyOf(o.id))
	if err := v.confirm(ctx, d, o, got); errors.Is(err, objstore.ErrUnknown) {
		return nil, &unsettled{error: err, mark: o.mark}
	} else if err != nil {
		return nil, err
	}
	v.wrote(d, o)
	if len(v.customers) > 0 && !v.own(o.id.Key) {
		v.remembers(o.id.Key, v.customerOf(o.id.Encryption))
	}
	return o, nil
}

// unsettled is the failure of a write that may yet show as done.
type unsettled struct {
	error
	mark string  // of what was written
	left bool    // it was taken back, and what was there before is gone
	kept *object // it is there, but not as it should be
}

func (u *unsettled) Unwrap() error { return u.error }

// recognise tells whether o lies in the store although a write of it failed.
func (v *Volume) recognise(ctx context.Context, o *object, want *asked, err error) (objstore.Info, bool) {
	if !doubtful(err) {
		return objstore.Info{}, false
	}
	info, herr := v.opt.Store.Head(ctx, objstore.ID{Key: o.id.Key, Encryption: want.headers()})
	if herr != nil || info.Size != o.length {
		return info, false
	}
	return info, o.form.wrote(o, info.Metadata)
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
func (v *Volume) upload(ctx context.Context, d draft, b body, opt objstore.PutOptions) (objstore.Receipt, error) {
	cond := opt.Condition
	opt.Condition = objstore.Condition{}
	if b.kept == nil || len(pieces(b.size, b.kept)) > quickParts {
		d.jot = nil
	}
	up, err := v.beginUpload(ctx, d, opt)
	if err != nil {
		return objstore.Receipt{}, err
	}
	err = v.fill(ctx, up, b)
	if err == nil {
		err = d.settled(ctx)
	}
	if err != nil {
		return objstore.Receipt{}, up.giveUp(ctx, err)
	}
	if err := v.guard(ctx, v.opt.Capabilities.UploadConditions, d.key, cond); err != nil {
		return objstore.Receipt{}, up.giveUp(ctx, err)
	}
	return up.complete(ctx, cond)
}

// fill gives an upload its parts.
func (v *Volume) fill(ctx context.Context, up objstore.Uploader, b body) error {
	if b.kept != nil {
		return assemble(ctx, up, b)
	}
	return sendParts(ctx, up, b)
}

func sendParts(ctx context.Context, up objstore.Uploader, b body) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelParts)
	for n, r := range parts(b.size) {
		g.Go(func() error { return up.Part(ctx, n+1, b.section(ctx, r.Off, r.Len), r.Len) })
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

// restate puts attributes over the body of o, which lies at dst afterwards,
// alone or beside o: a metadata copy inside the store, which asks for the
// encryption again, or else would take it away. Where the rule of dst does not
// take the body as it is, it is written anew through this host.
func (v *Volume) restate(ctx context.Context, o *object, dst string, cond objstore.Condition, change func(*draft)) (*object, error) {
	if v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	if o.err != nil {
		return nil, o.err
	}
	d := draft{key: dst, attr: o.attr, xat: o.xat, class: o.class, system: o.system, cond: cond, above: []*object{o}, older: v.isOlder(o)}
	if change != nil {
		change(&d)
	}
	if d.rule == nil && dst == o.id.Key {
		d.rule = v.ruleOf(o)
	}
	d = v.complete(d)
	if err := v.mayHold(d); err != nil && (d.key != o.id.Key || d.rule != v.ruleOf(o)) {
		return nil, err
	}
	d.class = v.movedClass(o, d)
	w, err := o.form.restate(ctx, v, o, d)
	if errors.Is(err, errAnew) {
		return v.rewrite(ctx, o, d)
	}
	if err != nil {
		return nil, err
	}
	if d.announce != nil {
		d.announce(w)
	}
	if d.want, err = v.askedAgain(o, d.rule); err != nil {
		return nil, err
	}
	return v.overlay(ctx, o, d, w)
}

// overlay puts the metadata of w over the body of o, as d says.
func (v *Volume) overlay(ctx context.Context, o *object, d draft, w *stored) (*object, error) {
	if d.isDir() {
		return v.send(ctx, d, w)
	}
	opt := v.options(d, w)
	tags, err := v.movedTags(ctx, o, d.want)
	if err != nil {
		return nil, err
	}
	opt.Tags = withTags(d.tags, tags)
	d.self = d.key == o.id.Key
	heard := v.expect(o, w.obj)
	got, err := v.taggingOf(d, opt, func(opt objstore.PutOptions) (objstore.Receipt, error) { return v.relocate(ctx, o, d, opt) })
	n, err := v.settle(ctx, d, w, got, err)
	heard(err)
	return n, err
}

// rewrite reads the body of o and writes it as the rule of the draft has it.
func (v *Volume) rewrite(ctx context.Context, o *object, d draft) (*object, error) {
	if d.isDir() {
		return v.put(ctx, d)
	}
	if err := v.draw(ctx, o, &d); err != nil {
		return nil, err
	}
	return v.put(ctx, d)
}

// draw has d be of the body of o, whose size is proven.
func (v *Volume) draw(ctx context.Context, o *object, d *draft) error {
	src, err := v.contentOf(o)
	if err != nil {
		return err
	}
	d.src, d.attr.Size = src, o.attr.Size
	return src.Verify(ctx)
}

// maxCopy is the longest body that one CopyObject takes.
const maxCopy = objstore.MaxPartSize

// copyPart is the length of the ranges in which a longer one is copied.
const copyPart = 1 << 30

// lately is how long a look at an object is as good as another one before a single
// copy of it.
const lately = time.Second

// copyBody copies the body of o to where d has it with new metadata, in one
// request or by a multipart copy.
func (v *Volume) copyBody(ctx context.Context, o *object, d draft, opt objstore.PutOptions) (objstore.Receipt, error) {
	if o.length <= v.maxCopy {
		if v.opt.Now().Sub(o.looked) >= lately {
			if err := d.settled(ctx); err != nil {
				return objstore.Receipt{}, err
			}
		}
		if err := v.guardCopy(ctx, o, d.key, &opt); err != nil {
			return objstore.Receipt{}, err
		}
		return v.opt.Store.Copy(ctx, o.id, d.key, opt)
	}
	return v.copyByParts(ctx, o, d, opt)
}

func (v *Volume) copyByParts(ctx context.Context, o *object, d draft, opt objstore.PutOptions) (objstore.Receipt, error) {
	cond := opt.Condition
	opt.Condition = objstore.Condition{}
	if o.length > quickParts*v.copyPart {
		d.jot = nil
	}
	up, err := v.beginUpload(ctx, d, opt)
	if err != nil {
		return objstore.Receipt{}, err
	}
	err = copyParts(ctx, up, o, v.copyPart)
	if err == nil {
		err = d.settled(ctx)
	}
	if err != nil {
		return objstore.Receipt{}, up.giveUp(ctx, err)
	}
	if err := v.guard(ctx, v.opt.Capabilities.UploadConditions, d.key, cond); err != nil {
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
