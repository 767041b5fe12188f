package past

import (
	"context"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// then finds out of the versions of one key, the newest first, which was there.
type then struct {
	at    time.Time
	v     objstore.Version
	found bool
}

// see takes the next version. What lies above one that was made later was made
// later too, whatever its own time says: an upload's is that of its beginning.
func (t *then) see(v objstore.Version) {
	switch {
	case v.Modified.After(t.at):
		t.found = false
	case !t.found:
		t.v, t.found = v, true
	}
}

// shows tells whether a body was there.
func (t *then) shows() bool { return t.found && !t.v.Deleted }

// found is what is remembered of a key: version is "" where nothing was there.
type found struct{ etag, version string }

// find tells which version of key was there. Errors: objstore.ErrNotExist, and
// those of a listing. afresh does not believe what is remembered.
func (s *Store) find(ctx context.Context, key string, afresh bool) (found, error) {
	if err := objstore.CheckKey(key); err != nil {
		return found{}, err
	}
	if !afresh {
		if f, ok := s.memory.key(key); ok {
			return f.exists()
		}
	}
	t := then{at: s.at}
	answered := time.Time{}
	for v, err := range s.now.Versions(ctx, objstore.ListOptions{Prefix: key}) {
		if err != nil {
			return found{}, err
		}
		answered = v.Answered
		if v.Key != key {
			break // the key itself is the first of those that begin with it
		}
		t.see(v)
	}
	f := t.note()
	if s.over(answered) {
		s.memory.noteKey(key, f)
	}
	return f.exists()
}

func (t *then) note() found {
	if !t.shows() {
		return found{}
	}
	return found{t.v.ETag, t.v.VersionID}
}

func (f found) exists() (found, error) {
	if f.version == "" {
		return f, objstore.ErrNotExist
	}
	return f, nil
}

// over tells whether nothing can be added any more to what was there, by the
// store's clock as it was last told: times have whole seconds. Where nothing was
// told all is asked for each time.
func (s *Store) over(answered time.Time) bool {
	return s.memory.latest(answered).After(s.at.Add(2 * time.Second))
}

// living tells whether something was there below a common prefix.
func (s *Store) living(ctx context.Context, prefix string) (bool, error) {
	if lives, ok := s.memory.prefix(prefix); ok {
		return lives, nil
	}
	lives, answered := false, time.Time{}
	t, key := then{at: s.at}, ""
	for v, err := range s.now.Versions(ctx, objstore.ListOptions{Prefix: prefix}) {
		if err != nil {
			return false, err
		}
		answered = v.Answered
		if v.Key != key {
			if lives = t.shows(); lives {
				break
			}
			t, key = then{at: s.at}, v.Key
		}
		t.see(v)
	}
	lives = lives || t.shows()
	if s.over(answered) {
		s.memory.notePrefix(prefix, lives)
	}
	return lives, nil
}
