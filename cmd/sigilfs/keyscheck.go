package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// checkDocument is what keys check says.
type checkDocument struct {
	Target  string         `json:"target"`
	Epochs  int            `json:"epochs"` // that are not closed
	Opened  int            `json:"opened"`
	Closed  int            `json:"closed"`
	Keys    []keyCheckJSON `json:"keys"`
	Failed  []failureJSON  `json:"failed"`  // that no key here opens
	Missing []string       `json:"missing"` // that this host remembers and the bucket does not have
	Volume  *volumeJSON    `json:"volume,omitempty"`
}

// keyCheckJSON is what one configured key does.
type keyCheckJSON struct {
	ID      string   `json:"id"`
	Names   []string `json:"names"`
	Public  bool     `json:"public_half"` // it opens nothing here
	Wrapped int      `json:"wrapped"`     // epochs that have a wrap for it
	Opens   int      `json:"opens"`       // of these
	Error   string   `json:"error,omitempty"`
}

func newKeysCheck() *cobra.Command {
	return keysCommand("check TARGET", "See whether this host can open every epoch", `check opens every epoch that is not closed with each configured key that it is
wrapped for: of KMS that is one call for each. Nothing is written.

Exit codes: 0 every epoch opens, with each of the keys; 64 each opens, and some
key does not open what is wrapped for it, or an epoch is missing that this host
remembers; 32 there are epochs that do not open here, or the key of names.`, 0, reads,
		func(ctx context.Context, k *keeping, _ []string) error { return k.check(ctx) })
}

func (k *keeping) check(ctx context.Context) error {
	held, err := k.epochs(ctx, slices.Concat(k.places.Within, k.places.Above))
	if err != nil {
		return err
	}
	doc := checkDocument{Target: k.set.target.Spec, Keys: []keyCheckJSON{}, Failed: []failureJSON{}}
	for _, have := range k.opened {
		if have.master == nil {
			continue
		}
		if i := slices.IndexFunc(doc.Keys, func(j keyCheckJSON) bool { return j.ID == have.master.ID() }); i >= 0 {
			doc.Keys[i].Names = append(doc.Keys[i].Names, have.Name)
			continue
		}
		doc.Keys = append(doc.Keys, keyCheckJSON{ID: have.master.ID(), Names: []string{have.Name}, Public: !have.master.CanUnwrap()})
	}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(changeAtOnce)
	for _, h := range held {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			ways := k.admin.Ways(ctx, h)
			mu.Lock()
			defer mu.Unlock()
			doc.count(h, ways)
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return mountError("interrupted")
	}
	if doc.Missing, err = k.missing(held); err != nil {
		return err
	}
	if doc.Volume, err = k.volumeObject(ctx); err != nil {
		return err
	}
	slices.SortFunc(doc.Failed, func(a, b failureJSON) int { return strings.Compare(a.ID, b.ID) })
	if k.asJSON {
		err = printJSON(k.c.OutOrStdout(), doc)
	} else {
		say(k.c.OutOrStdout(), doc.text())
	}
	return errors.Join(err, doc.verdict())
}

func (d *checkDocument) count(h keyring.Held, ways []keyring.Way) {
	if h.Err == nil && h.State == keyring.Closed {
		d.Closed++
		return
	}
	d.Epochs++
	if h.Err != nil {
		d.Failed = append(d.Failed, failureJSON{h.ID.String(), h.At, oneLine(h.Err)})
	} else {
		d.Opened++
	}
	for _, w := range ways {
		i := slices.IndexFunc(d.Keys, func(j keyCheckJSON) bool { return j.ID == w.KeyID })
		if i < 0 {
			continue
		}
		d.Keys[i].Wrapped++
		if w.Err == nil {
			d.Keys[i].Opens++
		} else if !d.Keys[i].Public {
			d.Keys[i].Error = oneLine(w.Err)
		}
	}
}

func (d checkDocument) verdict() error {
	odd := slices.ContainsFunc(d.Keys, func(j keyCheckJSON) bool { return j.Error != "" })
	switch {
	case len(d.Failed) > 0:
		return mountError("%s: %d of %d epochs do not open here", d.Target, len(d.Failed), d.Epochs)
	case d.Volume != nil && d.Volume.Error != "":
		return mountError("%s: the names of the volume do not open here", d.Target)
	case odd:
		return &exitError{exitWarned, fmt.Errorf("%s: every epoch opens, and not with each of its keys", d.Target)}
	case len(d.Missing) > 0:
		return &exitError{exitWarned, fmt.Errorf("%s: %d epochs are missing from the bucket, and this host remembers them", d.Target, len(d.Missing))}
	}
	return nil
}

func (d checkDocument) text() string {
	lines := []string{fmt.Sprintf("%d of %d epochs open here, and %d are closed", d.Opened, d.Epochs, d.Closed)}
	for _, j := range d.Keys {
		text := fmt.Sprintf("%s (%s) opens %d of the %d that are wrapped for it", j.ID, strings.Join(j.Names, ", "), j.Opens, j.Wrapped)
		if j.Public {
			text = fmt.Sprintf("%s (%s) is a public half here: %d are wrapped for it", j.ID, strings.Join(j.Names, ", "), j.Wrapped)
		}
		if j.Error != "" {
			text += ": " + j.Error
		}
		lines = append(lines, text)
	}
	if d.Volume != nil {
		lines = append(lines, d.Volume.line())
	}
	for _, f := range d.Failed {
		lines = append(lines, fmt.Sprintf("epoch %s at %q does not open: %s", f.ID, f.At+".sigil/epochs/", f.Error))
	}
	for _, id := range d.Missing {
		lines = append(lines, "epoch "+id+" is missing from the bucket, and this host remembers it")
	}
	return strings.Join(lines, "\n")
}
