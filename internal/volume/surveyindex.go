package volume

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume/attrindex"
)

// Bounds of what a survey asks of the attribute index.
const (
	surveyIndexFrom  = 3        // objects that were met in a directory before its index is asked for
	surveyIndexBytes = 64 << 20 // of all that are held at a time
	surveyIndexVain  = 64       // so many directories without one, and none with: there is no index
)

// surveyIndexes gives each object the index of its directory. Its method dir is
// for the goroutine that lists; the directories above the key that it is at are
// all that is held.
type surveyIndexes struct {
	v     *Volume
	on    bool
	chain []*surveyDir
	bytes atomic.Int64
	vain  atomic.Int64 // negative: some were found
}

// surveyDir is a directory that a survey is in, or of which a row is looked at.
type surveyDir struct {
	all    *surveyIndexes
	prefix string // of its keys
	met    int
	held   atomic.Int64 // by how many; the last lets go of the table

	once  sync.Once // reads
	table *attrindex.Table
	bytes int64
}

// dir gives the directory of key if its index is worth a request, to be
// released; else nil.
func (x *surveyIndexes) dir(key string) *surveyDir {
	v := x.v
	prefix := key[:strings.LastIndexByte(strings.TrimSuffix(key, "/"), '/')+1]
	for n := len(x.chain); n > 0 && !strings.HasPrefix(key, x.chain[n-1].prefix); n-- {
		x.chain[n-1].release()
		x.chain = x.chain[:n-1]
	}
	rule := v.policy.internal
	_, own := hiddenPart(key)
	if !x.on || own || !strings.HasPrefix(prefix, v.opt.Prefix) || rule.Keys == nil || rule.Server != nil || v.rule(key) != rule {
		return nil
	}
	n := len(x.chain)
	if n == 0 || x.chain[n-1].prefix != prefix {
		d := &surveyDir{all: x, prefix: strings.Clone(prefix)}
		d.held.Add(1)
		x.chain = append(x.chain, d)
		n++
	}
	d := x.chain[n-1]
	if d.met++; d.met < surveyIndexFrom || x.vain.Load() >= surveyIndexVain {
		return nil
	}
	d.held.Add(1)
	return d
}

// release lets go of what was read, with the last who holds it.
func (d *surveyDir) release() {
	if d != nil && d.held.Add(-1) == 0 {
		d.all.bytes.Add(-d.bytes)
	}
}

// entry gives what the index says of an object that a listing shows so.
func (d *surveyDir) entry(ctx context.Context, i objstore.Info) (attrindex.Entry, bool) {
	if d == nil {
		return attrindex.Entry{}, false
	}
	d.once.Do(func() { d.read(ctx) })
	e, ok := d.table.Find(strings.TrimPrefix(i.Key, d.prefix))
	return e, ok && e.Of(i.ETag, i.Size, i.Modified.Unix())
}

// read asks for the index, once. Trouble is no news of the objects: they are
// asked for themselves.
func (d *surveyDir) read(ctx context.Context) {
	v := d.all.v
	table, _, err := v.readIndex(ctx, strings.TrimSuffix(strings.TrimPrefix(d.prefix, v.opt.Prefix), "/"))
	if err != nil {
		d.all.vain.Add(1)
		return
	}
	d.all.vain.Add(-2 * surveyIndexVain)
	d.bytes = int64(table.Bytes())
	if d.all.bytes.Add(d.bytes) <= surveyIndexBytes {
		d.table = table
	}
}
