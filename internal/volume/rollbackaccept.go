package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sync/errgroup"
)

// acceptors is how many objects are looked at together.
const acceptors = 16

// AcceptRestore takes the state in which each object below the directory p is
// now for the one that is to be, whatever this host has known: after a restore
// that was wanted. It tells of each that was in an older one, one at a time; and
// of what belongs to them in the volume's own part: indexes of directories, the
// bodies of hard links and who counts them. Of dry only that is told. The
// memory is durable when it returns; what came before an error is accepted.
func (v *Volume) AcceptRestore(ctx context.Context, p string, dry bool, told func(Rollback)) error {
	a := &acceptance{v: v, dry: dry, told: told, seen: map[string]bool{}}
	prefix := v.fileKey(p)
	if p == "" {
		prefix = v.opt.Prefix
	} else if err := a.one(ctx, prefix); err != nil { // p is a file
		return err
	} else {
		prefix += "/"
	}
	err := a.below(ctx, prefix)
	if err == nil && p == "" && !strings.HasPrefix(v.opt.Root+hidden+"/", prefix) {
		err = a.below(ctx, v.opt.Root+hidden+"/")
	}
	if ferr := v.opt.Seals.Flush(); err == nil {
		err = ferr
	}
	return err
}

// acceptance is one AcceptRestore.
type acceptance struct {
	v    *Volume
	dry  bool
	mu   sync.Mutex // held while told is called; guards seen
	told func(Rollback)
	seen map[string]bool // keys that several belong to: indexes, inodes, rolls
}

// below accepts all whose keys begin so.
func (a *acceptance) below(ctx context.Context, prefix string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(acceptors)
	dir := ""
	for e, err := range a.v.opt.Store.List(ctx, objstore.ListOptions{Prefix: prefix}) {
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return a.one(ctx, e.Key) })
		// The listing is in order: a directory's entries are not together, but
		// each visit to it is.
		if in := parent(a.v.pathOf(strings.TrimSuffix(e.Key, "/"))); in != dir && !a.v.own(e.Key) {
			dir = in
			g.Go(func() error { return a.once(ctx, a.v.indexKey(in)) })
		}
	}
	return g.Wait()
}

// once is one of what may be met again.
func (a *acceptance) once(ctx context.Context, key string) error {
	a.mu.Lock()
	seen := a.seen[key]
	if len(a.seen) < maxKnown {
		a.seen[key] = true
	}
	a.mu.Unlock()
	if seen {
		return nil
	}
	return a.one(ctx, key)
}

// one accepts what is at key, and what belongs to it. What is not there, or not
// sealed, or does not open, is as it was.
func (a *acceptance) one(ctx context.Context, key string) error {
	v := a.v
	if !v.watched(key) || len(key) > objstore.MaxKeyLen {
		return nil
	}
	known := v.knownOf(key)
	if known.err != nil {
		return fmt.Errorf("%s: %w", key, known.err)
	}
	o, err := v.unjudged(ctx, key)
	if errors.Is(err, ErrNotExist) || unopenable(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	version, seal, sealed := o.stateOf()
	if !sealed || o.err != nil {
		return nil //nolint:nilerr // what does not open says so by itself
	}
	if verdict := freshness.Judge(known.rec, version, seal, v.opt.Now()); verdict.Bad() {
		a.accept(o, known.rec, verdict)
	}
	if !o.isName() {
		return nil
	}
	for _, in := range v.inodeKeys(o) {
		if slices.Contains([]string{key, rollKey(key)}, in) {
			continue
		}
		if err := errors.Join(a.once(ctx, in), a.once(ctx, rollKey(in))); err != nil {
			return err
		}
	}
	return nil
}

// unjudged is what the store shows at key now; of an archived body
// as far as its metadata tell.
func (v *Volume) unjudged(ctx context.Context, key string) (o *object, err error) {
	err = v.unlocked(ctx, key, func(enc *objstore.Encryption) error {
		info, suffix, err := v.ends(ctx, objstore.ID{Key: key, Encryption: enc})
		if err == nil {
			o, err = v.decode(ctx, info, suffix)
		}
		return err
	})
	if !errors.Is(err, ErrArchived) {
		return o, err
	}
	info, herr := v.head(ctx, key)
	if herr != nil {
		return nil, herr
	}
	if !isSealed(info.Metadata) {
		return nil, err
	}
	o = newObject(info)
	late, operr := v.openChilled(ctx, o, info)
	if late || operr != nil {
		return nil, errors.Join(err, operr)
	}
	return o, nil
}

func (a *acceptance) accept(o *object, known freshness.Record, verdict freshness.Verdict) {
	v, key := a.v, o.id.Key
	version, seal, _ := o.stateOf()
	if !a.dry {
		v.opt.Seals.Accept(key, freshness.Record{Version: version, Seal: seal})
		v.wellAgain(key)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told(Rollback{Key: key, Path: v.pathOf(key), Kind: string(verdict), Shown: version, Known: known.Version, Since: v.opt.Now()})
}
