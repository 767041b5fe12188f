package past

import (
	"context"
	"iter"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Moment is what a key was at a time, and what it is now. A Version without a Key
// is nothing; so is one that is Deleted.
type Moment struct {
	Key       string
	Then, Now objstore.Version
}

// Was tells whether a body was there then.
func (m Moment) Was() bool { return m.Then.Key != "" && !m.Then.Deleted }

// Is tells whether one is now.
func (m Moment) Is() bool { return m.Now.Key != "" && !m.Now.Deleted }

// Moments makes of a listing of versions, without common prefixes, what each key
// of it was at that time. It keeps the versions of no key.
func Moments(versions iter.Seq2[objstore.Version, error], at time.Time) iter.Seq2[Moment, error] {
	return func(yield func(Moment, error) bool) {
		m, t := Moment{}, then{at: at}
		flush := func() bool {
			if m.Key == "" {
				return true
			}
			if t.found {
				m.Then = t.v
			}
			return yield(m, nil)
		}
		for v, err := range versions {
			if err != nil {
				if flush() {
					yield(Moment{}, err)
				}
				return
			}
			if v.Key != m.Key {
				if !flush() {
					return
				}
				m, t = Moment{Key: v.Key}, then{at: at}
			}
			if v.Latest {
				m.Now = v
			}
			t.see(v)
		}
		flush()
	}
}

// Of is the Moment of one key.
func Of(ctx context.Context, b objstore.Versioner, key string, at time.Time) (Moment, error) {
	if err := objstore.CheckKey(key); err != nil {
		return Moment{}, err
	}
	for m, err := range Moments(b.Versions(ctx, objstore.ListOptions{Prefix: key}), at) {
		if err != nil {
			return Moment{}, err
		}
		if m.Key == key { // the first of those that begin with it
			return m, nil
		}
		break
	}
	return Moment{Key: key}, nil
}
