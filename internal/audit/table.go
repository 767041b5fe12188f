package audit

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// What the table shows at most; the other forms have all.
const (
	tableGroups   = 15 // of a grouping
	tableFindings = 10 // of a kind
)

// WriteTable writes the report for people.
func WriteTable(w io.Writer, r *Report) error {
	t := &table{w: bufio.NewWriter(w), r: r}
	t.summary()
	t.group("mode", r.ByMode)
	t.group("key", r.ByKey)
	t.group("age", r.ByAge)
	t.group("storage class", r.ByClass)
	t.findings()
	t.bucket()
	return t.w.Flush()
}

type table struct {
	w *bufio.Writer
	r *Report
}

func (t *table) line(format string, args ...any) {
	_, _ = fmt.Fprintf(t.w, format+"\n", args...) // a bufio.Writer keeps its error
}

func (t *table) summary() {
	r := t.r
	t.line("%s", shown(r.Target))
	t.line("  %s, %s; encrypted: %s of objects, %s of bytes", plural(r.Current.Objects, "object", "objects"), bytesText(r.Current.Bytes),
		share(r.Encrypted.Objects, r.Current.Objects), share(r.Encrypted.Bytes, r.Current.Bytes))
	if r.Old.Objects > 0 {
		t.line("  %s beside them, %s", plural(r.Old.Objects, "old version", "old versions"), bytesText(r.Old.Bytes))
	}
	for _, text := range remarks(r) {
		t.line("  %s", text)
	}
}

// remarks are what qualifies the numbers.
func remarks(r *Report) []string {
	var all []string
	if r.Source == FromInventory {
		all = append(all, "from an inventory: no object was asked for, and what clients encrypt is not told by it")
	}
	if r.Policy == nil {
		all = append(all, "no policy was given: nothing was held against one")
	}
	if r.After != "" {
		all = append(all, "only keys after "+shown(r.After))
	}
	if !r.Complete {
		text := "incomplete"
		if r.Last != "" {
			text += ": it ended after " + shown(r.Last)
		}
		switch {
		case r.GoesOn:
			text += "; the same command goes on"
		case r.Last != "" && r.Source == FromBucket:
			text += ", from where --after goes on"
		}
		all = append(all, text)
	}
	for _, note := range r.Notes {
		all = append(all, shownInside(note))
	}
	return all
}

// group writes one grouping.
func (t *table) group(by string, groups []Group) {
	if len(groups) == 0 {
		return
	}
	rows := [][4]string{}
	for i, g := range groups {
		if i == tableGroups {
			rows = append(rows, [4]string{fmt.Sprintf("(%d more)", len(groups)-i)})
			break
		}
		rows = append(rows, [4]string{shown(g.Name), number(g.Objects), share(g.Objects, t.r.Current.Objects), bytesText(g.Bytes)})
	}
	width := len(by)
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r[0]))
	}
	t.line("")
	t.line("%-*s  %12s  %8s  %12s", width, strings.ToUpper(by), "OBJECTS", "SHARE", "BYTES")
	for _, r := range rows {
		t.line("%s", strings.TrimRight(fmt.Sprintf("%-*s  %12s  %8s  %12s", width, r[0], r[1], r[2], r[3]), " "))
	}
}

func (t *table) findings() {
	t.line("")
	if t.r.Findings == 0 {
		t.line("FINDINGS  none")
		return
	}
	t.line("FINDINGS  %s", number(t.r.Findings))
	for _, k := range t.r.ByKind {
		info := k.Kind.Info()
		t.line("  %s: %s. %s", k.Kind, number(k.Count), info.Means)
		shownOf := 0
		for _, f := range t.r.Kept {
			if f.Kind == k.Kind && shownOf < tableFindings {
				t.line("    %s", findingLine(f))
				shownOf++
			}
		}
		if more := k.Count - int64(shownOf); more > 0 {
			t.line("    (%s more: --json and --csv have all)", number(more))
		}
		if info.Remedy != "" {
			t.line("    -> %s", info.Remedy)
		}
	}
}

// findingLine is such as: logs/a (version 3x, 12 B): sse-s3 where the policy has client
// and where names are encrypted: logs/a, 4cXw…/9tQ2… (12 B): …
func findingLine(f Kept) string {
	about := bytesText(f.Stored)
	if f.Old {
		about = "version " + shown(f.Version) + ", " + about
	}
	line := shown(f.Key) + " (" + about + ")"
	if f.Path != "" {
		line = shown(f.Path) + ", " + line
	}
	if f.Text != "" {
		line += ": " + shownInside(f.Text)
	}
	return line
}

func (t *table) bucket() {
	if len(t.r.Bucket) == 0 {
		return
	}
	t.line("")
	t.line("BUCKET")
	for _, f := range t.r.Bucket {
		t.line("  %-8s  %s: %s", f.Status, f.Check, shownInside(f.Text))
		if !f.Bad() {
			continue
		}
		if f.Remedy != "" {
			t.line("            -> %s", shownInside(f.Remedy))
		}
		for _, c := range f.Commands {
			t.line("               %s", shownInside(c))
		}
	}
}

// when is a time as the reports have it.
func when(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }
