package faulty

import (
	"context"
	"iter"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// settings gives the store inside as one that tells of its bucket, or
// ErrUnsupported.
func (s *Store) settings() (objstore.Bucket, error) {
	inner, ok := s.inner.(objstore.Bucket)
	if !ok {
		return nil, objstore.ErrUnsupported
	}
	return inner, nil
}

// Lifecycle is objstore.Bucket's.
func (s *Store) Lifecycle(ctx context.Context) (rules []objstore.LifecycleRule, err error) {
	err = s.do(ctx, Op{Verb: Lifecycle}, func(Fault) error {
		inner, err := s.settings()
		if err != nil {
			return err
		}
		rules, err = inner.Lifecycle(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rules, nil
}

// Versioning is objstore.Bucket's.
func (s *Store) Versioning(ctx context.Context) (v objstore.Versioning, err error) {
	err = s.do(ctx, Op{Verb: Versioning}, func(Fault) error {
		inner, err := s.settings()
		if err != nil {
			return err
		}
		v, err = inner.Versioning(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return v, nil
}

// Pending is objstore.Bucket's; what befalls it does so before the first upload
// is given.
func (s *Store) Pending(ctx context.Context, prefix string) iter.Seq2[objstore.Pending, error] {
	return func(yield func(objstore.Pending, error) bool) {
		var all []objstore.Pending
		err := s.do(ctx, Op{Verb: Pending, Key: prefix}, func(Fault) error {
			inner, err := s.settings()
			if err != nil {
				return err
			}
			for p, err := range inner.Pending(ctx, prefix) {
				if err != nil {
					return err
				}
				all = append(all, p)
			}
			return nil
		})
		if err != nil {
			yield(objstore.Pending{}, err)
			return
		}
		for _, p := range all {
			if !yield(p, nil) {
				return
			}
		}
	}
}
