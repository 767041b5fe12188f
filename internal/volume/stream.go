package volume

import (
	"context"
	"errors"
	"sort"
	"sync"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// A file that is written in order and keeps nothing of what was there before
// goes up while it is written: a stream. Its parts are whole segments, in the
// schedule of sigil.PartSegments. What was uploaded stays in the spool as long
// as there is room, and is dropped from there when there is not; so a file may
// be larger than the spool.

// streamFrom is how much of a file must have been written in order before its
// upload begins, in bytes: more than goes up in a single PUT.
const streamFrom = onePut + sigil.SegmentSize

// parallelSlots bounds the parts of all streams that are under way.
const parallelSlots = 2 * parallelParts

// growth is how a file is being written. It is guarded by File.mu.
type growth struct {
	fresh  bool   // nothing of the base is in the content
	cuts   uint64 // truncations to nothing
	front  int64  // what is before it was written in order
	stream *stream
	pause  retry // after an upload that could not begin
	shut   bool  // the mount ends: nothing begins any more
	ours   bool  // a commit has published content of this File before
	lost   error // what was dropped cannot be committed any more

	// frozen counts the commits of what was there before and the moves to
	// another name that are under way. A stream that began now would be told of
	// no change once the commit has ended, and go to the name of before the move.
	frozen int
}

// errDropped: the range was uploaded and is not here any more. After a commit
// it is in the base.
var errDropped = errors.New("content was uploaded and is not here any more")

// errGone: parts of the content were uploaded, dropped here, and can not be
// made an object.
var errGone = errors.New("what was uploaded of the file is gone")

// stream is the upload of one file while it is written. Its lock comes after
// File.gate and File.mu, and before the spool's.
type stream struct {
	f     *File
	v     *Volume
	data  *spool.File
	path  string
	draft draft // as of the beginning
	most  int64 // segments in a part, at most
	up    *upload
	flow  flow

	flights sync.WaitGroup // what runs; none begins unless running
	ending  sync.Mutex     // held by who completes or aborts it; taken before mu

	mu      sync.Mutex // guards what follows
	state   streamState
	begun   bool
	cancels map[*context.CancelFunc]struct{} // of what runs
	parts   []*part
	flying  int
	reach   int64 // end of what was ever sent, or is being sent
	dropped bool  // parts are not in the spool any more
	pause   retry // after a part that failed
	err     error // why it could not begin

	pending *snapshot       // what last makes; a Complete failed, and nothing else may be tried
	content *spool.Snapshot // of it

	last *stored // all parts are up: what a Complete makes; guarded by ending
}

type streamState int

const (
	beginning streamState = iota
	running
	closing // a commit has taken what is there
	ended
)

// part is one that was sent or is being sent.
type part struct {
	off, n  int64 // of the plaintext
	flying  bool
	there   bool // it is up
	stale   bool // changed since it was sealed
	anew    bool // it was stale when a commit took it
	dropped bool
}

func (p *part) end() int64 { return p.off + p.n }

// streamOf gives the stream of f, nil for none.
func (f *File) streamOf() *stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.growth.stream
}

// lostErr is not nil once the content can not be had any more.
func (f *File) lostErr() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.growth.lost
}

// advance begins or continues the upload of f, as far as there is something
// to send. Pressed: the spool needs room, so no order is waited for. ctx has no
// end of its own.
func (f *File) advance(ctx context.Context, pressed bool) {
	pressed = pressed || f.v.crowded()
	st := f.streamOf()
	if st == nil {
		if st = f.newStream(pressed); st != nil {
			st.launch(ctx, nil, st.begin)
		}
		return
	}
	for st.launchNext(ctx, pressed) {
	}
}

// crowded tells whether the spool is over half full.
func (v *Volume) crowded() bool { return v.opt.Spool.Used() > v.opt.Spool.Limit()/2 }

// newStream registers a stream that is to begin, as one flight; nil where none
// is due.
func (f *File) newStream(pressed bool) *stream {
	sc, ok := f.rule().scheme.(streamer)
	if !ok || !pressed && !sc.eager() {
		return nil
	}
	f.gate.Lock() // nobody changes content meanwhile
	defer f.gate.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if have := f.mayStream(); have <= sigil.SegmentSize || !pressed && f.growth.front <= streamFrom {
		return nil
	}
	s := &snapshot{path: f.path, attr: f.attr, xat: f.xat, base: f.base}
	st := &stream{f: f, v: f.v, data: f.data, path: f.path, draft: f.v.draftOf(s, f.base), cancels: map[*context.CancelFunc]struct{}{}}
	st.draft.cond = objstore.Condition{}
	st.most = max(1, f.v.opt.Spool.Limit()/8/sigil.SegmentSize)
	st.flights.Add(1)
	f.growth.stream = st
	return st
}

// mayStream gives the length of what may be streamed, 0 where that is not to
// be. It needs f.mu.
func (f *File) mayStream() int64 {
	g := &f.growth
	if !g.fresh || g.frozen > 0 || g.stream != nil || g.shut || g.lost != nil || f.gone || isInodePath(f.path) || f.data == nil || len(f.sent) > 0 ||
		f.ungated.Load() > 0 || f.v.opt.Now().Before(g.pause.at) {
		return 0
	}
	return f.data.Size()
}

// ready is the end of what may be sent of f.
func (f *File) ready(pressed bool) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data == nil {
		return 0
	}
	if pressed {
		return f.data.Size()
	}
	return min(f.growth.front, f.data.Size())
}

// launch runs one work of st, which counts as a flight already, on the mount's
// time.
func (st *stream) launch(ctx context.Context, slot chan struct{}, work func(context.Context)) {
	run, end := st.v.work.begin(ctx)
	run, cancel := context.WithCancel(run)
	st.mu.Lock()
	st.cancels[&cancel] = struct{}{}
	if st.state == ended {
		cancel()
	}
	st.mu.Unlock()
	free := st.v.room.begin()
	go func() {
		defer st.flights.Done()
		work(run)
		st.mu.Lock()
		delete(st.cancels, &cancel)
		st.mu.Unlock()
		cancel()
		end()
		if slot != nil {
			<-slot
		}
		free()
		st.v.press(ctx, false)
	}()
}

// press has all files sent and dropped that can be, for room in the spool.
func (v *Volume) press(ctx context.Context, hard bool) {
	for _, f := range v.allFiles() {
		if st := f.streamOf(); st != nil {
			st.relieve(hard)
		}
		f.advance(ctx, hard)
	}
}

// begin begins the upload.
func (st *stream) begin(ctx context.Context) {
	err := st.open(ctx)
	if err == nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.begun = true
		if st.state == beginning {
			st.state = running
		}
		return
	}
	st.v.opt.Log.WithField("path", st.path).WithError(err).Warn("a file that is being written cannot be uploaded yet")
	f := st.f
	f.mu.Lock()
	f.growth.pause.later(f.v.opt.Now())
	f.mu.Unlock()
	st.mu.Lock()
	st.err = err
	gone := st.state == beginning
	if gone {
		st.state = ended
	}
	st.mu.Unlock()
	if gone { // no commit has it
		f.forgetStream(st)
	}
}

func (f *File) forgetStream(st *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.growth.stream == st {
		f.growth.stream = nil
	}
}

func (st *stream) open(ctx context.Context) (err error) {
	v := st.v
	defer func() {
		if err != nil {
			st.up = nil
		}
	}()
	st.draft = v.complete(st.draft)
	snap, err := st.data.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	if st.flow, err = st.draft.rule.scheme.(streamer).stream(ctx, v, st.draft, uploaded{snap}, st.data.Size()); err != nil {
		return err
	}
	opt := v.options(st.draft, st.flow.begun())
	opt.Tags = v.newTags(st.draft.want)
	_, err = v.tagging(opt, func(opt objstore.PutOptions) (got objstore.Receipt, err error) {
		st.up, err = v.beginUpload(ctx, st.draft, opt)
		return got, err
	})
	return err
}

// cut is the length that part number i should have now, but for the last: it may
// be another the next time. It needs st.flow.
func (st *stream) cut(i int) int64 { return st.flow.segments(i, st.most) * sigil.SegmentSize }

// maxFlown bounds the parts that go up before the end: there must be room for
// the rest.
const maxFlown = objstore.MaxParts - 100

// launchNext sends the next part that is ready, or again one that failed.
// False: there is none, or too much is under way.
func (st *stream) launchNext(ctx context.Context, pressed bool) bool {
	ready := st.f.ready(pressed)
	if !st.waits(ready, pressed) {
		return false
	}
	st.f.gate.Lock() // content stands still while a part of it is taken
	defer st.f.gate.Unlock()
	st.mu.Lock()
	i, n := st.next(ready, pressed)
	if i < 0 {
		st.mu.Unlock()
		return false
	}
	select {
	case st.v.slots <- struct{}{}:
	default: // who frees one calls press
		st.mu.Unlock()
		return false
	}
	work, err := st.take(i, n)
	if err != nil {
		st.pause.later(st.v.opt.Now())
		st.mu.Unlock()
		<-st.v.slots
		return false
	}
	st.flights.Add(1)
	st.mu.Unlock()
	st.launch(ctx, st.v.slots, work)
	return true
}

func (st *stream) waits(ready int64, pressed bool) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	i, _ := st.next(ready, pressed)
	return i >= 0
}

// next is the index of the part to be sent now, -1 for none, and its length. Pressed,
// a part need not be longer than the schedule has it. It needs st.mu.
func (st *stream) next(ready int64, pressed bool) (i int, n int64) {
	if st.state != running || st.flying >= parallelParts || st.v.opt.Now().Before(st.pause.at) {
		return -1, 0
	}
	if st.pause != (retry{}) {
		for i, p := range st.parts {
			if !p.there && !p.flying {
				return i, p.n
			}
		}
	}
	i = len(st.parts)
	left := (ready - st.end()) / sigil.SegmentSize * sigil.SegmentSize
	if n = st.cut(i); pressed {
		n = max(min(n, left), min(int64(sigil.PartSegments(i)), st.most)*sigil.SegmentSize)
	}
	if i >= maxFlown || n > left {
		return -1, 0
	}
	return i, n
}

// end of the parts, those that are under way too. It needs st.mu.
func (st *stream) end() int64 {
	if n := len(st.parts); n > 0 {
		return st.parts[n-1].end()
	}
	return 0
}

// take holds part i, of n bytes, as it is now, and gives what seals and sends it. It
// needs st.mu and the gate.
func (st *stream) take(i int, n int64) (func(context.Context), error) {
	snap, err := st.data.Snapshot()
	if err != nil {
		return nil, err
	}
	p := &part{off: st.end(), n: n}
	if i < len(st.parts) {
		p = st.parts[i]
	}
	if i == len(st.parts) {
		st.parts = append(st.parts, p)
	}
	p.flying, p.stale = true, false
	st.flying++
	st.reach = max(st.reach, p.end())
	return func(ctx context.Context) {
		defer snap.Release()
		st.landed(p, st.sendPart(ctx, i, p, uploaded{snap}))
	}, nil
}

func (st *stream) sendPart(ctx context.Context, i int, p *part, src sigil.ReaderAt) error {
	l, err := st.flow.seal(ctx, src, p.off, p.n)
	if err != nil {
		return err
	}
	defer l.done()
	return st.up.Part(ctx, i+1, l, l.size)
}

// uploaded reads of a snapshot what is still here.
type uploaded struct{ frozen }

func (u uploaded) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return u.frozen.ReadAt(p, off, func(int64, []byte) error { return errGone })
}

var _ sigil.ReaderAt = uploaded{}

// landed notes what became of a part.
func (st *stream) landed(p *part, err error) {
	st.mu.Lock()
	st.flying--
	p.flying, p.there = false, err == nil
	if err != nil {
		st.pause.later(st.v.opt.Now())
	}
	st.mu.Unlock()
	if err != nil {
		st.v.opt.Log.WithField("path", st.path).WithError(err).Warn("a part of a file that is being written could not be uploaded yet")
	}
	st.relieve(false)
}

// relieve drops parts from the spool that are up: as far as it is crowded, or
// all.
func (st *stream) relieve(all bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.state != running || !all && !st.v.crowded() {
		return
	}
	snap, err := st.data.Snapshot()
	if err != nil {
		return
	}
	defer snap.Release()
	for _, p := range st.parts {
		if p.dropped || !p.there || p.flying || p.stale || p.anew {
			continue
		}
		if !all && !st.v.crowded() {
			return
		}
		p.dropped, st.dropped = true, true
		if err := st.data.MarkSent(snap, p.off, p.n); err != nil {
			st.v.opt.Log.WithError(err).Warn("what was uploaded could not be dropped from the spool")
			return
		}
	}
}

// touch says that [off, end) is about to change: what was sent of it must be
// sent again. errDropped: the rest of such a part is not here.
func (st *stream) touch(off, end int64) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	first := sort.Search(len(st.parts), func(i int) bool { return st.parts[i].end() > off })
	last := first
	for ; last < len(st.parts) && st.parts[last].off < end; last++ {
		if st.parts[last].dropped {
			return errDropped
		}
	}
	for _, p := range st.parts[first:last] {
		p.stale = true
	}
	return nil
}

// missing tells whether a byte of [off, end) may have been dropped.
func (st *stream) missing(off, end int64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	for i := sort.Search(len(st.parts), func(i int) bool { return st.parts[i].end() > off }); i < len(st.parts) && st.parts[i].off < end; i++ {
		if st.parts[i].dropped {
			return true
		}
	}
	return false
}
