package s3

import (
	"context"
	"errors"
	"io"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// errStalled ends an attempt that moves no byte.
var errStalled = errors.New("no progress")

// attempt is one request on the wire. Its context ends when nothing moves for
// the stall timeout: time alone says nothing of a large body on a slow line.
type attempt struct {
	ctx      context.Context //nolint:containedctx // of the request, as net/http has it; not kept longer than that
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	stall    time.Duration
	patience time.Duration // until the answer begins
	sent     atomic.Bool   // the request's headers went out: the server may have acted
	digest   bool          // it brings a Content-MD5

	mu   sync.Mutex // guards body
	body io.ReadSeeker
}

func (s *Store) begin(ctx context.Context, c call) *attempt {
	a := &attempt{stall: s.cfg.StallTimeout}
	a.patience = a.stall
	if c.slow {
		a.patience = max(a.stall, c.bound)
	}
	ctx, a.cancel = context.WithCancelCause(ctx)
	a.ctx = httptrace.WithClientTrace(context.WithValue(ctx, attemptKey{}, a), &httptrace.ClientTrace{
		WroteHeaders: func() { a.sent.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			if ctx.Err() == nil {
				a.timer.Reset(a.patience)
			}
		},
	})
	a.timer = time.AfterFunc(a.patience, func() { a.cancel(errStalled) })
	return a
}

// answered stops the clock: headers are here, and a body is timed read by read.
func (a *attempt) answered() { a.timer.Stop() }

// end gives up what is left of the attempt. The request's body is not read any
// more once it returns: net/http may otherwise go on reading while the next
// attempt has rewound it.
func (a *attempt) end() {
	a.mu.Lock()
	a.body = nil
	a.mu.Unlock()
	a.timer.Stop()
	a.cancel(nil)
}

// stalled tells whether the watchdog ended the attempt.
func (a *attempt) stalled() bool { return errors.Is(context.Cause(a.ctx), errStalled) }

// upward is a request's body for one attempt.
type upward struct{ a *attempt }

// send rewinds body and gives it to this attempt.
func (a *attempt) send(body io.ReadSeeker, size int64) (io.ReadSeeker, error) {
	if err := objstore.Rewind(body, size); err != nil {
		return nil, bodyError{err}
	}
	a.mu.Lock()
	a.body = body
	a.mu.Unlock()
	return upward{a}, nil
}

// bodyError is a failure of the caller's own body: no use to try again.
type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }

func (u upward) Read(p []byte) (int, error) {
	u.a.mu.Lock()
	defer u.a.mu.Unlock()
	if u.a.body == nil {
		return 0, errors.New("attempt is over")
	}
	u.a.timer.Reset(u.a.stall)
	n, err := u.a.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyError{err}
	}
	return n, err
}

func (u upward) Seek(off int64, whence int) (int64, error) {
	u.a.mu.Lock()
	defer u.a.mu.Unlock()
	if u.a.body == nil {
		return 0, errors.New("attempt is over")
	}
	return u.a.body.Seek(off, whence)
}

// downward is an answer's body: every Read has the stall timeout to itself, a
// caller who pauses between two has none.
type downward struct {
	a *attempt
	io.ReadCloser
}

func (d downward) Read(p []byte) (int, error) {
	d.a.timer.Reset(d.a.stall)
	n, err := d.ReadCloser.Read(p)
	d.a.timer.Stop()
	if err != nil && d.a.stalled() {
		err = errStalled
	}
	return n, err
}

func (d downward) Close() error {
	err := d.ReadCloser.Close()
	d.a.end()
	return err
}
