package audit

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// chartRows is the most bars of a chart; the rest is one more.
const chartRows = 10

// chartLabel is the most runes of a label, so that it fits beside its value on
// a narrow screen.
const chartLabel = 26

// Places within a row of a chart, in pixels.
const (
	rowText   = 14 // baseline
	rowOne    = 21 // bars
	rowTwo    = 32
	rowHeight = 54 // with two bars
	rowLow    = 42 // with one
)

// chart is a bar chart whose lengths are in percent, so that its text stays as
// large as it is on any screen.
type chart struct {
	ID, Title, Of string
	Lower         string // the title within a sentence
	One, Two      string // what the bars are
	Says          string // in words
	Height        int
	Rows          []chartRow
	Columns       []string // of the table beneath
	Cells         []chartCells
	More          string
}

type chartRow struct {
	Label, Full, Value string
	Class              string
	One, Two           string // percent
	HasTwo             bool
	TextY, OneY, TwoY  int
}

type chartCells struct {
	Name   string
	Values []string
}

// groupChart is the chart of a grouping: two bars for each group.
func groupChart(id, of string, groups []Group) chart {
	title := "Objects and bytes by " + of
	c := chart{ID: id, Title: title, Lower: lower(title), Of: upper(of), One: "Objects", Two: "Bytes", Columns: []string{"Objects", "Bytes"}}
	var most, all Count
	for _, g := range gather(groups) {
		most.Objects, most.Bytes = max(most.Objects, g.Objects), max(most.Bytes, g.Bytes)
		all.Objects, all.Bytes = all.Objects+g.Objects, all.Bytes+g.Bytes
	}
	var says []string
	for i, g := range gather(groups) {
		value := number(g.Objects) + " · " + bytesText(g.Bytes)
		row := newRow(i*rowHeight, g.Name, value, percent(g.Objects, most.Objects))
		row.HasTwo, row.Two = true, percent(g.Bytes, most.Bytes)
		if of == "mode" && g.Name == modeNone {
			row.Class = "danger"
		}
		c.Rows = append(c.Rows, row)
		says = append(says, fmt.Sprintf("%s: %s, %s of objects, %s", shown(g.Name), plural(g.Objects, "object", "objects"), share(g.Objects, all.Objects), bytesText(g.Bytes)))
	}
	c.Height, c.Says = len(c.Rows)*rowHeight, strings.Join(says, "; ")
	for _, g := range groups[:min(len(groups), maxCells)] {
		c.Cells = append(c.Cells, chartCells{shown(g.Name), []string{number(g.Objects), bytesText(g.Bytes)}})
	}
	c.More = more(len(groups))
	return c
}

// maxCells bounds the table beneath a chart.
const maxCells = 200

func more(n int) string {
	if n <= maxCells {
		return ""
	}
	return fmt.Sprintf("%s more: --json has them.", number(int64(n-maxCells)))
}

// gather makes one group of those beyond the first.
func gather(groups []Group) []Group {
	if len(groups) <= chartRows {
		return groups
	}
	rest := Group{Name: fmt.Sprintf("(%d more)", len(groups)-chartRows+1)}
	for _, g := range groups[chartRows-1:] {
		rest.Objects, rest.Bytes = rest.Objects+g.Objects, rest.Bytes+g.Bytes
	}
	return append(append([]Group(nil), groups[:chartRows-1]...), rest)
}

// prefixChart is the chart of findings by prefix.
func prefixChart(prefixes []PrefixCount) chart {
	const title = "Findings by prefix"
	c := chart{ID: "prefix", Title: title, Lower: lower(title), Of: "Prefix", One: "Findings", Columns: []string{"Findings"}}
	var most int64
	var says []string
	for i, p := range prefixes {
		if i == chartRows {
			break
		}
		most = max(most, p.Count)
		name := prefixName(p.Prefix)
		c.Rows = append(c.Rows, newRow(i*rowLow, name, number(p.Count), percent(p.Count, most)))
		says = append(says, fmt.Sprintf("%s: %s", shown(name), number(p.Count)))
	}
	c.Height, c.Says = len(c.Rows)*rowLow, strings.Join(says, "; ")
	for _, p := range prefixes[:min(len(prefixes), maxCells)] {
		c.Cells = append(c.Cells, chartCells{shown(prefixName(p.Prefix)), []string{number(p.Count)}})
	}
	c.More = more(len(prefixes))
	return c
}

func prefixName(prefix string) string {
	if prefix == "" {
		return "(top)"
	}
	return prefix
}

func newRow(y int, name, value, one string) chartRow {
	return chartRow{
		Label: middle(shown(name)), Full: shown(name), Value: value, One: one,
		TextY: y + rowText, OneY: y + rowOne, TwoY: y + rowTwo,
	}
}

// percent is part of whole as a length; what is not nothing is seen.
func percent(part, whole int64) string {
	if whole <= 0 || part <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f", max(1, 100*float64(part)/float64(whole)))
}

// middle leaves out the middle of a long label: its end tells keys apart.
func middle(s string) string {
	if utf8.RuneCountInString(s) <= chartLabel {
		return s
	}
	r := []rune(s)
	return string(r[:chartLabel/2-4]) + "…" + string(r[len(r)-chartLabel/2-3:])
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
