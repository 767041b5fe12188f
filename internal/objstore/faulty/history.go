package faulty

import (
	"context"
	"iter"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Versions is objstore.Versioner's, page by page as List; ErrUnsupported if the
// store inside is none. A fault of a page befalls it before its first version.
func (s *Store) Versions(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		at, left := versionPage{after: opt.After}, opt.Limit
		for number := 1; ; number++ {
			if err := s.versions(ctx, opt, number, &at, left); err != nil {
				yield(objstore.Version{}, err)
				return
			}
			for _, v := range at.entries {
				if at.hide != nil && at.hide(v.Key+v.Prefix) {
					continue
				}
				if !yield(v, nil) {
					return
				}
			}
			left -= len(at.entries)
			if !at.more || opt.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

// versionPage is what one request of a listing of versions brings, and where the
// next one begins.
type versionPage struct {
	after         string // the key before that of the last entry
	last, version string // of the last entry
	entries       []objstore.Version
	more          bool
	hide          func(string) bool
}

func (s *Store) versions(ctx context.Context, opt objstore.ListOptions, number int, at *versionPage, left int) error {
	size := s.opt.PageSize
	if left > 0 {
		size = min(size, left)
	}
	return s.do(ctx, Op{Verb: Versions, Key: opt.Prefix, Part: number}, func(f Fault) error {
		inner, ok := s.inner.(objstore.Versioner)
		if !ok {
			return objstore.ErrUnsupported
		}
		page := versionPage{after: at.after, last: at.last, version: at.version, hide: f.Hide}
		opt.After, opt.Limit = at.after, 0
		skipping := at.last != ""
		for v, err := range inner.Versions(ctx, opt) {
			if err != nil {
				return err
			}
			name := v.Key + v.Prefix
			if skipping && name == at.last { // given before, up to the version
				skipping = v.VersionID != at.version
				continue
			}
			skipping = false
			if len(page.entries) == size {
				page.more = true
				break
			}
			if name != page.last {
				page.after, page.last = max(page.last, page.after), name
			}
			page.version = v.VersionID
			page.entries = append(page.entries, v)
		}
		*at = page
		return nil
	})
}

// Restore is objstore.Restorer's; ErrUnsupported if the store inside is none.
func (s *Store) Restore(ctx context.Context, id objstore.ID, days int, tier string) error {
	return s.do(ctx, Op{Verb: Restore, Key: id.Key}, func(Fault) error {
		inner, ok := s.inner.(objstore.Restorer)
		if !ok {
			return objstore.ErrUnsupported
		}
		return inner.Restore(ctx, id, days, tier)
	})
}

// Lock is objstore.Locker's; ErrUnsupported if the store inside is none.
func (s *Store) Lock(ctx context.Context, id objstore.ID) (l objstore.Lock, err error) {
	err = s.do(ctx, Op{Verb: Lock, Key: id.Key}, func(Fault) (err error) {
		inner, ok := s.inner.(objstore.Locker)
		if !ok {
			return objstore.ErrUnsupported
		}
		l, err = inner.Lock(ctx, id)
		return err
	})
	if err != nil {
		return objstore.Lock{}, err
	}
	return l, nil
}

// Checksums is objstore.Checksummer's; ErrUnsupported if the store inside is none.
func (s *Store) Checksums(ctx context.Context, id objstore.ID) (got objstore.Checksums, err error) {
	err = s.do(ctx, Op{Verb: Checksums, Key: id.Key}, func(Fault) (err error) {
		inner, ok := s.inner.(objstore.Checksummer)
		if !ok {
			return objstore.ErrUnsupported
		}
		got, err = inner.Checksums(ctx, id)
		return err
	})
	if err != nil {
		return objstore.Checksums{}, err
	}
	return got, nil
}
