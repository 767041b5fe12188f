package interop

import (
	"cmp"
	"errors"
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

// least is how many objects at least each pair must have exchanged, and how many
// each reader must have refused of each writer's, for the whole to prove
// anything: a table that shrinks unseen would pass all the same.
func least() map[row]int {
	return map[row]int{
		{"java-v3", "package s3ec", "read"}:   54,
		{"java-v3", "mount", "read"}:          54,
		{"java-v4", "package s3ec", "read"}:   108,
		{"java-v4", "mount", "read"}:          108,
		{"python-v4", "package s3ec", "read"}: 18,
		{"python-v4", "mount", "read"}:        18,
		{"package s3ec", "java-v3", "read"}:   32,
		{"package s3ec", "java-v4", "read"}:   64,
		{"package s3ec", "python-v4", "read"}: 32,
		{"mount", "java-v3", "read"}:          10,
		{"mount", "java-v4", "read"}:          20,
		{"mount", "python-v4", "read"}:        18,

		{"java-v4", "package s3ec", "refused"}:      315,
		{"java-v4", "mount", "refused"}:             284,
		{"java-v4", "java-v3", "refused"}:           135,
		{"java-v4", "java-v4", "refused"}:           291,
		{"java-v4", "python-v4", "refused"}:         115,
		{"package s3ec", "package s3ec", "refused"}: 216,
		{"package s3ec", "mount", "refused"}:        194,
		{"package s3ec", "java-v3", "refused"}:      94,
		{"package s3ec", "java-v4", "refused"}:      200,
		{"package s3ec", "python-v4", "refused"}:    111,
	}
}

// missing says what too little was proven of.
func (t *tally) missing() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for r, n := range least() {
		if got := t.rows[r]; got < n {
			errs = append(errs, fmt.Errorf("of %s only %d were %s by %s, not %d", r.writer, got, r.what, r.reader, n))
		}
	}
	return errors.Join(errs...)
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
