package volume

import (
	"context"
	"slices"
	"sync"
)

// nameLocks serialises what moves, makes or removes paths. A hold is on one
// path, or on a path and all below it; an operation takes all that it needs at
// once, so that no two can wait for each other.
type nameLocks struct {
	mu      sync.Mutex
	held    []nameHold
	awaited []nameHold    // by those that wait
	freed   chan struct{} // closed when a hold ends; nil while nobody waits
}

type nameHold struct {
	path string
	tree bool // the path and all below it
}

func (h nameHold) conflicts(o nameHold) bool {
	return h.path == o.path || h.tree && below(o.path, h.path) || o.tree && below(h.path, o.path)
}

// lock waits until none of the holds is taken by another and takes them. The
// function it returns gives them back. ctx ends the wait.
func (l *nameLocks) lock(ctx context.Context, holds ...nameHold) (unlock func(), err error) {
	wait := l.try(holds)
	if wait != nil {
		defer l.await(holds)()
	}
	for ; wait != nil; wait = l.try(holds) {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() { l.unlock(holds) }, nil
}

// await says that somebody waits for holds, until it is called back.
func (l *nameLocks) await(holds []nameHold) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaited = append(l.awaited, holds...)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.awaited = without(l.awaited, holds)
	}
}

// spare takes a hold that nobody has or waits for, for somebody who can do
// without.
func (l *nameLocks) spare(h nameHold) (unlock func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.held, h.conflicts) || slices.ContainsFunc(l.awaited, h.conflicts) {
		return nil, false
	}
	l.held = append(l.held, h)
	return func() { l.unlock([]nameHold{h}) }, true
}

// try takes the holds, or gives what to wait for.
func (l *nameLocks) try(holds []nameHold) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range holds {
		if slices.ContainsFunc(l.held, h.conflicts) {
			if l.freed == nil {
				l.freed = make(chan struct{})
			}
			return l.freed
		}
	}
	l.held = append(l.held, holds...)
	return nil
}

func (l *nameLocks) unlock(holds []nameHold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = without(l.held, holds)
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}

// without takes each of holds from all once.
func without(all, holds []nameHold) []nameHold {
	for _, h := range holds {
		i := slices.Index(all, h)
		all = slices.Delete(all, i, i+1)
	}
	return all
}

// one holds a single path, tree a path and all below it.
func one(p string) nameHold  { return nameHold{path: p} }
func tree(p string) nameHold { return nameHold{path: p, tree: true} }
