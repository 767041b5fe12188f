package interop

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"text/tabwriter"
)

// A tally says at the end what was proven, and what could not be tried.
type tally struct {
	mu    sync.Mutex // guards the maps
	rows  map[row]int
	lacks map[string]bool
}

// A row is a line of the table.
type row struct{ writer, reader, what string }

func (t *tally) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[r]++
}

// can tells whether an implementation can do so, and remembers why not.
func (t *tally) can(i implementation, c config, write bool) bool {
	why := i.lacks(c, write)
	if why == "" {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lacks[i.name+": "+why] = true
	return false
}

func (t *tally) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "written by\tread by\twhat\tobjects")
	order := func(a, b row) int {
		return cmp.Or(cmp.Compare(a.what, b.what), cmp.Compare(a.writer, b.writer), cmp.Compare(a.reader, b.reader))
	}
	for _, r := range slices.SortedFunc(maps.Keys(t.rows), order) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", r.writer, r.reader, r.what, t.rows[r])
	}
	for _, why := range slices.Sorted(maps.Keys(t.lacks)) {
		fmt.Fprintf(w, "not tried\t%s\n", why)
	}
	_ = w.Flush()
}
