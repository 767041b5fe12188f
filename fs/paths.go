package fs

import "sync"

// paths keeps requests by path and renames apart: while a request that names a
// file by its path runs, no rename moves that path away, and none that runs is
// overtaken by a request below what it moves. Requests go first come, first
// served where they are in each other's way, and side by side where not.
type paths struct {
	mu    sync.Mutex // guards what follows
	users map[*hold]struct{}
	moves map[*hold]struct{}
	last  uint64 // ticket
}

// hold is one request's claim: of its paths, or, for a move, of all that is at
// and below them.
type hold struct {
	ticket uint64
	paths  []string
	move   bool
	done   chan struct{} // closed when it ends
}

func newPaths() *paths {
	return &paths{users: map[*hold]struct{}{}, moves: map[*hold]struct{}{}}
}

// use waits until no move that came before touches any of p.
func (ps *paths) use(p ...string) *hold { return ps.enter(&hold{paths: p}) }

// move waits until nothing that came before is at or below any of p.
func (ps *paths) move(p ...string) *hold { return ps.enter(&hold{paths: p, move: true}) }

func (ps *paths) enter(h *hold) *hold {
	h.done = make(chan struct{})
	ps.mu.Lock()
	ps.last++
	h.ticket = ps.last
	ps.set(h)[h] = struct{}{}
	ps.mu.Unlock()
	for {
		before := ps.before(h)
		if before == nil {
			return h
		}
		<-before.done
	}
}

// leave ends a claim.
func (ps *paths) leave(h *hold) {
	ps.mu.Lock()
	delete(ps.set(h), h)
	ps.mu.Unlock()
	close(h.done)
}

func (ps *paths) set(h *hold) map[*hold]struct{} {
	if h.move {
		return ps.moves
	}
	return ps.users
}

// before gives a claim that h has to wait for: an earlier one, of which one is
// a move.
func (ps *paths) before(h *hold) *hold {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for m := range ps.moves {
		if m.ticket < h.ticket && (m.covers(h) || h.move && h.covers(m)) {
			return m
		}
	}
	if !h.move {
		return nil
	}
	for u := range ps.users {
		if u.ticket < h.ticket && h.covers(u) {
			return u
		}
	}
	return nil
}

// covers tells whether a path of o is at or below one of h.
func (h *hold) covers(o *hold) bool {
	for _, dir := range h.paths {
		for _, p := range o.paths {
			if p == dir || within(p, dir) {
				return true
			}
		}
	}
	return false
}

// within tells whether p is below dir, at any depth.
func within(p, dir string) bool {
	if dir == "" {
		return p != ""
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}
