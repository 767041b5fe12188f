package objtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// list gives the names of the entries, common prefixes with theirs.
func (t suite) list(opt objstore.ListOptions) []string {
	t.Helper()
	names := []string{}
	for e, err := range t.s.List(t.Context(), opt) {
		t.ok(err)
		if e.Prefix != "" && (e.Key != "" || !strings.HasSuffix(e.Prefix, opt.Delimiter)) || e.Metadata != nil {
			t.Errorf("entry %+v", e)
		}
		names = append(names, e.Key+e.Prefix)
	}
	return names
}

func (t suite) lists(opt objstore.ListOptions, want ...string) {
	t.Helper()
	got := t.list(opt)
	if slices.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("%+v gave %d entries, not %d; from %d on: %q, not %q", opt, len(got), len(want), i, got[i:min(len(got), i+5)], want[i:min(len(want), i+5)])
}

func (t suite) listOrder() {
	// "a-b" and "a.txt" sort before "a/", bytewise; a walk of directories
	// would have them behind it.
	keys := []string{"a-b", "a.txt", "a/1", "a/2", "a/b/c", "a/b/d", "a0", "b/x", "c", "ä"}
	bodies := map[string]objstore.ID{}
	for i, key := range keys {
		bodies[key] = t.mustPut(key, make([]byte, i))
	}
	if t.opt.ListsUnordered {
		t.Skip("the server has an order of its own")
	}
	for e, err := range t.s.List(t.Context(), objstore.ListOptions{}) {
		t.ok(err)
		if e.ETag != bodies[e.Key].ETag || e.Size != int64(slices.Index(keys, e.Key)) || e.Modified.IsZero() || e.Answered.IsZero() {
			t.Errorf("entry %+v", e)
		}
	}
	type o = objstore.ListOptions
	t.lists(o{}, keys...)
	t.lists(o{Delimiter: "/"}, "a-b", "a.txt", "a/", "a0", "b/", "c", "ä")
	t.lists(o{Prefix: "a"}, "a-b", "a.txt", "a/1", "a/2", "a/b/c", "a/b/d", "a0")
	t.lists(o{Prefix: "a/", Delimiter: "/"}, "a/1", "a/2", "a/b/")
	t.lists(o{Prefix: "a/"}, "a/1", "a/2", "a/b/c", "a/b/d")
	t.lists(o{Prefix: "a/b", Delimiter: "/"}, "a/b/")
	t.lists(o{Prefix: "no/"})
	t.lists(o{Limit: 3}, "a-b", "a.txt", "a/1")
	t.lists(o{Limit: 3, Delimiter: "/"}, "a-b", "a.txt", "a/")
	t.lists(o{Limit: 100}, keys...)
	t.lists(o{After: "a/2"}, "a/b/c", "a/b/d", "a0", "b/x", "c", "ä")
	t.lists(o{After: "a/3", Limit: 2}, "a/b/c", "a/b/d")
	t.lists(o{After: "a/", Delimiter: "/"}, "a0", "b/", "c", "ä")
	t.lists(o{After: "a/1", Delimiter: "/"}, "a0", "b/", "c", "ä")
	t.lists(o{After: "a/1", Delimiter: "/", Limit: 1}, "a0")
	t.lists(o{After: "a", Delimiter: "/"}, "a-b", "a.txt", "a/", "a0", "b/", "c", "ä")
	t.lists(o{Prefix: "a/", Delimiter: "/", After: "a/1"}, "a/2", "a/b/")
	t.lists(o{Prefix: "b", After: "a"}, "b/x")
	t.lists(o{Prefix: "a/", After: "b"})
	t.lists(o{After: "ä"})
}

func (t suite) listPages() {
	var want, dirs []string
	for i := range t.opt.Objects {
		want = append(want, fmt.Sprintf("d%05d/k", i))
		dirs = append(dirs, fmt.Sprintf("d%05d/", i))
	}
	var wg sync.WaitGroup
	work := make(chan string)
	for range 16 {
		wg.Go(func() {
			for key := range work {
				if _, err := t.put(key, nil, objstore.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, key := range want {
		work <- key
	}
	close(work)
	wg.Wait()
	t.lists(objstore.ListOptions{}, want...)
	t.lists(objstore.ListOptions{Delimiter: "/"}, dirs...)
	n := t.opt.Objects - 1
	t.lists(objstore.ListOptions{Limit: n}, want[:n]...)
	t.lists(objstore.ListOptions{Limit: n, Delimiter: "/", After: dirs[0]}, dirs[1:]...)
	seen := 0
	for _, err := range t.s.List(t.Context(), objstore.ListOptions{}) {
		t.ok(err)
		if seen++; seen == 3 {
			break
		}
	}
}

func (t suite) listEmpty() {
	t.lists(objstore.ListOptions{})
	t.lists(objstore.ListOptions{Prefix: "a/", Delimiter: "/", Limit: 1})
	t.mustPut("a/", nil) // a directory marker is an object
	t.lists(objstore.ListOptions{Prefix: "a/", Delimiter: "/"}, "a/")
	t.lists(objstore.ListOptions{Delimiter: "/"}, "a/")
}
