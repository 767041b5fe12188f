package past

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sync/errgroup"
)

// Common prefixes are looked into ahead of who lists, some at once: each takes a
// listing of its own, up to the first object in it that was there.
const (
	ahead    = 32
	parallel = 8
)

// List is objstore.Store's.
func (s *Store) List(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		l := lister{s: s, left: opt.Limit, yield: yield}
		most := ahead
		if opt.Limit > 0 {
			most = min(most, opt.Limit)
		}
		opt.Limit = 0 // it would be one of versions
		for v, err := range s.now.Versions(ctx, opt) {
			if err != nil {
				if l.give(ctx) {
					yield(objstore.Entry{}, fmt.Errorf("list as of %s: %w", s.at.Format(time.RFC3339), err))
				}
				return
			}
			l.add(v)
			if len(l.batch) >= most && !l.give(ctx) {
				return
			}
		}
		l.flush()
		l.give(ctx)
	}
}

// lister makes entries of versions.
type lister struct {
	s     *Store
	left  int // entries, where a limit was given
	yield func(objstore.Entry, error) bool

	key   string // whose versions come
	t     then
	batch []objstore.Entry // not given yet; of a prefix nobody knows whether it was there
}

func (l *lister) add(v objstore.Version) {
	if v.Prefix != "" {
		l.flush()
		l.batch = append(l.batch, objstore.Entry{Prefix: v.Prefix})
		return
	}
	if v.Key != l.key {
		l.flush()
		l.key, l.t = v.Key, then{at: l.s.at}
	}
	l.t.see(v)
}

// flush makes an entry of the key whose versions have all come.
func (l *lister) flush() {
	if l.key == "" {
		return
	}
	if l.t.shows() {
		info := l.t.v.Info
		if l.s.over(info.Answered) {
			l.s.memory.noteKey(l.key, l.t.note())
		}
		info.VersionID = "" // as a listing of objects has it
		l.batch = append(l.batch, objstore.Entry{Info: info})
	}
	l.key = ""
}

// give gives what the batch has. False: nothing more is wanted.
func (l *lister) give(ctx context.Context) bool {
	batch := l.batch
	l.batch = nil
	lives, err := l.s.lives(ctx, batch)
	if err != nil {
		l.yield(objstore.Entry{}, err)
		return false
	}
	for i, e := range batch {
		if !lives[i] {
			continue
		}
		if !l.yield(e, nil) {
			return false
		}
		if l.left--; l.left == 0 {
			return false
		}
	}
	return true
}

// lives tells which of the entries were there: of prefixes, whether anything was.
func (s *Store) lives(ctx context.Context, batch []objstore.Entry) ([]bool, error) {
	lives := make([]bool, len(batch))
	looks, ctx := errgroup.WithContext(ctx)
	looks.SetLimit(parallel)
	for i, e := range batch {
		if e.Prefix == "" {
			lives[i] = true
			continue
		}
		looks.Go(func() (err error) {
			lives[i], err = s.living(ctx, e.Prefix)
			if err != nil {
				return fmt.Errorf("list %q as of %s: %w", e.Prefix, s.at.Format(time.RFC3339), err)
			}
			return nil
		})
	}
	return lives, looks.Wait()
}
