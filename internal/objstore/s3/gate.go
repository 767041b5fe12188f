package s3

import (
	"context"
	"sync"
)

// gate bounds the requests that run at once. The bound halves when the server
// asks to slow down and grows by one for each round of answers (additive
// increase, multiplicative decrease, as in RFC 5681), so that a storm of 503
// is not met by a storm of retries.
type gate struct {
	most float64

	mu      sync.Mutex // guards all below
	bound   float64
	active  int
	waiting []chan struct{} // first come, first served; closed to let in
}

func newGate(most int) *gate { return &gate{most: float64(most), bound: float64(most)} }

// enter waits for its turn. Every enter that gave nil is followed by one leave.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	g.mu.Lock()
	if len(g.waiting) == 0 && g.active < int(g.bound) {
		g.active++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		g.quit(turn)
		return context.Cause(ctx)
	}
}

// quit takes turn out of the queue, or gives back what it was just given.
func (g *gate) quit(turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == turn {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			return
		}
	}
	g.active--
	g.admit()
}

// leave ends a request that was answered well, or with a plea to slow down, or
// neither.
func (g *gate) leave(well, slowDown bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active--
	switch {
	case slowDown:
		g.bound = max(g.bound/2, 2)
	case well:
		g.bound = min(g.bound+1/g.bound, g.most)
	}
	g.admit()
}

// admit lets in who may. g.mu is held.
func (g *gate) admit() {
	for len(g.waiting) > 0 && g.active < int(g.bound) {
		g.active++
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
	}
}
