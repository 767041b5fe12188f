package volume

import (
	"context"
	"errors"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// enter announces a change of [off, end) before it is made; leave ends it.
// Content that may be streamed changes under the gate, in shared mode: who
// seals or commits it meets no half of a change.
func (f *File) enter(off, end int64) (leave func(), err error) {
	f.gate.RLock()
	f.mu.Lock()
	fresh, st, lost := f.growth.fresh, f.growth.stream, f.growth.lost
	f.mu.Unlock()
	switch {
	case lost != nil:
		err = lost
	case !fresh: // it may wait for the store
		f.ungated.Add(1)
		f.gate.RUnlock()
		return func() { f.ungated.Add(-1) }, nil
	case st != nil:
		err = st.touch(off, end)
	}
	if err != nil {
		f.gate.RUnlock()
		return nil, err
	}
	return f.gate.RUnlock, nil
}

// change makes op, which changes [off, end) of the content and may be
// repeated. Where the spool is full it waits as long as something is under way
// that may free room. What was dropped is committed first, as by an fsync.
func (f *File) change(ctx context.Context, data *spool.File, off, end int64, op func() error) error {
	for overtaken := 0; ; {
		changed := f.v.room.watch()
		err := f.changeOnce(data, off, end, op)
		switch {
		case errors.Is(err, errDropped) && overtaken < maxOvertaken:
			overtaken++
			if err := f.Commit(ctx); err != nil {
				return err
			}
		case errors.Is(err, ErrSpoolFull):
			if err := f.awaitRoom(ctx, changed, err); err != nil {
				return err
			}
		case err == nil:
			f.wroteAt(off, end)
			f.advance(context.WithoutCancel(ctx), false)
			return nil
		case errors.Is(err, spool.ErrClosed) && f.v.ended():
			return ErrClosed
		default:
			return err
		}
	}
}

func (f *File) changeOnce(data *spool.File, off, end int64, op func() error) error {
	leave, err := f.enter(off, end)
	if err != nil {
		return err
	}
	defer leave()
	if err := f.begin(data); err != nil {
		return err
	}
	err = f.again(op)
	f.changed(err == nil)
	return err
}

// wroteAt moves the front of what was written in order. Blocks that were
// written ahead of it count when it meets them.
func (f *File) wroteAt(off, end int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := &f.growth
	if !g.fresh || f.data == nil || off > g.front || end <= g.front {
		return
	}
	g.front = end
	if kind, next := f.data.Extent(end); kind == spool.Data {
		g.front = next
	}
}

// awaitRoom returns when a write to the full spool may be tried again, or with
// the reason why it may not.
func (f *File) awaitRoom(ctx context.Context, changed <-chan struct{}, full error) error {
	v := f.v
	before := v.opt.Spool.Used()
	v.press(context.WithoutCancel(ctx), true)
	if v.opt.Spool.Used() < before {
		return nil
	}
	select {
	case <-changed:
		return nil
	default:
	}
	if v.ended() {
		return ErrClosed
	}
	if v.room.idle() {
		return f.spill(ctx, before, full)
	}
	select {
	case <-changed:
		return nil
	case <-v.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spill commits what is there, for room, where content of f has been published
// before its end already, or only a commit helps.
func (f *File) spill(ctx context.Context, before int64, full error) error {
	f.mu.Lock()
	ours, st := f.growth.ours && f.seq != f.done, f.growth.stream
	f.mu.Unlock()
	if !ours && (st == nil || !st.isDropped()) {
		return full
	}
	if err := f.Commit(ctx); err != nil {
		return err
	}
	if f.v.opt.Spool.Used() < before {
		return nil
	}
	return full
}

func (st *stream) isDropped() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.dropped
}

// reading repeats op, which reads content: what was dropped is committed
// first.
func (f *File) reading(ctx context.Context, op func() error) (err error) {
	for range maxOvertaken {
		if err = f.again(op); !errors.Is(err, errDropped) {
			return err
		}
		if err := f.Commit(ctx); err != nil {
			return err
		}
	}
	return err
}

// absent tells whether [off, end) has been uploaded and dropped, and is not
// committed.
func (f *File) absent(off, end int64) bool {
	st := f.streamOf()
	return st != nil && st.missing(off, end)
}

// shorten truncates data to size, which may be longer too. A stream that has
// sent more cannot go on: what it dropped is committed first, else it ends.
func (f *File) shorten(ctx context.Context, data *spool.File, size int64) error {
	for range maxOvertaken {
		leave, err := f.enter(size, 0) // what was sent stays as it is
		if err != nil {
			return err
		}
		st := f.streamOf()
		if st == nil || st.outlives(size) {
			defer leave()
			if err := f.begin(data); err != nil {
				return err
			}
			err := data.Truncate(size)
			f.shortened(size, err)
			f.changed(err == nil)
			return err
		}
		leave()
		if size > 0 && st.isDropped() {
			if err := f.Commit(ctx); err != nil {
				return err
			}
			continue
		}
		st.stop(ctx)
	}
	return errOvertaken
}

// outlives tells whether st may go on after a truncation to size. To a commit
// that has taken what is there it does not matter, and if that fails, a stream
// that has dropped nothing ends.
func (st *stream) outlives(size int64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return size >= st.reach && size > sigil.SegmentSize || st.state == closing && !st.dropped || st.state == ended
}

func (f *File) shortened(size int64, err error) {
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	g := &f.growth
	g.front = min(g.front, size)
	if size == 0 {
		g.fresh = true
		g.cuts++
	}
}
