package volume

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
)

// Of a directory that is renamed all is copied before anything is removed. What
// is remembered in between is for each of the first mostHeld objects some 200
// bytes, and for each of the others, which are listed again for their removal,
// 16 bytes.
const mostHeld = 1 << 16

// movePage is how many are copied, or removed, before the next are listed.
const movePage = 1000

// tally is what was copied, in the order of keys.
type tally struct {
	most  int     // to be held
	held  []moved // the first ones
	after string  // the last key up to which all are held
	rest  []batch
	known []moved // those of which somebody here knows
	later []moved // instruction files that were copied, and come after the last key
}

// batch is what was copied of the keys that come after the batch before it.
type batch struct {
	last string
	sums []sum
}

// sum tells a source, and the state that was copied, from others: 63 bits
// each, of their hashes; the lowest bit of key is set for a hard-link name.
type sum struct{ key, etag uint64 }

func sumOf(m moved) sum {
	s := sum{short(m.src) &^ 1, short(m.etag)}
	if m.name != nil {
		s.key |= 1
	}
	return s
}

func short(s string) uint64 {
	h := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(h[:])
}

// add counts in what was copied up to the key last.
func (t *tally) add(last string, copied []moved) {
	for _, m := range copied {
		if m.to != nil {
			t.known = append(t.known, m)
		}
	}
	copied = t.files(last, copied)
	if len(t.rest) == 0 && len(t.held)+len(copied) <= t.most {
		t.held, t.after = append(t.held, copied...), last
		return
	}
	b := batch{last: last, sums: make([]sum, len(copied))}
	for i, m := range copied {
		b.sums[i] = sumOf(m)
	}
	t.rest = append(t.rest, b)
}

// finder finds keys of the rest of a tally, which come in order.
type finder struct {
	rest []batch
	in   map[uint64]sum // the first of rest; nil is not made yet
}

func (f *finder) find(key string) (s sum, ok bool) {
	for len(f.rest) > 0 && key > f.rest[0].last {
		f.rest, f.in = f.rest[1:], nil
	}
	if len(f.rest) == 0 {
		return s, false
	}
	if f.in == nil {
		f.in = make(map[uint64]sum, len(f.rest[0].sums))
		for _, s := range f.rest[0].sums {
			f.in[s.key&^1] = s
		}
	}
	s, ok = f.in[short(key)&^1]
	return s, ok
}

// deleteListed removes the sources that are not held. What is listed and was
// not copied, or was written since, stays.
func (v *Volume) deleteListed(ctx context.Context, j *journal, t *tally, late bool) error {
	if len(t.rest) == 0 {
		return nil
	}
	f := &finder{rest: t.rest}
	return v.pages(ctx, j.From, t.after, func(page []objstore.Entry) error {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallelMoves)
		for _, e := range page {
			s, ok := f.find(e.Key)
			if !ok || v.late(e.Key) != late {
				continue
			}
			g.Go(func() error {
				defer j.removed.Add(1)
				return v.deleteSum(gctx, e, s)
			})
		}
		return g.Wait()
	})
}

func (v *Volume) deleteSum(ctx context.Context, e objstore.Entry, s sum) error {
	m := moved{src: e.Key, etag: e.ETag}
	switch {
	case s.key&1 != 0:
		o, err := v.fetch(ctx, e.Key)
		if errors.Is(err, ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		m.name, m.etag = o, o.id.ETag
	case short(e.ETag) != s.etag: // a listing may spell it otherwise
		info, err := v.head(ctx, e.Key)
		if errors.Is(err, ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		m.etag = info.ETag
	}
	if short(m.etag) != s.etag {
		return nil
	}
	return v.deleteSource(ctx, m)
}

// tellMoves is how often a directory rename tells how far it is.
const tellMoves = 5 * time.Second

// tellMove does so until ctx ends.
func (v *Volume) tellMove(ctx context.Context, j *journal) {
	tick := time.NewTicker(tellMoves)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		log := v.opt.Log.WithFields(logrus.Fields{
			"from": v.pathOf(j.From), "to": v.pathOf(j.To), "copied": j.copied.Load(), "removed": j.removed.Load(),
		})
		if j.total > 0 {
			log = log.WithField("total", j.total)
		}
		if j.Back {
			log.Info("taking a directory rename back")
			continue
		}
		log.Info("renaming a directory")
	}
}
