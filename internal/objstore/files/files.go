// Package files is a bucket that is made of a few files of this host, to be read
// with what reads buckets: bodies that somebody has downloaded, and the metadata
// that S3 had with them. It writes nothing, and holds no body in memory.
package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Object is one of them.
type Object struct {
	Path     string            // of the body
	Metadata map[string]string // names in lower case
}

// Bucket is the objects by key. It is safe for concurrent use; the files must not
// change.
type Bucket struct{ objects map[string]Object }

var _ objstore.Store = (*Bucket)(nil)

// New makes a bucket.
func New(objects map[string]Object) *Bucket { return &Bucket{maps.Clone(objects)} }

// errReadOnly: there is nothing that could be written to.
var errReadOnly = fmt.Errorf("files are only read: %w", objstore.ErrUnsupported)

// info tells of the open file f, which is the body at key.
func (b *Bucket) info(id objstore.ID, f *os.File) (objstore.Info, error) {
	st, err := f.Stat()
	if err != nil {
		return objstore.Info{}, err
	}
	if !st.Mode().IsRegular() {
		return objstore.Info{}, fmt.Errorf("%s is no regular file", f.Name())
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", id.Key, st.Size(), st.ModTime().UnixNano()))
	info := objstore.Info{
		ID:       objstore.ID{Key: id.Key, ETag: hex.EncodeToString(sum[:16])},
		Size:     st.Size(),
		Modified: st.ModTime(),
		Metadata: maps.Clone(b.objects[id.Key].Metadata),
	}
	if id.ETag != "" && id.ETag != info.ETag {
		return info, fmt.Errorf("%s: %w", id.Key, objstore.ErrChanged)
	}
	return info, nil
}

func (b *Bucket) open(id objstore.ID) (*os.File, error) {
	o, ok := b.objects[id.Key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", id.Key, objstore.ErrNotExist)
	}
	return os.Open(o.Path)
}

// Head implements objstore.Store.
func (b *Bucket) Head(_ context.Context, id objstore.ID) (objstore.Info, error) {
	f, err := b.open(id)
	if err != nil {
		return objstore.Info{}, err
	}
	defer f.Close()
	return b.info(id, f)
}

// body is a part of a file.
type body struct {
	*io.SectionReader
	f *os.File
}

func (b body) Close() error { return b.f.Close() }

// Get implements objstore.Store.
func (b *Bucket) Get(_ context.Context, id objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	f, err := b.open(id)
	if err != nil {
		return objstore.Info{}, 0, nil, err
	}
	info, err := b.info(id, f)
	if err != nil {
		_ = f.Close() // it was only read
		return objstore.Info{}, 0, nil, err
	}
	off, n := r.Off, r.Len
	switch {
	case r.Suffix > 0:
		off = max(0, info.Size-r.Suffix)
		n = info.Size - off
	case n == 0:
		n = info.Size - off
	}
	off = min(off, info.Size)
	n = min(n, info.Size-off)
	return info, off, body{io.NewSectionReader(f, off, n), f}, nil
}

// List implements objstore.Store.
func (b *Bucket) List(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		last, given := "", 0
		for _, key := range slices.Sorted(maps.Keys(b.objects)) {
			rest, ok := strings.CutPrefix(key, opt.Prefix)
			if !ok || key <= opt.After || opt.Limit > 0 && given >= opt.Limit {
				continue
			}
			var e objstore.Entry
			if i := strings.Index(rest, opt.Delimiter); opt.Delimiter != "" && i >= 0 {
				e.Prefix = opt.Prefix + rest[:i+len(opt.Delimiter)]
				if e.Prefix == last || e.Prefix <= opt.After {
					continue
				}
				last = e.Prefix
			} else {
				info, err := b.Head(ctx, objstore.ID{Key: key})
				if err != nil {
					yield(e, err)
					return
				}
				info.Metadata = nil
				e.Info = info
			}
			given++
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Put implements objstore.Store: ErrUnsupported, as all that follow.
func (*Bucket) Put(context.Context, string, io.ReadSeeker, int64, objstore.PutOptions) (objstore.Receipt, error) {
	return objstore.Receipt{}, errReadOnly
}

// Copy implements objstore.Store.
func (*Bucket) Copy(context.Context, objstore.ID, string, objstore.PutOptions) (objstore.Receipt, error) {
	return objstore.Receipt{}, errReadOnly
}

// Delete implements objstore.Store.
func (*Bucket) Delete(context.Context, objstore.ID, objstore.Condition) error { return errReadOnly }

// Upload implements objstore.Store.
func (*Bucket) Upload(context.Context, string, objstore.PutOptions) (objstore.Uploader, error) {
	return nil, errReadOnly
}
