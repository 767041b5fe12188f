package volume

import (
	"context"
	"errors"
	"fmt"
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

	mu   sync.Mutex // guards all below, and the refs of copies
	all  map[string]*localCopy
	idle []*localCopy // nobody reads them; used longest ago first
	end  bool         // close has begun
}

// localCopy is one of them. file, text and err are set before ready is closed.
type localCopy struct {
	body  string
	refs  int
	ready chan struct{}
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
	return read(l.text)
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
		l = &localCopy{body: c.obj.body, refs: 1, ready: make(chan struct{})} // the reference of who makes it
		k.all[l.body] = l
		k.tasks.Add(1)
		go k.make(context.WithoutCancel(ctx), l, c, env)
	}
	if l.refs == 0 {
		k.wake(l)
	}
	l.refs++
	return l
}

// wake takes l from the idle ones. It needs k.mu.
func (k *copies) wake(l *localCopy) {
	for i, other := range k.idle {
		if other == l {
			k.idle = append(k.idle[:i], k.idle[i+1:]...)
			return
		}
	}
}

// put gives a reference back.
func (k *copies) put(l *localCopy) {
	k.mu.Lock()
	l.refs--
	free := l.refs == 0
	if free && k.all[l.body] == l {
		k.idle = append(k.idle, l)
		free = false
	}
	k.mu.Unlock()
	if free {
		l.close()
	}
}

func (l *localCopy) close() {
	if l.file != nil {
		_ = l.file.Close() // it has no name: its space is free in any case
	}
}

// make fetches and verifies, on the mount's time: who asked first may be
// interrupted, and others wait.
func (k *copies) make(ctx context.Context, l *localCopy, c *content, env *s3ec.Envelope) {
	defer k.tasks.Done()
	ctx, end := k.v.work.begin(ctx)
	defer end()
	defer k.put(l)
	defer close(l.ready)
	l.err = k.fill(ctx, l, c, env)
	if l.err != nil {
		k.forget(l)
	}
}

// forget takes l from those that are found.
func (k *copies) forget(l *localCopy) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all[l.body] == l {
		delete(k.all, l.body)
	}
}

func (k *copies) fill(ctx context.Context, l *localCopy, c *content, env *s3ec.Envelope) error {
	opener, err := s3ec.Unwrap(ctx, env, k.v.opt.S3ECKeys, k.v.rule(c.obj.id.Key).Reading)
	if err != nil {
		return err
	}
	if l.file, err = k.fetch(ctx, c); err != nil {
		return err
	}
	l.text, err = opener.Open(ctx, l.file, c.obj.length)
	return err
}

// fetch brings a body here, and makes room for it.
func (k *copies) fetch(ctx context.Context, c *content) (*scratch.File, error) {
	if !k.budget.Fits(c.obj.length) {
		return nil, fmt.Errorf("a body of %d bytes has to be verified here before it is read, and does not fit into %d bytes of scratch space: %w",
			c.obj.length, k.budget.Limit(), ErrTooLarge)
	}
	for {
		f, err := scratch.New(k.dir, k.budget)
		if err != nil {
			return nil, err
		}
		if err = c.stream(ctx, f); err == nil {
			err = f.Finish()
		}
		if err == nil {
			return f, nil
		}
		_ = f.Close() // see above
		if !errors.Is(err, scratch.ErrFull) {
			return nil, err
		}
		if !k.evict() {
			return nil, fmt.Errorf("%w: %w", ErrSpoolFull, err)
		}
	}
}

// evict frees the copy that nobody has used for longest. False: all are in use.
func (k *copies) evict() bool {
	k.mu.Lock()
	if len(k.idle) == 0 {
		k.mu.Unlock()
		return false
	}
	l := k.idle[0]
	k.idle = k.idle[1:]
	delete(k.all, l.body)
	k.mu.Unlock()
	l.close()
	return true
}

// close waits for those that are being made and frees all. Nobody asks for one
// any more.
func (k *copies) close() {
	k.mu.Lock()
	k.end = true
	k.mu.Unlock()
	k.tasks.Wait()
	for k.evict() {
	}
}
