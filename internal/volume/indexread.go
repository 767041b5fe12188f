package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/volume/attrindex"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/errgroup"
)

// Attributes tells what Stat does of the attributes, and may do so by what a
// listing and the attribute index say together, without a look at the object.
// Errors are those of Stat.
func (v *Volume) Attributes(ctx context.Context, p string) (Attr, error) {
	if a, ok := v.indexed(ctx, p); ok {
		return a, nil
	}
	info, err := v.Stat(ctx, p)
	return info.Attr, err
}

// Glance is Attributes, and tells of what it had to look at all that Stat does.
func (v *Volume) Glance(ctx context.Context, p string) (Info, error) {
	if a, ok := v.indexed(ctx, p); ok {
		return Info{Attr: a}, nil
	}
	return v.Stat(ctx, p)
}

// indexed gives the attributes of an object of which a fresh listing says that
// it is as the index has it. Not ok: the store has to be asked, or nobody.
func (v *Volume) indexed(ctx context.Context, p string) (Attr, bool) {
	if v.index == nil || v.fileAt(p) != nil || v.believed(p) != nil {
		return Attr{}, false
	}
	v.index.step(p)
	e, ok := v.index.affirmed(p)
	if !ok && v.affirmAny(ctx, p) {
		e, ok = v.index.affirmed(p)
	}
	if !ok {
		return Attr{}, false
	}
	a, ok := v.thin(p, e)
	if ok {
		v.walks.used(p)
	}
	return a, ok
}

// thin gives the attributes of e, which is at p, unless this host knows better:
// it has met a later state of the object, or one that does not open.
func (v *Volume) thin(p string, e attrindex.Entry) (Attr, bool) {
	switch {
	case len(v.opt.Keys.KeyIDs(e.Epoch)) == 0: // not opened in this mount: nobody says that it would
		return Attr{}, false
	case v.olderEntry(p, e): // who looks at the object says so
		return Attr{}, false
	case !e.IsDir() && !sigil.MayBe(e.Length, e.Size), e.IsDir() && e.Size+e.Length != 0:
		return Attr{}, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.known[p]
	if v.files[p] != nil || v.revoked[e.Epoch] != 0 || d != nil && !d.agrees(e) {
		return Attr{}, false
	}
	a := Attr{
		Mode: e.Mode, UID: e.UID, GID: e.GID, Mtime: e.Mtime, Ctime: e.Ctime, Size: e.Length, Nlink: 1, FileID: validID(e.FileID),
	}
	if e.IsDir() {
		a.Nlink, a.Incarnation = 2, 1
		return v.shownDir(p, Info{Attr: a}).Attr, true
	}
	a.Incarnation = v.index.tell(parent(p), e, func() uint64 {
		if d != nil && d.obj.isBody(e) {
			return d.incarnation
		}
		v.incarnations++
		return v.incarnations
	})
	return a, true
}

// olderEntry tells whether e, of what is at p, is of an older state than this host
// knows.
func (v *Volume) olderEntry(p string, e attrindex.Entry) bool {
	key := v.fileKey(p)
	if e.IsDir() {
		key = v.dirKey(p)
	}
	known := v.knownOf(key)
	verdict := freshness.Judge(known.rec, e.Version, e.Seal, v.opt.Now())
	return known.err != nil || verdict.Bad() || verdict == freshness.Ahead
}

// agrees tells whether e may be shown where d was found: by the rule of
// freshness a lower version is an older state, and so is another seal with the
// same one.
func (d *dentry) agrees(e attrindex.Entry) bool {
	if d.dir != e.IsDir() || d.link != nil || d.obj == nil || d.obj.err != nil {
		return false
	}
	f, sealed := d.obj.form.(*sealedForm)
	if !sealed || f.rec.Version != e.Version {
		return d.obj.version() < e.Version
	}
	seal := f.header.Digest()
	return [16]byte(seal[:16]) == e.Seal
}

// isBody tells whether o has the body that e is of.
func (o *object) isBody(e attrindex.Entry) bool {
	f, sealed := o.form.(*sealedForm)
	return sealed && o.err == nil && o.attr.FileID == validID(e.FileID) && f.rec.Generation == e.Body
}

// indexKey is where the index of directory p lies. The name tells nothing but
// to who knows the directory's key.
func (v *Volume) indexKey(p string) string {
	sum := sha256.Sum256([]byte(v.dirKey(p)))
	return v.indexDir() + hex.EncodeToString(sum[:16])
}

func (v *Volume) indexDir() string { return v.opt.Root + hidden + "/index/" }

// loadIndex asks for the index of directory dir, or waits for who does, unless
// that was done a short while ago. False: nothing new is known by it. Trouble is
// no news of the entries.
func (v *Volume) loadIndex(ctx context.Context, dir string) bool {
	if v.index == nil {
		return false
	}
	r, wait := v.index.claimLoad(dir)
	switch {
	case wait != nil:
		select {
		case <-wait:
			return true
		case <-ctx.Done():
			return false
		}
	case r == nil:
		return false
	}
	table, etag, err := v.readIndex(ctx, dir)
	v.index.loaded(r, table, etag, ctx.Err() == nil)
	if ctx.Err() == nil && !errors.Is(err, ErrNotExist) {
		v.index.troubled(r, err)
		v.logIndex(r, err, "attribute index is not used")
	}
	return table != nil
}

// logIndex logs trouble with the index of r. Of others' indexes, which may be as
// many as there are directories, one line says it.
func (v *Volume) logIndex(r *indexRecord, err error, what string) {
	if err != nil && !(foreign(err) && v.index.said.Swap(true)) {
		v.opt.Log.WithField("path", r.dir).WithError(err).Warn(what)
	}
}

// foreign tells why an index is another host's alone: this one has not the keys,
// or is older.
func foreign(err error) bool {
	return errors.Is(err, ErrNoKey) || errors.Is(err, ErrWrongKey) || errors.Is(err, ErrVersion)
}

// troubled leaves alone what this host may not, or cannot, read or write.
func (x *attrIndex) troubled(r *indexRecord, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.off = x.off || errors.Is(err, ErrAccess)
	if foreign(err) {
		r.foreign = true
		delete(x.due, r)
	}
}

// claimLoad gives the record whose index is to be asked for, or what to wait for.
func (x *attrIndex) claimLoad(dir string) (r *indexRecord, wait <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r = x.record(dir)
	switch {
	case r.loading != nil:
		return nil, r.loading
	case x.off, r.foreign, !r.asked.IsZero() && x.now().Sub(r.asked) < indexAge:
		return nil, nil
	}
	r.loading = make(chan struct{})
	return r, nil
}

// loaded notes what came of it; not settled: it is as if nobody had asked.
func (x *attrIndex) loaded(r *indexRecord, table *attrindex.Table, etag string, settled bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(r.loading)
	r.loading = nil
	if settled {
		r.asked = x.now()
	}
	if table != nil {
		x.replace(r, table, etag)
	}
}

// replace takes a table over: what it says too needs not be remembered beside
// it. It needs x.mu.
func (x *attrIndex) replace(r *indexRecord, table *attrindex.Table, etag string) {
	freed := r.table.Bytes()
	if table.Bytes()+r.bytes-freed > x.room.entries {
		table, r.foreign = nil, true // nor is it replaced by the less that is known here
		delete(x.due, r)
	}
	r.table, r.etag = table, etag
	for name, e := range r.learned {
		if stored, ok := table.Find(name); ok && stored == e {
			delete(r.learned, name)
			freed += entryOverhead + len(name)
		}
	}
	if x.dirs[r.dir] != r { // evicted meanwhile
		r.bytes = 0
		return
	}
	x.grow(r, table.Bytes()-freed)
}

// maxSealedIndex is the longest body of an index, in bytes: with a tag for each
// chunk, and a tail.
const maxSealedIndex = attrindex.MaxSize + attrindex.MaxSize/sigil.ChunkSize*sigil.TagSize + 1<<10

// readIndex reads the index of directory dir by one request. ErrNotExist: there
// is none. What is not an index is ErrCorrupt, one of another version ErrVersion.
func (v *Volume) readIndex(ctx context.Context, dir string) (table *attrindex.Table, etag string, err error) {
	key := v.indexKey(dir)
	err = v.unlocked(ctx, key, func(enc *objstore.Encryption) error {
		table, etag, err = v.readIndexAt(ctx, objstore.ID{Key: key, Encryption: enc})
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", key, err)
	}
	return table, etag, nil
}

func (v *Volume) readIndexAt(ctx context.Context, id objstore.ID) (*attrindex.Table, string, error) {
	known := v.knownOf(id.Key)
	info, _, from, err := v.opt.Store.Get(ctx, id, objstore.Range{})
	if err != nil {
		return nil, "", err
	}
	defer from.Close()
	if info.Size > maxSealedIndex {
		return nil, "", fmt.Errorf("%d bytes where at most %d are expected: %w", info.Size, maxSealedIndex, ErrCorrupt)
	}
	back, err := v.borrow(ctx, 2*info.Size)
	if err != nil {
		return nil, "", err
	}
	defer back()
	body := make([]byte, info.Size)
	if _, err := io.ReadFull(from, body); err != nil {
		return nil, "", err
	}
	o, err := v.decodeNow(ctx, info, body[max(0, len(body)-sigil.TailReadSize):], known)
	if err == nil {
		err = o.err
	}
	if err != nil {
		return nil, "", err
	}
	table, err := v.openIndex(ctx, o, body)
	return table, o.id.ETag, err
}

// openIndex opens the index o, of whose body as stored it is given all.
func (v *Volume) openIndex(ctx context.Context, o *object, body []byte) (*attrindex.Table, error) {
	f, sealed := o.form.(*sealedForm)
	if !sealed {
		return nil, ErrDowngrade
	}
	if err := f.ours(o); err != nil {
		return nil, err
	}
	plain := make([]byte, o.attr.Size)
	r, err := sigil.NewReader(f.rec, f.header, sigil.Bytes(body), o.length, v.frames)
	if err == nil && len(plain) > 0 {
		_, err = r.ReadAt(ctx, plain, 0)
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = r.Verify(ctx)
	}
	if err != nil {
		return nil, err
	}
	table, err := attrindex.Parse(plain)
	switch {
	case errors.Is(err, attrindex.ErrVersion):
		return nil, fmt.Errorf("%w: %w", ErrVersion, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return table, nil
}

// loadIndexes loads those of directories that were listed ahead, where somebody
// looks at one entry after the other. What is under way when ctx ends goes on:
// the walk does.
func (v *Volume) loadIndexes(ctx context.Context, g *errgroup.Group, dirs []*treeDir) {
	if !v.index.going() {
		return
	}
	for _, d := range dirs {
		dir := strings.TrimSuffix(strings.TrimPrefix(d.prefix, v.opt.Prefix), "/")
		if ctx.Err() != nil || len(d.entries) < 3 || v.checkPath(dir) != nil { // the marker is one of them
			continue
		}
		g.Go(func() error {
			ctx, end := v.trees.loads.begin(context.WithoutCancel(ctx))
			defer end()
			v.loadIndex(ctx, dir)
			return nil
		})
	}
}
