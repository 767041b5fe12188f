package volume

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// What a tool has just written it often renames. A copy inside the store is one
// request only where the store honours conditions on it and says how the copy is
// encrypted; else a small body, still at hand, is put under the new name: the
// answer to that proves both.

// maxRecentBody is the longest body that is kept for it, in bytes.
const maxRecentBody = 256 << 10

// recentBodies are small bodies as stored that this host wrote lately, by the
// names that objects give them. The nil value keeps none. Safe for concurrent use.
type recentBodies struct {
	most int // bytes of all

	mu    sync.Mutex // guards what follows
	all   map[string][]byte
	order []string // oldest first
	bytes int
}

// newRecentBodies keeps so many bytes at the most.
func newRecentBodies(most int) *recentBodies {
	return &recentBodies{most: most, all: map[string][]byte{}}
}

// get gives the body of o, which is not to be modified.
func (r *recentBodies) get(o *object) ([]byte, bool) {
	if r == nil {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.all[o.body]
	return p, ok && int64(len(p)) == o.length
}

// keep takes p over as the body of o; a nil p is none.
func (r *recentBodies) keep(o *object, p []byte) {
	if r == nil || p == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.all[o.body]; ok {
		r.bytes -= len(old)
		r.order = slices.DeleteFunc(r.order, func(name string) bool { return name == o.body })
	}
	r.all[o.body], r.bytes, r.order = p, r.bytes+len(p), append(r.order, o.body)
	for r.bytes > r.most || len(r.order) > maxGathered {
		oldest := r.order[0]
		r.bytes -= len(r.all[oldest])
		delete(r.all, oldest)
		r.order = r.order[1:]
	}
}

// load brings a small body into memory before it is sent; nil for another.
func (r *recentBodies) load(ctx context.Context, d draft, b *body) ([]byte, error) {
	if r == nil || d.isDir() || b.size > maxRecentBody {
		return nil, nil
	}
	p := make([]byte, b.size)
	if _, err := io.ReadFull(b.section(ctx, 0, b.size), p); err != nil {
		return nil, err
	}
	b.section = func(_ context.Context, off, n int64) io.ReadSeeker { return bytes.NewReader(p[off : off+n]) }
	return p, nil
}

// relocate puts the body of o under the attributes and at the key of d: by PUT
// where the body is at hand and that spares a question, else by a copy.
func (v *Volume) relocate(ctx context.Context, o *object, d draft, opt objstore.PutOptions) (objstore.Receipt, error) {
	p, ok := v.recent.get(o)
	asks := d.want != nil || d.cond != objstore.Condition{} && !v.opt.Capabilities.CopyConditions
	if !ok || !asks || d.self || o.tags > 0 {
		return v.copyBody(ctx, o, d, opt)
	}
	if err := v.guard(ctx, v.opt.Capabilities.PutConditions, d.key, d.cond); err != nil {
		return objstore.Receipt{}, err
	}
	put := opt
	put.Tags = v.newTags(d.want)
	got, err := v.opt.Store.Put(ctx, d.key, bytes.NewReader(p), int64(len(p)), put)
	if wantsKey(err) && d.cond != (objstore.Condition{}) { // see keyed.go
		return v.copyBody(ctx, o, d, opt)
	}
	return got, err
}
