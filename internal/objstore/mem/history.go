package mem

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Versions is objstore.Versioner's. Each page is one state of the bucket.
func (s *Store) Versions(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		at, left := mark{key: opt.After}, opt.Limit
		for {
			page, more, err := s.versions(ctx, opt, at)
			if err != nil {
				yield(objstore.Version{}, wrap("list versions of", opt.Prefix, err))
				return
			}
			for _, v := range page {
				if !yield(v.Version, nil) {
					return
				}
				at = mark{v.Key + v.Prefix, v.nth}
				if left--; opt.Limit > 0 && left == 0 {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// mark is where a page of versions begins: behind that of the key, with nth 0
// behind all of them.
type mark struct {
	key string
	nth int
}

type line struct {
	objstore.Version
	nth int
}

func (s *Store) versions(ctx context.Context, opt objstore.ListOptions, at mark) (page []line, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ask(ctx); err != nil {
		return nil, false, err
	}
	last := ""
	from, _ := slices.BinarySearch(s.known, max(opt.Prefix, at.key))
	for _, key := range s.known[from:] {
		if !strings.HasPrefix(key, opt.Prefix) {
			break
		}
		if prefix := common(key, opt); prefix != "" {
			if prefix <= at.key || prefix == last {
				continue
			}
			if len(page) == s.opt.PageSize {
				return page, true, nil
			}
			page, last = append(page, line{Version: objstore.Version{Prefix: prefix}}), prefix
			continue
		}
		versions := s.objects[key]
		for i, o := range slices.Backward(versions) {
			if key < at.key || key == at.key && o.nth >= at.nth {
				continue
			}
			if len(page) == s.opt.PageSize {
				return page, true, nil
			}
			page = append(page, s.line(o, i == len(versions)-1))
		}
	}
	return page, false, nil
}

// common is the common prefix that key is shown as, "" for none.
func common(key string, opt objstore.ListOptions) string {
	if opt.Delimiter == "" {
		return ""
	}
	at := strings.Index(key[len(opt.Prefix):], opt.Delimiter)
	if at < 0 {
		return ""
	}
	return key[:len(opt.Prefix)+at+len(opt.Delimiter)]
}

// line is what a listing tells of o. s.mu is held.
func (s *Store) line(o *object, latest bool) line {
	v := line{Version: objstore.Version{Latest: latest, Deleted: o.marker}, nth: o.nth}
	v.ID = objstore.ID{Key: o.info.Key, ETag: o.info.ETag, VersionID: o.version()}
	v.Size, v.Modified, v.StorageClass, v.Answered = o.info.Size, o.info.Modified, o.info.StorageClass, s.clock()
	return v
}

// Restore is objstore.Restorer's; Thaw carries it out.
func (s *Store) Restore(ctx context.Context, id objstore.ID, days int, tier string) error {
	return wrap("restore", id.Key, s.restore(ctx, id, days, tier))
}

func (s *Store) restore(ctx context.Context, id objstore.ID, days int, tier string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(id)
	switch {
	case err != nil:
		return err
	case !slices.Contains([]string{"", "Standard", "Bulk", "Expedited"}, tier):
		return fmt.Errorf("tier %q: %w", tier, objstore.ErrInvalid)
	case !o.info.Frozen() || (days > 0) != objstore.Archives(o.info.StorageClass):
		return fmt.Errorf("of class %q, for %d days: %w", o.info.StorageClass, days, objstore.ErrInvalid)
	case tier == "Expedited" && o.info.StorageClass == objstore.DeepArchive:
		return objstore.ErrUnsupported
	case !s.frozen(o):
		o.days, o.info.Restoring = days, s.until(days)
	case o.info.Restoring == nil || !o.info.Restoring.Ongoing:
		o.days, o.info.Restoring = days, &objstore.Restoration{Ongoing: true}
	}
	return nil
}

// until is the state of a body that was brought back. S3 keeps it to the end of
// the day.
func (s *Store) until(days int) *objstore.Restoration {
	if days == 0 {
		return nil
	}
	return &objstore.Restoration{Until: s.clock().Truncate(24*time.Hour).AddDate(0, 0, days+1)}
}

// frozen tells whether a body cannot be read now. s.mu is held.
func (s *Store) frozen(o *object) bool {
	r := o.info.Restoring
	return o.info.Frozen() && (r == nil || r.Ongoing || !s.opt.Now().Before(r.Until))
}

// Lock is objstore.Locker's.
func (s *Store) Lock(ctx context.Context, id objstore.ID) (objstore.Lock, error) {
	l, err := s.lockOf(ctx, id)
	return l, wrap("lock of", id.Key, err)
}

func (s *Store) lockOf(ctx context.Context, id objstore.ID) (objstore.Lock, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ask(ctx); err != nil {
		return objstore.Lock{}, err
	}
	o, err := s.find(objstore.ID{Key: id.Key, VersionID: id.VersionID})
	if err != nil {
		return objstore.Lock{}, err
	}
	if s.opt.Locked {
		return objstore.Lock{Mode: objstore.Compliance, Until: s.clock().AddDate(100, 0, 0)}, nil
	}
	return o.lock, nil
}

// keeps tells whether a version cannot be removed. s.mu is held.
func (s *Store) keeps(o *object) bool { return s.opt.Locked || o.lock.Holds(s.opt.Now()) }

// checkLock refuses those of a write.
func (s *Store) checkLock(l *objstore.Lock) error {
	switch {
	case l == nil || *l == (objstore.Lock{}):
		return nil
	case !s.opt.Locks && !s.opt.Locked:
		return fmt.Errorf("the bucket keeps no locks: %w", objstore.ErrInvalid)
	}
	return l.Check()
}

// Checksums is objstore.Checksummer's: SHA-256 alone.
func (s *Store) Checksums(ctx context.Context, id objstore.ID) (got objstore.Checksums, err error) {
	if err := ctx.Err(); err != nil {
		return got, wrap("checksums of", id.Key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.find(id)
	if err == nil {
		err = s.decrypt(o.kept, id.Encryption.Reads(), customerPrefix)
	}
	if err != nil {
		return got, wrap("checksums of", id.Key, err)
	}
	sum := sha256.Sum256(o.body)
	return objstore.Checksums{Sums: map[string][]byte{"sha256": sum[:]}}, nil
}
