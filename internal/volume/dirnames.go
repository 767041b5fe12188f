package volume

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// dirNames remembers which names directories have: by listings, and by what
// this host made since. As long as a listing is fresh, a name that it lacks is
// not there: the temporary and final names of new files cost no request. Of
// what is there it keeps what the listing said, by which what was known of it
// before can be believed anew (witness.go).
//
// Who creates files looks up one absent name after the other. So a directory is
// listed anew, at most once in a freshness, when lookups since the last listing
// missed often enough to make its pages worth it, and not for a single look.
//
// It is bounded in directories, names and bytes, those of listings under way
// among them; the directory used longest ago goes. Safe for concurrent use; its
// mutex is a leaf.
type dirNames struct {
	now   func() time.Time
	fresh time.Duration // how long a listing is believed; not positive: never
	most  int           // names of a directory that is listed
	room  int           // bytes of all names

	mu    sync.Mutex // guards what follows
	dirs  map[string]*dirRecord
	clock uint64 // of uses
	bytes int
}

// Bounds of what is remembered.
const (
	maxDirRecords = 64
	maxDirNames   = 10 * listPage // longer directories are not listed for a lookup
	nameOverhead  = 192           // bytes of a name beside its letters, about
)

// listPage is how many entries one LIST request brings.
const listPage = 1000

// longPause is for how long a directory that was too long to be listed is taken
// to be so still.
const longPause = time.Minute

// nameKind says as what a name is known in its directory.
type nameKind uint8

const (
	asFile nameKind = 1 << iota
	asDir
)

// dirRecord is what is known of one directory.
type dirRecord struct {
	dir   string
	names map[string]listed // nil: not listed
	at    time.Time         // when that listing began
	pages int               // of it
	bytes int
	used  uint64

	misses int       // absent names looked up since then
	missed time.Time // the last one
	absent bool      // the last name looked up was not there
	long   time.Time // until then it is not listed: too long, or too slow

	runs   int                 // listings under way
	shows  *dirListing         // the one of them that an application reads, if it is the only one
	own    map[string]nameKind // what this host made while they were
	relist chan struct{}       // closed when the one that lookups wait for ends
}

// newDirNames remembers names of so many bytes together at the most.
func newDirNames(now func() time.Time, fresh time.Duration, room int) *dirNames {
	return &dirNames{now: now, fresh: fresh, most: maxDirNames, room: room, dirs: map[string]*dirRecord{}}
}

// nameCost is what a name takes, in bytes.
func nameCost(name string) int { return len(name) + nameOverhead }

// base is the last component of p.
func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// find tells as what the name p is in its directory, as of kind 0 for not at
// all, and when it was listed so; not known where no listing is fresh. One that
// is being read tells of the names that it has passed.
func (n *dirNames) find(p string) (l listed, at time.Time, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.listed(parent(p)); r != nil {
		return r.names[base(p)], r.at, true
	}
	r := n.dirs[parent(p)]
	if r == nil || r.shows == nil || r.shows.names == nil || n.now().Sub(r.shows.at) >= n.fresh {
		return listed{}, time.Time{}, false
	}
	l, known = r.shows.names[base(p)]
	if l.kind == asFile && base(p)+"/" > r.shows.last {
		return listed{}, time.Time{}, false // a directory of that name may yet come
	}
	return l, r.shows.at, known
}

// whole gives all lines of a directory that is freshly listed, by cookie; false
// where it is not.
func (n *dirNames) whole(dir string) (lines []line, at time.Time, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.listed(dir)
	if r == nil {
		return nil, time.Time{}, false
	}
	lines = make([]line, 0, len(r.names))
	for name, l := range r.names {
		lines = append(lines, line{name: name, listed: l})
	}
	slices.SortFunc(lines, byCookie)
	return lines, r.at, true
}

// size is that of the file p as its directory was listed last, however long ago.
func (n *dirNames) size(p string) (bytes int64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.dirs[parent(p)]
	if r == nil {
		return 0, false
	}
	l, ok := r.names[base(p)]
	if !ok && r.shows != nil {
		l, ok = r.shows.names[base(p)]
	}
	return l.fact.size, ok && l.fact.etag != ""
}

// listed gives the record of a directory with a fresh listing. It needs n.mu.
func (n *dirNames) listed(dir string) *dirRecord {
	r := n.dirs[dir]
	if r == nil || r.names == nil || n.now().Sub(r.at) >= n.fresh {
		return nil
	}
	n.use(r)
	return r
}

// since tells since when p is known to be absent by a fresh listing.
func (n *dirNames) since(p string) (at time.Time, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.listed(parent(p))
	if r == nil || r.names[base(p)].kind != 0 {
		return time.Time{}, false
	}
	return r.at, true
}

// met notes how a lookup of p ended.
func (n *dirNames) met(p string, absent bool) {
	if n.fresh <= 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.dirs[parent(p)]
	switch {
	case r == nil && !absent:
		return
	case r == nil:
		r = n.record(parent(p))
	}
	r.absent = absent
	if absent {
		if n.now().Sub(r.missed) >= 2*n.fresh {
			r.misses = 0 // nobody creates in a row here
		}
		r.misses, r.missed = r.misses+1, n.now()
	}
}

// record makes the record of a directory. It needs n.mu.
func (n *dirNames) record(dir string) *dirRecord {
	r := &dirRecord{dir: dir}
	n.dirs[dir] = r
	n.use(r)
	n.shrink(r)
	return r
}

// use needs n.mu.
func (n *dirNames) use(r *dirRecord) {
	n.clock++
	r.used = n.clock
}

// shrink lets go of what was used longest ago, but keep. It needs n.mu.
func (n *dirNames) shrink(keep *dirRecord) {
	for len(n.dirs) > maxDirRecords || n.bytes > n.room && len(n.dirs) > 1 {
		var oldest *dirRecord
		for _, r := range n.dirs {
			if r != keep && (oldest == nil || r.used < oldest.used) {
				oldest = r
			}
		}
		n.remove(oldest)
	}
}

// remove needs n.mu. A listing that is under way is in vain.
func (n *dirNames) remove(r *dirRecord) {
	n.bytes -= r.bytes
	delete(n.dirs, r.dir)
}

// set puts a name into a record. It needs n.mu.
func (n *dirNames) set(r *dirRecord, name string, l listed) {
	had, ok := r.names[name]
	if !ok {
		r.bytes += nameCost(name)
		n.bytes += nameCost(name)
	}
	r.names[name] = had.and(l)
}

// unset takes kind from a name. It needs n.mu.
func (n *dirNames) unset(r *dirRecord, name string, kind nameKind) {
	had, ok := r.names[name]
	if !ok {
		return
	}
	had.kind &^= kind
	if r.names[name] = had; had.kind == 0 {
		delete(r.names, name)
		r.bytes -= nameCost(name)
		n.bytes -= nameCost(name)
	}
}

// add notes that p is there: this host made it, or the store said so.
func (n *dirNames) add(p string, kind nameKind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.dirs[parent(p)]
	if r == nil {
		return
	}
	if r.runs > 0 {
		if r.own == nil {
			r.own = map[string]nameKind{}
		}
		r.own[base(p)] |= kind
	}
	if r.names == nil {
		return
	}
	n.set(r, base(p), listed{kind: kind})
	n.limit(r)
}

// limit needs n.mu.
func (n *dirNames) limit(r *dirRecord) {
	if len(r.names) > n.most {
		n.tooLong(r)
	}
	if n.shrink(r); n.bytes > n.room {
		n.tooLong(r)
	}
}

// tooLong needs n.mu.
func (n *dirNames) tooLong(r *dirRecord) {
	n.bytes -= r.bytes
	r.names, r.bytes, r.long = nil, 0, n.now().Add(longPause)
}

// drop notes that p is not there any more as kind; as a directory it has no
// names either.
func (n *dirNames) drop(p string, kind nameKind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.dirs[parent(p)]; r != nil {
		n.unset(r, base(p), kind)
		if left := r.own[base(p)] &^ kind; left != 0 {
			r.own[base(p)] = left
		} else {
			delete(r.own, base(p))
		}
	}
	if kind&asDir != 0 {
		n.forget(p)
	}
}

// doubt has a listing believed no more: p is not as it says, or may not be.
func (n *dirNames) doubt(p string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.dirs[parent(p)]; r != nil {
		n.bytes -= r.bytes
		r.names, r.bytes, r.at = nil, 0, n.now()
	}
}

// moved notes that the directory at from is at to now.
func (n *dirNames) moved(from, to string) {
	n.drop(from, asDir)
	n.drop(to, asDir)
	n.add(to, asDir)
}

// torn notes that a move of the directory at from to to failed half way.
func (n *dirNames) torn(from, to string) {
	n.doubt(from)
	n.doubt(to)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(from)
	n.forget(to)
}

// forget lets go of the names in dir and below. It needs n.mu.
func (n *dirNames) forget(dir string) {
	for p, r := range n.dirs {
		if p == dir || below(p, dir) {
			n.remove(r)
		}
	}
}

// seed notes that dir, just made here, had no names at the time given.
func (n *dirNames) seed(dir string, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dirs[dir] != nil {
		return
	}
	r := n.record(dir)
	r.names, r.at, r.pages, r.misses, r.missed = map[string]listed{}, at, 1, 1, n.now()
}

// plan says how a lookup in a directory without a fresh listing goes on.
type plan struct {
	list   *dirListing     // make a listing
	wait   <-chan struct{} // for one that is being made
	glance bool            // too long: look for the name alone, which hardly is there
}

func (n *dirNames) plan(dir string) plan {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.dirs[dir]
	switch now := n.now(); {
	case n.fresh <= 0 || r == nil:
		return plan{}
	case r.relist != nil:
		return plan{wait: r.relist}
	case now.Before(r.long):
		return plan{glance: r.absent}
	case 2*r.misses < max(1, r.pages) || now.Sub(r.missed) >= 2*n.fresh: // a lookup without it is two requests
		return plan{}
	}
	r.relist = make(chan struct{})
	l := n.begin(r)
	l.waited = true
	return plan{list: l}
}

// dirListing is one that is under way; end must be called. A nil one does nothing.
type dirListing struct {
	n      *dirNames
	r      *dirRecord
	at     time.Time
	waited bool // lookups wait for it

	// Guarded by n.mu.
	names map[string]listed // nil: there are too many
	bytes int
	last  string // cookie of the entry given last
	count int
}

// start remembers a listing, begun at that time, that somebody else wants; nil
// where none is believed.
func (n *dirNames) start(dir string, at time.Time) *dirListing {
	if n.fresh <= 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.dirs[dir]
	if r == nil {
		r = n.record(dir)
	}
	l := n.begin(r)
	l.at = at
	if r.shows == nil {
		r.shows = l
	}
	return l
}

// begin needs n.mu.
func (n *dirNames) begin(r *dirRecord) *dirListing {
	r.runs++
	n.use(r)
	return &dirListing{n: n, r: r, at: n.now(), names: map[string]listed{}}
}

// give adds a line, which stands at a cookie. False: there are too many, and no
// more are wanted.
func (l *dirListing) give(e line, cookie string) bool {
	if l == nil {
		return true
	}
	n := l.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.count++; l.count > n.most {
		l.leave()
	}
	if l.names == nil {
		return false
	}
	e.name = strings.Clone(e.name) // out of a key, which is longer
	l.note(e)
	l.last = cookie
	if n.shrink(l.r); n.bytes > n.room {
		l.leave()
		return false
	}
	if r := l.r; !l.waited && n.dirs[r.dir] == r && r.names != nil {
		n.set(r, e.name, e.listed) // an application is about to be shown it
		n.limit(r)
	}
	return true
}

// note needs n.mu.
func (l *dirListing) note(e line) {
	had, ok := l.names[e.name]
	if !ok {
		l.bytes += nameCost(e.name)
		l.n.bytes += nameCost(e.name)
	}
	l.names[e.name] = had.and(e.listed)
}

// leave forgets the names. It needs n.mu.
func (l *dirListing) leave() {
	l.n.bytes -= l.bytes
	l.names, l.bytes = nil, 0
}

// end takes the listing over, if it is whole.
func (l *dirListing) end(whole bool) {
	if l == nil {
		return
	}
	n, r := l.n, l.r
	n.mu.Lock()
	defer n.mu.Unlock()
	own, names := r.own, l.names
	l.leave()
	if r.runs--; r.runs == 0 {
		r.own = nil
	}
	if r.shows == l {
		r.shows = nil
	}
	if l.waited {
		close(r.relist)
		r.relist, r.misses = nil, 0
	}
	switch {
	case n.dirs[r.dir] != r:
	case names == nil, whole && l.waited && n.now().Sub(l.at) >= n.fresh:
		n.tooLong(r)
	case whole && !l.at.Before(r.at):
		n.replace(r, l, names, own)
	}
}

// replace needs n.mu.
func (n *dirNames) replace(r *dirRecord, l *dirListing, names map[string]listed, own map[string]nameKind) {
	n.bytes -= r.bytes
	r.names, r.bytes, r.at, r.pages = map[string]listed{}, 0, l.at, l.count/listPage+1
	for name, e := range names {
		n.set(r, name, e)
	}
	for name, kind := range own {
		n.set(r, name, listed{kind: kind})
	}
	n.limit(r)
}
