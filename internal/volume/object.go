package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
	"golang.org/x/sys/unix"
)

// object is what the store showed at one key, opened as far as its metadata
// goes. It does not change once made.
type object struct {
	id     objstore.ID
	length int64 // of the body as stored
	class  string
	cold   string                // where S3 Intelligent-Tiering has put the body; "" is where it can be read
	thaw   *objstore.Restoration // of an archived body; nil for none
	system map[string]string     // S3's own metadata
	tags   int                   // how many, as far as is known
	lock   *objstore.Lock        // nil where nobody told
	state  sse.State             // how the server says that it is encrypted
	seen   time.Time             // LastModified, where the store told it
	// answered is when, by the store's clock; zero where it did not say.
	answered time.Time
	wrote    time.Time // when it answered to this host's write of it; zero as above
	looked   time.Time // when this host began to look at it, by its own clock; zero where it was not fetched
	rule     *Rule     // by which it was written, where that is known and its key does not tell; see ruleOf
	err      error     // why it does not open; then the attributes are those of a file that has none

	form form // nil where err is not, but of what is sealed and archived
	attr Attr // those that stand; Incarnation apart
	xat  map[string][]byte
	body string // names the content, whatever happens to the attributes: what caches go by
	mark string // tells this write of the object from others

	verdict freshness.Verdict // against what this host knew when it was read or written
	older   string            // what to say of one that is bad

	trace string // of a sealed copy that a directory rename made, and that nobody has changed: its mark (renamedir.go)
}

// unopenable tells the errors that are the object's from those of the moment.
func unopenable(err error) bool {
	for _, e := range []error{ErrCorrupt, ErrDowngrade, ErrRollback, ErrNoKey, ErrWrongKey, ErrVersion, ErrArchived, ErrKeyMissing, ErrKeyDisabled, ErrKeyAccess} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fetch asks the store what is at key. One request brings the metadata and the
// end of the body. An object that does not open is no error: its err says why.
func (v *Volume) fetch(ctx context.Context, key string) (*object, error) {
	return v.fetchEnd(ctx, key, sigil.TailReadSize)
}

// fetchEnd is fetch with the last most bytes of the body, sigil.TailReadSize at
// the least, which are kept for whoever reads it.
func (v *Volume) fetchEnd(ctx context.Context, key string, most int64) (*object, error) {
	var info objstore.Info
	var suffix []byte
	known, began := v.knownOf(key), v.opt.Now()
	err := v.unlocked(ctx, key, func(enc *objstore.Encryption) (err error) {
		info, suffix, err = v.endsOf(ctx, objstore.ID{Key: key, Encryption: enc}, most)
		return err
	})
	if unopenable(err) {
		return v.shut(ctx, key, err, known)
	}
	if err != nil {
		return nil, err
	}
	o, err := v.decodeNow(ctx, info, suffix[max(0, len(suffix)-sigil.TailReadSize):], known)
	if err == nil {
		o.looked = began
		v.seed(o, suffix)
	}
	return o, err
}

// ends gets the metadata and the last bytes of an object; of a directory,
// which has no body, the metadata.
func (v *Volume) ends(ctx context.Context, id objstore.ID) (objstore.Info, []byte, error) {
	return v.endsOf(ctx, id, sigil.TailReadSize)
}

// endsOf is ends with the last most bytes.
func (v *Volume) endsOf(ctx context.Context, id objstore.ID, most int64) (objstore.Info, []byte, error) {
	if isMarker(id.Key) {
		info, err := v.opt.Store.Head(ctx, id)
		return info, nil, err
	}
	info, _, body, err := v.opt.Store.Get(ctx, id, objstore.Range{Suffix: most})
	if err != nil {
		return info, nil, err
	}
	defer body.Close()
	suffix := make([]byte, min(most, info.Size))
	_, err = io.ReadFull(body, suffix)
	if err == nil && info.Size == 0 && id.Encryption != nil {
		// MinIO gives nothing to whoever asks for it with any key.
		info, err = v.opt.Store.Head(ctx, id)
	}
	return info, suffix, err
}

// shut describes, as far as anybody says it, an object whose body the store
// does not give: archived, or encrypted with a key that this host may not use.
func (v *Volume) shut(ctx context.Context, key string, cause error, known before) (*object, error) {
	info, err := objstore.Info{}, cause
	if !errors.Is(cause, ErrNoKey) && !errors.Is(cause, ErrWrongKey) { // which HEAD needs too
		info, err = v.head(ctx, key)
	}
	if err == nil && errors.Is(cause, ErrArchived) && isSealed(info.Metadata) {
		return v.chilled(ctx, info, fmt.Errorf("%s: %w", key, cause), known)
	}
	if err == nil {
		return v.glimpse(info, fmt.Errorf("%s: %w", key, cause)), nil
	}
	if !unopenable(err) {
		return nil, err
	}
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: key, Limit: 1}) {
		if err != nil {
			return nil, err
		}
		if e.Key == key {
			return v.unopened(e.Info, cause), nil
		}
	}
	return nil, fmt.Errorf("%s: %w", key, ErrNotExist)
}

// glimpse is an object of whose body nothing is known, with the attributes that
// its metadata show.
func (v *Volume) glimpse(info objstore.Info, cause error) *object {
	o := v.unopened(info, cause)
	if isSealed(info.Metadata) {
		return o
	}
	v.openAttr(o, info)
	o.attr.Size = info.Size
	if env, err := s3ec.Parse(info.Metadata, nil); err == nil {
		if n, exact, err := env.PlainSize(info.Size); err == nil && exact {
			o.attr.Size = n
		}
	}
	return o
}

// decode opens the metadata of an object.
func (v *Volume) decode(ctx context.Context, info objstore.Info, suffix []byte) (*object, error) {
	return v.decodeBy(ctx, info, suffix, v.instruction)
}

// decodeBy is decode with another way to instruction files.
func (v *Volume) decodeBy(ctx context.Context, info objstore.Info, suffix []byte, file instructions) (*object, error) {
	o := newObject(info)
	err := v.openInfo(ctx, o, info, suffix, file)
	if err != nil && unopenable(err) {
		return v.unopened(info, err), nil
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// decodeNow is decode of what the store shows at present, where before it was
// asked that much was known.
func (v *Volume) decodeNow(ctx context.Context, info objstore.Info, suffix []byte, known before) (*object, error) {
	o, err := v.decode(ctx, info, suffix)
	if err == nil {
		err = v.judge(o, known)
	}
	if err != nil {
		return nil, err
	}
	if o.verdict.Bad() && v.opt.Rollback == RollbackDeny {
		return v.denied(o, info), nil
	}
	return o, nil
}

// denied is o, an older state than this host has known, as an object that does
// not open.
func (v *Volume) denied(o *object, info objstore.Info) *object {
	shut := v.unopened(info, fmt.Errorf("%s: %s: %w", info.Key, o.older, ErrRollback))
	shut.form, shut.verdict, shut.older = o.form, o.verdict, o.older
	return shut
}

func newObject(info objstore.Info) *object {
	return &object{
		id: info.ID, length: info.Size, class: info.StorageClass, system: info.System, tags: info.Tags, lock: info.Lock,
		cold: info.ArchiveStatus, thaw: info.Restoring,
		state: sse.Of(info.Encrypted), seen: info.Modified, answered: info.Answered,
	}
}

// unopened is an object that does not open: a file without attributes of its
// own that could be believed.
func (v *Volume) unopened(info objstore.Info, err error) *object {
	o := newObject(info)
	ns := o.seen.UnixNano()
	o.err, o.body, o.mark = err, bodyOf(info.ID), sealMark(info.Metadata)
	o.attr = Attr{
		Mode: unix.S_IFREG | v.opt.FileMode, UID: v.opt.UID, GID: v.opt.GID, Size: info.Size, Mtime: ns, Ctime: ns,
		FileID: hashID(info.Key),
	}
	return o
}

// openInfo fills in o by what its metadata says it is.
func (v *Volume) openInfo(ctx context.Context, o *object, info objstore.Info, suffix []byte, file instructions) error {
	if isSealed(info.Metadata) {
		if err := v.openSealed(ctx, o, info, suffix); err != nil {
			return err
		}
	} else if found, err := v.openS3EC(ctx, o, info, suffix, file); err != nil {
		return err
	} else if !found {
		v.openPlain(o, info)
	}
	if err := o.checkType(); err != nil {
		return fmt.Errorf("%s: %w", info.Key, err)
	}
	if strings.HasPrefix(info.Key, v.parked()) { // under the rule of the name that it had
		return nil
	}
	return v.rule(info.Key).accept(o, v.own(info.Key))
}

// checkType holds the type in the attributes against the form of the key:
// nobody serves a directory's record for a file or gives a directory a body.
func (o *object) checkType() error {
	marker := isMarker(o.id.Key)
	switch {
	case marker != o.isDir():
		return fmt.Errorf("type %o does not fit the key: %w", o.attr.Mode&unix.S_IFMT, ErrCorrupt)
	case marker && o.length != 0:
		return fmt.Errorf("directory with a body of %d bytes: %w", o.length, ErrCorrupt)
	}
	return nil
}

func (o *object) isDir() bool { return o.attr.Mode&unix.S_IFMT == unix.S_IFDIR }

// info is what stat shows of the object.
func (o *object) info() Info {
	a := o.attr
	a.Nlink = max(a.Nlink, 1)
	if o.isDir() {
		a.Nlink = 2
	}
	return Info{Attr: a, Xattrs: o.xat, Err: o.err}
}

// isOf tells whether o, which may be nil, is one of those that were written, by
// their marks, for the file of this id: sealed copies of one body share a mark,
// whoever made them.
func (o *object) isOf(marks []string, file uint64) bool {
	if o == nil || !slices.Contains(marks, o.mark) {
		return false
	}
	_, sealed := o.form.(*sealedForm)
	return !sealed || o.attr.FileID == file
}

// same tells whether two objects are one file with one body.
func (o *object) same(other *object) bool {
	return other != nil && o.attr.FileID == other.attr.FileID && o.body == other.body
}

// newer tells whether o holds later attributes of the same body than old.
func (o *object) newer(old *object) bool {
	if o.version() != 0 || old.version() != 0 {
		return o.version() > old.version()
	}
	return o.attr.Ctime > old.attr.Ctime
}

// show is what user.sigil.* tells of o.
func (v *Volume) show(o *object) map[string]string {
	if o.err != nil && !o.frozen() {
		return v.showOlder(o, nil)
	}
	attrs := map[string]string{"etag": o.id.ETag, "storage-class": cmp.Or(o.class, "STANDARD")}
	if o.frozen() {
		attrs["restore"] = o.restoration()
	}
	if o.id.VersionID != "" {
		attrs["version-id"] = o.id.VersionID
	}
	if o.form == nil {
		return v.showOlder(o, attrs)
	}
	attrs["mode"] = o.form.mode(o)
	if id := v.keyID(o); id != "" {
		attrs["key-id"] = id
	}
	o.form.show(o, attrs)
	return v.showOlder(o, attrs)
}

// keyID names what the body of o is encrypted under, as far as is known: the
// master keys that open it, the key of KMS, or that of SSE-C.
func (v *Volume) keyID(o *object) string {
	if f, ok := o.form.(*sealedForm); ok {
		return strings.Join(v.opt.Keys.KeyIDs(f.header.Epoch), ",")
	}
	if c := v.customerOf(o.id.Encryption); c != nil && o.state.Algorithm == sse.SSEC {
		return c.id
	}
	return o.state.KMSKeyID
}

// contentType is what of S3's own metadata stays when the content is replaced:
// an encoding or a caching rule speaks of the old one.
func (o *object) contentType() map[string]string {
	if t := o.system["content-type"]; t != "" {
		return map[string]string{"content-type": t}
	}
	return nil
}
