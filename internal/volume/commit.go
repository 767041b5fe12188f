package volume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// Commit puts what is dirty into the bucket: nil means that content and
// attributes are there. A clean file costs nothing. The error of a commit that
// failed is given again by every later call until one succeeds; the data stays
// and Commit may be tried again. When ctx ends its caller goes, with that error,
// and the commit goes on.
func (f *File) Commit(ctx context.Context) error {
	return f.commitAs(ctx, false)
}

// commitClosed is Commit of what nobody has open: with a handle open it does
// nothing, lest a half-written file be put under its name.
func (f *File) commitClosed(ctx context.Context) error {
	if !f.v.inUse(f) {
		f.closing()
	}
	return f.commitAs(ctx, true)
}

func (f *File) commitAs(ctx context.Context, closed bool) error {
	if err := f.lostErr(); err != nil {
		return err
	}
	if !f.pending() {
		return nil
	}
	if f.v.opt.Passing {
		return f.commitOwn(ctx, closed)
	}
	left, err := f.v.leaving(ctx, func() error { return f.commitOwn(ctx, closed) })
	if left {
		return fmt.Errorf("commit %q: it goes on: %w", f.Path(), err)
	}
	return err
}

// commitOwn runs on the mount's time: only its end tears a commit. One that is
// Passing has none but its caller's.
func (f *File) commitOwn(ctx context.Context, closed bool) error {
	if !f.v.opt.Passing {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, end := f.v.work.begin(ctx)
	defer end()
	unlock, err := f.lockPath(ctx)
	if err == nil {
		defer unlock()
		err = f.commitHeld(ctx, closed)
	} else {
		err = fmt.Errorf("commit %q: %w", f.Path(), err)
	}
	if err != nil && ctx.Err() != nil && !f.v.opt.Passing {
		return fmt.Errorf("%w: %v", ErrClosed, err) //nolint:errorlint // nobody was interrupted
	}
	return err
}

// snapshot is what one commit is about: f as it was at one moment.
type snapshot struct {
	path  string
	shown string // to the user: of an inode one of its names
	seq   uint64
	attr  Attr
	xat   map[string][]byte
	base  *object
	src   *content
	excl  bool
	sent  []string // bodies of commits, this and earlier ones, whose outcome is unknown
	left  bool     // a removal of the base may have been done
	kept  *object  // what a commit wrote that is not as it should be
	data  frozen
	plain sigil.ReaderAt // the content: the snapshot itself, or a copy in memory

	borrowed bool // src is another file's, and may be so at any place

	opened int64 // ns

	announce func(s *snapshot, w *stored)       // before s is sent, as w
	jot      func(u uploading, over bool) error // as in draft

	cuts   uint64
	stream *stream // the content goes up already
	held   bool    // the stream keeps the snapshot
	behind error   // why attributes did not follow
}

// frozen is content that does not change: a spool.Snapshot, or what a dead
// process left.
type frozen interface {
	Size() int64
	Extent(off int64) (spool.Kind, int64)
	ReadAt(p []byte, off int64, base spool.Fill) (int, error)
}

// ReadAt reads the plaintext of the snapshot. It is a sigil.ReaderAt.
func (s *snapshot) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return s.data.ReadAt(p, off, func(off int64, p []byte) error {
		if s.src == nil {
			return errGone
		}
		n, err := s.src.ReadAt(ctx, p, off)
		return filled(n, len(p), err)
	})
}

// freeze takes the snapshot; nil where there is nothing to commit. Else thaw
// follows.
func (f *File) freeze() (*snapshot, *spool.Snapshot, error) {
	f.gate.Lock()
	defer f.gate.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seq == f.done || f.gone {
		return nil, nil, nil
	}
	s := &snapshot{
		cuts: f.growth.cuts, stream: f.growth.stream,
		path: f.path, shown: f.shown(), seq: f.seq, attr: f.attr, xat: f.xat,
		base: f.base, excl: f.excl, sent: f.sent, left: f.left, opened: f.opened.UnixNano(),
		announce: f.announce, jot: f.jot,
	}
	s.src, s.borrowed = f.under()
	f.due = Change{} // the snapshot has them all
	if s.stream != nil {
		s.stream.close() // first: what it drops after the snapshot would be Sent for ever
	}
	data, err := f.data.Snapshot()
	s.data = data
	switch {
	case err == nil:
		f.growth.frozen++
	case s.stream != nil:
		s.stream.reopen()
	}
	return s, data, err
}

// commit needs the path of f held.
func (f *File) commit(ctx context.Context) error { return f.commitHeld(ctx, false) }

// commitHeld is commit, but with closed not of a file that somebody has open.
// That look comes after the snapshot: who opened f before it, wrote and has
// closed since, waits in that close for the path.
func (f *File) commitHeld(ctx context.Context, closed bool) error {
	if f.attrsOnly() {
		return f.commitAttr(ctx)
	}
	defer f.v.room.begin()() // from before a stream is halted until the spool has its blocks back
	if err := f.resumeStream(ctx); err != nil {
		return err
	}
	s, data, err := f.freeze()
	if err != nil {
		return f.failed(fmt.Errorf("commit %q: %w", f.Path(), err))
	}
	if s == nil {
		return nil
	}
	defer func() {
		if !s.held {
			data.Release()
		}
	}()
	if closed && f.v.inUse(f) {
		f.thaw()
		if s.stream != nil {
			s.stream.reopen()
		}
		return nil
	}
	return f.commitSnapshot(ctx, s, data)
}

// commitSnapshot writes and publishes s, which is of data; the path of f is
// held, and f frozen until then.
func (f *File) commitSnapshot(ctx context.Context, s *snapshot, data *spool.Snapshot) error {
	defer f.thaw() // before who waits for room looks whether there is a way to it
	src, unload, err := f.v.load(ctx, s)
	if err != nil {
		return f.failed(fmt.Errorf("commit %q: %w", s.path, err))
	}
	defer unload()
	s.plain = src
	o, err := f.overwrite(ctx, s)
	f.stand(s.kept)
	f.doubt(s)
	if err != nil && s.stream != nil {
		if err = f.streamFailed(ctx, s, data, err); errors.Is(err, errGone) {
			return err
		}
	}
	if conflict(err) {
		if linked, err := f.commitLinked(ctx, s); linked {
			return err
		}
	}
	if conflict(err) && f.v.opt.OnConflict == ConflictCopy {
		return f.yield(ctx, s, data, err)
	}
	if err != nil {
		return f.failed(fmt.Errorf("commit %q: %w", s.path, err))
	}
	return f.committed(ctx, s, data, o)
}

// overwrite is writeSnapshot, once what is lent of the base lies elsewhere.
func (f *File) overwrite(ctx context.Context, s *snapshot) (*object, error) {
	if err := f.yieldLoans(ctx, s.base, nil); err != nil {
		return nil, fmt.Errorf("what it held was copied to another file: %w", err)
	}
	return f.v.writeSnapshot(ctx, s)
}

// conflict tells the failures that no further try mends: another host has the
// name.
func conflict(err error) bool { return errors.Is(err, ErrChanged) || errors.Is(err, ErrExist) }

// writeSnapshot writes s under the condition that it is owed.
func (v *Volume) writeSnapshot(ctx context.Context, s *snapshot) (*object, error) {
	base := s.base
	for range maxRetries {
		o, err := v.putSnapshot(ctx, s, base)
		if !conflict(err) {
			return o, err
		}
		if base, err = v.overtake(ctx, s, base, err); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%q: replaced again and again: %w", s.path, ErrChanged)
}

// stand makes o, which holds what a commit wrote though it is not as it should
// be, what f goes on from: what was unchanged is nowhere else any more.
func (f *File) stand(o *object) {
	if o == nil {
		return
	}
	src, err := f.v.contentOf(o)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base, f.src = o, src
}

// maxSent bounds the bodies of unknown outcome that are remembered of a file.
const maxSent = 64

// doubt remembers bodies that may be in the store although no answer said so,
// and whether the base may be gone.
func (f *File) doubt(s *snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent, f.left, f.sending = s.sent[max(0, len(s.sent)-maxSent):], s.left, nil
}

// maxRetries bounds how often an operation begins anew because another host
// was faster.
const maxRetries = 5

// draftOf begins the draft of s over base.
func (v *Volume) draftOf(s *snapshot, base *object) draft {
	d := draft{key: v.fileKey(s.path), attr: s.attr, xat: s.xat, class: v.newClass(v.fileKey(s.path), s.attr.Mode), above: []*object{base}}
	d.cond.IfNone = base == nil
	if base != nil {
		d.class, d.system, d.cond.IfMatch = base.class, base.contentType(), base.id.ETag
	}
	if isInodePath(s.path) {
		d.rule, d.attr.Nlink = v.ruleOf(base), base.attr.Nlink
	}
	return d
}

// putSnapshot writes s over base.
func (v *Volume) putSnapshot(ctx context.Context, s *snapshot, base *object) (*object, error) {
	d := v.draftOf(s, base)
	d.src, d.attr.Size, d.jot = s.plain, s.data.Size(), s.jot
	d.older = v.isOlder(base) || s.src != nil && v.isOlder(s.src.obj)
	switch {
	case s.borrowed:
		d.base, d.same, d.above = s.src, s.same(), append(d.above, s.src.obj)
	case base != nil && base == s.base:
		d.base, d.same, d.only = s.src, s.same(), s.needsBase()
	}
	var marks []string
	d.announce = func(w *stored) {
		marks = w.marks()
		s.announce(s, w)
	}
	o, err := v.putStream(ctx, s, base, d)
	switch {
	case !errors.Is(err, errNoStream):
	case s.borrowed:
		o, err = v.putBorrowed(ctx, d)
	default:
		o, err = v.put(ctx, d)
	}
	if lost := (*unsettled)(nil); errors.As(err, &lost) {
		s.sent, s.left, s.kept = append(slices.Clip(s.sent), marks...), s.left || lost.left, lost.kept
	}
	return o, err
}

// overtake looks at why a write was refused. It gives what to write over
// instead (nil: nothing is there), where that is no lost update: an earlier try
// of our own, or a copy of ours that nobody heard of; what a removal of our own
// took whose answer was lost; what was there before a new file was opened
// without O_EXCL; under ConflictOverwrite anything.
func (v *Volume) overtake(ctx context.Context, s *snapshot, base *object, err error) (*object, error) {
	now, ferr := v.fetchOver(ctx, s)
	if ferr != nil && !errors.Is(ferr, ErrNotExist) {
		return nil, fmt.Errorf("%w (who was first is not known: %v)", ferr, err) //nolint:errorlint // no conflict as long as that is so
	}
	exists := errors.Is(err, ErrExist)
	ours := now.isOf(s.sent, s.attr.FileID) || v.isUnheard(now, base) && (base != nil || !s.excl)
	older := now != nil && exists && base == nil && !s.excl && v.precedes(ctx, now.seen, s.opened)
	gone := now == nil && s.left
	renamed := isInodePath(s.path) && base.same(now) // another host has changed its names
	if ours || older || gone || renamed || v.opt.OnConflict == ConflictOverwrite && !s.excl {
		return now, nil
	}
	if exists && !s.excl {
		return nil, fmt.Errorf("%w: another host made it first", ErrChanged)
	}
	return nil, err
}

// guard stands in for a condition where the server ignores them: it looks
// before the write. What comes between is lost; the mount has warned of that.
func (v *Volume) guard(ctx context.Context, honoured bool, key string, cond objstore.Condition) error {
	if honoured || cond == (objstore.Condition{}) {
		return nil
	}
	info, err := v.head(ctx, key)
	switch {
	case errors.Is(err, ErrNotExist) && cond.IfMatch == "":
		return nil
	case errors.Is(err, ErrNotExist):
		return fmt.Errorf("%s: %w", key, ErrChanged)
	case cond.IfNone && unopenable(err):
		return fmt.Errorf("%s: %w", key, ErrExist)
	case err != nil:
		return err
	case cond.IfNone:
		return fmt.Errorf("%s: %w", key, ErrExist)
	case cond.IfMatch != "" && cond.IfMatch != info.ETag:
		return fmt.Errorf("%s: %w", key, ErrChanged)
	}
	return nil
}

// committed publishes o as the base of f: what s held is clean now.
func (f *File) committed(ctx context.Context, s *snapshot, snap *spool.Snapshot, o *object) error {
	src, err := f.v.contentOf(o)
	if err != nil {
		return f.failed(err)
	}
	f.mu.Lock()
	f.base, f.src = o, src // before Settle: fills come from here then
	loan := f.repaid()
	f.settleGrowth(s)
	data := f.data
	f.mu.Unlock()
	if err := data.Settle(snap); err != nil {
		f.v.opt.Log.WithField("path", s.path).WithError(err).Warn("committed, but a recovery may offer the data once more")
	}
	loan.end()
	if s.base == nil {
		f.v.trees.changedIn(parent(s.path)) // before who lists it takes what was listed without it
	}
	f.v.publish(s.path, o, f.incarnation)
	if s.base != nil && s.base.instruction() && s.base.id.Key == o.id.Key {
		f.v.dropInstruction(context.WithoutCancel(ctx), o.id.Key, s.base)
	}
	if s.stream != nil {
		s.stream.finished()
	}
	f.mu.Lock()
	f.done, f.fail, f.excl, f.sent, f.sending, f.left, f.wait = s.seq, nil, false, nil, nil, false, retry{}
	f.whole = bodies{}
	f.mu.Unlock()
	f.dropNote(data)
	return f.lagging(s, o)
}

// failed remembers why the file is dirty still and writes down, durably, what
// a recovery must know of the data.
func (f *File) failed(err error) error {
	f.mu.Lock()
	f.fails(err)
	data := f.data
	f.mu.Unlock()
	if data != nil {
		f.leave(data)
	}
	return err
}

// yield gives way to the host that was first: the data is saved beside its
// file, and f goes on there. The path of f is held.
func (f *File) yield(ctx context.Context, s *snapshot, data *spool.Snapshot, cause error) error {
	cause = fmt.Errorf("commit %q: %w", s.path, cause)
	saved, o, err := f.v.saveBeside(ctx, s)
	if err != nil {
		return f.failed(errors.Join(cause, err))
	}
	f.v.rename(f, saved.path)
	f.renumber(saved.attr.FileID)
	f.v.forget(s.path)
	f.v.touch(saved.path)
	if err := f.committed(ctx, saved, data, o); err != nil {
		return err
	}
	return fmt.Errorf("%w; data saved as %q", cause, saved.path)
}

// saveBeside writes s under the name of a conflict copy.
func (v *Volume) saveBeside(ctx context.Context, s *snapshot) (*snapshot, *object, error) {
	saved := *s
	var err error
	if saved.path, err = v.conflictPath(s.shown); err != nil {
		return nil, nil, err
	}
	saved.shown = saved.path
	saved.attr.Nlink = 1
	if s.base != nil { // the name keeps its file id, under the other host's version
		saved.attr.FileID = newFileID()
	}
	o, err := v.putSnapshot(ctx, &saved, nil)
	if err != nil {
		return nil, nil, err
	}
	v.conflicts.Add(1)
	v.opt.Log.WithField("path", s.path).WithField("saved", saved.path).
		Warn("another host was first; the data written here was saved beside it")
	return &saved, o, nil
}

func (f *File) renumber(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attr.FileID = id
}

// conflictPath is NAME.conflict-HOST-TIME beside p, cut to what a name may be.
func (v *Volume) conflictPath(p string) (string, error) {
	name, err := v.nameOf(p)
	if err != nil {
		return "", err
	}
	suffix := fmt.Sprintf(".conflict-%s-%s", strings.ReplaceAll(v.opt.Host, "/", "_"), v.opt.Now().UTC().Format("20060102T150405.000000000Z"))
	most := v.longestName(p)
	if most < len(suffix) { // a name of the least length that nobody else has
		suffix = ".conflict-" + rand.Text()[:8]
	}
	return v.beside(p, v.shortened(name, most-len(suffix))+suffix)
}

var _ sigil.ReaderAt = (*snapshot)(nil)
