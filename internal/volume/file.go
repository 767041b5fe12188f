package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/cache/spool"
)

// File is the content of one path, committed and not, shared by all who have
// it open. It is safe for concurrent use. Whoever moves or commits it holds
// its path in Volume.names.
type File struct {
	v           *Volume
	incarnation uint64
	opened      time.Time

	refs int // guarded by v.mu: handles, and loans; a dirty File lives on without

	grow    sync.Mutex // held by whoever moves the end, across a fill
	telling sync.Mutex // held while the note is written; before mu

	gate    sync.RWMutex // see enter; after grow
	ungated atomic.Int32 // changes under way that do not hold the gate

	mu    sync.Mutex // guards all below
	path  string
	via   string   // the name through which an inode was reached last
	gone  bool     // unlinked, or its path is another file's now
	sent  []string // bodies of commits whose outcome is unknown: one of them may be in the store
	left  bool     // a removal of it failed, but may have been done
	wait  retry    // for the next try in the background
	doom  string   // key to remove with the last handle: where an unlinked body went
	attr  Attr     // Size is data's where data is
	xat   map[string][]byte
	base  *object     // what is committed; nil for a new file
	src   *content    // its content; nil where base is
	ref   *loan       // what lies under data instead of src, unless growth.fresh; nil for none
	loans []*loan     // of its content
	data  *spool.File // overlay of what is not; nil until the first write
	excl  bool        // a new file that must not meet another
	seq   uint64      // changes so far
	done  uint64      // changes committed
	wrote uint64      // the last change of content
	due   Change      // those of attributes since the last snapshot
	fail  error       // of the last commit, until one succeeds

	failing time.Time // since when, if fail is not nil

	noted   noted
	writing int      // changes of the content under way
	shut    bool     // the last close has seen all of it
	sending []string // as sent, of the commit that is under way
	whole   bodies   // that hold all of it

	uploads []uploading // under way, and told of by the note alone

	growth growth
}

// holds tells whether obj is what f was made from. It needs no lock but f.mu.
func (f *File) holds(obj *object) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.base != nil && f.base.same(obj)
}

// dirty tells whether f holds content that is not committed, or attributes of it.
func (f *File) dirty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seq != f.done && !f.onlyAttrs()
}

// Path is where the file is now.
func (f *File) Path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.path
}

// Info tells the attributes as this host sees them now, dirty ones included.
// Nlink is 0 once the file is unlinked.
func (f *File) Info() Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.attr
	a.Incarnation, a.Nlink = f.incarnation, 1
	if f.base != nil {
		a.Nlink = max(f.base.attr.Nlink, 1)
	}
	if f.data != nil {
		a.Size = f.data.Size()
	}
	if f.gone {
		a.Nlink = 0
	}
	info := Info{Attr: a, Xattrs: f.xat}
	if f.base != nil {
		info.Sigil = f.v.show(f.base)
	}
	return info
}

// refresh takes what the store now says of a clean file. False: the body is
// another's. A dirty file keeps its own view.
func (f *File) refresh(obj *object) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seq != f.done && !f.onlyAttrs() {
		return true
	}
	if f.base == nil || !f.base.same(obj) {
		return false
	}
	if obj.err == nil && obj.newer(f.base) {
		f.rebase(obj)
	}
	return true
}

// rebase needs f.mu: obj has the body of f.base at a new place or under new
// attributes. Those that wait for a commit here stand.
func (f *File) rebase(obj *object) {
	f.base = obj
	f.src.moved(obj.id)
	f.carryLoans(obj)
	switch {
	case f.seq == f.done:
		f.adopt(obj)
	case f.onlyAttrs():
		f.adopt(obj)
		f.attr, f.xat = f.due.apply(f.attr, f.v.opt.Now()), changeXattrs(f.xat, f.due.Xattrs)
	}
}

// adopt needs f.mu: obj's attributes are the file's.
func (f *File) adopt(obj *object) {
	info := obj.info()
	f.attr, f.xat = info.Attr, info.Xattrs
}

// content gives the committed body as it is now, or that which was copied; nil
// for a file without one.
func (f *File) content() *content {
	f.mu.Lock()
	defer f.mu.Unlock()
	src, _ := f.under()
	return src
}

// ReadAt reads as io.ReaderAt does. A version that the store no longer has is
// ErrChanged.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	f.mu.Lock()
	data, lost := f.data, f.growth.lost
	f.mu.Unlock()
	if lost != nil {
		return 0, lost
	}
	if data == nil {
		return f.readBase(ctx, p, off)
	}
	err = f.reading(ctx, func() (err error) {
		n, err = data.ReadAt(p, off, f.fill(ctx))
		return err
	})
	return n, err
}

// readBase reads the committed content; where a commit or a rename of our own
// replaces or moves it meanwhile, from there.
func (f *File) readBase(ctx context.Context, p []byte, off int64) (int, error) {
	for {
		src := f.content()
		if src == nil {
			return 0, io.EOF
		}
		at := src.id.Load()
		n, err := src.ReadAt(ctx, p, off)
		if err == nil || !errors.Is(err, ErrChanged) {
			return n, err
		}
		if serr := f.settled(ctx); serr != nil {
			return 0, serr
		}
		if f.content() == src && src.id.Load() == at {
			return n, err
		}
	}
}

// settled waits for whoever moves or commits f: between the store's answer and
// the moment when it is published, the body seems to be gone.
func (f *File) settled(ctx context.Context) error {
	unlock, err := f.lockPath(ctx)
	if err == nil {
		unlock()
	}
	return err
}

// errOvertaken: what the spool said to be committed was truncated, rewritten
// and committed again before it was read.
var errOvertaken = fmt.Errorf("content was replaced while it was read: %w", io.ErrUnexpectedEOF)

// maxOvertaken bounds how often one call begins anew for that.
const maxOvertaken = 100

// again repeats op, which may be repeated, as long as it is overtaken.
func (f *File) again(op func() error) (err error) {
	for range maxOvertaken {
		if err = op(); !errors.Is(err, errOvertaken) {
			return err
		}
	}
	return err
}

// fill loads committed bytes for the spool. Bytes that a truncation has taken
// away since they were asked for are zeros.
func (f *File) fill(ctx context.Context) spool.Fill {
	return func(off int64, p []byte) error {
		if f.absent(off, off+int64(len(p))) {
			return errDropped
		}
		n, err := f.readBase(ctx, p, off)
		switch {
		case n == len(p):
			return nil
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case f.Info().Size > off+int64(n):
			return errOvertaken
		}
		clear(p[n:])
		return nil
	}
}

// filled makes of a read what a Fill owes: all or an error.
func filled(n, want int, err error) error {
	if n == want {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteAt writes p at off and extends the file where needed. ErrSpoolFull
// comes before anything is lost. When ctx ends while it waits for room, the
// count says how much of p is there beyond the old end.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.Info().Size {
		f.grow.Lock()
		defer f.grow.Unlock()
	}
	return f.writeAt(ctx, p, off)
}

// rule is that of the file's name.
func (f *File) rule() *Rule {
	if p := f.Path(); !isInodePath(p) {
		return f.v.rule(f.v.fileKey(p))
	}
	return f.v.ruleOf(f.committedAs())
}

// limit is how long the file may become, in bytes.
func (f *File) limit() int64 { return f.rule().scheme.limit() }

// writeAt is WriteAt; where the end may move, f.grow is held.
func (f *File) writeAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, ErrInvalid
	}
	if off > f.limit()-int64(len(p)) {
		return 0, ErrTooLarge
	}
	data, err := f.overlay(ctx)
	if err != nil {
		return 0, err
	}
	was := data.Size()
	err = f.change(ctx, data, off, off+int64(len(p)), func() error {
		return data.WriteAt(p, off, f.fill(context.WithoutCancel(ctx))) // half a write is none
	})
	if err != nil && ctx.Err() != nil {
		n := taken(was, data.Size(), off, len(p))
		f.wroteAt(off, off+int64(n))
		return n, err
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// taken is how much there is of n bytes that were written at off, in order, when
// that made a file of was bytes longer.
func taken(was, now, off int64, n int) int {
	if now <= max(was, off) {
		return 0
	}
	return int(min(now-off, int64(n)))
}

// Append writes p at the end, which does not move between the two.
func (f *File) Append(ctx context.Context, p []byte) (int, error) {
	f.grow.Lock()
	defer f.grow.Unlock()
	return f.writeAt(ctx, p, f.Info().Size)
}

// overlay gives the spool file of f, and makes one at the first write. Before
// it does, the size of what is committed is proved.
func (f *File) overlay(ctx context.Context) (*spool.File, error) {
	return f.overlayOver(func(src *content) error { return src.Verify(ctx) })
}

// overlayOver is overlay with another proof.
func (f *File) overlayOver(prove func(*content) error) (*spool.File, error) {
	f.mu.Lock()
	data, src, lost := f.data, f.src, f.growth.lost
	f.mu.Unlock()
	if data != nil || lost != nil {
		return data, lost
	}
	if f.v.opt.ReadOnly {
		return nil, ErrReadOnly
	}
	if f.v.ended() {
		return nil, ErrClosed
	}
	if err := prove(src); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data != nil {
		return f.data, nil
	}
	data, err := f.v.opt.Spool.NewFile(f.attr.Size)
	f.data, f.noted = data, noted{}
	return data, err
}

// changed counts a change of the content and moves its times; a write that
// failed may have changed some of it.
func (f *File) changed(whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing--
	f.seq++
	f.wrote = f.seq
	if whole {
		now := f.v.opt.Now().UnixNano()
		f.attr.Mtime, f.attr.Ctime = now, now
	}
}

// Truncate sets the size; growing gives zeros.
func (f *File) Truncate(ctx context.Context, size int64) error {
	if size > f.limit() {
		return ErrTooLarge
	}
	if size < 0 {
		return ErrInvalid
	}
	f.grow.Lock()
	defer f.grow.Unlock()
	return f.truncate(ctx, size)
}

// truncate is Truncate; f.grow is held. Who wants none of the content need not
// have it proved, nor fetched for that.
func (f *File) truncate(ctx context.Context, size int64) error {
	data, err := f.overlayOver(func(src *content) error {
		if size == 0 {
			return nil
		}
		return src.Verify(ctx)
	})
	if err != nil {
		return err
	}
	return f.shorten(ctx, data, size)
}
