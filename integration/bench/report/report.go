// Package report is what the benchmark measured, as data, and what is made of
// it: one table, verdicts about what was promised, a plot, and the part of
// docs/PERFORMANCE.md that follows from it. It measures nothing.
//
// As JSON a Report is one document. Times are seconds, sizes bytes, memory
// bytes; a Row has all rounds of one program in one work on one link, in the
// order in which they were run.
package report

import (
	"cmp"
	"maps"
	"slices"
)

// A Report is one run of the benchmark, or several of the same machine that were
// put together work by work.
type Report struct {
	When     string            `json:"when"` // RFC 3339, of the last run
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"` // by program
	Sizes    Sizes             `json:"sizes"`
	Rows     []Row             `json:"rows"`
}

// A Machine is where everything ran: server, meter and client share it.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory"`
	Kernel string `json:"kernel"`
	Store  string `json:"store"` // what the server's files lay on: "tmpfs" or "disk"
}

// Sizes are those of the work.
type Sizes struct {
	Large   int64 `json:"large"`   // bytes of the large file
	Streams int   `json:"streams"` // files that are moved at once, of Large together
	Random  int   `json:"random"`  // reads at random places
	Files   int   `json:"files"`   // small files of the tree
	Dirs    int   `json:"dirs"`    // directories that they are in, the root of the tree included
	Small   int64 `json:"small"`   // bytes of all small files
}

// Kinds of programs.
const (
	Ours = "ours" // sigilfs in one of its modes
	Peer = "peer" // a filesystem that people would use instead
	Raw  = "raw"  // a client of the SDK, in parallel, that mounts nothing
	Null = "null" // a FUSE filesystem that does nothing
)

// A Row is one program in one work on one link.
type Row struct {
	Work   string   `json:"work"`
	Link   string   `json:"link"`
	Who    string   `json:"who"`
	Kind   string   `json:"kind"`
	Bytes  int64    `json:"bytes,omitempty"` // of payload; 0: the rate means nothing
	Files  int      `json:"files,omitempty"`
	Load   float64  `json:"load"` // of other programs as its run began: the average of a minute
	Rounds []Sample `json:"rounds"`
}

// A Sample is one round.
type Sample struct {
	Seconds  float64        `json:"seconds"`
	After    float64        `json:"after,omitempty"` // seconds that the unmount took which completed it
	Requests map[string]int `json:"requests,omitempty"`
	Sent     int64          `json:"sent"`     // bytes of the clients' bodies
	Received int64          `json:"received"` // bytes of the server's
	CPU      float64        `json:"cpu"`      // seconds of the program's processes
	RSS      int64          `json:"rss"`      // memory of them together, each at its most
	P50      float64        `json:"p50,omitempty"`
	P99      float64        `json:"p99,omitempty"`
	Failed   string         `json:"failed,omitempty"` // why; the rest then means nothing
}

// Total is how many requests there were.
func (s Sample) Total() int {
	n := 0
	for _, k := range s.Requests {
		n += k
	}
	return n
}

// Median is the round with the median time of those that did not fail, the
// slower of two. ok is false where all did.
func (r Row) Median() (s Sample, ok bool) {
	good := slices.DeleteFunc(slices.Clone(r.Rounds), func(s Sample) bool { return s.Failed != "" })
	if len(good) == 0 {
		return Sample{}, false
	}
	slices.SortFunc(good, func(a, b Sample) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return good[len(good)/2], true
}

// Failed is why the first round failed that did, "" where none did.
func (r Row) Failed() string {
	for _, s := range r.Rounds {
		if s.Failed != "" {
			return s.Failed
		}
	}
	return ""
}

// Find gives the row of a program.
func (r *Report) Find(work, link, who string) (Row, bool) {
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Work == work && row.Link == link && row.Who == who })
	if i < 0 {
		return Row{}, false
	}
	return r.Rows[i], true
}

// Best is the row with the shortest median among those of a kind in one work on
// one link.
func (r *Report) Best(work, link, kind string) (best Row, ok bool) {
	least := 0.0
	for _, row := range r.Rows {
		if row.Work != work || row.Link != link || row.Kind != kind {
			continue
		}
		if s, good := row.Median(); good && (!ok || s.Seconds < least) {
			best, least, ok = row, s.Seconds, true
		}
	}
	return best, ok
}

// Replace takes over the rows of a later run: of each work and link that it has,
// all that was there before goes, so that what is compared is of one run. What
// was measured in other sizes, or elsewhere, goes altogether.
func (r *Report) Replace(later *Report) {
	if r.Sizes != later.Sizes || r.Machine != later.Machine {
		*r = Report{}
	}
	versions := maps.Clone(later.Versions)
	for name, v := range r.Versions {
		if _, newer := versions[name]; !newer && versions != nil {
			versions[name] = v
		}
	}
	var rows []Row
	left := later.Rows
	for _, row := range r.Rows {
		same := func(l Row) bool { return l.Work == row.Work && l.Link == row.Link }
		if !slices.ContainsFunc(later.Rows, same) {
			rows = append(rows, row)
			continue
		}
		for _, l := range left {
			if same(l) {
				rows = append(rows, l)
			}
		}
		left = slices.DeleteFunc(slices.Clone(left), same)
	}
	*r = *later
	r.Rows, r.Versions = append(rows, left...), versions
}
