package volume

import (
	"context"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume/attrindex"
)

// What the index says is believed as long as a listing is that shows it. The
// listing is the one that somebody reads who goes through the directory; where
// it is too old by now, or nobody asked for one, it is made anew.

// affirmAny is affirm by the listing of the directory that is fresh, or by one
// that is made for it.
func (v *Volume) affirmAny(ctx context.Context, p string) bool {
	if v.affirmDir(ctx, p) {
		return true
	}
	l, at, known := v.dirs.find(p)
	if !known && v.listAhead(ctx, p) {
		l, at, known = v.dirs.find(p)
	}
	if !known {
		return v.index.affirms(p)
	}
	return v.affirm(p, l, at) || v.dirs.count(parent(p)) > 1 && v.loadIndex(ctx, parent(p)) && v.affirm(p, l, at)
}

// affirm believes what the index says of p as long as a listing that began at
// that time and shows it so is fresh. False: that says nothing of it.
func (v *Volume) affirm(p string, l listed, at time.Time) bool {
	return l.kind == asFile && l.fact.etag != "" && v.index.affirm(parent(p), indexName(p, false), l.fact, at)
}

// affirmDir is affirm of a directory that the index knows, by a listing of the
// tree that is made for who looks at one after the other.
func (v *Volume) affirmDir(ctx context.Context, p string) bool {
	if v.index == nil {
		return false
	}
	if f, at, ok := v.trees.marker(p); ok {
		return v.affirmMarker(ctx, p, f, at)
	}
	dir := parent(p)
	if v.index.walked(dir) {
		v.loadIndex(ctx, dir)
	}
	if !v.index.claimsTree(p) {
		return false
	}
	t, ok := v.trees.get(ctx, p, false)
	if !ok {
		if behind, begin := v.index.claimTree(p); begin {
			v.trees.looked(ctx, dir, join(dir, behind))
		}
		t, ok = v.trees.get(ctx, p, false)
	}
	if !ok {
		v.index.treeless(dir)
	}
	return ok && v.affirmMarker(ctx, p, t.marker(), t.at)
}

// affirmMarker is affirm of the directory p, of whose marker a listing shows f.
func (v *Volume) affirmMarker(ctx context.Context, p string, f fact, at time.Time) bool {
	if f.etag == "" {
		return false
	}
	dir, name := parent(p), indexName(p, true)
	return v.index.affirm(dir, name, f, at) || v.loadIndex(ctx, dir) && v.index.affirm(dir, name, f, at)
}

func (x *attrIndex) affirm(dir, name string, f fact, at time.Time) bool {
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !at.After(x.forgot) {
		return false
	}
	r := x.record(dir)
	e, ok := r.find(name)
	if !ok || !e.Of(f.etag, f.size, f.modified) || !at.After(r.doubted[strings.TrimSuffix(name, "/")]) {
		return false
	}
	x.spare(r, 1)
	if r.affirmed == nil {
		r.affirmed = map[string]time.Time{}
	}
	r.affirmed[e.Name] = at
	x.affirmations++
	return true
}

// listAhead lists the directory anew, a large one from p on, for somebody who
// looks at one entry after the other of those that the index knows. False: it
// did not.
func (v *Volume) listAhead(ctx context.Context, p string) bool {
	dir := parent(p)
	if v.index.walked(dir) {
		v.loadIndex(ctx, dir)
	}
	after, small, end, wait := v.index.claimAhead(p)
	switch {
	case wait != nil:
		select {
		case <-wait:
			return true
		case <-ctx.Done():
			return false
		}
	case end == nil:
		return false
	}
	defer end()
	if l := v.dirs.ahead(dir, small); l != nil {
		v.listNames(ctx, dir, l)
		return true
	}
	page, err := v.linesAfter(ctx, dir, after)
	if err != nil {
		return false // who asks for p hears of it
	}
	for _, l := range page.lines {
		v.reaffirm(join(dir, l.name), l.listed, page.at)
	}
	v.affirmPage(ctx, dir, page)
	return true
}

// affirmPage believes what the index says of a part of a listing. True: of all.
func (v *Volume) affirmPage(ctx context.Context, dir string, page linesPage) bool {
	if len(page.lines) > 1 {
		v.loadIndex(ctx, dir)
	}
	all := v.index != nil
	v.index.expect(dir, len(page.lines))
	for _, l := range page.lines {
		all = v.affirm(join(dir, l.name), l.listed, page.at) && all
	}
	return all
}

// walkRow is how many lookups in a row are somebody who looks at all.
const walkRow = 3

// step notes that somebody looks at p.
func (x *attrIndex) step(p string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w, now := &x.record(parent(p)).walk, x.now()
	if now.Sub(w.at) > walkPause {
		// Who goes through directories does so in the next.
		w.row, w.expected, w.vain = 0, now.Sub(x.walking) < walkPause, 0
	}
	if w.name != base(p) {
		w.row++
		w.before = w.name
	}
	if w.name, w.at = base(p), now; w.row >= walkRow {
		x.walking = now
	}
}

// going tells whether somebody looks at one entry after the other, anywhere.
func (x *attrIndex) going() bool {
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now().Sub(x.walking) < walkPause
}

// going tells whether somebody looks at one entry after the other, or is about
// to.
func (w *walkedIndex) going() bool { return w.expected || w.row >= walkRow }

// walked tells whether somebody looks at one entry of dir after the other.
func (x *attrIndex) walked(dir string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.record(dir).walk.going()
}

// claimAhead tells behind which name to list for who is at p, or that all is one
// page, and what to call then; or what to wait for. Neither: it is not worth it.
func (x *attrIndex) claimAhead(p string) (after string, small bool, end func(), wait <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.record(parent(p))
	switch {
	case !r.walk.going() || !r.settled(base(p)) && !r.settled(base(p)+"/"):
		return "", false, nil, nil
	case r.walk.listing != nil:
		return "", false, nil, r.walk.listing
	}
	listing := make(chan struct{})
	r.walk.listing = listing
	if small = r.table.Len()+len(r.learned) < listPage; !small {
		after = r.table.Before(base(p))
	}
	return after, small, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		r.walk.listing = nil
		close(listing)
	}, nil
}

// mostVain is how often a walk has a tree listed for nothing.
const mostVain = 3

// claimsTree tells whether a listing of the tree is worth it for who is at the
// directory p.
func (x *attrIndex) claimsTree(p string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.record(parent(p))
	return r.walk.going() && r.walk.vain < mostVain && r.settled(indexName(p, true))
}

// claimTree tells behind which directory to list the tree then. Not begin: one is
// under way, or was a moment ago.
func (x *attrIndex) claimTree(p string) (behind string, begin bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, name := x.record(parent(p)), indexName(p, true)
	w := &r.walk
	behind = w.before
	if behind == "" || behind+"/" >= name {
		behind = strings.TrimSuffix(r.table.Before(name), "/")
	}
	if now := x.now(); behind != "" && (w.tree != behind || now.Sub(w.treed) >= x.fresh) {
		w.tree, w.treed = behind, now
		return behind, true
	}
	return "", false
}

// treeless notes that a tree was listed for nothing.
func (x *attrIndex) treeless(dir string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.record(dir).walk.vain++
}

// settled tells whether something is known of a name that a listing may affirm.
func (r *indexRecord) settled(name string) bool {
	e, ok := r.find(name)
	return ok && e.Settled()
}

// ahead begins a listing of a small directory that lookups wait for; nil where
// one is being made, or where it was found to be large.
func (n *dirNames) ahead(dir string, small bool) *dirListing {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.dirs[dir]
	if r == nil {
		r = n.record(dir)
	}
	if !small || r.relist != nil || n.now().Before(r.long) {
		return nil
	}
	r.relist = make(chan struct{})
	l := n.begin(r)
	l.waited = true
	return l
}

// spare makes room for n affirmations in r: what is known of other walks, or of
// an earlier part of this one, makes way. It needs x.mu.
func (x *attrIndex) spare(r *indexRecord, n int) {
	if x.affirmations+n <= x.room.affirmed {
		return
	}
	for _, other := range x.dirs {
		if other != r {
			other.affirmed = nil
		}
	}
	if len(r.affirmed)+n > x.room.affirmed {
		r.affirmed = nil
	}
	x.affirmations = len(r.affirmed)
}

// expect is spare for a directory of which so many entries are listed.
func (x *attrIndex) expect(dir string, n int) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.spare(x.record(dir), n)
}

// affirms tells whether what is known of p may be believed still.
func (x *attrIndex) affirms(p string) bool {
	if x == nil {
		return false
	}
	_, ok := x.affirmed(p)
	return ok
}

// affirmed gives what is known of p where that may be believed still.
func (x *attrIndex) affirmed(p string) (attrindex.Entry, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.dirs[parent(p)]
	if r == nil {
		return attrindex.Entry{}, false
	}
	for _, name := range []string{indexName(p, true), indexName(p, false)} {
		if at, ok := r.affirmed[name]; ok && x.now().Sub(at) < x.fresh {
			return r.find(name)
		}
	}
	return attrindex.Entry{}, false
}

// count is how many names directory dir has, as it is freshly listed; 0 where it
// is not.
func (n *dirNames) count(dir string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.listed(dir); r != nil {
		return len(r.names)
	}
	if r := n.dirs[dir]; r != nil && r.shows != nil {
		return len(r.shows.names)
	}
	return 0
}
