package volume

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Who goes through a directory (find, tar, cp -r, rsync, grep -r, a backup)
// looks up one name after the other, and maybe reads each, and the kernel asks
// for one at a time. So once it is seen that somebody does, the rest of the
// directory is asked ahead of him, in the order of its listing whatever his is,
// by as many requests at a time as the mount allows itself (sweep).

// What makes a walk.
const (
	walkAsked  = 3               // lookups in a row that asked the store, in a directory that was listed
	walkSorted = 8               // or in any, each name after the last
	walkOpens  = 3               // opens of small files
	walkNames  = 8               // fewer names over and over are none
	tourLooks  = 6               // in several directories that were listed
	walkPause  = 2 * time.Second // longer between two lookups, and a row ends
	walkListed = 5 * time.Minute // that long a listing is taken for the reason of lookups
)

// smallFile is the longest body, in bytes as stored, that is fetched whole ahead
// of an open.
const smallFile = 128 << 10

// Bounds of what is asked ahead of its use.
const (
	parallelAhead = 16   // requests at a time, of all walks of the mount
	mostAhead     = 1024 // names of a walk
	firstAhead    = 64   // names that a walk is trusted with when it begins
	stepAhead     = 32   // and more with each lookup that follows
	maxWalks      = 64
)

// walks are those that are seen now. Safe for concurrent use; its mutex is a
// leaf.
type walks struct {
	v     *Volume
	slots chan struct{} // one for each request under way
	tasks sync.WaitGroup

	mu    sync.Mutex // guards what follows, walks and sweeps
	all   map[string]*walk
	clock uint64 // of uses
	bytes int64  // asked ahead and not used
	tour  tour
	opens visits
	end   bool // close has begun
}

// tour is who goes from one directory to the next: those that he comes to need
// not show first that he goes through them.
type tour struct {
	at    time.Time // of the last lookup in a directory that was listed
	looks int       // since there was a pause
	opens int       // of small files
}

// walk is what is known of who looks up names in one directory.
type walk struct {
	dir  string
	used uint64
	row  uint64 // names the opens that count

	shown  time.Time // when an application began to list it
	at     time.Time // of the last lookup
	name   string    // that it looked up
	recent ring      // looked up last
	reads  ring      // opened last
	mixed  bool      // not in their order
	asked  int       // of these, the store was asked for
	opens  int       // small files opened
	whole  bool      // small files are wanted whole
	swept  bool      // there was a sweep
	proved bool      // and its answers were used
	eager  bool      // it is one of many: a sweep begins with the first lookup

	sweep *sweep           // under way; nil for none
	ahead map[string]int64 // names asked ahead and not used yet, and the bytes held for them
}

// ring is the last few names of something.
type ring struct {
	names [walkNames]string
	next  int
}

// add puts a name into r, unless it is there.
func (r *ring) add(name string) bool {
	if slices.Contains(r.names[:], name) {
		return false
	}
	r.names[r.next] = name
	r.next = (r.next + 1) % walkNames
	return true
}

func newWalks(v *Volume) *walks {
	return &walks{v: v, slots: make(chan struct{}, parallelAhead), all: map[string]*walk{}, opens: newVisits()}
}

// on tells whether what is asked ahead would be believed at all.
func (k *walks) on() bool { return k.v.opt.AttrTimeout > 0 }

// shown notes that an application begins to list dir.
func (k *walks) shown(dir string) {
	if !k.on() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.walk(dir)
	w.shown = k.v.opt.Now()
	if w.sweep == nil {
		w.anew()
		w.eager = w.shown.Sub(k.tour.at) < walkPause && k.tour.looks >= tourLooks
		w.whole, w.row = w.eager && k.tour.opens >= walkOpens && 2*k.tour.opens >= k.tour.looks, k.clock
	}
}

// asking notes that p is about to be looked up, and the store asked for it.
func (k *walks) asking(ctx context.Context, p string) {
	if !k.on() || p == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.all[parent(p)]; w != nil && w.eager {
		w.eager = false
		w.name, w.mixed = base(p), true
		k.begin(ctx, w)
	}
}

// used notes that p was looked up, and the store was not asked.
func (k *walks) used(p string) {
	if !k.on() || p == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.all[parent(p)]
	if w == nil {
		return
	}
	if k.advance(w, base(p)) {
		w.proved = w.swept
	}
	if _, ok := w.ahead[base(p)]; ok {
		k.let(w, base(p))
	}
}

// asked notes that p was looked up, and the store asked for it.
func (k *walks) asked(ctx context.Context, p string) {
	if !k.on() || p == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.walk(parent(p))
	if !k.advance(w, base(p)) {
		return
	}
	w.asked++
	if w.sweep == nil && w.due(k.v.opt.Now()) {
		w.whole = w.whole || w.opens >= walkOpens-1
		k.begin(ctx, w)
	}
}

// due tells whether somebody is going through the directory.
func (w *walk) due(now time.Time) bool {
	return w.proved || w.asked >= walkSorted && !w.mixed ||
		w.asked >= walkAsked && !w.shown.IsZero() && now.Sub(w.shown) < walkListed
}

// opened notes that the file p, of so many bytes as stored, is being read.
func (k *walks) opened(ctx context.Context, p string, size int64) {
	if !k.on() || size > smallFile || isInodePath(p) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.all[parent(p)]
	if w == nil {
		return
	}
	k.opens.add(visit{w.row, base(p)})
	if w.reads.add(base(p)) {
		w.opens++
		k.tour.opens++
	}
	if w.whole || w.opens < walkOpens || w.shown.IsZero() && !w.swept {
		return
	}
	w.whole = true
	w.sweep.stop()
	k.begin(ctx, w)
}

// wants tells whether the small files of dir are wanted whole.
func (k *walks) wants(dir string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.all[dir]
	return w != nil && w.whole
}

// walk finds or makes the record of a directory. It needs k.mu.
func (k *walks) walk(dir string) *walk {
	w := k.all[dir]
	k.clock++
	if w == nil {
		w = &walk{dir: dir, row: k.clock, ahead: map[string]int64{}}
		k.all[dir] = w
	}
	w.used = k.clock
	for len(k.all) > maxWalks {
		k.drop(k.oldest())
	}
	return w
}

// oldest needs k.mu.
func (k *walks) oldest() (w *walk) {
	for _, other := range k.all {
		if w == nil || other.used < w.used {
			w = other
		}
	}
	return w
}

// drop needs k.mu.
func (k *walks) drop(w *walk) {
	w.sweep.stop()
	k.release(w)
	delete(k.all, w.dir)
}

// advance notes the lookup of a name, by which more may be asked ahead. False: it
// is one of the last few, as of somebody who waits for a change. It needs k.mu.
func (k *walks) advance(w *walk, name string) bool {
	now := k.v.opt.Now()
	if now.Sub(w.at) > walkPause {
		w.anew()
	}
	w.at = now
	if !w.recent.add(name) {
		return false
	}
	w.mixed = w.mixed || name < w.name
	w.name = name
	k.toured(w, now)
	if s := w.sweep; s != nil {
		s.credit = min(s.credit+stepAhead, mostAhead)
		s.stir()
	}
	return true
}

// toured notes a lookup that counts. It needs k.mu.
func (k *walks) toured(w *walk, now time.Time) {
	if w.shown.IsZero() {
		return
	}
	if now.Sub(k.tour.at) > walkPause {
		k.tour = tour{}
	}
	k.tour.at = now
	k.tour.looks++
}

// anew begins a row. It needs walks.mu.
func (w *walk) anew() {
	w.recent, w.reads = ring{}, ring{}
	w.name, w.mixed, w.asked, w.opens, w.swept, w.proved = "", false, 0, 0, false, false
}

// let ends the use of a name that was asked ahead. It needs k.mu.
func (k *walks) let(w *walk, name string) {
	n := w.ahead[name]
	delete(w.ahead, name)
	if k.bytes -= n; n == 0 {
		return
	}
	for _, other := range k.all { // which may wait for the room
		if other.sweep != nil {
			other.sweep.stir()
		}
	}
}

// release ends the use of all names that were asked ahead. It needs k.mu.
func (k *walks) release(w *walk) {
	for name := range w.ahead {
		k.let(w, name)
	}
}

// begin starts a sweep of the directory from the name looked up last. It needs
// k.mu.
func (k *walks) begin(ctx context.Context, w *walk) {
	if k.end {
		return
	}
	w.asked, w.swept, w.proved = 0, true, false
	// Nobody waits for it but who walks on.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &sweep{k: k, w: w, from: w.name, whole: w.whole, around: w.mixed, credit: firstAhead, cancel: cancel, wake: make(chan struct{}, 1)}
	w.sweep = s
	k.tasks.Go(func() {
		defer cancel()
		ctx, end := k.v.work.begin(ctx)
		defer end()
		s.run(ctx)
	})
}

// done notes the end of a sweep.
func (k *walks) done(s *sweep, idle bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.w.sweep != s {
		return
	}
	if s.w.sweep = nil; idle {
		k.release(s.w)
	}
}

// admit waits until one more name may be asked ahead, for which so many bytes
// are held. False: it is there already, or s has ended, which idle says.
func (k *walks) admit(ctx context.Context, s *sweep, name string, bytes int64) (ok, idle bool) {
	for {
		ok, wait := k.tryAdmit(s, name, bytes)
		if ok || !wait {
			return ok, false
		}
		t := time.NewTimer(walkPause)
		select {
		case <-s.wake:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return false, true
		case <-t.C:
			return false, true
		}
	}
}

func (k *walks) tryAdmit(s *sweep, name string, bytes int64) (ok, wait bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := s.w
	if _, there := w.ahead[name]; there || w.sweep != s {
		return false, false
	}
	if k.full(bytes) {
		k.expire()
	}
	if s.credit <= 0 || len(w.ahead) >= mostAhead || k.full(bytes) {
		return false, true
	}
	s.credit--
	w.ahead[name] = bytes
	k.bytes += bytes
	return true, false
}

// full tells whether there is no room for so many bytes. It needs k.mu.
func (k *walks) full(bytes int64) bool {
	return k.bytes > 0 && k.bytes+bytes > k.v.opt.AheadBytes
}

// expire takes the room of walks that go on no more. It needs k.mu.
func (k *walks) expire() {
	for _, w := range k.all {
		if w.sweep == nil && k.v.opt.Now().Sub(w.at) > walkPause {
			k.release(w)
		}
	}
}

// close ends all sweeps and waits for them.
func (k *walks) close() {
	k.mu.Lock()
	k.end = true
	for _, w := range k.all {
		w.sweep.stop()
	}
	k.mu.Unlock()
	k.tasks.Wait()
}
