package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sync/errgroup"
)

// errNoStream: the file is to be written as a whole.
var errNoStream = errors.New("nothing of it was uploaded")

// close stops the stream for a commit, which has what is there now: the gate is
// held.
func (st *stream) close() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.state == ended {
		return
	}
	st.state = closing
	for _, p := range st.parts {
		p.anew, p.stale = p.anew || p.stale, false
	}
}

// reopen takes that back.
func (st *stream) reopen() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.state != closing {
		return
	}
	st.state = beginning
	if st.begun {
		st.state = running
	}
	for _, p := range st.parts {
		p.anew, p.stale = false, p.anew || p.stale
	}
}

// stop aborts the upload.
func (st *stream) stop(ctx context.Context) {
	st.ending.Lock()
	defer st.ending.Unlock()
	st.abort(ctx)
}

// abort needs st.ending.
func (st *stream) abort(ctx context.Context) {
	if !st.finished() {
		return
	}
	st.flights.Wait()
	if st.up != nil {
		_ = st.up.giveUp(ctx, nil)
	}
	st.f.forgetStream(st)
}

// finished ends the life of st but for its upload; false: it had ended before.
func (st *stream) finished() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.state == ended {
		return false
	}
	st.state = ended
	for cancel := range st.cancels {
		(*cancel)()
	}
	if st.pending != nil {
		st.content.Release()
		st.pending = nil
	}
	return true
}

// finish sends what is left of s, which d is of, and completes the upload.
// What a Complete was sent for is not changed any more (it may have been done):
// the same is tried again then.
func (st *stream) finish(ctx context.Context, s *snapshot, base *object, d draft) (*object, error) {
	st.ending.Lock()
	defer st.ending.Unlock()
	st.flights.Wait()
	whole := !st.isDropped() // none is dropped any more
	if whole && (st.err != nil || st.path != s.path) {
		return nil, st.giveWay(ctx, s)
	}
	o, err := st.conclude(ctx, s, base, d)
	if whole && errors.Is(err, objstore.ErrNoUpload) {
		return nil, st.giveWay(ctx, s)
	}
	return o, err
}

// giveWay has s written as a whole; st.ending is held.
func (st *stream) giveWay(ctx context.Context, s *snapshot) error {
	st.abort(ctx)
	s.stream = nil
	return errNoStream
}

// conclude is finish of a stream that can be finished.
func (st *stream) conclude(ctx context.Context, s *snapshot, base *object, d draft) (*object, error) {
	if st.path != s.path {
		return nil, fmt.Errorf("%q: was %q when its upload began: %w", s.path, st.path, errGone)
	}
	d.key, d.rule, d.mark, d.want = st.draft.key, st.draft.rule, st.draft.mark, st.draft.want
	d.only = d.only || st.isDropped()
	if st.last == nil {
		w, err := st.complement(ctx, s, d)
		if err != nil {
			return nil, err
		}
		st.last = w
	}
	st.last.behind = st.flow.behind(d)
	d.announce(st.last)
	o, err := st.complete(ctx, d)
	if err != nil {
		return nil, err
	}
	return st.follow(ctx, s, base, o, d)
}

// complement sends what is not up as it is in s.
func (st *stream) complement(ctx context.Context, s *snapshot, d draft) (w *stored, err error) {
	src := uploaded{s.data}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelParts)
	send := func(i int, l load, done func()) {
		g.Go(func() error {
			defer l.done()
			err := st.up.Part(ctx, i+1, l, l.size)
			if err == nil {
				done()
			}
			return err
		})
	}
	err = st.sealAgain(ctx, src, send)
	if err == nil {
		w, err = st.sealRest(ctx, src, d, send)
	}
	if failed := g.Wait(); failed != nil {
		return nil, failed
	}
	return w, err
}

// sealAgain sends the parts that changed, or failed.
func (st *stream) sealAgain(ctx context.Context, src sigil.ReaderAt, send func(int, load, func())) error {
	st.mu.Lock()
	parts := append([]*part(nil), st.parts...)
	st.mu.Unlock()
	for i, p := range parts {
		st.mu.Lock()
		good := p.there && !p.anew
		p.there = good
		st.mu.Unlock()
		if good {
			continue
		}
		l, err := st.flow.seal(ctx, src, p.off, p.n)
		if err != nil {
			return err
		}
		send(i, l, func() {
			st.mu.Lock()
			defer st.mu.Unlock()
			p.there, p.anew = true, false
		})
	}
	return nil
}

// sealRest sends what comes after them.
func (st *stream) sealRest(ctx context.Context, src sigil.ReaderAt, d draft, send func(int, load, func())) (*stored, error) {
	st.mu.Lock()
	i, off := len(st.parts), st.end()
	st.reach = max(st.reach, d.attr.Size)
	st.mu.Unlock()
	least := ((d.attr.Size-off)/int64(objstore.MaxParts-i-1)/sigil.SegmentSize + 1) * sigil.SegmentSize
	for n := max(st.cut(i), least); off+n < d.attr.Size; n = max(st.cut(i), least) {
		l, err := st.flow.seal(ctx, src, off, n)
		if err != nil {
			return nil, err
		}
		send(i, l, func() {})
		i, off = i+1, off+n
	}
	w, l, err := st.flow.finish(ctx, st.v, d, src, off)
	if err == nil && l.size > 0 {
		send(i, l, func() {})
	}
	return w, err
}

// complete makes the object. Where the upload is gone, it looks whether it was
// that which made it.
func (st *stream) complete(ctx context.Context, d draft) (*object, error) {
	v := st.v
	if err := v.guard(ctx, v.opt.Capabilities.UploadConditions, d.key, d.cond); err != nil {
		return nil, err
	}
	got, err := st.up.Complete(ctx, d.cond)
	o, failed := v.settle(ctx, d, st.last, got, err)
	if errors.Is(failed, objstore.ErrNoUpload) {
		if _, herr := v.head(ctx, d.key); herr != nil && !errors.Is(herr, ErrNotExist) {
			failed = fmt.Errorf("whether an upload was completed is not known: %w (%v)", objstore.ErrUnknown, herr) //nolint:errorlint // it is not gone as long as that is so
		}
	}
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		_ = st.up.giveUp(ctx, nil)
	} else {
		st.up.erase(ctx)
	}
	return o, nil
}

// follow writes the attributes that were fixed too early, by a metadata copy.
// If that fails s knows it: content and name are right.
func (st *stream) follow(ctx context.Context, s *snapshot, base, o *object, d draft) (*object, error) {
	older := base != nil && base.version() >= o.version() && o.version() > 0
	if !st.flow.behind(d) && !older {
		return o, nil
	}
	n, err := st.v.restate(ctx, o, o.id.Key, objstore.Condition{IfMatch: o.id.ETag}, func(r *draft) {
		r.attr, r.xat, r.above, r.announce = d.attr, d.xat, append(r.above, base), d.announce
	})
	switch {
	case err == nil:
		return n, nil
	case conflict(err), errors.Is(err, ErrNotExist): // another host has replaced it already
		return o, nil
	}
	s.behind = fmt.Errorf("attributes of %q: %w", s.path, err)
	return o, nil
}

// streamFailed decides what becomes of the stream of s after a commit that
// failed with err. As long as all the content is still here it ends, and the
// next commit sends all anew; else it stays, unless nothing can come of it any
// more: errGone.
func (f *File) streamFailed(ctx context.Context, s *snapshot, data *spool.Snapshot, err error) error {
	st := s.stream
	st.ending.Lock()
	defer st.ending.Unlock()
	switch {
	case !st.isDropped() || s.kept != nil: // or all of it is in the base
		st.abort(ctx)
		s.stream = nil
		return err
	case conflict(err), errors.Is(err, objstore.ErrNoUpload), errors.Is(err, errGone):
		return f.lose(ctx, s, err)
	}
	if st.last == nil {
		st.reopen()
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pending, st.content, s.held = s, data, true
	return err
}

// lose gives up what was written: f is none of the volume's files any more, and
// says so to all who have it open.
func (f *File) lose(ctx context.Context, s *snapshot, cause error) error {
	s.stream.abort(ctx)
	err := fmt.Errorf("commit %q: %w: %w", s.path, errGone, cause)
	f.v.opt.Log.WithField("path", s.path).WithError(cause).
		Error("a file larger than the spool could not be committed; what was written to it is gone")
	if conflict(cause) {
		f.v.conflicts.Add(1)
	}
	f.v.detach(f)
	f.v.forget(s.path)
	f.mu.Lock()
	data := f.data
	f.growth.lost, f.growth.fresh = err, false
	f.fail, f.done, f.data = err, f.seq, nil
	f.mu.Unlock()
	if rerr := data.Remove(); rerr != nil {
		f.v.opt.Log.WithError(rerr).Warn("spool file could not be removed")
	}
	f.v.retire(f)
	return err
}

// resumeStream tries a Complete again that failed.
func (f *File) resumeStream(ctx context.Context) error {
	st := f.streamOf()
	if st == nil {
		return nil
	}
	st.mu.Lock()
	s, data := st.pending, st.content
	st.mu.Unlock()
	if s == nil {
		return nil
	}
	f.hold()
	return f.commitSnapshot(ctx, s, data)
}

// lagging makes attributes due that did not follow s, which o holds.
func (f *File) lagging(s *snapshot, o *object) error {
	if s.behind == nil {
		return nil
	}
	a := s.attr
	c := Change{Mode: &a.Mode, UID: &a.UID, GID: &a.GID, Mtime: &a.Mtime, Ctime: &a.Ctime, Xattrs: map[string][]byte{}}
	for name := range o.xat {
		c.Xattrs[name] = nil
	}
	maps.Copy(c.Xattrs, s.xat)
	f.mu.Lock()
	f.due = c.then(f.due)
	f.seq++
	f.mu.Unlock()
	return f.postpone(s.behind)
}

// settleGrowth is called when s has been published. It needs f.mu.
func (f *File) settleGrowth(s *snapshot) {
	g := &f.growth
	g.fresh, g.ours = g.fresh && g.cuts != s.cuts, true
	if s.stream != nil && g.stream == s.stream {
		g.stream = nil
	}
}

// hold keeps streams of f from beginning until thaw, as freeze does.
func (f *File) hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.growth.frozen++
}

// thaw is called when what freeze gave is committed, or is not to be.
func (f *File) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.growth.frozen--
}

// still holds files whose names are about to change until end is called. Who
// waits for room in the spool meanwhile goes on then.
func (v *Volume) still(files []*File) (end func()) {
	moved := v.room.begin()
	for _, f := range files {
		f.hold()
	}
	return func() {
		for _, f := range files {
			f.thaw()
		}
		moved()
	}
}

// stopStream ends what is uploaded of a file that no commit will come to. shut:
// nothing else begins.
func (f *File) stopStream(ctx context.Context, shut bool) {
	f.mu.Lock()
	st := f.growth.stream
	f.growth.shut = f.growth.shut || shut
	f.mu.Unlock()
	if st != nil {
		st.stop(ctx)
	}
}

// stopStreams is the end of the mount.
func (v *Volume) stopStreams(ctx context.Context) {
	for _, f := range v.allFiles() {
		if st := f.streamOf(); st != nil && st.isDropped() {
			v.opt.Log.WithField("path", f.Path()).
				Error("a file larger than the spool is not complete at the end of the mount: what was uploaded of it is gone, the rest is kept")
		}
		f.stopStream(ctx, true)
	}
}

// putStream is putSnapshot for what goes up already; errNoStream: it does not.
func (v *Volume) putStream(ctx context.Context, s *snapshot, base *object, d draft) (*object, error) {
	if s.stream == nil || v.opt.ReadOnly {
		return nil, errNoStream
	}
	return s.stream.finish(ctx, s, base, d)
}

// bringBack commits f, whose path is held, where its content is not whole here
// and nobody could read it any more once its name has gone.
func (f *File) bringBack(ctx context.Context) error {
	st := f.streamOf()
	if st == nil || !st.isDropped() {
		return nil
	}
	err := f.commit(ctx)
	if errors.Is(err, errGone) {
		return nil // nothing is left to be kept
	}
	return err
}
