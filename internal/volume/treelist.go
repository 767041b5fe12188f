package volume

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"golang.org/x/sync/errgroup"
)

// Who walks a tree (find, du, rsync, a backup) lists one directory after the
// other. So once two in the same one were listed, those behind them are listed
// ahead without a delimiter: a page of that is many small directories. Each is
// given to one who lists it, while it would be believed.

// Bounds of what is listed ahead.
const (
	treeRows    = 2            // directories in one that are listed, before the others are
	treeEntries = 2 * listPage // of a tree, that nobody has listed yet
	maxTrees    = 16
	maxRemoved  = listPage // directories that this host removed lately
)

// lastName sorts behind what a directory holds. What does not is passed over.
const lastName = "\U0010FFFF"

// trees are those that are listed ahead. Safe for concurrent use; its mutex is
// a leaf.
type trees struct {
	v     *Volume
	tasks sync.WaitGroup

	loads works // of indexes

	mu      sync.Mutex // guards what follows, and trees
	rows    map[string]*row
	all     []*treeList
	removed map[string]time.Time // directories that this host has removed
	moved   time.Time            // until then it may have removed any
	end     bool                 // close has begun
}

// row is how many directories in one were listed without a pause.
type row struct {
	last string // of them
	n    int
	at   time.Time
	off  bool // it does not pay
}

// treeList is one listing without a delimiter.
type treeList struct {
	k      *trees
	prefix string // the directory in which all is
	start  string // the one in it behind which it begins
	cancel context.CancelFunc
	wake   chan struct{} // something was taken

	// Guarded by trees.mu.
	ready   map[string]*treeDir // by key prefix
	held    int                 // entries in ready
	pos     string              // all keys up to here are listed
	next    chan struct{}       // closed when the page under way is there; nil: none is
	changed map[string]bool     // directories that this host has changed since
}

// treeDir is the listing of one directory, as a LIST with delimiter gives it.
type treeDir struct {
	prefix  string
	entries []objstore.Entry
	at      time.Time // when the listing of its first key began
	long    bool      // it is not kept
}

func newTrees(v *Volume) *trees {
	return &trees{v: v, rows: map[string]*row{}, removed: map[string]time.Time{}}
}

// take gives the listing of dir, if it was made ahead; nobody else gets it.
func (k *trees) take(ctx context.Context, dir string) (*treeDir, bool) {
	return k.get(ctx, dir, true)
}

// get is take, or a look at what may yet be taken.
func (k *trees) get(ctx context.Context, dir string, take bool) (*treeDir, bool) {
	prefix := k.v.dirKey(dir)
	for {
		d, wait := k.tryGet(prefix, take)
		if wait == nil {
			return d, d != nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// tryGet gives what to wait for where a page is under way that may bring it.
func (k *trees) tryGet(prefix string, take bool) (d *treeDir, wait <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.all {
		if d := t.ready[prefix]; d != nil {
			fresh := k.fresh(d)
			if take || !fresh {
				t.remove(d)
			}
			if fresh {
				return d, nil
			}
		} else if t.covers(prefix) && t.next != nil {
			wait = t.next
		}
	}
	return nil, wait
}

// covers tells whether t is yet to come to a directory.
func (t *treeList) covers(prefix string) bool {
	return strings.HasPrefix(prefix, t.prefix) && prefix > t.start+lastName && prefix > t.pos && !t.changed[prefix]
}

// fresh tells whether d may be believed still.
func (k *trees) fresh(d *treeDir) bool {
	return k.v.opt.Now().Sub(d.at) < k.v.opt.AttrTimeout
}

// remove needs trees.mu.
func (t *treeList) remove(d *treeDir) {
	delete(t.ready, d.prefix)
	t.held -= len(d.entries)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// marker tells what a listing ahead says of the marker of dir, and when it was
// made; no fact where dir has none. It takes nothing.
func (k *trees) marker(dir string) (f fact, at time.Time, ok bool) {
	prefix := k.v.dirKey(dir)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.all {
		if d := t.ready[prefix]; d != nil && k.fresh(d) {
			return d.marker(), d.at, true
		}
	}
	return fact{}, time.Time{}, false
}

// marker is what the listing says of the directory's own object.
func (d *treeDir) marker() fact {
	if e := d.entries[0]; e.Key == d.prefix {
		return factOf(e.Info)
	}
	return fact{}
}

// listed notes that an application has begun to list dir, which took what was
// listed ahead, or not.
func (k *trees) listed(ctx context.Context, dir string, taken bool) {
	if dir == "" || k.v.opt.AttrTimeout <= 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	in, now := parent(dir), k.v.opt.Now()
	r := k.rows[in]
	if r == nil || now.Sub(r.at) > walkPause {
		r = &row{}
		bounded(k.rows, in, r)
	}
	if r.at = now; r.last == dir {
		return
	}
	r.last = dir
	if r.n++; r.n >= treeRows && !r.off && !taken {
		k.begin(ctx, in, dir)
	}
}

// looked says that directories in dir are looked up one after the other: those
// behind done are next.
func (k *trees) looked(ctx context.Context, dir, done string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.rows[dir]
	if r == nil || k.v.opt.Now().Sub(r.at) > walkPause {
		r = &row{}
		bounded(k.rows, dir, r)
	}
	if r.at = k.v.opt.Now(); !r.off {
		k.begin(ctx, dir, done)
	}
}

// begin lists what is in dir behind the directory done, unless that is under
// way. It needs k.mu.
func (k *trees) begin(ctx context.Context, dir, done string) {
	prefix, start := k.v.dirKey(dir), k.v.dirKey(done)
	for _, t := range k.all {
		if strings.HasPrefix(prefix, t.prefix) && start > t.start+lastName && (t.next != nil || t.held > 0) {
			return
		}
	}
	for _, t := range k.all {
		if t.prefix == prefix || len(k.all) >= maxTrees {
			k.drop(t)
			break
		}
	}
	if k.end {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it is for what is listed later
	t := &treeList{
		k: k, prefix: prefix, start: start, cancel: cancel, wake: make(chan struct{}, 1),
		ready: map[string]*treeDir{}, changed: map[string]bool{}, next: make(chan struct{}),
	}
	k.all = append(k.all, t)
	k.tasks.Go(func() {
		defer cancel()
		ctx, end := k.v.work.begin(ctx)
		defer end()
		worth := t.run(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.drop(t)
		if r := k.rows[dir]; r != nil && !worth {
			r.off = true
		}
	})
}

// drop ends t. It needs k.mu.
func (k *trees) drop(t *treeList) {
	t.cancel()
	if t.next != nil {
		close(t.next)
		t.next = nil
	}
	k.all = slices.DeleteFunc(k.all, func(other *treeList) bool { return other == t })
}

// changedIn notes that this host has changed what is in dir.
func (k *trees) changedIn(dir string) {
	prefix := k.v.dirKey(dir)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range slices.Clone(k.all) {
		if d := t.ready[prefix]; d != nil {
			t.remove(d)
		}
		if t.changed[prefix] = true; len(t.changed) > listPage {
			k.drop(t)
		}
	}
}

// gone notes that this host has removed the directory dir.
func (k *trees) gone(dir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.v.opt.Now()
	if len(k.removed) >= maxRemoved {
		clear(k.removed)
		k.moved = now
	}
	k.removed[dir] = now
}

// outlived tells whether this host may have removed the directory dir since a
// listing that began at that time.
func (k *trees) outlived(dir string, at time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !at.After(k.moved) || !at.After(k.removed[dir])
}

// forget ends all listings: directories are elsewhere now.
func (k *trees) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.moved = k.v.opt.Now()
	for len(k.all) > 0 {
		k.drop(k.all[0])
	}
}

// close is forget for good, and waits.
func (k *trees) close() {
	k.mu.Lock()
	k.end = true
	k.mu.Unlock()
	k.forget()
	k.loads.tear()
	k.tasks.Wait()
}

// run lists page by page, a page ahead of what is taken. False: directories are
// so long that it does not pay.
func (t *treeList) run(ctx context.Context) bool {
	b := treeBuild{prefix: t.prefix, start: t.start}
	var loads errgroup.Group
	loads.SetLimit(parallelAhead)
	defer func() { _ = loads.Wait() }() // its functions give no error
	for after, more := t.start+lastName, true; more; {
		var err error
		if after, more, err = t.page(ctx, &b, after); err != nil {
			return true // whoever lists will hear of it
		}
		if !more {
			b.pop("")
		}
		more = more && !b.long
		done := b.done
		if !t.publish(&b, after, more) {
			return true
		}
		t.k.v.loadIndexes(ctx, &loads, done)
		if more && !t.room(ctx) {
			return true
		}
	}
	t.drained(ctx)
	return !b.long
}

// page lists on behind a key. What is hidden is passed over.
func (t *treeList) page(ctx context.Context, b *treeBuild, after string) (last string, more bool, err error) {
	at, n := t.k.v.opt.Now(), 0
	for e, err := range t.k.v.opt.Store.List(ctx, objstore.ListOptions{Prefix: t.prefix, After: after, Limit: listPage}) {
		if err != nil {
			return "", false, err
		}
		n, last = n+1, e.Key
		if dir, ok := hiddenIn(e.Key, len(t.prefix)); !ok {
			b.add(e, at)
		} else if dir+lastName > e.Key {
			return dir + lastName, true, nil
		}
	}
	return last, n == listPage, nil
}

// hiddenIn gives the directory of a volume's own objects in which a key is, if
// it is in one that begins at byte from.
func hiddenIn(key string, from int) (dir string, ok bool) {
	rest := key[from:]
	if strings.HasPrefix(rest, hidden+"/") {
		return key[:from+len(hidden)+1], true
	}
	if i := strings.Index(rest, "/"+hidden+"/"); i >= 0 {
		return key[:from+i+len(hidden)+2], true
	}
	return "", false
}

// publish has what b has completed taken. False: t has ended.
func (t *treeList) publish(b *treeBuild, pos string, more bool) bool {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.next == nil {
		return false
	}
	for _, d := range b.done {
		if !t.changed[d.prefix] {
			t.ready[d.prefix] = d
			t.held += len(d.entries)
		}
	}
	b.done, t.pos = nil, b.reached(pos)
	close(t.next)
	if t.next = nil; more && t.held < treeEntries {
		t.next = make(chan struct{})
	}
	return true
}

// room waits until another page may be listed. False: nobody takes any more.
func (t *treeList) room(ctx context.Context) bool {
	for {
		t.k.mu.Lock()
		if t.next == nil && t.held < treeEntries && ctx.Err() == nil {
			t.next = make(chan struct{})
		}
		ok := t.next != nil
		t.k.mu.Unlock()
		if ok {
			return ctx.Err() == nil
		}
		if !t.stirred(ctx) {
			return false
		}
	}
}

// drained waits until all is taken, or nobody takes any more.
func (t *treeList) drained(ctx context.Context) {
	for {
		t.k.mu.Lock()
		held := t.held
		t.k.mu.Unlock()
		if held == 0 || !t.stirred(ctx) {
			return
		}
	}
}

// stirred waits until something is taken. False: that took too long.
func (t *treeList) stirred(ctx context.Context) bool {
	idle := time.NewTimer(walkPause)
	defer idle.Stop()
	select {
	case <-t.wake:
		return true
	case <-ctx.Done():
	case <-idle.C:
	}
	return false
}

// treeBuild makes directories out of keys in order.
type treeBuild struct {
	prefix string // all keys are in it; it is none of them
	start  string // nor is this one, which is not listed from its beginning
	open   []*treeDir
	done   []*treeDir
	long   bool // one has more than a page
}

// add takes the next key.
func (b *treeBuild) add(e objstore.Entry, at time.Time) {
	if strings.HasPrefix(e.Key, b.start) {
		return
	}
	b.pop(e.Key)
	base := b.prefix
	if len(b.open) > 0 {
		base = b.open[len(b.open)-1].prefix
	}
	for {
		i := strings.IndexByte(e.Key[len(base):], '/')
		if i < 0 {
			break
		}
		base = e.Key[:len(base)+i+1]
		b.give(objstore.Entry{Prefix: base})
		b.open = append(b.open, &treeDir{prefix: base, at: at})
	}
	b.give(e)
}

// give adds an entry to the innermost directory.
func (b *treeBuild) give(e objstore.Entry) {
	if len(b.open) == 0 {
		return
	}
	d := b.open[len(b.open)-1]
	if len(d.entries) >= listPage {
		d.entries, d.long, b.long = nil, true, true
	}
	if !d.long {
		d.entries = append(d.entries, e)
	}
}

// pop completes the directories that key is not in.
func (b *treeBuild) pop(key string) {
	for n := len(b.open); n > 0 && (key == "" || !strings.HasPrefix(key, b.open[n-1].prefix)); n-- {
		if d := b.open[n-1]; !d.long {
			b.done = append(b.done, d)
		}
		b.open = b.open[:n-1]
	}
}

// reached is the place up to which all directories are complete, where keys are
// listed up to pos.
func (b *treeBuild) reached(pos string) string {
	if len(b.open) == 0 {
		return pos
	}
	return strings.TrimSuffix(b.open[0].prefix, "/")
}
