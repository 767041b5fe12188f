package bulk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listing gives keys in order behind a key, as a store would.
func listing(keys []string) func(context.Context, string) iter.Seq2[string, error] {
	return func(_ context.Context, after string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, k := range keys {
				if k > after && !yield(k, nil) {
					return
				}
			}
		}
	}
}

func itself(s string) string { return s }

var id = Identity{Operation: "reencrypt", Target: "s3://b/p", Options: "--to client"}

func open(t rapid.TB, dir string) *Journal {
	t.Helper()
	j, err := Open(dir, id, false)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

var errKilled = errors.New("killed")

// TestInterruptedAnywhere kills a walk again and again, where rapid says, with
// what was kept until then: every entry is done at least once by the end, the
// cursor only goes forward, nothing above it counts, and the totals of the run
// that completes are those of a run in one piece.
func TestInterruptedAnywhere(t *testing.T) {
	base := t.TempDir()
	var n atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		dir := filepath.Join(base, fmt.Sprint(n.Add(1)))
		keys := rapid.SliceOfN(rapid.StringMatching(`[a-c]{1,3}`), 0, 40).Draw(t, "keys")
		slices.Sort(keys) // entries of one key follow each other
		bad := rapid.SampledFrom(append([]string{"none"}, keys...)).Draw(t, "bad")
		var mu sync.Mutex
		done, cursor := map[string]int{}, ""
		for whole := false; !whole; {
			kill := rapid.IntRange(1, len(keys)+5).Draw(t, "kill")
			j := open(t, dir)
			if j.Cursor() < cursor {
				t.Fatalf("the cursor went back from %q to %q", cursor, j.Cursor())
			}
			cursor = j.Cursor()
			if rapid.Bool().Draw(t, "slow") {
				j.now = func() time.Time { return time.Now().Add(time.Duration(n.Add(1)) * time.Hour) } // every step is kept
			}
			left := kill
			totals, err := Run(t.Context(), Walk[string]{
				List: listing(keys), Key: itself, Journal: j, Fatal: func(err error) bool { return errors.Is(err, errKilled) },
				Parallel: rapid.IntRange(1, 4).Draw(t, "parallel"), Window: rapid.IntRange(1, 8).Draw(t, "window"),
				Do: func(_ context.Context, k string) (Outcome, error) {
					mu.Lock()
					defer mu.Unlock()
					if left--; left < 0 {
						return Outcome{}, errKilled
					}
					done[k]++
					if k == bad {
						return Outcome{}, errors.New("bad")
					}
					return Outcome{"done", 2}, nil
				},
			})
			whole = err == nil
			if whole {
				var want Totals
				for _, k := range keys {
					if k == bad {
						want.add(Outcome{}, &Failure{k, "bad"})
					} else {
						want.add(Outcome{"done", 2}, nil)
					}
				}
				if totals.Done["done"] != want.Done["done"] || totals.Failed != want.Failed || len(totals.Failures) != len(want.Failures) {
					t.Fatalf("totals %+v, want %+v", totals, want)
				}
			} else if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			for _, k := range keys {
				if k <= j.Cursor() && done[k] == 0 {
					t.Fatalf("%q is below the cursor %q and was not done", k, j.Cursor())
				}
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range keys {
			if done[k] == 0 {
				t.Fatalf("%q was skipped", k)
			}
		}
	})
}

// TestWindow holds the first entry back: no more than the window is handed out
// meanwhile, however long the listing.
func TestWindow(t *testing.T) {
	const window = 16
	release, reached := make(chan struct{}), make(chan struct{})
	var handed, listed atomic.Int64
	_, err := Run(t.Context(), Walk[int]{
		Key: func(i int) string { return fmt.Sprintf("%06d", i) }, Parallel: 4, Window: window,
		List: func(context.Context, string) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for i := range 1000 {
					if listed.Add(1); i == window {
						close(reached) // all before are handed out, and this one waits
					}
					if !yield(i, nil) {
						return
					}
				}
			}
		},
		Do: func(_ context.Context, i int) (Outcome, error) {
			handed.Add(1)
			if i == 0 {
				<-reached
				if n := listed.Load(); n > window+1 {
					t.Errorf("%d listed behind one that is not done", n)
				}
				close(release)
			}
			return Outcome{Kind: "done"}, nil
		},
	})
	<-release
	if err != nil || handed.Load() != 1000 {
		t.Errorf("%d done: %v", handed.Load(), err)
	}
}

// TestManyOfOneKey has more entries of one key than the window.
func TestManyOfOneKey(t *testing.T) {
	j := open(t, t.TempDir())
	defer j.Close()
	keys := slices.Repeat([]string{"same"}, 100)
	totals, err := Run(t.Context(), Walk[string]{
		List: listing(keys), Key: itself, Parallel: 3, Window: 4, Journal: j,
		Do: func(context.Context, string) (Outcome, error) {
			if j.Cursor() != "" {
				t.Error("the cursor passed a key of which entries are missing")
			}
			return Outcome{"done", 1}, nil
		},
	})
	if err != nil || totals.Done["done"] != (Count{100, 100}) || j.Cursor() != "same" {
		t.Errorf("%+v, cursor %q: %v", totals, j.Cursor(), err)
	}
}

// TestEndsWithItsContext leaves what was under way for the next run.
func TestEndsWithItsContext(t *testing.T) {
	j := open(t, t.TempDir())
	defer j.Close()
	ctx, cancel := context.WithCancel(t.Context())
	totals, err := Run(ctx, Walk[string]{
		List: listing([]string{"a", "b", "c"}), Key: itself, Parallel: 1, Journal: j,
		Do: func(ctx context.Context, k string) (Outcome, error) {
			if k == "b" {
				cancel()
				return Outcome{}, ctx.Err()
			}
			return Outcome{Kind: "done"}, nil
		},
	})
	if !errors.Is(err, context.Canceled) || totals.Failed != 0 || j.Cursor() != "a" {
		t.Errorf("%+v, cursor %q: %v", totals, j.Cursor(), err)
	}
}

func TestListingFails(t *testing.T) {
	bad := errors.New("no answer")
	_, err := Run(t.Context(), Walk[string]{
		Key: itself, Do: func(context.Context, string) (Outcome, error) { return Outcome{}, nil },
		List: func(context.Context, string) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) { yield("", bad) }
		},
	})
	if !errors.Is(err, bad) {
		t.Error(err)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	keys := make([]string, 2*MaxFailures)
	for i := range keys {
		keys[i] = fmt.Sprintf("%06d", i)
	}
	told := 0
	totals, err := Run(t.Context(), Walk[string]{
		List: listing(keys), Key: itself, Failed: func(string, error) { told++ },
		Do: func(context.Context, string) (Outcome, error) { return Outcome{}, errors.New("bad") },
	})
	if err != nil || totals.Failed != int64(len(keys)) || len(totals.Failures) != MaxFailures || told != len(keys) {
		t.Errorf("%d failed, %d kept, %d told: %v", totals.Failed, len(totals.Failures), told, err)
	}
}

func TestJournalIsOfOneOperation(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	if _, err := Open(dir, id, false); !errors.Is(err, ErrBusy) {
		t.Errorf("held twice: %v", err)
	}
	if err := j.keep("k\xff", Totals{Failed: 1, Failures: []Failure{{"f\xfe", "bad"}}, Done: map[string]Count{"copied": {2, 3}}}); err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	other := id
	other.Options = "--to none"
	if _, err := Open(dir, other, false); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "--to client") {
		t.Errorf("resumed with other options: %v", err)
	}
	j = open(t, dir)
	if !j.Resumed() || j.Cursor() != "k\xff" || j.state.Totals.Failures[0].Key != "f\xfe" || j.state.Totals.Done["copied"] != (Count{2, 3}) {
		t.Errorf("came back as %+v", j.state)
	}
	if err := j.Again(); err != nil || j.Pass() != 2 || j.Cursor() != "" || j.Earlier()["copied"] != (Count{2, 3}) {
		t.Errorf("another pass: %+v, %v", j.state, err)
	}
	_ = j.Close()
	if j, err := Open(dir, other, true); err != nil || j.Resumed() {
		t.Errorf("anew: %v", err)
	} else if err := errors.Join(j.Finish(), j.Close()); err != nil {
		t.Error(err)
	}
	if j := open(t, dir); j.Resumed() {
		t.Error("resumed what was finished")
	} else {
		_ = j.Close()
	}
}

func TestJournalIsPrivateAndWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	j := open(t, dir)
	_ = j.Close()
	info, err := os.Stat(j.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(j.path, []byte(`{"version":1,"pa`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, id, false); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged journal: %v", err)
	}
}

// FuzzParse has no journal break who reads it; what is read can be kept.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"operation":"verify","target":"s3://b","options":"","began":"2026-01-02T03:04:05Z","pass":1,"cursor":"YQ==","done":{"ok":{"entries":1,"bytes":2}},"failed":1,"failures":[{"key":"Yg==","error":"bad"}]}`))
	f.Add([]byte(`{"version":2}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		j := &Journal{path: filepath.Join(dir, "journal"), state: r, now: time.Now}
		if err := j.save(); err != nil {
			return // a year that JSON cannot say
		}
		again, err := read(j.path)
		if err != nil || again.Cursor != r.Cursor || again.Totals.Failed != r.Totals.Failed {
			t.Errorf("%+v came back as %+v: %v", r, again, err)
		}
	})
}

// A walk of another kind keeps what it needs with its cursor.
func TestKeep(t *testing.T) {
	id := Identity{Operation: "audit", Target: "s3://b"}
	dir := t.TempDir()
	j, err := Open(dir, id, false)
	if err != nil {
		t.Fatal(err)
	}
	if j.Due() || j.State() != nil {
		t.Errorf("a new journal is due %v, and has %s", j.Due(), j.State())
	}
	if err := j.Keep("a\xff", []byte(`{"n":7}`)); err != nil {
		t.Fatal(err)
	}
	if err := j.Keep("b", make([]byte, maxState+1)); err == nil {
		t.Error("more is kept than is read again")
	}
	_ = j.Close()
	if j, err = Open(dir, id, false); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if !j.Resumed() || j.Cursor() != "a\xff" || string(j.State()) != `{"n":7}` {
		t.Errorf("at %q it has %s", j.Cursor(), j.State())
	}
	if (*Journal)(nil).Keep("a", nil) != nil || (*Journal)(nil).Due() || (*Journal)(nil).State() != nil {
		t.Error("none keeps something")
	}
}
