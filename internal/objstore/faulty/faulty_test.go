package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func put(t *testing.T, s objstore.Store, key, body string) error {
	t.Helper()
	_, err := s.Put(t.Context(), key, strings.NewReader(body), int64(len(body)), objstore.PutOptions{})
	return err
}

func get(t *testing.T, s objstore.Store, key string) (string, error) {
	t.Helper()
	_, _, body, err := s.Get(t.Context(), objstore.ID{Key: key}, objstore.Range{})
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}

func TestCounts(t *testing.T) {
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{PageSize: 10})
	for i := range 20 {
		if err := put(t, s, fmt.Sprintf("k%02d", i), "12345"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(t, s, "k00"); err != nil {
		t.Fatal(err)
	}
	up, err := s.Upload(t.Context(), "m", objstore.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Part(t.Context(), 1, strings.NewReader("123"), 3); err != nil {
		t.Fatal(err)
	}
	if err := up.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := s.Counts()
	if c.Requests[faulty.Put] != 20 || c.Requests[faulty.Part] != 1 || c.Up != 103 || c.Down != 5 {
		t.Errorf("counts %+v", c)
	}
	if c.Total() != 24 || c.Writes() != 23 {
		t.Errorf("total %d, writes %d", c.Total(), c.Writes())
	}
}

func TestPagesCount(t *testing.T) {
	for _, tc := range []struct{ objects, limit, stop, pages int }{
		{0, 0, -1, 1}, {9, 0, -1, 1}, {10, 0, -1, 1}, {11, 0, -1, 2}, {20, 0, -1, 2}, {25, 10, -1, 1}, {25, 11, -1, 2}, {25, 0, 10, 1},
	} {
		s := faulty.New(mem.New(mem.Options{PageSize: 10}), faulty.Options{PageSize: 10})
		for i := range tc.objects {
			if err := put(t, s, fmt.Sprintf("k%02d", i), ""); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for _, err := range s.List(t.Context(), objstore.ListOptions{Limit: tc.limit}) {
			if n++; err != nil {
				t.Fatal(err)
			} else if n == tc.stop {
				break
			}
		}
		if got := s.Counts().Requests[faulty.List]; got != tc.pages {
			t.Errorf("%+v: %d pages", tc, got)
		}
	}
}

func TestErrBefore(t *testing.T) {
	m := mem.New(mem.Options{})
	s := faulty.New(m, faulty.Options{Script: func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Put && op.OfAll == 2 {
			return faulty.Fault{Err: objstore.ErrThrottled}
		}
		return faulty.Fault{}
	}})
	if err := put(t, s, "a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, "b", "2"); !errors.Is(err, objstore.ErrThrottled) {
		t.Fatalf("got %v", err)
	}
	if keys := m.Keys(); len(keys) != 1 {
		t.Errorf("done nonetheless: %q", keys)
	}
}

func TestLostAnswer(t *testing.T) {
	m := mem.New(mem.Options{})
	s := faulty.New(m, faulty.Options{Script: func(faulty.Op) faulty.Fault { return faulty.Fault{Lost: true} }})
	if err := put(t, s, "a", "1"); !errors.Is(err, objstore.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if o, ok := m.Object("a"); !ok || string(o.Body) != "1" {
		t.Errorf("was not done: %v %q", ok, o.Body)
	}
	if _, err := s.Head(t.Context(), objstore.ID{Key: "b"}); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("a failure is not lost: %v", err)
	}
}

func TestBodies(t *testing.T) {
	var fault faulty.Fault
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{Script: func(faulty.Op) faulty.Fault { return fault }})
	body := strings.Repeat("x", 5000)
	if err := put(t, s, "a", body); err != nil {
		t.Fatal(err)
	}
	fault = faulty.Fault{Body: faulty.Cut(1234)}
	if got, err := get(t, s, "a"); len(got) != 1234 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %d bytes, %v", len(got), err)
	}
	fault = faulty.Fault{Body: faulty.Flip(8*4000 + 3)}
	got, err := get(t, s, "a")
	want := []byte(body)
	want[4000] ^= 8
	if err != nil || !bytes.Equal([]byte(got), want) {
		t.Errorf("flip: wrong body, %v", err)
	}
}

func TestWaitAndDelay(t *testing.T) {
	var slept time.Duration
	gate := make(chan struct{})
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{
		Script: func(faulty.Op) faulty.Fault { return faulty.Fault{Wait: gate, Delay: time.Hour} },
		Sleep:  func(_ context.Context, d time.Duration) error { slept += d; return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Head(ctx, objstore.ID{Key: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("held request: %v", err)
	}
	close(gate)
	if _, err := s.Head(t.Context(), objstore.ID{Key: "a"}); !errors.Is(err, objstore.ErrNotExist) || slept != time.Hour {
		t.Errorf("after %v: %v", slept, err)
	}
}

func TestCrash(t *testing.T) {
	for _, done := range []bool{false, true} {
		m := mem.New(mem.Options{})
		s := faulty.New(m, faulty.Options{})
		if err := put(t, s, "a", "1"); err != nil {
			t.Fatal(err)
		}
		_, _, body, err := s.Get(t.Context(), objstore.ID{Key: "a"}, objstore.Range{})
		if err != nil {
			t.Fatal(err)
		}
		s.CrashAt(3, done)
		if err := put(t, s, "b", "2"); !errors.Is(err, faulty.ErrCrashed) {
			t.Fatalf("got %v", err)
		}
		if err := put(t, s, "c", "3"); !errors.Is(err, faulty.ErrCrashed) || !s.Crashed() {
			t.Fatalf("got %v", err)
		}
		if _, err := io.ReadAll(body); !errors.Is(err, faulty.ErrCrashed) {
			t.Errorf("open body: %v", err)
		}
		if _, ok := m.Object("b"); ok != done {
			t.Errorf("done %v: b is there: %v", done, ok)
		}
		s.Reset()
		if err := put(t, s, "c", "3"); err != nil {
			t.Error(err)
		}
	}
}

func TestHide(t *testing.T) {
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{Script: func(faulty.Op) faulty.Fault {
		return faulty.Fault{Hide: func(key string) bool { return key == "fresh" }}
	}})
	for _, key := range []string{"fresh", "old"} {
		if err := put(t, s, key, ""); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range s.List(t.Context(), objstore.ListOptions{}) {
		if err != nil || e.Key != "old" {
			t.Errorf("listed %q, %v", e.Key, err)
		}
	}
}
