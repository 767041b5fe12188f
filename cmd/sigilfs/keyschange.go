package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"golang.org/x/sync/errgroup"
)

// changesDocument is what a command says that changes epochs.
type changesDocument struct {
	Target    string        `json:"target"`
	DryRun    bool          `json:"dry_run"`
	Changed   []changeJSON  `json:"changed"` // of a dry run: what would be
	Unchanged int           `json:"unchanged"`
	Failed    []failureJSON `json:"failed"`
	Unopened  []failureJSON `json:"unopened"`          // left as they are: they do not open here, are not believed, or only the key that is to go opens them and they are closed
	Kept      []keptJSON    `json:"kept,omitempty"`    // retired ones that were not closed
	Refused   string        `json:"refused,omitempty"` // why none was
	Old       *oldDocument  `json:"old_versions,omitempty"`
	Names     *resealedJSON `json:"names,omitempty"` // of a volume whose names are encrypted, where the epoch of their key is open no more
}

// changeJSON is what became of one epoch.
type changeJSON struct {
	ID       string   `json:"id"`
	At       string   `json:"at"`
	Revision uint64   `json:"revision"` // after it; of a dry run, now
	State    string   `json:"state"`    // after it
	Was      string   `json:"was"`
	Added    []string `json:"added"`
	Removed  []string `json:"removed"`
}

type failureJSON struct {
	ID    string `json:"id"`
	At    string `json:"at"`
	Error string `json:"error"`
}

// alteration is a change of epochs that is under way.
type alteration struct {
	*keeping
	doc changesDocument
	bar *progress.Progress

	mu    sync.Mutex // guards what follows, and doc
	noted map[string]int
	errs  []error
	left  string // what is so where a rewrap did not end
}

func (k *keeping) newAlteration(doing string) *alteration {
	return k.alterationUnder(progress.New(k.stderr, progress.Options{What: doing}))
}

func (k *keeping) alterationUnder(bar *progress.Progress) *alteration {
	c := &alteration{keeping: k, noted: map[string]int{}, bar: bar}
	c.doc = changesDocument{Target: k.set.target.Spec, DryRun: k.set.readOnly, Changed: []changeJSON{}, Failed: []failureJSON{}, Unopened: []failureJSON{}}
	return c
}

// changeAtOnce is how many epochs are changed at a time.
const changeAtOnce = 16

// tryAll looks whether the aim can be reached with all of the epochs, before
// anything is changed, and gives them. A closed one to which there is no other way
// is left: nothing that is in use hangs on it.
func (c *alteration) tryAll(ctx context.Context, held []keyring.Held, aim keyring.Aim) ([]keyring.Held, error) {
	left := map[string]bool{}
	err := c.each(ctx, held, func(ctx context.Context, h *keyring.Held) error {
		_, err := c.admin.Try(ctx, *h, aim)
		if h.State != keyring.Closed || !errors.Is(err, keyring.ErrOnlyWay) {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		left[h.Path()] = true
		c.doc.Unopened = append(c.doc.Unopened, failureJSON{h.ID.String(), h.At, "it is closed, and " + oneLine(err)})
		return nil
	})
	return without(held, func(h keyring.Held) bool { return left[h.Path()] }), err
}

// without gives a list of its own of the epochs that are not to be left out.
func without(held []keyring.Held, out func(keyring.Held) bool) []keyring.Held {
	return slices.DeleteFunc(slices.Clone(held), out)
}

// applyAll pursues the aim with all of the epochs, whatever one of them gives,
// and notes what became of them.
func (c *alteration) applyAll(ctx context.Context, held []keyring.Held, aim keyring.Aim) error {
	c.bar.Total(int64(len(held)), 0)
	return c.each(ctx, held, func(ctx context.Context, h *keyring.Held) error {
		defer c.bar.Add(1, 0)
		change, err := c.admin.Apply(ctx, h, aim)
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if change.None() {
			c.doc.Unchanged++
			return nil
		}
		c.note(*h, change)
		return nil
	})
}

// each does one thing to many epochs. The error is of all that failed; they
// stand in the document.
func (c *alteration) each(ctx context.Context, held []keyring.Held, do func(ctx context.Context, h *keyring.Held) error) error {
	var group errgroup.Group
	group.SetLimit(changeAtOnce)
	c.errs = nil
	for i := range held {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			if err := do(ctx, &held[i]); err != nil && ctx.Err() == nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.errs = append(c.errs, err)
				c.doc.Failed = append(c.doc.Failed, failureJSON{held[i].ID.String(), held[i].At, oneLine(err)})
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return mountError("interrupted: what was changed stays so, and the same command goes on with the rest")
	}
	return errors.Join(c.errs...)
}

// note is of a change of an epoch that may have been changed before: by the first
// half of a rewrap.
func (c *alteration) note(h keyring.Held, change keyring.Change) {
	d := &c.doc
	i, ok := c.noted[h.Path()]
	if !ok {
		i = len(d.Changed)
		c.noted[h.Path()] = i
		d.Changed = append(d.Changed, changeJSON{ID: h.ID.String(), At: h.At, Was: change.From.String(), Added: []string{}, Removed: []string{}})
	}
	j := &d.Changed[i]
	j.Revision, j.State = h.Shown, change.To.String()
	j.Added, j.Removed = append(j.Added, change.Added...), append(j.Removed, change.Dropped...)
}

// opened parts the epochs that open from the others, which are noted where they
// concern the command.
func (c *alteration) opened(held []keyring.Held, concerns func(keyring.Held) bool) []keyring.Held {
	var open []keyring.Held
	for _, h := range held {
		switch {
		case h.Err == nil:
			open = append(open, h)
		case concerns(h):
			c.doc.Unopened = append(c.doc.Unopened, failureJSON{h.ID.String(), h.At, oneLine(h.Err)})
		}
	}
	return open
}

func anyEpoch(keyring.Held) bool { return true }

// end prints the document, and gives the error of the command. left says what is
// so where something failed.
func (c *alteration) end(ctx context.Context, left string) error {
	if err := c.resealNames(ctx); err != nil {
		return errors.Join(c.print(), err)
	}
	if err := c.print(); err != nil {
		return err
	}
	return c.doc.failed(left)
}

func (c *alteration) print() error {
	c.bar.Done()
	out := c.c.OutOrStdout()
	if c.asJSON {
		return printJSON(out, c.doc)
	}
	say(out, c.text())
	return nil
}

// failed is the error of what the document tells. left says what is so where
// something failed.
func (d changesDocument) failed(left string) error {
	switch {
	case len(d.Failed) > 0:
		return mountError("%s: %d epochs could not be changed; %s", d.Target, len(d.Failed), left)
	case d.Names != nil && d.Names.Error != "":
		return mountError("%s: the key of names could not be sealed anew, and stays under epoch %s, which is open no more; a host that opens it does it with keys rotate", d.Target, d.Names.Was)
	case d.Old != nil && len(d.Old.Failed) > 0:
		return mountError("%s: %d old versions could not be removed or looked at", d.Target, len(d.Old.Failed))
	case len(d.Unopened) > 0:
		return &exitError{exitWarned, fmt.Errorf("%s: %d epochs are left as they are: they do not open here, or none of --signers signed them; each is listed with its reason", d.Target, len(d.Unopened))}
	}
	return nil
}

// text is the document for people.
func (c *alteration) text() string {
	var lines []string
	for _, j := range c.doc.Changed {
		lines = append(lines, "epoch "+j.ID+": "+c.changeText(j))
	}
	for _, f := range c.doc.Failed {
		lines = append(lines, fmt.Sprintf("epoch %s failed: %s", f.ID, f.Error))
	}
	for _, f := range c.doc.Unopened {
		lines = append(lines, fmt.Sprintf("epoch %s is left as it is: %s", f.ID, f.Error))
	}
	said, now := "changed", "as they are to be"
	if c.doc.DryRun {
		said = "would be changed"
	}
	for _, k := range c.doc.Kept {
		lines = append(lines, k.line())
	}
	lines = append(lines, fmt.Sprintf("%d epochs %s, %d are %s", len(c.doc.Changed), said, c.doc.Unchanged, now))
	if c.doc.Names != nil {
		lines = append(lines, c.doc.Names.line())
	}
	if c.doc.Old != nil {
		lines = append(lines, c.doc.Old.lines()...)
	}
	return strings.Join(lines, "\n")
}

func (c *alteration) changeText(j changeJSON) string {
	var parts []string
	if len(j.Added) > 0 {
		parts = append(parts, "wrapped for "+c.labels(j.Added))
	}
	if len(j.Removed) > 0 {
		parts = append(parts, "no more for "+c.labels(j.Removed))
	}
	switch {
	case j.State != j.Was && c.doc.DryRun:
		parts = append(parts, j.State+", and is "+j.Was)
	case j.State != j.Was:
		parts = append(parts, "was "+j.Was+" and is "+j.State)
	}
	text := strings.Join(parts, "; ")
	if c.doc.DryRun {
		return "would be " + text
	}
	return fmt.Sprintf("%s (revision %d)", text, j.Revision)
}
