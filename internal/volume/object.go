package volume

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

// object is what the store showed at one key, opened as far as its metadata
// goes. It does not change once made.
type object struct {
	id     objstore.ID
	length int64 // of the body as stored
	class  string
	header sigil.Header
	rec    *sigil.Record // nil where err is not
	attr   sigil.Attr    // those that stand: late ones resolved
	size   int64         // of the plaintext; of an object that does not open, its length
	seen   time.Time     // LastModified, where the store told it
	err    error         // why it does not open
}

// body names the content, whatever happens to the attributes: what caches go by.
func (o *object) body() string {
	if o.rec == nil {
		return o.id.ETag
	}
	return hex.EncodeToString(o.rec.Generation[:])
}

// fileID is st_ino.
func (o *object) fileID() uint64 {
	if o.rec == nil {
		return hashID(o.id.Key)
	}
	return validID(o.rec.FileID)
}

// unopenable tells the errors that are the object's from those of the moment.
func unopenable(err error) bool {
	for _, e := range []error{ErrCorrupt, ErrDowngrade, ErrNoKey, ErrWrongKey, ErrVersion, ErrArchived} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fetch asks the store what is at key. One request brings the metadata and the
// end of the body, from which late attributes and the size come. An object
// that does not open is no error: its err says why.
func (v *Volume) fetch(ctx context.Context, key string) (*object, error) {
	if strings.HasSuffix(key, "/") {
		info, err := v.opt.Store.Head(ctx, objstore.ID{Key: key})
		if err != nil {
			return nil, err
		}
		return v.decode(ctx, info, nil)
	}
	info, suffix, err := v.suffix(ctx, key)
	if errors.Is(err, ErrArchived) {
		info, err = v.opt.Store.Head(ctx, objstore.ID{Key: key})
		if err == nil {
			return unopened(info, fmt.Errorf("%s: %w", key, ErrArchived)), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return v.decode(ctx, info, suffix)
}

func (v *Volume) suffix(ctx context.Context, key string) (objstore.Info, []byte, error) {
	info, _, body, err := v.opt.Store.Get(ctx, objstore.ID{Key: key}, objstore.Range{Suffix: sigil.TailReadSize})
	if err != nil {
		return info, nil, err
	}
	defer body.Close()
	suffix, err := io.ReadAll(io.LimitReader(body, sigil.TailReadSize))
	return info, suffix, err
}

// decode opens the metadata of an object.
func (v *Volume) decode(ctx context.Context, info objstore.Info, suffix []byte) (*object, error) {
	o, err := v.openInfo(ctx, info, suffix)
	if err != nil && unopenable(err) {
		return unopened(info, err), nil
	}
	return o, err
}

func unopened(info objstore.Info, err error) *object {
	return &object{id: info.ID, length: info.Size, class: info.StorageClass, seen: info.Modified, size: info.Size, err: err}
}

func (v *Volume) openInfo(ctx context.Context, info objstore.Info, suffix []byte) (*object, error) {
	h, err := sigil.ParseHeader(info.Metadata)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", info.Key, err)
	}
	rec, err := v.unseal(ctx, info.Key, h)
	if err != nil {
		return nil, err
	}
	o := &object{id: info.ID, length: info.Size, class: info.StorageClass, seen: info.Modified, header: h, rec: rec, attr: rec.Attr}
	if err := o.checkType(); err != nil {
		return nil, fmt.Errorf("%s: %w", info.Key, err)
	}
	if o.isDir() {
		return o, nil
	}
	late, size, err := sigil.OpenSuffix(rec, h, suffix, info.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", info.Key, err)
	}
	rec.Settle(late)
	o.attr, o.size = rec.Attr, size
	return o, o.proveEmpty(ctx, suffix)
}

// proveEmpty verifies the one chunk of an empty file, which the lookup has
// brought: nobody reads a file that is said to be empty, so nothing else would
// notice that it was cut to nothing.
func (o *object) proveEmpty(ctx context.Context, suffix []byte) error {
	if o.size != 0 {
		return nil
	}
	r, err := sigil.NewReader(o.rec, o.header, sigil.WithSuffix(nil, suffix, o.length), o.length)
	if err == nil {
		err = r.Verify(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.id.Key, err)
	}
	return nil
}

// unseal opens a header with whichever epoch its seal commits to.
func (v *Volume) unseal(ctx context.Context, key string, h sigil.Header) (*sigil.Record, error) {
	epoch, err := v.opt.Keys.Open(ctx, key, h.Epoch, h.Commits)
	if err != nil {
		return nil, fmt.Errorf("%s: epoch %s: %w", key, h.Epoch, err)
	}
	rec, err := h.Open(epoch, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return rec, nil
}

// checkType holds the type in the record against the form of the key: nobody
// serves a directory's record for a file or gives a directory a body.
func (o *object) checkType() error {
	marker := strings.HasSuffix(o.id.Key, "/")
	switch {
	case marker != o.isDir():
		return fmt.Errorf("type %o does not fit the key: %w", o.rec.Mode&unix.S_IFMT, ErrCorrupt)
	case marker && o.length != 0:
		return fmt.Errorf("directory with a body of %d bytes: %w", o.length, ErrCorrupt)
	}
	return nil
}

func (o *object) isDir() bool { return o.rec != nil && o.rec.Mode&unix.S_IFMT == unix.S_IFDIR }

// info is what the object says of itself; without permissions and owner where
// it does not open.
func (o *object) info() Info {
	if o.err != nil {
		ns := o.seen.UnixNano()
		return Info{Attr: Attr{Mode: unix.S_IFREG, Size: o.size, Mtime: ns, Ctime: ns, Nlink: 1, FileID: o.fileID()}, Err: o.err}
	}
	a := Attr{
		Mode: o.attr.Mode, UID: o.attr.UID, GID: o.attr.GID, Rdev: o.rec.Rdev,
		Mtime: o.attr.Mtime, Ctime: o.attr.Ctime, Size: o.size, Nlink: 1, FileID: o.fileID(),
	}
	if o.isDir() {
		a.Nlink = 2
	}
	return Info{Attr: a, Xattrs: o.rec.Xattrs}
}
