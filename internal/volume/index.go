package volume

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume/attrindex"
)

// The attribute index. Who lists a directory and looks at each entry pays a
// request for each that this host has not met. So what stat(2) shows of sealed
// objects is kept, by directory, in one sealed object under .sigil/index/ of the
// volume root, for the next mount and for other hosts. An entry is believed as
// long as a listing shows the ETag, size and LastModified of the object that it
// was read from (attrindex.Entry.Of), and for what stat(2) asks: whoever opens,
// changes or moves a file asks for the object.
//
// It is a memory and no more. It is written when a directory has been quiet for
// a while and at the end of the mount (indexwrite.go), read when entries are
// looked at (indexread.go), and what is missing, foreign or damaged is nothing
// known. It is kept where the root of the volume has keys to seal with, of
// objects under the very rule of these: a listing that other keys' holders may
// read tells them nothing of the attributes.

const (
	// entryOverhead is what an entry takes beside its name, about.
	entryOverhead = 320
	// noteCost is what it takes that one is believed just now, that somebody was
	// told of one, or that no listing from before affirms one; about.
	noteCost = 128
	// indexAge is for how long an index is not asked for again.
	indexAge = time.Minute
)

// attrIndex remembers entries by directory: those of the index that was read,
// and what this host has learned since. The directory that was used longest ago
// goes. A nil one knows nothing. Safe for concurrent use; its mutex is a leaf.
type attrIndex struct {
	now   func() time.Time
	fresh time.Duration // how long a listing is believed
	room  indexRoom
	said  atomic.Bool // that some cannot be read

	mu      sync.Mutex // guards what follows, and the records
	dirs    map[string]*indexRecord
	clock   uint64 // of uses
	bytes   int
	walking time.Time // when somebody was last looking at one entry after the other
	forgot  time.Time // when something was forgotten that a fresh listing may lack
	off     bool      // this host may read none, or write none

	due map[*indexRecord]struct{} // to be written some time

	// How many there are in all records, at the most.
	affirmations, tolds, doubts int
}

// indexRoom bounds an index in memory: entries in bytes, the rest in numbers.
type indexRoom struct {
	entries                 int
	affirmed, told, doubted int
}

// indexRoomOf shares so many bytes out.
func indexRoomOf(bytes int) indexRoom {
	return indexRoom{entries: bytes / 4 * 3, affirmed: bytes / 16 / noteCost, told: bytes / 8 / noteCost, doubted: bytes / 64 / noteCost}
}

// indexRecord is what is known of the entries of one directory.
type indexRecord struct {
	dir   string
	bytes int
	used  uint64

	table   *attrindex.Table // as it is in the bucket; nil: nothing is
	etag    string           // of that
	asked   time.Time        // when; zero is never
	loading chan struct{}    // closed when the asking that is under way ends
	foreign bool             // it is for other hosts: their keys, or more memory

	// learned stands before the table: by name, directories with a slash. What
	// this host has written has Read 0, and the latest that its LastModified can
	// be, until a listing tells what that is.
	learned map[string]attrindex.Entry
	changes int       // of it since an index was last written, or tried
	changed time.Time // the last one
	wrote   time.Time // when this host last wrote one of the objects
	wait    retry     // of writing

	walk     walkedIndex
	affirmed map[string]time.Time  // by name: when a listing that shows it as it is known began
	doubted  map[string]time.Time  // by base: no earlier listing affirms it
	told     map[string]incarnated // what somebody was told of, by name
}

// walkedIndex is what is known of who looks at one entry after the other.
type walkedIndex struct {
	name     string // the last
	before   string // the one before
	tree     string // behind which the tree was listed
	treed    time.Time
	vain     int // trees that were listed for nothing
	at       time.Time
	row      int           // of them
	expected bool          // it began in the middle of a walk through directories
	listing  chan struct{} // closed when the listing ahead that is under way ends
}

// incarnated is a body under the incarnation that was told for it.
type incarnated struct {
	file        uint64
	body        [16]byte
	incarnation uint64
}

// newAttrIndex remembers what takes so many bytes at the most.
func newAttrIndex(now func() time.Time, fresh time.Duration, bytes int) *attrIndex {
	return &attrIndex{now: now, fresh: fresh, room: indexRoomOf(bytes), dirs: map[string]*indexRecord{}, due: map[*indexRecord]struct{}{}}
}

// indexName is the name of p in the index of its directory.
func indexName(p string, dir bool) string {
	if dir {
		return base(p) + "/"
	}
	return base(p)
}

// indexEntry is what an index says of o, which is at p.
func (v *Volume) indexEntry(p string, o *object) (e attrindex.Entry, ok bool) {
	f, sealed := o.form.(*sealedForm)
	if !sealed || o.err != nil || o.isName() || p == "" || isInodePath(p) || v.ruleOf(o) != v.policy.internal {
		return e, false
	}
	a, seal := o.attr, f.header.Digest()
	e = attrindex.Entry{
		Name: indexName(p, o.isDir()), ETag: o.id.ETag, Size: o.length,
		Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Ctime: a.Ctime, Length: a.Size, FileID: a.FileID,
		Body: f.rec.Generation, Epoch: f.header.Epoch, Version: f.rec.Version,
	}
	copy(e.Seal[:], seal[:])
	switch {
	case !o.answered.IsZero():
		e.Modified, e.Read = o.seen.Unix(), o.answered.Unix()
	case !o.wrote.IsZero():
		e.Modified = o.wrote.Unix()
	}
	return e, e.Check() == nil
}

// learn notes what the store, or this host, has made of p. Worth: so much is
// new by now that an index should be written. It needs v.mu.
func (v *Volume) learn(p string, d *dentry) (worth bool) {
	if v.index == nil {
		return false
	}
	if d.obj == nil || d.link != nil {
		v.index.doubt(p)
		return false
	}
	e, ok := v.indexEntry(p, d.obj)
	if !ok {
		v.index.doubt(p)
		return false
	}
	return v.index.learn(parent(p), e)
}

// doubt believes nothing of p by any listing that began before now: this host
// has removed it, or made something of it that no index tells.
func (x *attrIndex) doubt(p string) {
	if x == nil || isInodePath(p) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	r, now := x.record(parent(p)), x.now()
	delete(r.affirmed, indexName(p, true))
	delete(r.affirmed, indexName(p, false))
	if x.doubts++; x.doubts > x.room.doubted {
		for _, other := range x.dirs {
			other.doubted = nil
		}
		x.doubts, x.forgot = 1, now
	}
	if r.doubted == nil {
		r.doubted = map[string]time.Time{}
	}
	r.doubted[strings.Clone(base(p))], r.wrote = now, now
}

func (x *attrIndex) learn(dir string, e attrindex.Entry) (worth bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.record(dir)
	if e.Read == 0 {
		r.wrote = x.now()
	}
	old, known := r.find(e.Name)
	if known && same(old, e) {
		return false
	}
	cost := entryOverhead + len(e.Name)
	if _, replaces := r.learned[e.Name]; replaces {
		cost = 0
	}
	if cost > 0 && r.bytes+cost > x.room.entries {
		x.lose(r)
		delete(r.affirmed, e.Name)
		return false
	}
	if r.learned == nil {
		r.learned = map[string]attrindex.Entry{}
	}
	was := r.worth()
	e.Name = strings.Clone(e.Name) // out of a path, which is longer
	r.learned[e.Name] = e
	delete(r.affirmed, e.Name)
	r.changes, r.changed = r.changes+1, x.now()
	x.grow(r, cost)
	if was || !r.worth() {
		return false
	}
	x.due[r] = struct{}{}
	return true
}

// same tells whether b says nothing that a does not say as well.
func same(a, b attrindex.Entry) bool {
	switch {
	case !b.Settled():
		b.Read, b.Modified = a.Read, a.Modified // an own write, or one read too soon, says no more
	case a.Settled():
		b.Read = a.Read
	}
	return a == b
}

// worth tells whether a later walk would gain more by a new index than that
// costs: a listing and a PUT.
func (r *indexRecord) worth() bool { return !r.foreign && r.changes >= 2+r.table.Len()/100 }

// find gives what is known of a name.
func (r *indexRecord) find(name string) (attrindex.Entry, bool) {
	if e, ok := r.learned[name]; ok {
		return e, true
	}
	return r.table.Find(name)
}

// record gives the record of a directory. It needs x.mu.
func (x *attrIndex) record(dir string) *indexRecord {
	r := x.dirs[dir]
	if r == nil {
		r = &indexRecord{dir: dir}
		x.dirs[dir] = r
		x.grow(r, entryOverhead+len(dir))
	}
	x.clock++
	r.used = x.clock
	return r
}

// grow needs x.mu. What was used longest ago makes way for r: an eighth of all,
// lest each newcomer look for it.
func (x *attrIndex) grow(r *indexRecord, n int) {
	r.bytes += n
	x.bytes += n
	if x.bytes <= x.room.entries {
		return
	}
	all := slices.SortedFunc(maps.Values(x.dirs), (*indexRecord).order)
	for _, other := range all {
		if x.bytes <= x.room.entries/8*7 {
			return
		}
		if other != r {
			x.remove(other)
		}
	}
}

// order is that in which records go: what is not written yet stays longer.
func (r *indexRecord) order(other *indexRecord) int {
	if r.worth() != other.worth() {
		if other.worth() {
			return -1
		}
		return 1
	}
	return cmp.Compare(r.used, other.used)
}

// remove needs x.mu.
func (x *attrIndex) remove(r *indexRecord) {
	x.lose(r)
	x.bytes -= r.bytes
	delete(x.dirs, r.dir)
	delete(x.due, r)
}

// lose notes that something of r is forgotten. A listing that began before this
// host's last write to r shows what was there before, and no entry says any more
// that it is so no longer.
func (x *attrIndex) lose(r *indexRecord) {
	if now := x.now(); now.Sub(r.wrote) < x.fresh {
		x.forgot = now
	}
}

// forget drops what is known of directory dir and all below.
func (x *attrIndex) forget(dir string) (stored []string) {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgot = x.now()
	for p, r := range x.dirs {
		if p != dir && !below(p, dir) {
			continue
		}
		if r.etag != "" {
			stored = append(stored, p)
		}
		x.remove(r)
	}
	return stored
}

// clear drops everything.
func (x *attrIndex) clear() {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgot = x.now()
	for _, r := range x.dirs {
		x.remove(r)
	}
}

// unindex drops the indexes of dir and below, which is there no more: as many as
// this host knows. Others are garbage: nothing that comes to be there later is
// taken for what they speak of.
func (v *Volume) unindex(dir string) {
	stored := v.index.forget(dir)
	for _, p := range stored {
		v.condemn(v.indexKey(p))
	}
	if len(stored) > 0 {
		v.wakeUp()
	}
}

// incarnationTold is that under which somebody was told of the body of o at p;
// 0 if nobody was.
func (x *attrIndex) incarnationTold(p string, o *object) uint64 {
	f, ok := o.form.(*sealedForm)
	if x == nil || !ok {
		return 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.dirs[parent(p)]
	if r == nil {
		return 0
	}
	if t := r.told[base(p)]; t.file == o.attr.FileID && t.body == f.rec.Generation {
		return t.incarnation
	}
	return 0
}

// tell notes the incarnation under which somebody is told of e, which is in dir:
// the one from before where it is of the same body, else what next gives.
func (x *attrIndex) tell(dir string, e attrindex.Entry, next func() uint64) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.record(dir)
	t := r.told[e.Name]
	if t.incarnation != 0 && t.file == e.FileID && t.body == e.Body {
		return t.incarnation
	}
	if x.tolds++; x.tolds > x.room.told {
		for _, other := range x.dirs {
			other.told = nil
		}
		x.tolds = 1
	}
	if r.told == nil {
		r.told = map[string]incarnated{}
	}
	t = incarnated{e.FileID, e.Body, next()}
	r.told[e.Name] = t
	return t.incarnation
}
