package faultproxy

import (
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Match chooses requests.
type Match func(r *http.Request) bool

// Mutating chooses what may change the bucket.
func Mutating(r *http.Request) bool {
	return r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodDelete
}

// Writing chooses what writes the body of the object whose path ends in suffix.
func Writing(suffix string) Match {
	return func(r *http.Request) bool {
		return (r.Method == http.MethodPut || r.Method == http.MethodPost) && strings.HasSuffix(r.URL.Path, suffix)
	}
}

// Reply answers matching requests with an S3 error and does not forward them.
// Bodies are read to their end, as servers do.
func Reply(match Match, status int, code string) Fault {
	return Say(match, status, code, "injected")
}

// Say is Reply with a message.
func Say(match Match, status int, code, message string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !match(r) {
			next.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>", code)
			_ = xml.EscapeText(w, []byte(message))
			_, _ = io.WriteString(w, "</Message></Error>")
		}
	}
}

// Chain puts the second behind the first, and so on.
func Chain(faults ...Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		for _, f := range slices.Backward(faults) {
			behind := next
			next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, behind) })
		}
		next.ServeHTTP(w, r)
	}
}

// Jitter holds each request for a random time up to most, so that what happens
// at once happens in many orders.
func Jitter(most time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		hold(r.Context(), rand.N(most)) //nolint:gosec // chance is enough
		next.ServeHTTP(w, r)
	}
}

// Count counts matching requests into n.
func Count(match Match, n *atomic.Int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if match(r) {
			n.Add(1)
		}
		next.ServeHTTP(w, r)
	}
}

// A Side is the moment at which a Gate stops a request.
type Side string

// Sides of the server behind the proxy.
const (
	Before Side = "before" // the request was not carried out
	After  Side = "after"  // it was carried out, and its answer is lost
)

// A Gate lets the first matching requests pass and stops the world at the next
// one: that request, at the Side asked for, and every matching request after
// it, before it is carried out. None of those is answered before Open, and none
// ever after Drop.
type Gate struct {
	match Match
	pass  int64
	side  Side

	seen    atomic.Int64
	arrived chan struct{}
	ended   chan struct{} // closed by Open and Drop
	open    bool          // which of both; set before ended is closed
	once    sync.Once
}

// NewGate stops at the request after the first pass ones.
func NewGate(match Match, pass int, side Side) *Gate {
	return &Gate{match: match, pass: int64(pass), side: side, arrived: make(chan struct{}), ended: make(chan struct{})}
}

// Arrived is closed when the world stands still.
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Drop cuts the connections of what the gate holds, and of what still comes.
// It does nothing after Open.
func (g *Gate) Drop() { g.once.Do(func() { close(g.ended) }) }

// Open lets go on what the gate holds, but for an answer that it has taken, and
// lets pass what still comes. It does nothing after Drop.
func (g *Gate) Open() {
	g.once.Do(func() {
		g.open = true
		close(g.ended)
	})
}

// Fault is the gate as a Fault.
func (g *Gate) Fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !g.match(r) {
		next.ServeHTTP(w, r)
		return
	}
	n := g.seen.Add(1)
	if n <= g.pass {
		next.ServeHTTP(w, r)
		return
	}
	done := false
	if n == g.pass+1 {
		if g.side == After {
			next.ServeHTTP(httptest.NewRecorder(), r)
			done = true
		}
		close(g.arrived)
	}
	select {
	case <-g.ended:
		if g.open && !done {
			next.ServeHTTP(w, r)
			return
		}
	case <-r.Context().Done(): // the client is gone, or the proxy closes
	}
	panic(http.ErrAbortHandler)
}

// Strip takes headers that begin with prefix, in lower case, from matching
// requests, which are signed again by sign: the server behind never sees them.
func Strip(match Match, prefix string, sign func(*http.Request)) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if match(r) {
			r = r.Clone(r.Context())
			strip(r.Header, prefix)
			r.Header.Del("Authorization")
			sign(r)
		}
		next.ServeHTTP(w, r)
	}
}

// StripReply takes them from the answers to matching requests.
func StripReply(match Match, prefix string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if match(r) {
			w = &stripped{w, prefix}
		}
		next.ServeHTTP(w, r)
	}
}

func strip(h http.Header, prefix string) {
	for name := range h {
		if strings.HasPrefix(strings.ToLower(name), prefix) {
			h.Del(name)
		}
	}
}

// stripped is an answer without some headers.
type stripped struct {
	http.ResponseWriter
	prefix string
}

func (s *stripped) WriteHeader(status int) {
	strip(s.Header(), s.prefix)
	s.ResponseWriter.WriteHeader(status)
}
