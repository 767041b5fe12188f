package volume

import "sync"

// room is for those who wait for the spool to have some: work that may free
// some begins and ends here.
type room struct {
	mu      sync.Mutex // guards what follows
	busy    int
	changed chan struct{} // closed when a work ends; nil until somebody waits
}

// begin says that a work goes on which may free room.
func (r *room) begin() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.busy--
		if r.changed != nil {
			close(r.changed)
			r.changed = nil
		}
	}
}

// watch gives a channel that is closed when the next work ends.
func (r *room) watch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// idle: nothing is under way.
func (r *room) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.busy == 0
}
