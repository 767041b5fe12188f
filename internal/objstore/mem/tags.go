package mem

import (
	"context"
	"fmt"
	"maps"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Limits of tags (Amazon S3 User Guide, "Categorizing your objects using tags").
const (
	maxTags     = 10
	maxTagName  = 128
	maxTagValue = 256
)

// Tags is objstore.Tagger's.
func (s *Store) Tags(ctx context.Context, id objstore.ID) (map[string]string, error) {
	tags, err := s.readTags(ctx, id)
	return tags, wrap("tags of", id.Key, err)
}

func (s *Store) readTags(ctx context.Context, id objstore.ID) (map[string]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := objstore.CheckKey(id.Key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(objstore.ID{Key: id.Key, VersionID: id.VersionID})
	switch {
	case err != nil:
		return nil, err
	case s.opt.NoTags:
		return nil, objstore.ErrUnsupported
	case s.opt.RefuseTags:
		return nil, objstore.ErrAccess
	}
	return maps.Clone(o.tags), nil
}

// checkTags refuses those of a write.
func (s *Store) checkTags(tags map[string]string) error {
	switch {
	case len(tags) == 0:
		return nil
	case s.opt.NoTags:
		return objstore.ErrUnsupported
	case s.opt.RefuseTags:
		return fmt.Errorf("s3:PutObjectTagging: %w", objstore.ErrAccess)
	case len(tags) > maxTags:
		return fmt.Errorf("%d tags: %w", len(tags), objstore.ErrInvalid)
	}
	for name, value := range tags {
		if name == "" || len(name) > maxTagName || len(value) > maxTagValue {
			return fmt.Errorf("tag %q: %w", name, objstore.ErrInvalid)
		}
	}
	return nil
}
