// Package faulty is a decorator around any object store that counts requests
// and makes them fail, for tests: errors before a request is done, answers
// lost after it was done, latency, bodies cut short or with flipped bits,
// listings that lack objects, and a crash after which nothing works.
//
// What happens to a request is said by a script, a function of the request. A
// Store without a script only counts. Everything here is safe for concurrent
// use, and no goroutine is started.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// ErrCrashed is what every request gives from the crash on.
var ErrCrashed = errors.New("crashed")

// Verb is a kind of request.
type Verb string

// The verbs of objstore. List is one page of a listing.
const (
	Head     Verb = "head"
	Get      Verb = "get"
	List     Verb = "list"
	Put      Verb = "put"
	Copy     Verb = "copy"
	Delete   Verb = "delete"
	Upload   Verb = "upload"
	Part     Verb = "part"
	CopyPart Verb = "copypart"
	Complete Verb = "complete"
	Abort    Verb = "abort"
	Tags     Verb = "tags"
	Default  Verb = "default" // what the bucket does about encryption

	Lifecycle  Verb = "lifecycle"
	Versioning Verb = "versioning"
	Pending    Verb = "pending" // all pages of a list of uploads

	Versions  Verb = "versions" // one page of a list of them
	Restore   Verb = "restore"
	Lock      Verb = "lock" // of one object
	Checksums Verb = "checksums"
)

// Writes tells whether requests of v change the bucket.
func (v Verb) Writes() bool {
	return !slices.Contains([]Verb{Head, Get, List, Tags, Default, Lifecycle, Versioning, Pending, Versions, Lock, Checksums}, v)
}

// Op is one request.
type Op struct {
	Verb Verb
	Key  string // the prefix of a List, the destination of a Copy
	Src  string // the source of a Copy or CopyPart
	Part int    // number of a Part or CopyPart, or of a List's page, from 1

	N     int // number of the request, from 1
	OfAll int // number among those of the same Verb, from 1
}

// Fault is what befalls a request; the zero Fault is nothing. The members
// apply in the order in which they stand.
type Fault struct {
	Wait  <-chan struct{} // hold the request until it is closed, or ctx is done
	Delay time.Duration   // then sleep, by Options.Sleep
	Err   error           // fail with it; the request is not done

	// Lost does the request, and if it succeeded says ErrUnknown nonetheless.
	// After is another error to give then instead, or a side effect: it runs
	// when the request was done, with what came of it.
	Lost  bool
	After func(error) error

	Body func(io.Reader) io.Reader // of a Get: what is read instead; see Cut, Flip
	Hide func(key string) bool     // of a List, or of Versions: entries (keys, prefixes) that do not show
}

// Options of a Store.
type Options struct {
	Script   func(Op) Fault                                   // nil: no faults. It may be called concurrently.
	PageSize int                                              // entries in a page of a listing, for counting; 0 is 1000
	Sleep    func(ctx context.Context, d time.Duration) error // nil waits on a timer
}

// Store is the decorator.
type Store struct {
	inner objstore.Store
	opt   Options

	mu      sync.Mutex // guards all below
	script  func(Op) Fault
	counts  Counts
	ops     []Op
	crashAt int // request number; 0 is never
	crashed bool
	done    bool // the request that crashes is carried out
}

var (
	_ objstore.Store     = (*Store)(nil)
	_ objstore.Resumer   = (*Store)(nil)
	_ objstore.Tagger    = (*Store)(nil)
	_ objstore.Defaulter = (*Store)(nil)
	_ objstore.Bucket    = (*Store)(nil)

	_ objstore.Versioner   = (*Store)(nil)
	_ objstore.Restorer    = (*Store)(nil)
	_ objstore.Locker      = (*Store)(nil)
	_ objstore.Checksummer = (*Store)(nil)
)

// New puts a decorator around inner.
func New(inner objstore.Store, opt Options) *Store {
	if opt.PageSize == 0 {
		opt.PageSize = 1000
	}
	if opt.Sleep == nil {
		opt.Sleep = sleep
	}
	return &Store{inner: inner, opt: opt, script: opt.Script, counts: Counts{Requests: map[Verb]int{}}}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Counts is what was asked of the store since it was made or last reset.
// Requests that failed by a fault count too.
type Counts struct {
	Requests map[Verb]int
	Up, Down int64 // bytes of bodies sent, and read by the caller
}

// Total is the number of requests.
func (c Counts) Total() int {
	n := 0
	for _, k := range c.Requests {
		n += k
	}
	return n
}

// Writes is the number of requests that change the bucket.
func (c Counts) Writes() int {
	n := 0
	for v, k := range c.Requests {
		if v.Writes() {
			n += k
		}
	}
	return n
}

// Counts gives a copy of the counters.
func (s *Store) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Requests = maps.Clone(c.Requests)
	return c
}

// Ops gives the requests since the last reset, in the order they came.
func (s *Store) Ops() []Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Op(nil), s.ops...)
}

// Reset sets the counters to zero, and takes a crash back.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts, s.ops = Counts{Requests: map[Verb]int{}}, nil
	s.crashAt, s.crashed, s.done = 0, false, false
}

// SetScript replaces the script; nil is no faults.
func (s *Store) SetScript(script func(Op) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// CrashAt makes request number n since the last reset, and all after it, fail
// with ErrCrashed, reads of open bodies too. With done, number n itself is
// carried out and only its answer is missing. 0 is never.
func (s *Store) CrashAt(n int, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crashAt, s.done = n, done
}

// Crashed tells whether the crash has come.
func (s *Store) Crashed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.crashed
}

// admit counts op and asks the script what befalls it. last means that op is
// still done although the crash has come.
func (s *Store) admit(op Op) (f Fault, last bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crashed {
		return Fault{}, false, ErrCrashed
	}
	s.counts.Requests[op.Verb]++
	op.N, op.OfAll = len(s.ops)+1, s.counts.Requests[op.Verb]
	s.ops = append(s.ops, op)
	if s.crashAt > 0 && op.N >= s.crashAt {
		s.crashed = true
		if !s.done {
			return Fault{}, false, ErrCrashed
		}
		last = true
	}
	if s.script == nil {
		return Fault{}, last, nil
	}
	script := s.script
	s.mu.Unlock() // the script may look at the store
	defer s.mu.Lock()
	return script(op), last, nil
}

// do runs one request through its fault.
func (s *Store) do(ctx context.Context, op Op, request func(Fault) error) error {
	f, last, err := s.admit(op)
	if err == nil {
		err = s.hold(ctx, f)
	}
	if err == nil {
		err = f.Err
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", op.Verb, op.Key, err)
	}
	err = request(f)
	if f.After != nil {
		err = f.After(err)
	}
	if err == nil && last {
		return fmt.Errorf("%s %q: %w", op.Verb, op.Key, ErrCrashed)
	}
	if err == nil && f.Lost {
		return fmt.Errorf("%s %q: answer lost: %w", op.Verb, op.Key, objstore.ErrUnknown)
	}
	return err
}

func (s *Store) hold(ctx context.Context, f Fault) error {
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.Delay > 0 {
		return s.opt.Sleep(ctx, f.Delay)
	}
	return nil
}

// sent counts bytes of a body that went up, received such that came down.
func (s *Store) sent(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Up += n
}

func (s *Store) received(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Down += int64(n)
}
