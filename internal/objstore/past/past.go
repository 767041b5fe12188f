// Package past shows a bucket that keeps versions as it was at some time: an
// object store that is read alone, over one that tells of versions.
//
// What was there at a time is by key the newest version that was there then, and
// nothing where that is a delete marker. Of the times that S3 gives two things
// are wrong: they have whole seconds, and a multipart upload has that of its
// beginning. The order of the versions is right, so that a version counts as made
// no earlier than all that lie beneath it; what is the uppermost of its key shows
// up to an upload's duration too early. Versions that were removed for good were
// never there.
//
// Everything is found in a listing of versions: of a directory by one, of an
// object by one that begins at its key. What was found is remembered in bounded
// space, since it does not change any more.
package past

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Bucket is what can be shown as it was.
type Bucket interface {
	objstore.Store
	objstore.Versioner
}

// Store is a bucket as it was. It is safe for concurrent use. Whatever would
// write is ErrReadOnly.
type Store struct {
	now    Bucket
	at     time.Time
	memory memory
}

// ErrReadOnly: the past does not change. It wraps objstore.ErrUnsupported.
var ErrReadOnly = fmt.Errorf("the bucket is shown as it was: %w", objstore.ErrUnsupported)

var (
	_ objstore.Store  = (*Store)(nil)
	_ objstore.Tagger = (*Store)(nil)
)

// New shows b as it was at that time.
func New(b Bucket, at time.Time) *Store {
	return &Store{now: b, at: at, memory: memory{most: remembered}}
}

// Head is objstore.Store's. The ID that it gives names the version.
func (s *Store) Head(ctx context.Context, id objstore.ID) (info objstore.Info, err error) {
	err = s.pinned(ctx, "head", id, func(id objstore.ID) error {
		info, err = s.now.Head(ctx, id)
		return err
	})
	return info, err
}

// Get is objstore.Store's.
func (s *Store) Get(ctx context.Context, id objstore.ID, r objstore.Range) (info objstore.Info, off int64, body io.ReadCloser, err error) {
	err = s.pinned(ctx, "get", id, func(id objstore.ID) error {
		info, off, body, err = s.now.Get(ctx, id, r)
		return err
	})
	return info, off, body, err
}

// Tags is objstore.Tagger's.
func (s *Store) Tags(ctx context.Context, id objstore.ID) (tags map[string]string, err error) {
	inner, ok := s.now.(objstore.Tagger)
	if !ok {
		return nil, fmt.Errorf("tags of %q: %w", id.Key, objstore.ErrUnsupported)
	}
	err = s.pinned(ctx, "tags of", id, func(id objstore.ID) error {
		tags, err = inner.Tags(ctx, id)
		return err
	})
	return tags, err
}

// pinned calls ask with the version that id is about. One that has been removed
// for good since it was found is looked for once more.
func (s *Store) pinned(ctx context.Context, verb string, id objstore.ID, ask func(objstore.ID) error) error {
	if id.VersionID != "" {
		return ask(id)
	}
	for again := false; ; again = true {
		v, err := s.find(ctx, id.Key, again)
		switch {
		case err != nil:
			return fmt.Errorf("%s %q as of %s: %w", verb, id.Key, s.at.Format(time.RFC3339), err)
		case id.ETag != "" && id.ETag != v.etag:
			return fmt.Errorf("%s %q as of %s: %w", verb, id.Key, s.at.Format(time.RFC3339), objstore.ErrChanged)
		}
		pin := id
		pin.ETag, pin.VersionID = v.etag, v.version
		if err := ask(pin); again || !errors.Is(err, objstore.ErrChanged) {
			return err
		}
	}
}

// Put is ErrReadOnly.
func (s *Store) Put(_ context.Context, key string, _ io.ReadSeeker, _ int64, _ objstore.PutOptions) (objstore.Receipt, error) {
	return objstore.Receipt{}, refuse("put", key)
}

// Copy is ErrReadOnly.
func (s *Store) Copy(_ context.Context, _ objstore.ID, dst string, _ objstore.PutOptions) (objstore.Receipt, error) {
	return objstore.Receipt{}, refuse("copy", dst)
}

// Delete is ErrReadOnly.
func (s *Store) Delete(_ context.Context, id objstore.ID, _ objstore.Condition) error {
	return refuse("delete", id.Key)
}

// Upload is ErrReadOnly.
func (s *Store) Upload(_ context.Context, key string, _ objstore.PutOptions) (objstore.Uploader, error) {
	return nil, refuse("upload", key)
}

func refuse(verb, key string) error { return fmt.Errorf("%s %q: %w", verb, key, ErrReadOnly) }
