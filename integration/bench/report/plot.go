package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Measures of the plot, in pixels.
const (
	columns  = 4
	panel    = 290 // width
	names    = 96  // of the programs, left of the bars
	values   = 58  // right of them
	bar      = 13  // height of a bar and its gap
	heading  = 30
	tops     = 22 // height of a panel's title
	betweens = 12
)

var colours = map[string]string{Ours: "#2b6cb0", Peer: "#c05621", Raw: "#718096", Null: "#a0aec0"}

// Plot writes an SVG: for each work on each link a panel with one bar for each
// program, as long as its time. Each panel has its own scale; shorter is faster.
func (r *Report) Plot(w io.Writer) error {
	var b strings.Builder
	y := betweens
	for _, link := range r.links() {
		text(&b, betweens, y+16, 15, "bold", "start", "Link: "+spoken(link))
		y += heading
		y = r.panels(&b, link, y)
	}
	width := columns*panel + betweens
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif">`+
		"\n<title>Time of each work, by program: shorter is faster</title>\n"+`<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n%s</svg>\n",
		width, y, width, y, b.String())
	return err
}

// panels draws those of a link in rows from y on, and gives where they end.
func (r *Report) panels(b *strings.Builder, link string, y int) int {
	for works := range slices.Chunk(r.works(link), columns) {
		tallest := 0
		for i, work := range works {
			tallest = max(tallest, r.panel(b, work, link, betweens+i*panel, y))
		}
		y += tallest + betweens
	}
	return y
}

// panel draws one and gives its height.
func (r *Report) panel(b *strings.Builder, work, link string, x, y int) int {
	text(b, x, y+13, 12, "bold", "start", work)
	longest, n := 0.0, 0
	for _, row := range r.Rows {
		if s, ok := row.Median(); ok && row.Work == work && row.Link == link {
			longest = max(longest, s.time())
		}
	}
	for _, row := range r.Rows {
		if row.Work != work || row.Link != link {
			continue
		}
		top := y + tops + n*bar
		n++
		text(b, x+names-4, top+9, 10, "normal", "end", row.Who)
		s, ok := row.Median()
		if !ok {
			text(b, x+names, top+9, 10, "normal", "start", "failed")
			continue
		}
		length := 1.0
		if longest > 0 {
			length = max(length, s.time()/longest*float64(panel-names-values-betweens))
		}
		_, _ = fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x+names, top, length, bar-3, colours[row.Kind])
		text(b, x+names+int(length)+4, top+9, 10, "normal", "start", duration(s.time()))
	}
	return tops + n*bar
}

func text(b *strings.Builder, x, y, size int, weight, anchor, s string) {
	_, _ = fmt.Fprintf(b, `<text x="%d" y="%d" font-size="%d" font-weight="%s" text-anchor="%s" fill="#1a202c">`, x, y, size, weight, anchor)
	_ = xml.EscapeText(b, []byte(s)) // a Builder takes all
	_, _ = b.WriteString("</text>\n")
}

// links and works are those of the rows, in their order. Works that took no time
// are none to plot.
func (r *Report) links() []string {
	var all []string
	for _, row := range r.Rows {
		if !slices.Contains(all, row.Link) {
			all = append(all, row.Link)
		}
	}
	return all
}

func (r *Report) works(link string) []string {
	var all []string
	for _, row := range r.Rows {
		if row.Link == link && row.Work != Idle && !slices.Contains(all, row.Work) {
			all = append(all, row.Work)
		}
	}
	return all
}

// spoken is a link for a person.
func spoken(link string) string {
	trip, rate, both := strings.Cut(link, "/")
	switch {
	case !both && strings.HasSuffix(trip, "bit"):
		trip, rate = "0s", trip
	case !both:
		return fmt.Sprintf("a round trip of %s before each request", trip)
	}
	return fmt.Sprintf("a round trip of %s, %s a second", trip, rate)
}
