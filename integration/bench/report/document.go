package report

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Marks between which Document writes; each is a line of its own.
const (
	begin = "<!-- bench: from here on written by make bench -->"
	end   = "<!-- bench: to here -->"
)

// ErrMarks says that a document lacks the place to write to.
var ErrMarks = errors.New("the marks of the benchmark are missing or in disorder")

// Document gives text with what stands between the marks replaced by what the
// report says.
func (r *Report) Document(text []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(begin+"\n"))
	_, after, closed := bytes.Cut(rest, []byte(end+"\n"))
	if !ok || !closed {
		return nil, ErrMarks
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(begin + "\n\n")
	r.markdown(&b)
	b.WriteString(end + "\n")
	b.Write(after)
	return b.Bytes(), nil
}

// Busy tells whether other programs take so much of the machine that times mean
// little.
func (m Machine) Busy(load float64) bool { return load > 0.5*float64(m.Cores) }

func (r *Report) markdown(b *bytes.Buffer) {
	m, s := r.Machine, r.Sizes
	_, _ = fmt.Fprintf(b, "Measured %s on %d cores of %s with %s of memory, Linux %s, the server's files on %s.", r.When, m.Cores, m.CPU, Bytes(m.Memory), m.Kernel, m.Store)
	_, _ = fmt.Fprintf(b, " Large file: %s; %d streams of %s; %d random reads; %d small files of together %s in %d directories.\n\n",
		Bytes(s.Large), s.Streams, Bytes(s.Large/int64(max(1, s.Streams))), s.Random, s.Files, Bytes(s.Small), s.Dirs)
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		_, _ = fmt.Fprintf(b, "- %s: %s\n", name, r.Versions[name])
	}
	b.WriteString("\n### Goals\n\n")
	r.verdicts(b)
	b.WriteString("\n### Everything\n\n![Time of each work, by program](performance.svg)\n")
	for _, link := range r.links() {
		_, _ = fmt.Fprintf(b, "\n#### Link: %s\n\n", spoken(link))
		if load := r.load(link); m.Busy(load) {
			_, _ = fmt.Fprintf(b, "**Other programs kept the machine busy as this began (load %.1f): counts are good, times mean little.**\n\n", load)
		}
		r.rows(b, link)
	}
	b.WriteString("\n")
}

// load is the highest under which anything on the link was begun.
func (r *Report) load(link string) float64 {
	most := 0.0
	for _, row := range r.Rows {
		if row.Link == link {
			most = max(most, row.Load)
		}
	}
	return most
}

func (r *Report) verdicts(b *bytes.Buffer) {
	line(b, []string{"goal", "measured", "reached"})
	line(b, []string{"---", "---", "---"})
	for _, v := range r.Verdicts() {
		reached := "no"
		switch {
		case v.Got == missing:
			reached = ""
		case v.Met:
			reached = "yes"
		}
		line(b, []string{v.Goal, v.Got, reached})
	}
}

// rows is the table of one link, which its heading names already.
func (r *Report) rows(b *bytes.Buffer, link string) {
	header := Header()
	line(b, without(header))
	line(b, slices.Repeat([]string{"---"}, len(header)-1))
	for _, row := range r.Rows {
		if row.Link == link {
			line(b, without(r.Cells(row)))
		}
	}
}

// without is a row without its link.
func without(cells []string) []string {
	return append([]string{cells[0]}, cells[2:]...)
}

func line(b *bytes.Buffer, cells []string) {
	b.WriteString("|")
	for _, c := range cells {
		b.WriteString(" " + strings.ReplaceAll(c, "|", `\|`) + " |")
	}
	b.WriteString("\n")
}
