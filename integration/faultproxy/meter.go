package faultproxy

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A Tally is what passed a Meter.
type Tally struct {
	Verbs    map[string]int // requests: a method, or COPY, COPYPART, LIST
	Sent     int64          // bytes of the clients' bodies
	Received int64          // bytes of the servers'
}

// Requests is how many there were.
func (t Tally) Requests() int {
	n := 0
	for _, k := range t.Verbs {
		n += k
	}
	return n
}

// Add is both together.
func (t Tally) Add(u Tally) Tally {
	sum := Tally{Verbs: maps.Clone(t.Verbs), Sent: t.Sent + u.Sent, Received: t.Received + u.Received}
	for verb, n := range u.Verbs {
		sum.Verbs[verb] += n
	}
	return sum
}

func (t Tally) String() string {
	var all []string
	for _, verb := range slices.Sorted(maps.Keys(t.Verbs)) {
		all = append(all, fmt.Sprintf("%s %d", verb, t.Verbs[verb]))
	}
	return strings.Join(all, ", ")
}

// A Meter counts matching requests and the bytes of their bodies. Safe for
// concurrent use.
type Meter struct {
	match Match

	mu    sync.Mutex // guards tally
	tally Tally
}

// NewMeter begins with nothing.
func NewMeter(match Match) *Meter {
	return &Meter{match: match, tally: Tally{Verbs: map[string]int{}}}
}

// Take gives what was counted since the last Take.
func (m *Meter) Take() Tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tally
	m.tally = Tally{Verbs: map[string]int{}}
	return t
}

// Fault counts a request and passes it on.
func (m *Meter) Fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !m.match(r) {
		next.ServeHTTP(w, r)
		return
	}
	m.mu.Lock()
	m.tally.Verbs[verb(r)]++
	m.mu.Unlock()
	r = r.WithContext(r.Context())
	r.Body = countedBody{r.Body, m}
	next.ServeHTTP(countedAnswer{w, m}, r)
}

// add counts bytes before the other side can know that they passed.
func (m *Meter) add(sent, received int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tally.Sent += int64(sent)
	m.tally.Received += int64(received)
}

func verb(r *http.Request) string {
	switch part := r.URL.Query().Has("partNumber"); {
	case r.Header.Get("X-Amz-Copy-Source") != "" && part:
		return "COPYPART"
	case r.Header.Get("X-Amz-Copy-Source") != "":
		return "COPY"
	case r.URL.Query().Has("list-type"):
		return "LIST"
	}
	return r.Method
}

type countedBody struct {
	io.ReadCloser
	m *Meter
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.m.add(n, 0)
	return n, err
}

type countedAnswer struct {
	http.ResponseWriter
	m *Meter
}

func (a countedAnswer) Write(p []byte) (int, error) {
	a.m.add(0, len(p))
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a countedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
