package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// leftJSON is one file in the document of list --json.
type leftJSON struct {
	ID     string     `json:"id"`
	Path   string     `json:"path,omitempty"`
	Size   int64      `json:"size"`
	Here   int64      `json:"here"` // of these bytes; the others are in the bucket, or zeros
	State  string     `json:"state"`
	Time   *time.Time `json:"time,omitempty"`
	Cause  string     `json:"cause,omitempty"`  // why it was not committed
	Reason string     `json:"reason,omitempty"` // why the next mount leaves it
}

// sealedJSON is a spool that cannot be opened.
type sealedJSON struct {
	Dir   string `json:"dir"`
	Files int    `json:"files"`
	Error string `json:"error"`
}

type leftDocument struct {
	Files  []leftJSON   `json:"files"`
	Sealed []sealedJSON `json:"sealed"`
}

func newRecoverList() *cobra.Command {
	var asJSON bool
	cmd := recoverCommand("list [TARGET]", "List what was left, mounted or not", 0,
		func(ctx context.Context, c *cobra.Command, r *recovery, args []string) error {
			if len(args) > 0 {
				return usageError("sigilfs recover list [TARGET]")
			}
			r.set.readOnly = true
			if err := r.look(ctx); err != nil {
				return err
			}
			doc, err := r.document()
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(doc)
			}
			return doc.print(c.OutOrStdout())
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	onTarget := cmd.RunE
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return listLocal(c, asJSON)
		}
		return onTarget(c, args)
	}
	return cmd
}

func (r *recovery) document() (leftDocument, error) {
	doc := leftDocument{Files: []leftJSON{}, Sealed: []sealedJSON{}}
	for _, s := range r.sealed {
		doc.Sealed = append(doc.Sealed, sealedJSON{s.Path, s.Files, s.err.Error()})
	}
	ids, err := r.rec.IDs()
	if err != nil {
		return doc, systemError("%w", err)
	}
	for _, id := range ids {
		l, err := r.rec.Describe(id)
		switch {
		case err != nil:
			doc.Files = append(doc.Files, leftJSON{ID: id, State: "unreadable", Reason: err.Error()})
		case !l.Void:
			l.Path = r.shownPath(l.Path)
			doc.Files = append(doc.Files, describe(l))
		}
	}
	return doc, nil
}

func describe(l volume.Leftover) leftJSON {
	j := leftJSON{ID: l.ID, Path: l.Path, Size: l.Size, Here: l.Here, State: "closed", Cause: l.Cause}
	if l.Open {
		j.State = "open"
	}
	if !l.At.IsZero() {
		j.Time = &l.At
	}
	if l.Err != nil {
		j.Reason = l.Err.Error() + ": " + explainLeft(l.Err)
	}
	return j
}

// print is for people: names are quoted, since anybody may have chosen them.
func (d leftDocument) print(out io.Writer) error {
	for _, s := range d.Sealed {
		if _, err := fmt.Fprintf(out, "%s: %d files that cannot be opened: %s\n", s.Dir, s.Files, s.Error); err != nil {
			return err
		}
	}
	if len(d.Files) == 0 {
		if len(d.Sealed) > 0 {
			return nil
		}
		_, err := fmt.Fprintln(out, "nothing is left")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tBYTES\tHERE\tSTATE\tSINCE\tPATH") // Flush tells
	for _, f := range d.Files {
		since := "-"
		if f.Time != nil {
			since = f.Time.Local().Format(time.DateTime)
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%q\n", f.ID[:12], f.Size, f.Here, f.State, since, f.Path)
		for _, why := range []string{f.Cause, f.Reason} {
			if why != "" {
				_, _ = fmt.Fprintf(w, "    %q\n", why)
			}
		}
	}
	return w.Flush()
}
