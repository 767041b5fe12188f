package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// call is one request of the seam, attempted until it is answered.
type call struct {
	verb   string // for messages
	key    string
	action string        // the permission that it takes
	write  bool          // it may change the bucket
	reads  bool          // it opens the body of an object
	slow   bool          // the server works long before it answers (Copy, Complete)
	thaws  bool          // it is for archived bodies
	bound  time.Duration // no new attempt begins after so long

	held   error // what 412 means here
	absent error // what 404 means here, where the code says no more

	carries carried
}

func (s *Store) reading(verb, key, action string) call {
	return call{verb: verb, key: key, action: action, bound: s.cfg.RetryTimeout, held: objstore.ErrChanged, absent: objstore.ErrNotExist}
}

// writing is a call that changes the bucket under cond.
func (s *Store) writing(verb, key, action string, cond objstore.Condition) call {
	c := call{verb: verb, key: key, action: action, write: true, bound: s.cfg.CommitTimeout, held: objstore.ErrChanged, absent: objstore.ErrInvalid}
	switch {
	case cond.IfNone:
		c.held = objstore.ErrExist
	case cond.IfMatch != "":
		c.absent = objstore.ErrChanged // a condition on nothing is 404 on some servers
	}
	return c
}

// few bounds attempts after answers that were complete but cannot be used: a
// checksum that does not match, a range that was not asked for.
const few = 4

// do runs attempts of c. try sends one request under the context given, and
// reports progress to the attempt; it ends the attempt itself if it returns
// nil (a body outlives the call).
func (s *Store) do(ctx context.Context, c call, try func(context.Context, *attempt) error) error {
	var (
		begin = time.Now()
		maybe bool // an earlier attempt may have been done
		odd   int
		last  *failure // of the latest attempt that ctx did not end
	)
	for n := 1; ; n++ {
		f := s.attempt(ctx, c, try)
		if f == nil {
			return nil
		}
		maybe = maybe || f.maybe && c.write
		if f.few {
			odd++
		}
		wait := backoff(n, f)
		switch {
		case ctx.Err() != nil:
			if last != nil {
				f = last // says more than that ctx ended
			}
			return s.fail(c, f, maybe, context.Cause(ctx))
		case !f.again, odd >= few, n == s.cfg.MaxAttempts, time.Since(begin)+wait > c.bound:
			return s.fail(c, f, maybe, nil)
		}
		last = f
		if err := awsclient.Wait(ctx, wait); err != nil {
			return s.fail(c, f, maybe, err)
		}
	}
}

// attempt runs one, within what the server bears at once.
func (s *Store) attempt(ctx context.Context, c call, try func(context.Context, *attempt) error) *failure {
	if err := s.gate.enter(ctx); err != nil {
		return &failure{is: err, cause: "not sent"}
	}
	a := s.begin(ctx, c)
	err := try(a.ctx, a)
	if err == nil {
		s.gate.leave(true, false)
		s.authed.Store(true)
		s.seen.Store(time.Now().UnixNano())
		return nil
	}
	f := s.classify(c, a, err) // before the end, which would look like an interruption
	a.end()
	s.learn(f)
	s.gate.leave(false, f.slowDown)
	return f
}

// backoff is how long to wait after attempt n. A Retry-After is the least.
func backoff(n int, f *failure) time.Duration {
	if f.now {
		return 0
	}
	return f.after + awsclient.Backoff(n, f.slowDown, 15*time.Second)
}

// fail makes the error that the caller sees: what, where, why, and the
// sentinels.
func (s *Store) fail(c call, f *failure, maybe bool, ctxErr error) error {
	text := fmt.Sprintf("%s %s: %s", c.verb, s.place(c.key), f.cause)
	maybe = maybe && !errors.Is(f.is, objstore.ErrUnknown)
	switch {
	case ctxErr != nil && maybe:
		return fmt.Errorf("%s: %w (%w): %w", text, f.is, ctxErr, objstore.ErrUnknown)
	case ctxErr != nil && !errors.Is(f.is, ctxErr):
		return fmt.Errorf("%s: %w (%w)", text, f.is, ctxErr)
	case maybe:
		return fmt.Errorf("%s: %w; an earlier attempt was not answered: %w", text, f.is, objstore.ErrUnknown)
	}
	return fmt.Errorf("%s: %w", text, f.is)
}
