package volume

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Close commits what is dirty and was closed, and waits for the background.
// A file that is still open is never committed half-written: like what fails,
// it stays in the spool, sealed, with a note of what it is, and is named in the
// error. From then on no File takes or gives dirty data. When ctx ends, commits
// that are under way are torn.
func (v *Volume) Close(ctx context.Context) error {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil
	}
	v.closed = true
	v.mu.Unlock()
	defer context.AfterFunc(ctx, v.work.tear)()
	close(v.stop)
	if v.endReplay != nil {
		v.endReplay()
	}
	v.walks.close()
	v.trees.close()
	v.done.Wait()
	err := errors.Join(v.commitAll(ctx), v.commitDirs(ctx, ""))
	v.stopStreams(ctx)
	err = errors.Join(err, v.keepAll())
	v.copies.close()
	v.doomOpen()
	err = errors.Join(err, v.doChores(ctx))
	v.writeIndexes(ctx)
	return err
}

// keepAll ends the use of the spool. Its error names what is dirty for no
// other reason than that it is open.
func (v *Volume) keepAll() error {
	var errs []error
	for _, f := range v.allFiles() {
		errs = append(errs, f.keep())
	}
	return errors.Join(errs...)
}

// keep leaves dirty content in the spool, for a recovery, and drops what
// nobody can want: of a file that is unlinked, or clean.
func (f *File) keep() error {
	f.mu.Lock()
	data, fail, path := f.data, f.fail, f.path
	dirty := f.seq != f.done && !f.gone && !f.onlyAttrs()
	f.mu.Unlock()
	switch {
	case data == nil:
		return nil
	case !dirty:
		return data.Remove()
	}
	f.leave(data)
	err := data.Close()
	if fail == nil || f.v.inUse(f) { // else the commit that failed has named it
		err = errors.Join(fmt.Errorf("%q: %w: what was written is kept, not committed", path, errOpen), err)
	}
	return err
}

// errOpen: nobody has closed the file, so it may be half-written.
var errOpen = errors.New("still open")

// doomOpen gives up the unlinked bodies that somebody still has open, but for
// those that lie under what is kept: the next mount removes them.
func (v *Volume) doomOpen() {
	for _, f := range v.allFiles() {
		f.mu.Lock()
		doom := f.doom
		if len(f.loans) > 0 {
			doom = ""
		}
		f.doom = ""
		f.mu.Unlock()
		if doom != "" {
			v.condemn(doom)
		}
	}
}

// works is what runs on the mount's time, not on a caller's: an interrupt of
// whoever asked for it must not tear it, the end of the mount may.
type works struct {
	mu   sync.Mutex // guards what follows
	ends map[*context.CancelFunc]struct{}
	torn bool
}

// begin gives the context of a work; end must be called when it is done.
func (w *works) begin(ctx context.Context) (work context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.torn {
		cancel()
	}
	if w.ends == nil {
		w.ends = map[*context.CancelFunc]struct{}{}
	}
	w.ends[&cancel] = struct{}{}
	return ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ends, &cancel)
		cancel()
	}
}

// tear ends all that runs, and all that begins later.
func (w *works) tear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.torn = true
	for cancel := range w.ends {
		(*cancel)()
	}
}

// leaving runs op, which is not torn by the end of ctx, and waits for it as long
// as ctx lives: then left is true, the error that of ctx, and op goes on until
// the end of the mount at the latest.
func (v *Volume) leaving(ctx context.Context, op func() error) (left bool, err error) {
	v.mu.Lock()
	if ctx.Done() == nil || v.closed {
		v.mu.Unlock()
		return false, op()
	}
	v.done.Add(1)
	v.mu.Unlock()
	result := make(chan error, 1)
	go func() {
		defer v.done.Done()
		result <- op()
	}()
	select {
	case err = <-result:
		return false, err
	case <-ctx.Done():
		return true, ctx.Err()
	}
}
