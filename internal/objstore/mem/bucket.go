package mem

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// ask is what every question about the bucket begins with. s.mu is held.
func (s *Store) ask(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.gone:
		return objstore.ErrBucket
	case s.opt.NoSettings:
		return objstore.ErrUnsupported
	}
	return nil
}

// Lifecycle is objstore.Bucket's: Options.Lifecycle, by which nothing is done.
func (s *Store) Lifecycle(ctx context.Context) ([]objstore.LifecycleRule, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ask(ctx); err != nil {
		return nil, wrap("lifecycle rules of", "", err)
	}
	return slices.Clone(s.opt.Lifecycle), nil
}

// Versioning is objstore.Bucket's.
func (s *Store) Versioning(ctx context.Context) (objstore.Versioning, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ask(ctx); err != nil {
		return "", wrap("versioning of", "", err)
	}
	return s.keeping, nil
}

// Pending is objstore.Bucket's; all of one state of the bucket.
func (s *Store) Pending(ctx context.Context, prefix string) iter.Seq2[objstore.Pending, error] {
	return func(yield func(objstore.Pending, error) bool) {
		all, err := s.pending(ctx, prefix)
		if err != nil {
			yield(objstore.Pending{}, wrap("list uploads of", prefix, err))
			return
		}
		for _, p := range all {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s *Store) pending(ctx context.Context, prefix string) ([]objstore.Pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	var all []objstore.Pending
	for id, u := range s.uploads {
		if !strings.HasPrefix(u.key, prefix) || s.opt.PendingByKey && u.key != prefix {
			continue
		}
		all = append(all, objstore.Pending{Key: u.key, UploadID: id, Began: u.began})
	}
	slices.SortFunc(all, func(a, b objstore.Pending) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), a.Began.Compare(b.Began), cmp.Compare(a.UploadID, b.UploadID))
	})
	return all, nil
}
