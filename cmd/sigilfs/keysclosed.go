package main

import (
	"fmt"

	"github.com/sigilfs/sigilfs/internal/keyring"
)

// keptJSON is an epoch that was not closed.
type keptJSON struct {
	ID     string `json:"id"`
	At     string `json:"at"`
	State  string `json:"state"`
	Why    string `json:"why"`
	Needed int64  `json:"needed_by,omitempty"` // objects and old versions
	Such   string `json:"such_as,omitempty"`   // one of them
}

func (j keptJSON) line() string {
	text := fmt.Sprintf("epoch %s is not closed: %s", j.ID, j.Why)
	if j.Such != "" {
		text += fmt.Sprintf(", such as %q", j.Such)
	}
	return text
}

func (c *closing) keep(h keyring.Held, why string) {
	c.doc.Kept = append(c.doc.Kept, keptJSON{ID: h.ID.String(), At: h.At, State: h.State.String(), Why: why})
}

// closed is the error of a document about closing. given: the epochs were named.
func (d changesDocument) closed(given bool) error {
	switch {
	case d.Refused != "":
		return mountError("%s: no epoch was closed: %s", d.Target, d.Refused)
	case len(d.Failed) > 0: // which is worse than what follows
	case len(d.Kept) > 0 && given:
		return mountError("%s: %d of the epochs were not closed", d.Target, len(d.Kept))
	case len(d.Kept) > 0:
		return &exitError{exitWarned, fmt.Errorf("%s: %d retired epochs were not closed", d.Target, len(d.Kept))}
	}
	return d.failed("those are as they were")
}
