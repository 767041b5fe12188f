package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/doctor"
)

// examOutput shows findings as they come: a table on a terminal, elsewhere lines
// that grep(1) likes, or one JSON document at the end.
type examOutput struct {
	out      io.Writer
	target   string
	terminal bool
	json     bool
	err      error // the first of out
}

// examVersion counts what a reader of the document must know of; a new check or
// field is nothing of that kind.
const examVersion = 1

// examJSON is the document of --json.
type examJSON struct {
	Version int `json:"version"`

	Target string          `json:"target"`
	Status doctor.Status   `json:"status"` // the worst
	Checks []doctor.Result `json:"checks"`
}

func newExamOutput(out io.Writer, target string, asJSON bool) *examOutput {
	return &examOutput{out: out, target: target, terminal: progress.IsTerminal(out), json: asJSON}
}

func (o *examOutput) line(format string, args ...any) {
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.out, format+"\n", args...)
	}
}

// tell shows one.
func (o *examOutput) tell(r doctor.Result) {
	switch {
	case o.json:
	case o.terminal:
		o.row(r)
	default:
		o.lines(r)
	}
}

func (o *examOutput) row(r doctor.Result) {
	const indent = "                       "
	o.line("%-8s  %-11s  %s", r.Status, r.Check, r.Text)
	if r.Remedy != "" {
		o.line("%s-> %s", indent, r.Remedy)
	}
	for _, c := range r.Commands {
		o.line("%s   %s", indent, c)
	}
}

func (o *examOutput) lines(r doctor.Result) {
	o.line("%s: %s: %s", r.Check, r.Status, r.Text)
	if r.Remedy != "" {
		o.line("%s: remedy: %s", r.Check, r.Remedy)
	}
	for _, c := range r.Commands {
		o.line("%s: command: %s", r.Check, c)
	}
}

// end shows what comes after all of them.
func (o *examOutput) end(results []doctor.Result) error {
	if !o.json {
		return o.err
	}
	e := json.NewEncoder(o.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // commands have quotes and redirections
	return e.Encode(examJSON{examVersion, o.target, doctor.Worst(results), results})
}
