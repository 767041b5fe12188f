package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/sigilfs/sigilfs/cache/scratch"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// copies are bodies that one tag at their end authenticates: each is fetched
// whole into scratch space, once a version, verified, and then read from there
// as long as there is room. Safe for concurrent use.
type copies struct {
	v      *Volume
	dir    string
	budget *scratch.Budget
	tasks  sync.WaitGroup // those that make one

	mu    sync.Mutex // guards all below, and the refs of copies
	all   map[string]*localCopy
	idle  []*localCopy  // nobody reads them; used longest ago first
	taken int64         // of the budget, by those that are here and those that come
	freed chan struct{} // closed when some of it may be had again; nil while nobody waits
	end   bool          // close has begun
}

// maxIdle bounds the copies that nobody reads: each is an open file.
const maxIdle = 64

// localCopy is one of them. room, file, text and err are set before ready is
// closed.
type localCopy struct {
	body  string
	of    *content
	env   *s3ec.Envelope
	refs  int
	stop  context.CancelFunc // of who makes it
	ready chan struct{}
	room  int64 // of the budget
	file  *scratch.File
	text  *s3ec.Reader
	err   error
}

func newCopies(v *Volume, dir string, limit int64) *copies {
	return &copies{v: v, dir: dir, budget: scratch.NewBudget(limit), all: map[string]*localCopy{}}
}

// use lets read have the plaintext of c, which is fetched and verified first
// where that has not been done.
func (k *copies) use(ctx context.Context, c *content, env *s3ec.Envelope, read func(*s3ec.Reader) error) error {
	l := k.get(ctx, c, env)
	if l == nil {
		return ErrClosed
	}
	defer k.put(l)
	select {
	case <-l.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.err != nil {
		return l.err
	}
	err := read(l.text)
	if errors.Is(err, scratch.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// get gives the copy of c with a reference; a new one is being made. Nil: the
// volume is closed.
func (k *copies) get(ctx context.Context, c *content, env *s3ec.Envelope) *localCopy {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.end {
		return nil
	}
	l := k.all[c.obj.body]
	if l == nil {
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		l = &localCopy{body: c.obj.body, of: c, env: env, refs: 1, stop: stop, ready: make(chan struct{})} // the reference of who makes it
		k.all[l.body] = l
		k.tasks.Add(1)
		go k.make(ctx, l)
	}
	if l.refs == 0 {
		k.idle = slices.DeleteFunc(k.idle, func(other *localCopy) bool { return other == l })
	}
	l.refs++
	return l
}

// put gives a reference back.
func (k *copies) put(l *localCopy) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l.refs--
	switch {
	case l.refs > 0:
		return
	case k.all[l.body] == l && !k.end:
		k.idle = append(k.idle, l)
		if len(k.idle) > maxIdle {
			k.evict()
		}
		k.wake()
	default:
		k.free(l)
	}
}

// wake tells who waits for room. It needs k.mu.
func (k *copies) wake() {
	if k.freed != nil {
		close(k.freed)
		k.freed = nil
	}
}

// free gives back what l takes. It needs k.mu; nobody reads l.
func (k *copies) free(l *localCopy) {
	if l.file != nil {
		_ = l.file.Close() // it has no name: its space is free in any case
	}
	k.taken -= l.room
	k.wake()
}

// make fetches and verifies, on the mount's time: who asked first may be
// interrupted, and others wait.
func (k *copies) make(ctx context.Context, l *localCopy) {
	defer k.tasks.Done()
	defer l.stop()
	ctx, end := k.v.work.begin(ctx)
	defer end()
	defer k.put(l)
	defer close(l.ready)
	if l.err = k.fill(ctx, l); l.err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.forget(l)
		if k.end {
			l.err = fmt.Errorf("%w: %w", ErrClosed, l.err)
		}
	}
}

// forget takes l from those that are found. It needs k.mu.
func (k *copies) forget(l *localCopy) {
	if k.all[l.body] == l {
		delete(k.all, l.body)
	}
}

// drop has a body fetched again by who reads it next.
func (k *copies) drop(body string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.all[body]
	if l == nil {
		return
	}
	k.forget(l)
	if l.refs == 0 {
		k.idle = slices.DeleteFunc(k.idle, func(other *localCopy) bool { return other == l })
		k.free(l)
	}
}

func (k *copies) fill(ctx context.Context, l *localCopy) error {
	opener, err := k.unwrap(ctx, l)
	if err != nil {
		return err
	}
	if err := k.reserve(ctx, l, l.of.obj.length); err != nil {
		return err
	}
	if l.file, err = k.fetch(ctx, l.of); err != nil {
		return err
	}
	l.text, err = opener.Open(ctx, l.file, l.of.obj.length)
	return err
}

func (k *copies) unwrap(ctx context.Context, l *localCopy) (*s3ec.Opener, error) {
	return s3ec.Unwrap(ctx, l.env, k.v.opt.S3ECKeys, k.v.rule(l.of.obj.id.Key).Reading)
}

// recheck asks for the data key of each copy again, and drops those whose key
// is refused: the next read says why. It gives the first error that may pass;
// that takes nothing.
func (k *copies) recheck(ctx context.Context) error {
	k.mu.Lock()
	all := slices.Collect(maps.Values(k.all))
	k.mu.Unlock()
	var first error
	for _, l := range all {
		_, err := k.unwrap(ctx, l)
		switch {
		case err == nil:
		case unopenable(err):
			k.v.opt.Log.WithField("key", l.of.id.Load().Key).WithError(err).Warn("this object was read, and does not open any more")
			k.drop(l.body)
		case first == nil:
			first = fmt.Errorf("ask for the key of %s: %w", l.of.id.Load().Key, err)
		}
	}
	return first
}

// reserve takes room for a body of that length: copies that nobody reads make
// way, and then it waits for those that somebody does.
func (k *copies) reserve(ctx context.Context, l *localCopy, length int64) error {
	if !k.budget.Fits(length) {
		return fmt.Errorf("a body of %d bytes has to be verified here before it is read, and does not fit into %d bytes of scratch space: %w",
			length, k.budget.Limit(), ErrTooLarge)
	}
	room := scratch.Sealed(length)
	for {
		wait := k.tryReserve(l, room)
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryReserve gives what to wait for, nil where it is done.
func (k *copies) tryReserve(l *localCopy, room int64) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.taken+room > k.budget.Limit() {
		if !k.evict() {
			if k.freed == nil {
				k.freed = make(chan struct{})
			}
			return k.freed
		}
	}
	k.taken += room
	l.room = room
	return nil
}

// fetch brings a body here. Where the disk is full, copies that nobody reads
// make way.
func (k *copies) fetch(ctx context.Context, c *content) (*scratch.File, error) {
	for {
		f, err := scratch.New(k.dir, k.budget)
		if err != nil {
			return nil, err
		}
		if err = c.whole(ctx, f); err == nil {
			err = f.Finish()
		}
		if err == nil {
			return f, nil
		}
		_ = f.Close() // as in free
		if !errors.Is(err, scratch.ErrFull) {
			return nil, err
		}
		k.mu.Lock()
		evicted := k.evict()
		k.mu.Unlock()
		if !evicted {
			return nil, fmt.Errorf("%w: %w", ErrSpoolFull, err)
		}
	}
}

// whole gives w the body as stored: in one stream, or by the cache where that
// may have it from an earlier mount.
func (c *content) whole(ctx context.Context, w io.Writer) error {
	if !c.v.opt.Cache.Lasting() {
		return c.stream(ctx, w)
	}
	p := make([]byte, 1<<20)
	for off := int64(0); off < c.obj.length; {
		n, err := c.blob.ReadAt(ctx, p[:min(int64(len(p)), c.obj.length-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		if off += int64(n); n == 0 {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// evict frees the copy that nobody has used for longest. False: all are in use.
// It needs k.mu.
func (k *copies) evict() bool {
	if len(k.idle) == 0 {
		return false
	}
	l := k.idle[0]
	k.idle = k.idle[1:]
	k.forget(l)
	k.free(l)
	return true
}

// close ends what is being made and frees all, at once or with its last reader.
func (k *copies) close() {
	k.mu.Lock()
	k.end = true
	for _, l := range k.all {
		l.stop()
	}
	k.mu.Unlock()
	k.tasks.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.evict() {
	}
}
