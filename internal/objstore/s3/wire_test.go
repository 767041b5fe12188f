package s3_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

// tally is an Observer that remembers.
type tally struct {
	mu             sync.Mutex // guards what follows
	answered       []string
	sent, received int
}

var _ s3.Observer = (*tally)(nil)

func (t *tally) Answered(operation string, status int, _ time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered = append(t.answered, fmt.Sprint(operation, " ", status))
}

func (t *tally) Sent(n int)     { t.mu.Lock(); t.sent += n; t.mu.Unlock() }
func (t *tally) Received(n int) { t.mu.Lock(); t.received += n; t.mu.Unlock() }

// A request that whoever made it gives up is none that the server has failed at;
// one whose answer does not come is.
func TestObserverOfWhatIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	never := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	slow := func(w http.ResponseWriter, r *http.Request) { cancel(); never(w, r) }
	var seen tally
	f := newFake(t, slow, never)
	s := f.open(t, func(c *s3.Config) { c.Observer, c.StallTimeout, c.MaxAttempts = &seen, 2*time.Second, 1 })
	for _, ctx := range []context.Context{ctx, t.Context()} {
		if _, err := s.Head(ctx, objstore.ID{Key: "k"}); err == nil {
			t.Error("it is answered")
		}
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if want := []string{fmt.Sprint("HeadObject ", s3.GivenUp), "HeadObject 0"}; !slices.Equal(seen.answered, want) {
		t.Errorf("%q", seen.answered)
	}
}

// Every attempt is told, under S3's own name, and the bytes that passed.
func TestObserver(t *testing.T) {
	const body = "the body of an object"
	busy := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	put := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"e"`) }
	get := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		_, _ = io.WriteString(w, body)
	}
	gone := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	var seen tally
	f := newFake(t, busy, put, get, gone, gone, get)
	s := f.open(t, func(c *s3.Config) { c.Observer = &seen })
	if _, err := s.Put(t.Context(), "k", strings.NewReader(body), int64(len(body)), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, _, r, err := s.Get(t.Context(), objstore.ID{Key: "k"}, objstore.Range{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != body {
			t.Fatalf("%q, %v", got, err)
		}
		_ = r.Close()
	}
	// Of the two that broke off net/http sent one again by itself, since it was on
	// a connection that had been idle.
	want := []string{"PutObject 503", "PutObject 200", "GetObject 200", "GetObject 0", "GetObject 200"}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if !slices.Equal(seen.answered, want) {
		t.Errorf("%q", seen.answered)
	}
	onWire := 0
	for _, b := range f.bodies {
		onWire += len(b)
	}
	if seen.received != 2*len(body) || seen.sent < 2*len(body) || onWire < 2*len(body) {
		t.Errorf("%d sent (%d came), %d received", seen.sent, onWire, seen.received)
	}
}
