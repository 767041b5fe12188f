package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume/attrindex"
	"golang.org/x/sync/errgroup"
)

const (
	// indexQuiet is how long nothing new is learned of a directory before its
	// index is written.
	indexQuiet = 5 * time.Second
	// indexPause is the least time between two writes of one index.
	indexPause = time.Minute
	// indexLimit is the most that the end of a mount waits for indexes, beside
	// the time until what was written last can be believed.
	indexLimit = 10 * time.Second
	// indexRacy is how old what is to be believed must be.
	indexRacy = attrindex.Racy * time.Second
	// parallelIndexes are written at a time, then.
	parallelIndexes = 16
)

// dueIndexes gives the directories whose index should be written some time.
func (x *attrIndex) dueIndexes() []*indexRecord {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.off {
		return nil
	}
	return slices.Collect(maps.Keys(x.due))
}

// claimWrite is claim of the write of an index.
func (x *attrIndex) claimWrite(r *indexRecord, now time.Time) (bool, time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if quiet := r.changed.Add(indexQuiet); !r.wait.busy && now.Before(quiet) {
		return false, quiet
	}
	return r.wait.claim(now)
}

func (x *attrIndex) unclaimWrite(r *indexRecord) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r.wait.busy = false
	r.wait.at = x.now().Add(indexPause)
}

// writeIndexes writes, at the end of the mount, what should be written still. It
// waits for what this host has written last to be old enough to be believed. A
// directory comes before that which it is in: its listing shows its marker.
func (v *Volume) writeIndexes(ctx context.Context) {
	due := v.index.dueIndexes()
	if len(due) == 0 || v.opt.ReadOnly {
		return
	}
	v.index.settle(ctx, due)
	ctx, cancel := context.WithTimeout(ctx, indexLimit)
	defer cancel()
	slices.SortFunc(due, func(a, b *indexRecord) int { return b.depth() - a.depth() })
	var g errgroup.Group
	g.SetLimit(parallelIndexes)
	for i, r := range due {
		if i > 0 && r.depth() < due[i-1].depth() {
			_ = g.Wait() // its functions give no error
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			v.writeIndex(ctx, r)
			return nil
		})
	}
	_ = g.Wait() // as above
}

// depth is how many directories the record's is in.
func (r *indexRecord) depth() int {
	return len(strings.FieldsFunc(r.dir, func(c rune) bool { return c == '/' }))
}

// settle waits until none of the entries due is racy any more.
func (x *attrIndex) settle(ctx context.Context, due []*indexRecord) {
	var last time.Time
	x.mu.Lock()
	for _, r := range due {
		if r.wrote.After(last) {
			last = r.wrote
		}
	}
	left := last.Add(indexRacy).Sub(x.now())
	x.mu.Unlock()
	if left <= 0 {
		return
	}
	t := time.NewTimer(min(left, indexRacy))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// writeIndex writes the index of a directory. It is a help and no more: trouble
// is one line of the log, and what another host has written in the same moment
// stands.
func (v *Volume) writeIndex(ctx context.Context, r *indexRecord) {
	tried := v.index.tried(r)
	err := v.tryIndex(ctx, r)
	if conflict(err) { // another host has written one, or did we not know of any
		if err = v.reloadIndex(ctx, r); err == nil {
			err = v.tryIndex(ctx, r)
		}
	}
	if err == nil || conflict(err) {
		return
	}
	v.index.troubled(r, err)
	v.index.again(r, tried)
	if ctx.Err() == nil {
		v.logIndex(r, err, "attribute index could not be written")
	}
}

// tried notes that what has changed until now is being written.
func (x *attrIndex) tried(r *indexRecord) (changes int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	changes, r.changes = r.changes, 0
	delete(x.due, r)
	return changes
}

// again has it tried once more.
func (x *attrIndex) again(r *indexRecord, changes int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.changes += changes; x.dirs[r.dir] == r && r.worth() {
		x.due[r] = struct{}{}
	}
}

// reloadIndex brings what another host wrote.
func (v *Volume) reloadIndex(ctx context.Context, r *indexRecord) error {
	table, etag, err := v.readIndex(ctx, r.dir)
	if errors.Is(err, ErrNotExist) {
		table, etag, err = nil, "", nil
	}
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrDowngrade) {
		return v.overwrites(ctx, r)
	}
	if err != nil {
		return err
	}
	v.index.mu.Lock()
	defer v.index.mu.Unlock()
	v.index.replace(r, table, etag)
	return nil
}

// overwrites has an index replaced that nobody can read.
func (v *Volume) overwrites(ctx context.Context, r *indexRecord) error {
	info, err := v.head(ctx, v.indexKey(r.dir))
	if err != nil {
		return err
	}
	v.index.mu.Lock()
	defer v.index.mu.Unlock()
	v.index.replace(r, nil, info.ETag)
	return nil
}

// tryIndex lists the directory and writes what is known of the objects that are
// there now. Conflicts are errors: another host was first.
func (v *Volume) tryIndex(ctx context.Context, r *indexRecord) error {
	back, err := v.borrow(ctx, 2*v.index.size(r))
	if err != nil {
		return err
	}
	defer back()
	var b attrindex.Builder
	prefix := v.dirKey(r.dir)
	for e, err := range v.opt.Store.List(ctx, objstore.ListOptions{Prefix: prefix, Delimiter: "/"}) {
		if err != nil {
			return fmt.Errorf("list %q: %w", r.dir, err)
		}
		if e.Key == prefix {
			v.index.date(parent(r.dir), indexName(r.dir, true), e.Info)
			continue
		}
		if found, ok := v.index.confirmed(r, strings.TrimPrefix(e.Key+e.Prefix, prefix), e); ok {
			b.Add(found)
		}
	}
	table, err := attrindex.Parse(b.Bytes())
	if err != nil {
		panic(err) // a Builder makes nothing else
	}
	etag := v.index.known(r)
	if table.Len() == 0 && etag == "" {
		return nil
	}
	cond := objstore.Condition{IfMatch: etag, IfNone: etag == ""}
	o, err := v.putOwn(ctx, draft{key: v.indexKey(r.dir), cond: cond}, b.Bytes())
	if err != nil {
		return err
	}
	v.index.mu.Lock()
	defer v.index.mu.Unlock()
	v.index.replace(r, table, o.id.ETag)
	r.asked = v.index.now()
	return nil
}

// size is at least what an index of r takes, in bytes.
func (x *attrIndex) size(r *indexRecord) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return int64(r.bytes)
}

// known is the ETag of the index that is there, as far as is known.
func (x *attrIndex) known(r *indexRecord) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return r.etag
}

// confirmed gives what is to be written of a name that is listed. Where this host
// and the index that is there both know it, the later version counts.
func (x *attrIndex) confirmed(r *indexRecord, name string, e objstore.Entry) (attrindex.Entry, bool) {
	if e.Prefix == "" {
		x.date(r.dir, name, e.Info)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	stands := func(known attrindex.Entry, ok bool) bool {
		if e.Prefix != "" { // which says nothing of the marker
			return ok && known.Settled()
		}
		return ok && known.Of(e.ETag, e.Size, e.Modified.Unix())
	}
	old, ok := r.table.Find(name)
	ok = stands(old, ok)
	found, learned := r.learned[name]
	if !stands(found, learned) || ok && old.Version > found.Version {
		return old, ok
	}
	return found, true
}

// date tells of an entry that this host wrote when the store has dated it, by a
// listing that shows it. One with a later LastModified is another's: a copy onto
// itself keeps the ETag.
func (x *attrIndex) date(dir, name string, info objstore.Info) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.dirs[dir]
	if r == nil {
		return
	}
	e, ok := r.learned[name]
	if !ok || e.Read != 0 || e.ETag != info.ETag || e.Size != info.Size || info.Modified.Unix() > e.Modified || info.Answered.IsZero() {
		return
	}
	if e.Modified, e.Read = info.Modified.Unix(), info.Answered.Unix(); e.Settled() {
		r.learned[name] = e
	}
}
