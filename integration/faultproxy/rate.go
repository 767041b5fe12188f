package faultproxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// A line carries so many bytes a second, however many connections share it. It
// is full duplex: a Proxy has one each way. Safe for concurrent use.
type line struct {
	perSecond int64

	mu   sync.Mutex // guards free
	free time.Time  // when all that was promised has passed
}

// slack is how long a line may have idled and still catch up: timers are late by
// about as much.
const slack = 5 * time.Millisecond

// carry returns when n more bytes have passed, or the client is gone.
func (l *line) carry(ctx context.Context, n int) {
	hold(ctx, time.Until(l.promise(time.Now(), n)))
}

// promise is when n bytes that are sent now have passed.
func (l *line) promise(now time.Time, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if early := now.Add(-slack); l.free.Before(early) {
		l.free = early
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.perSecond) * float64(time.Second)))
	return l.free
}

// limited passes the bodies of a request and of its answer over the lines.
func (p *Proxy) limited(w http.ResponseWriter, r *http.Request, up, down *line) (http.ResponseWriter, *http.Request) {
	ctx := r.Context()
	r = r.WithContext(ctx) // whose Body is ours to change
	r.Body = limitedBody{r.Body, func(n int) { up.carry(ctx, n) }}
	return limitedAnswer{w, func(n int) { down.carry(ctx, n) }}, r
}

type limitedBody struct {
	io.ReadCloser
	carry func(n int)
}

func (b limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.carry(n)
	return n, err
}

type limitedAnswer struct {
	http.ResponseWriter
	carry func(n int)
}

func (a limitedAnswer) Write(p []byte) (int, error) {
	a.carry(len(p))
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a limitedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
