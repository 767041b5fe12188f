package freshness

import (
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Options of Open.
type Options struct {
	// Path of the file; "" keeps all in memory, as long as the Memory is open.
	Path string

	// ReadOnly looks at the file of others, if there is one, and keeps what it
	// learns itself in memory.
	ReadOnly bool

	// Bytes bounds the file, and is 8 MiB at the least; 0 is 256 MiB.
	Bytes int64

	Log logrus.FieldLogger
	Now func() time.Time // nil is time.Now

	noSync   bool          // for tests
	lockTime time.Duration // for tests; 0 is lockTime
}

// Defaults and bounds.
const (
	DefaultBytes = 256 << 20
	LeastBytes   = 8 << 20

	// perRecord is what one takes of the file, with the tree's own and what is
	// free in its pages, in bytes; transaction what a transaction may take beside
	// it, as pages are written anew before the old ones are free: half of a small
	// file.
	perRecord   = 224
	transaction = 48 << 20

	batch      = 4096        // records are written without waiting for more
	most       = 16 * batch  // wait to be written, at the most
	gatherTime = time.Second // for which they wait for more
)

// Stats of a Memory.
type Stats struct {
	Records   int    // in the file
	Limit     int    // the most that it takes
	Forgotten uint64 // that had to go since Open, for want of space or because the file could not be written
	Err       error  // why the file is not used now; nil where it is, or where there is none to be
}

// told is what waits to be written of a key.
type told struct {
	rec   Record
	force bool // it stands, whatever is known
	touch bool // it was used, and no more
}

// Memory is one process's view of what is remembered. Safe for concurrent use;
// its mutexes are leaves.
type Memory struct {
	opt   Options
	limit int
	file  *file // nil: there is none

	mu       sync.Mutex // guards what follows
	waiting  map[string]told
	writing  map[string]told // by the flush under way
	room     *sync.Cond      // less is waiting, or the Memory is closed
	closed   bool
	lost     uint64
	trouble  error
	complain bool // about that a line was logged

	flushing sync.Mutex // one flush at a time
	wake     chan struct{}
	stop     chan struct{}
	done     sync.WaitGroup
}

// Open opens the memory, or begins one. Trouble with the file is logged and is
// no error: then less is known. The caller closes it.
func Open(opt Options) *Memory {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Bytes == 0 {
		opt.Bytes = DefaultBytes
	}
	opt.Bytes = max(opt.Bytes, LeastBytes)
	m := &Memory{
		opt: opt, limit: int((opt.Bytes - min(transaction, opt.Bytes/2) - growth) / perRecord), waiting: map[string]told{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	m.room = sync.NewCond(&m.mu)
	if opt.Path == "" {
		return m
	}
	m.file = newFile(opt)
	m.done.Add(1)
	go m.work()
	return m
}

// Get tells what is known of key. An error says that the file could not be
// asked: perhaps more is known than what is given.
func (m *Memory) Get(key string) (Record, error) {
	rec, stale, err := m.stored(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opt.Now()
	for _, from := range []map[string]told{m.writing, m.waiting} {
		if t, ok := from[key]; ok {
			rec = t.over(rec, now)
		}
	}
	if _, waits := m.waiting[key]; stale && !waits && !m.opt.ReadOnly && len(m.waiting) < most && !m.closed {
		m.waiting[key] = told{touch: true}
		m.nudge()
	}
	return rec, m.said(err)
}

// stored asks the file; stale: it was last used before today.
func (m *Memory) stored(key string) (rec Record, stale bool, err error) {
	if m.file == nil {
		return rec, false, nil
	}
	today := day(m.opt.Now())
	err = m.file.view(func(t *table) error {
		r, used, err := t.get(key)
		rec, stale = r, r.Known() && used != today
		return err
	})
	return rec, stale, err
}

// over gives what is known once t is written over rec.
func (t told) over(rec Record, now time.Time) Record {
	switch {
	case t.touch:
		return rec
	case t.force:
		return t.rec
	}
	return join(rec, t.rec, now)
}

// Learn remembers r, unless something higher is known.
func (m *Memory) Learn(key string, r Record) { m.tell(key, told{rec: r}) }

// Accept remembers that r is how key is to be, whatever was known: nothing, if
// it is zero. Flush puts it where other processes see it.
func (m *Memory) Accept(key string, r Record) { m.tell(key, told{rec: r, force: true}) }

func (m *Memory) tell(key string, t told) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, waits := m.waiting[key]
	for !waits && len(m.waiting) >= most && !m.makeRoom() {
		m.room.Wait()
		old, waits = m.waiting[key]
	}
	if m.closed {
		return
	}
	if waits && !old.touch && !t.force {
		t = told{rec: join(old.rec, t.rec, m.opt.Now()), force: old.force}
	}
	m.waiting[key] = t
	m.nudge()
}

// makeRoom forgets what nobody will write. False: the file takes it soon. It
// needs m.mu.
func (m *Memory) makeRoom() bool {
	if m.closed {
		return true
	}
	if m.file != nil && !m.opt.ReadOnly && m.trouble == nil {
		m.nudge()
		return false
	}
	for key := range m.waiting {
		delete(m.waiting, key)
		m.lost++
		return true
	}
	return true
}

// nudge has what waits written. It needs m.mu.
func (m *Memory) nudge() {
	if m.file == nil || m.opt.ReadOnly {
		return
	}
	if n := len(m.waiting); n == 1 || n >= batch {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// work writes what waits, and gives the file to others, until Close.
func (m *Memory) work() {
	defer m.done.Done()
	gather := time.NewTimer(gatherTime)
	turn := time.NewTimer(turnTime)
	defer gather.Stop()
	defer turn.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-m.file.opened:
			turn.Reset(turnTime)
			continue
		case <-turn.C:
			if !m.file.giveWay() {
				turn.Reset(turnTime)
			}
			continue
		case <-gather.C:
		case <-m.wake:
			if !m.full() {
				gather.Reset(gatherTime)
				continue
			}
		}
		if err := m.Flush(); err != nil {
			gather.Reset(gatherTime)
		}
	}
}

func (m *Memory) full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting) >= batch
}

// Flush writes what waits, durably. What could not be written waits on, as far
// as there is room.
func (m *Memory) Flush() error {
	if m.file == nil || m.opt.ReadOnly {
		return nil
	}
	m.flushing.Lock()
	defer m.flushing.Unlock()
	m.mu.Lock()
	if len(m.waiting) == 0 {
		m.mu.Unlock()
		return nil
	}
	m.writing, m.waiting = m.waiting, map[string]told{}
	m.mu.Unlock()
	dropped, err := m.file.write(m.writing, m.limit, m.opt.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.keep()
	}
	m.writing, m.trouble = nil, err
	m.lost += uint64(dropped) //nolint:gosec // a count
	m.room.Broadcast()
	return m.said(err)
}

// keep puts what was not written back. It needs m.mu.
func (m *Memory) keep() {
	now := m.opt.Now()
	for key, t := range m.writing {
		later, waits := m.waiting[key]
		switch {
		case waits && (later.force || t.touch):
		case waits && later.touch, !waits && len(m.waiting) < most:
			m.waiting[key] = t
		case waits:
			m.waiting[key] = told{rec: later.over(t.rec, now), force: t.force}
		case !t.touch:
			m.lost++
		}
	}
}

// said logs trouble with the file once, until it is over. It needs m.mu.
func (m *Memory) said(err error) error {
	if err == nil {
		return nil
	}
	if !m.complain {
		m.complain = true
		m.opt.Log.WithError(err).Warn("what this host remembers of versions cannot be used now: less is known against rollback")
	}
	return fmt.Errorf("memory of versions: %w", err)
}

// Stats tells how the memory does.
func (m *Memory) Stats() Stats {
	s := Stats{}
	var err error
	if m.file != nil {
		s.Limit = m.limit
		err = m.file.view(func(t *table) error {
			s.Records = t.count
			return nil
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = m.trouble
	}
	if err == nil {
		m.complain = false
	}
	s.Forgotten, s.Err = m.lost, err
	if m.file == nil {
		s.Records = len(m.waiting)
	}
	return s
}

// Close writes what waits and closes the file.
func (m *Memory) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.mu.Unlock()
	err := m.Flush()
	m.mu.Lock()
	m.closed = true
	m.room.Broadcast()
	m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	close(m.stop)
	m.done.Wait()
	m.file.close()
	return err
}
