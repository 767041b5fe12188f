package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Header names the columns of Cells.
func Header() []string {
	return []string{"work", "link", "by", "time", "MiB/s", "x peer", "x raw", "requests", "which", "sent", "received", "CPU s", "peak RSS"}
}

// Cells is a row of the table: the round with the median time. "x peer" is how
// many times as fast as the best peer it is, "x raw" as the raw client. Of reads
// at random places the time is the median of one, and so are the ratios.
func (r *Report) Cells(row Row) []string {
	s, ok := row.Median()
	cells := []string{row.Work, row.Link, row.Who}
	if !ok {
		return append(cells, "failed", "", "", "", "", "", "", "", "", "")
	}
	return append(cells, duration(s.time()), rate(row.Bytes, s), r.ratio(row, Peer), r.ratio(row, Raw), fmt.Sprint(s.Total()), which(s.Requests),
		Bytes(s.Sent), Bytes(s.Received), fmt.Sprintf("%.2f", s.CPU), Bytes(s.RSS))
}

// time is what stands for a round: one read's, where it was made of many.
func (s Sample) time() float64 {
	if s.P50 > 0 {
		return s.P50
	}
	return s.Seconds
}

// ratio is how many times as fast as the best of a kind ours is; "" for what is
// not ours, has nothing to be beside, or is no work.
func (r *Report) ratio(row Row, kind string) string {
	if row.Kind != Ours || row.Work == Idle {
		return ""
	}
	if v, ok := r.faster(row, kind); ok {
		return fmt.Sprintf("%.2f", v)
	}
	return ""
}

func (r *Report) faster(row Row, kind string) (float64, bool) {
	s, ok := row.Median()
	best, there := r.Best(row.Work, row.Link, kind)
	if !ok || !there {
		return 0, false
	}
	b, _ := best.Median()
	if s.time() == 0 || b.time() == 0 {
		return 0, false
	}
	return b.time() / s.time(), true
}

// Print writes the table for a terminal, and why what failed did.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, strings.Join(Header(), "\t"))
	for _, row := range r.Rows {
		_, _ = fmt.Fprintln(t, strings.Join(r.Cells(row), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if why := row.Failed(); why != "" {
			if _, err := fmt.Fprintf(w, "%s, %s, %s: %s\n", row.Work, row.Link, row.Who, why); err != nil {
				return err
			}
		}
	}
	return nil
}

func which(requests map[string]int) string {
	var all []string
	for _, verb := range slices.Sorted(maps.Keys(requests)) {
		all = append(all, fmt.Sprintf("%s %d", verb, requests[verb]))
	}
	return strings.Join(all, ", ")
}

func rate(bytes int64, s Sample) string {
	if bytes == 0 || s.Seconds == 0 || s.P50 > 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", float64(bytes)/(1<<20)/s.Seconds)
}

func duration(seconds float64) string {
	switch {
	case seconds == 0:
		return ""
	case seconds < 0.1:
		return fmt.Sprintf("%.2f ms", seconds*1000)
	}
	return fmt.Sprintf("%.2f s", seconds)
}

// Bytes is a size for a person.
func Bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
