package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
)

// Observer is told what goes over the wire, every attempt of it (but for one that
// net/http makes again by itself, because the server had closed a connection
// that was idle). Its methods
// are called on the way of requests, by many goroutines at once, and must not
// wait.
type Observer interface {
	// Answered is told of a request whose answer has begun, or that ended
	// without one: then status, which is HTTP's, is 0, or GivenUp. operation is
	// S3's own name ("PutObject"), one of the few that this package uses.
	Answered(operation string, status int, took time.Duration)

	// Sent and Received are told of bytes of bodies, as they are on the wire:
	// with the framing of chunks, without headers and TLS.
	Sent(n int)
	Received(n int)
}

// GivenUp is the status of a request whose answer nobody waited for any more, as
// of a reader that went elsewhere: the server has not failed.
const GivenUp = -1

// unanswered is the status of one that ended without an answer.
func unanswered(ctx context.Context) int {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(cause, errStalled) || errors.Is(cause, context.DeadlineExceeded) {
		return 0
	}
	return GivenUp
}

// unobserved is nobody.
type unobserved struct{}

var _ Observer = unobserved{}

func (unobserved) Answered(string, int, time.Duration) {}
func (unobserved) Sent(int)                            {}
func (unobserved) Received(int)                        {}

// attemptKey is that of the attempt in the context of its request.
type attemptKey struct{}

// wire is the last step before the connection: it counts and paces what passes.
// There is none where nobody asked for either.
type wire struct {
	next     http.RoundTripper
	seen     Observer
	up, down *pace
}

// wired puts a wire before next, where cfg asks for one.
func wired(next http.RoundTripper, cfg Config) http.RoundTripper {
	if cfg.Observer == nil && cfg.UploadLimit == 0 && cfg.DownloadLimit == 0 {
		return next
	}
	w := &wire{next: next, seen: cfg.Observer, up: newPace(cfg.UploadLimit), down: newPace(cfg.DownloadLimit)}
	if w.seen == nil {
		w.seen = unobserved{}
	}
	return w
}

// RoundTrip is http.RoundTripper's. The time that it tells is up to the first
// byte of the answer: how long a body takes is up to its reader.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	begin, operation := time.Now(), awsmiddleware.GetOperationName(r.Context())
	sent := r
	if r.Body != nil && r.Body != http.NoBody {
		sent = r.WithContext(r.Context()) // a copy: a RoundTripper must not change its request
		sent.Body = &passing{r.Body, r, w.up, w.seen.Sent}
		sent.GetBody = nil // this package's attempts are its own
	}
	answer, err := w.next.RoundTrip(sent)
	if err != nil {
		w.seen.Answered(operation, unanswered(r.Context()), time.Since(begin))
		return nil, err
	}
	w.seen.Answered(operation, answer.StatusCode, time.Since(begin))
	answer.Body = &passing{answer.Body, r, w.down, w.seen.Received}
	return answer, nil
}

// CloseIdleConnections is what http.Client looks for.
func (w *wire) CloseIdleConnections() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// passing is a body on its way, of a request or of an answer.
type passing struct {
	io.ReadCloser
	r    *http.Request
	pace *pace
	tell func(n int)
}

// Read waits after it has read, when it is known how much came: what it gives
// of a request's body is sent then, and of an answer's it is TCP that slows the
// server down.
func (b *passing) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(b.pace.cut(p))
	if paced := b.pace.pass(b.r, n); paced != nil {
		return 0, paced
	}
	b.tell(n)
	return n, err
}
