package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Places are where the epochs lie that may have sealed what is below a prefix.
type Places struct {
	Above  []string // prefixes of it, the longest first, less those that may not be listed
	Within []string // itself, and volume roots below it
	Whole  bool     // every directory below was looked into
}

// pageOfNames is how many names a request lists (Amazon S3 API, ListObjectsV2).
const pageOfNames = 1000

// Places looks for the .sigil/epochs/ of the volume root, of volume roots nested
// below it at any depth, and of those above. It goes breadth first, and lists
// with at most so many requests, for so long; Whole tells whether that was enough.
func (a *Admin) Places(ctx context.Context, requests int, within time.Duration) (Places, error) {
	root := a.ring.root
	p := Places{Within: []string{root}}
	for _, above := range Above(root) {
		ok, err := a.holds(ctx, above)
		if err != nil {
			return p, err
		}
		if ok {
			p.Above = append(p.Above, above)
		}
	}
	w := placeWalk{admin: a, left: requests, until: a.ring.now().Add(within)}
	for level := []string{root}; len(level) > 0; {
		var err error
		if level, err = w.below(ctx, level); err != nil { // each spends a request, or there is no next level
			return p, err
		}
	}
	for _, at := range w.roots {
		if at != root {
			p.Within = append(p.Within, at)
		}
	}
	slices.Sort(p.Within)
	p.Whole = !w.short
	return p, nil
}

// Above gives every prefix of a volume root where its epochs may lie too, the
// longest first.
func Above(root string) []string {
	if root == "" {
		return nil
	}
	return prefixes(strings.TrimSuffix(root, "/"))
}

// holds tells whether there are epochs at a prefix. What may not be listed holds
// none for us.
func (a *Admin) holds(ctx context.Context, at string) (bool, error) {
	for _, err := range a.list.List(ctx, at+epochsDir) {
		if errors.Is(err, ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("list %s: %w", at+epochsDir, err)
		}
		return true, nil
	}
	return false, nil
}

// placeWalk looks through directories for .sigil/.
type placeWalk struct {
	admin *Admin
	until time.Time

	mu    sync.Mutex // guards what follows
	left  int        // requests that may be sent yet
	short bool       // they were not enough
	roots []string
	next  []string // the directories of the next level
}

// below looks into the directories of one level, and gives those of the next.
func (w *placeWalk) below(ctx context.Context, level []string) ([]string, error) {
	w.next = nil
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(adminAtOnce)
	for _, dir := range level {
		group.Go(func() error { return w.directory(ctx, dir) })
	}
	err := group.Wait()
	return w.next, err
}

func (w *placeWalk) directory(ctx context.Context, dir string) error {
	if !w.spend() {
		return nil
	}
	n := 0
	for name, err := range w.admin.list.List(ctx, dir) {
		switch {
		case errors.Is(err, ErrNotExist) && dir != w.admin.ring.root:
			w.mu.Lock()
			w.short = true
			w.mu.Unlock()
			return nil
		case err != nil:
			return fmt.Errorf("look for epochs below %s: %w", dir, err)
		}
		if n++; n%pageOfNames == 0 && !w.spend() {
			return nil
		}
		if strings.HasSuffix(name, "/") {
			w.found(name)
		}
	}
	return nil
}

// spend takes a request from those that are left.
func (w *placeWalk) spend() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 || w.admin.ring.now().After(w.until) {
		w.short = true
		return false
	}
	w.left--
	return true
}

// found notes a directory, or, for its .sigil/, the one that it lies in. No more
// are kept than can be looked into.
func (w *placeWalk) found(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch at, ok := strings.CutSuffix(name, ".sigil/"); {
	case ok && (at == "" || strings.HasSuffix(at, "/")):
		w.roots = append(w.roots, at)
	case len(w.next) >= w.left:
		w.short = true
	default:
		w.next = append(w.next, name)
	}
}
