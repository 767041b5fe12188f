// Package bulk does one thing to each entry of a listing, however long: several
// at a time, in bounded memory, so that it can be broken off anywhere, kill -9
// included, and goes on where it was.
//
// Entries come in the order of their keys and are handed to workers. What is
// below the cursor is done; the cursor only moves forward, and a Journal on the
// local disk keeps it together with the totals of what lies below. So after an
// interruption some entries above the cursor are done again, and none is ever
// skipped: what is done to an entry must bear being done twice.
//
// The package knows neither buckets nor objects. How fast requests may go is
// the business of who makes them.
package bulk

import (
	"context"
	"errors"
	"iter"

	"golang.org/x/sync/errgroup"
)

// Walk is what to do, and to what.
type Walk[E any] struct {
	// List gives the entries behind a key, in ascending order of their keys; ""
	// is before the first. Entries of one key follow each other.
	List func(ctx context.Context, after string) iter.Seq2[E, error]

	// Key is the place of an entry in that order.
	Key func(E) string

	// Do does it, and says in one word what came of it, and how many bytes that
	// was. An error is collected, and the walk goes on. It is called by several
	// goroutines at a time.
	Do func(ctx context.Context, e E) (Outcome, error)

	// Fatal tells the errors of Do after which no other entry would fare
	// better: they end the walk. Nil: none is.
	Fatal func(error) bool

	// Failed is told of each failure as it happens, and Tell how far the walk
	// is after each entry; both by one goroutine at a time. They may be nil.
	Failed func(key string, err error)
	Tell   func(Progress)

	Journal  *Journal // nil: the walk cannot be resumed
	Parallel int      // workers; 0 is 8
	Window   int      // most entries between the cursor and the last one handed out; 0 is 256 for each worker
}

// Outcome is what came of an entry: one of a few words, and how many bytes it
// was.
type Outcome struct {
	Kind  string
	Bytes int64
}

// Progress is how far a walk is. All numbers are of this pass, what an
// interrupted run did of it before included.
type Progress struct {
	Pass   int
	Cursor string
	Totals Totals // without the failures themselves
}

// Run walks until the listing ends. Totals are those of the whole pass. An
// error says why it ended before: of the listing, of the journal, a fatal one,
// or the context's. Failures of entries are in the totals.
func Run[E any](ctx context.Context, w Walk[E]) (Totals, error) {
	if w.Parallel <= 0 {
		w.Parallel = 8
	}
	if w.Window <= 0 {
		w.Window = 256 * w.Parallel
	}
	l := newLedger(w.Journal, w.Failed, w.Tell)
	group, ctx := errgroup.WithContext(ctx)
	work := make(chan job[E])
	room := make(chan struct{}, w.Window)
	group.Go(func() error {
		defer close(work)
		return list(ctx, w, l, work, room)
	})
	for range w.Parallel {
		group.Go(func() error {
			for j := range work {
				if err := w.do(ctx, l, j, room); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	totals, kept := l.end(err == nil)
	return totals, errors.Join(err, kept)
}

// job is an entry with its place in the ledger.
type job[E any] struct {
	entry E
	row   *row
}

// list hands out entries while there is room for them.
func list[E any](ctx context.Context, w Walk[E], l *ledger, work chan<- job[E], room chan struct{}) error {
	for e, err := range w.List(ctx, l.cursor) {
		if err != nil {
			return err
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		j := job[E]{e, l.add(w.Key(e))}
		select {
		case work <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err() // a listing may end quietly with its context
}

func (w *Walk[E]) do(ctx context.Context, l *ledger, j job[E], room <-chan struct{}) error {
	out, err := w.Do(ctx, j.entry)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // it was broken off, and is done again
	}
	if err != nil && w.Fatal != nil && w.Fatal(err) {
		return err
	}
	freed, err := l.finish(j.row, out, err)
	for range freed {
		<-room
	}
	return err
}
