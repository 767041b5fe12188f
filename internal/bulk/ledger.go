package bulk

import (
	"maps"
	"slices"
	"sync"
)

// MaxFailures is how many failures are kept with their text; all are counted.
const MaxFailures = 1000

// Count is how many entries, and how many bytes.
type Count struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
}

// Failure is an entry of which Do gave an error.
type Failure struct {
	Key   string
	Cause string
}

// Totals are what came of a walk.
type Totals struct {
	Done     map[string]Count // by kind
	Failed   int64
	Failures []Failure // the first ones, in no order
}

func (t Totals) clone() Totals {
	return Totals{Done: maps.Clone(t.Done), Failed: t.Failed, Failures: slices.Clone(t.Failures)}
}

func (t *Totals) add(out Outcome, failure *Failure) {
	if failure != nil {
		if t.Failed++; len(t.Failures) < MaxFailures {
			t.Failures = append(t.Failures, *failure)
		}
		return
	}
	if t.Done == nil {
		t.Done = map[string]Count{}
	}
	c := t.Done[out.Kind]
	t.Done[out.Kind] = Count{c.Entries + 1, c.Bytes + out.Bytes}
}

func (t Totals) any() bool { return len(t.Done) > 0 || t.Failed > 0 }

// merge adds all of other.
func (t *Totals) merge(other Totals) {
	if t.Done == nil {
		t.Done = map[string]Count{}
	}
	for kind, c := range other.Done {
		t.Done[kind] = Count{t.Done[kind].Entries + c.Entries, t.Done[kind].Bytes + c.Bytes}
	}
	t.Failed += other.Failed
	room := min(MaxFailures-len(t.Failures), len(other.Failures))
	t.Failures = append(t.Failures, other.Failures[:room]...)
}

// ledger knows which entries are under way, and up to where all are done. Safe
// for concurrent use.
type ledger struct {
	journal *Journal
	failed  func(string, error)
	tell    func(Progress)

	mu     sync.Mutex // guards what follows, and rows
	rows   []*row     // above the cursor, in order
	cursor string
	below  Totals // of what is below the cursor
	key    string // of the first row, or of what was before it
	holds  bool   // key is one
	held   Totals // of entries of that key that are done
	all    Totals // of all that is done
	number int    // of the pass
}

// row is an entry above the cursor.
type row struct {
	key     string
	done    bool
	out     Outcome
	failure *Failure
}

func newLedger(j *Journal, failed func(string, error), tell func(Progress)) *ledger {
	l := &ledger{journal: j, failed: failed, tell: tell, number: 1}
	if j != nil {
		l.cursor, l.below, l.number = j.state.Cursor, j.state.Totals.clone(), j.state.Pass
		l.all = l.below.clone()
	}
	return l
}

// add enters the next entry of the listing.
func (l *ledger) add(key string) *row {
	r := &row{key: key}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, r)
	return r
}

// finish notes that an entry is done. It comes back with how many rows that
// freed; an error is the journal's.
func (l *ledger) finish(r *row, out Outcome, err error) (freed int, kept error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.done, r.out = true, out
	if err != nil {
		r.failure = &Failure{r.key, err.Error()}
		if l.failed != nil {
			l.failed(r.key, err)
		}
	}
	l.all.add(out, r.failure)
	freed = l.advance(false)
	if l.tell != nil {
		l.tell(Progress{Pass: l.number, Cursor: l.cursor, Totals: Totals{Done: maps.Clone(l.all.Done), Failed: l.all.Failed}})
	}
	if l.journal == nil {
		return freed, nil
	}
	return freed, l.journal.advance(l.cursor, l.below)
}

// advance moves the cursor up to the first key of which an entry is not done, or
// may yet come: the key listed last is held back unless the listing has ended.
// It needs l.mu.
func (l *ledger) advance(ended bool) (freed int) {
	for len(l.rows) > 0 && l.rows[0].done {
		l.passTo(l.rows[0].key)
		l.held.add(l.rows[0].out, l.rows[0].failure)
		l.rows = slices.Delete(l.rows, 0, 1)
		freed++
	}
	switch {
	case len(l.rows) > 0:
		l.passTo(l.rows[0].key)
	case ended:
		l.pass()
	}
	return freed
}

// passTo is pass, unless the next entry is of the held key too.
func (l *ledger) passTo(next string) {
	if l.holds && l.key != next {
		l.pass()
	}
	l.key, l.holds = next, true
}

// pass moves the cursor over the key that is held.
func (l *ledger) pass() {
	if l.holds && l.held.any() {
		l.cursor = l.key
		l.below.merge(l.held)
		l.held = Totals{}
	}
	l.holds = false
}

// end keeps where the walk is. whole: nothing is left to list.
func (l *ledger) end(whole bool) (Totals, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(whole)
	if l.journal == nil {
		return l.all, nil
	}
	return l.all, l.journal.keep(l.cursor, l.below)
}
