package past_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/objstore/past"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var begin = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// clock stands still until it is told to go on.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func put(t interface{ Fatal(args ...any) }, s objstore.Store, key, body string) objstore.ID {
	got, err := s.Put(context.Background(), key, strings.NewReader(body), int64(len(body)), objstore.PutOptions{}) //nolint:usetesting // of rapid too
	if err != nil {
		t.Fatal(err)
	}
	return got.ID
}

func read(ctx context.Context, s objstore.Store, id objstore.ID) (string, error) {
	_, _, body, err := s.Get(ctx, id, objstore.Range{})
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}

// TestModel writes and deletes at random, keeps a copy of each moment, and holds
// the past against it: every listing, every lookup.
func TestModel(t *testing.T) {
	keys := []string{"a", "a/", "a/b", "a/b/c", "a/c", "b", "b/x/y", "c"}
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{begin}
		s := mem.New(mem.Options{Versioned: true, PageSize: rapid.IntRange(1, 5).Draw(t, "page"), Now: c.now})
		state, moments := map[string]string{}, []map[string]string{}
		steps := rapid.IntRange(1, 30).Draw(t, "steps")
		for n := range steps {
			key := rapid.SampledFrom(keys).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				if err := s.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
					t.Fatal(err)
				}
				delete(state, key)
			case 1: // an upload that began long ago
				s.Plant(key, mem.Object{Body: fmt.Appendf(nil, "upload %d", n), Info: objstore.Info{Modified: c.at.Add(-time.Duration(rapid.IntRange(0, 5).Draw(t, "ago")) * time.Second)}})
				state[key] = fmt.Sprintf("upload %d", n)
			default:
				put(t, s, key, fmt.Sprint(n))
				state[key] = fmt.Sprint(n)
			}
			if rapid.Bool().Draw(t, "go on") {
				moments = append(moments, maps.Clone(state))
				c.at = c.at.Add(time.Second)
			}
		}
		moments = append(moments, maps.Clone(state))
		last := c.at
		if rapid.Bool().Draw(t, "later") {
			c.at = c.at.Add(time.Hour)
		}
		which := rapid.IntRange(0, len(moments)-1).Draw(t, "moment")
		at, want := begin.Add(time.Duration(which)*time.Second), moments[which]
		if at.After(last) {
			t.Fatal("a moment that never was")
		}
		model(t, past.New(s, at), keys, want, uploads(s, at))
	})
}

// uploads are the keys whose uppermost version then tells an earlier time than
// that at which it came to be: what shows too early.
func uploads(s *mem.Store, at time.Time) map[string]bool {
	early := map[string]bool{}
	for v, err := range s.Versions(context.Background(), objstore.ListOptions{}) { //nolint:usetesting // of rapid too
		if err == nil && !v.Deleted && !v.Modified.After(at) {
			early[v.Key] = true
		}
	}
	return early
}

func model(t *rapid.T, s *past.Store, keys []string, want map[string]string, loose map[string]bool) {
	t.Helper()
	for range 2 { // the second time from memory
		for _, key := range keys {
			got, err := read(t.Context(), s, objstore.ID{Key: key})
			body, there := want[key]
			switch {
			case there && err == nil && got == body, !there && errors.Is(err, objstore.ErrNotExist):
			case strings.HasPrefix(got, "upload ") && loose[key]: // documented
				if there {
					want[key] = got
				} else {
					want = maps.Clone(want)
					want[key] = got
				}
			default:
				t.Fatalf("%q holds %q, %v, not %q (%v)", key, got, err, body, there)
			}
		}
	}
	for _, opt := range []objstore.ListOptions{
		{}, {Delimiter: "/"}, {Prefix: "a"}, {Prefix: "a/"}, {Prefix: "a/", Delimiter: "/"}, {After: "a/b"}, {Delimiter: "/", After: "a"}, {Limit: 1}, {Delimiter: "/", Limit: 2}, {Prefix: "b/", Limit: 1},
	} {
		var got []string
		for e, err := range s.List(t.Context(), opt) {
			if err != nil {
				t.Fatal(err)
			}
			if e.VersionID != "" || e.Prefix == "" && e.Size != int64(len(want[e.Key])) {
				t.Fatalf("%+v lists %+v", opt, e)
			}
			got = append(got, e.Key+e.Prefix)
		}
		if expected := listing(want, opt); !slices.Equal(got, expected) {
			t.Fatalf("%+v lists %q, not %q", opt, got, expected)
		}
	}
}

// listing is what a bucket of these objects lists.
func listing(state map[string]string, opt objstore.ListOptions) (names []string) {
	for _, key := range slices.Sorted(maps.Keys(state)) {
		rest, ok := strings.CutPrefix(key, opt.Prefix)
		if !ok {
			continue
		}
		if at := strings.Index(rest, opt.Delimiter); opt.Delimiter != "" && at >= 0 {
			key = opt.Prefix + rest[:at+1]
		}
		if key > opt.After && (len(names) == 0 || names[len(names)-1] != key) {
			names = append(names, key)
		}
	}
	if opt.Limit > 0 {
		names = names[:min(opt.Limit, len(names))]
	}
	return names
}

// What an upload's own time says too early shows no earlier than what lies beneath.
func TestUploadsOverOthers(t *testing.T) {
	c := &clock{begin}
	s := mem.New(mem.Options{Versioned: true, Now: c.now})
	put(t, s, "k", "first")
	c.at = begin.Add(10 * time.Second)
	put(t, s, "k", "second")
	c.at = begin.Add(20 * time.Second)
	s.Plant("k", mem.Object{Body: []byte("upload"), Info: objstore.Info{Modified: begin.Add(5 * time.Second)}})
	for after, want := range map[int]string{0: "first", 7: "first", 10: "upload", 20: "upload"} {
		got, err := read(t.Context(), past.New(s, begin.Add(time.Duration(after)*time.Second)), objstore.ID{Key: "k"})
		if err != nil || got != want {
			t.Errorf("%d s after it holds %q, %v", after, got, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	f := faulty.New(mem.New(mem.Options{Versioned: true}), faulty.Options{})
	s := past.New(f, begin)
	_, putErr := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{})
	_, copyErr := s.Copy(t.Context(), objstore.ID{Key: "k"}, "l", objstore.PutOptions{})
	_, uploadErr := s.Upload(t.Context(), "k", objstore.PutOptions{})
	for _, err := range []error{putErr, copyErr, uploadErr, s.Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{})} {
		if !errors.Is(err, past.ErrReadOnly) || !errors.Is(err, objstore.ErrUnsupported) {
			t.Error(err)
		}
	}
	if n := f.Counts().Total(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// What was listed is looked up without another listing, a version that an ID names
// with none at all, and what was not over yet is asked again.
func TestRequests(t *testing.T) {
	c := &clock{begin}
	m := mem.New(mem.Options{Versioned: true, Now: c.now})
	for _, key := range []string{"d/a", "d/b", "e/f"} {
		put(t, m, key, "old "+key)
	}
	c.at = begin.Add(time.Minute)
	put(t, m, "d/a", "new")
	f := faulty.New(m, faulty.Options{})
	s := past.New(f, begin)
	for _, err := range s.List(t.Context(), objstore.ListOptions{Prefix: "d/"}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	info, err := s.Head(t.Context(), objstore.ID{Key: "d/a"})
	if err != nil || info.VersionID == "" {
		t.Fatal(info, err)
	}
	if got, err := read(t.Context(), s, info.ID); err != nil || got != "old d/a" {
		t.Errorf("%q, %v", got, err)
	}
	if n := f.Counts(); n.Requests[faulty.Versions] != 1 || n.Requests[faulty.Head] != 1 || n.Requests[faulty.Get] != 1 || n.Total() != 3 {
		t.Errorf("requests %v", n.Requests)
	}
	for range 2 {
		if _, err := s.Head(t.Context(), objstore.ID{Key: "none"}); !errors.Is(err, objstore.ErrNotExist) {
			t.Error(err)
		}
	}
	if n := f.Counts().Requests[faulty.Versions]; n != 2 {
		t.Errorf("%d listings: absence is not remembered", n)
	}
	if _, err := s.Head(t.Context(), objstore.ID{Key: "d/a", ETag: "other"}); !errors.Is(err, objstore.ErrChanged) {
		t.Error(err)
	}
	f.Reset()
	recent := past.New(f, c.at)
	for range 2 {
		if _, err := recent.Head(t.Context(), objstore.ID{Key: "d/a"}); err != nil {
			t.Error(err)
		}
	}
	if n := f.Counts().Requests[faulty.Versions]; n != 2 {
		t.Errorf("%d listings: what may change still is remembered", n)
	}
}

// A version that was removed for good since it was found is not there.
func TestPurged(t *testing.T) {
	c := &clock{begin}
	m := mem.New(mem.Options{Versioned: true, Now: c.now})
	first := put(t, m, "k", "first")
	c.at = begin.Add(time.Minute)
	put(t, m, "k", "second")
	s := past.New(m, begin)
	if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Delete(t.Context(), first, objstore.Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), s, objstore.ID{Key: "k"}); !errors.Is(err, objstore.ErrNotExist) {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	f := faulty.New(mem.New(mem.Options{Versioned: true}), faulty.Options{Script: func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Versions {
			return faulty.Fault{Err: objstore.ErrAccess}
		}
		return faulty.Fault{}
	}})
	s := past.New(f, begin)
	if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, objstore.ErrAccess) {
		t.Error(err)
	}
	n := 0
	for _, err := range s.List(t.Context(), objstore.ListOptions{}) {
		if n++; !errors.Is(err, objstore.ErrAccess) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors", n)
	}
}

// Memory has a bound, and what was forgotten is found again.
func TestBounded(t *testing.T) {
	c := &clock{begin}
	m := mem.New(mem.Options{Versioned: true, Now: c.now})
	for n := range 100 {
		put(t, m, fmt.Sprintf("k%02d/x", n), fmt.Sprint(n))
	}
	c.at = begin.Add(time.Minute)
	s := past.New(m, begin)
	past.Bound(s, 10)
	for _, opt := range []objstore.ListOptions{{}, {Delimiter: "/"}} {
		n := 0
		for _, err := range s.List(t.Context(), opt) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if held := past.Held(s); n != 100 || held > 20 {
			t.Errorf("%d entries, %d remembered", n, held)
		}
	}
	for n := range 100 {
		if got, err := read(t.Context(), s, objstore.ID{Key: fmt.Sprintf("k%02d/x", n)}); err != nil || got != fmt.Sprint(n) {
			t.Errorf("%d: %q, %v", n, got, err)
		}
	}
}
