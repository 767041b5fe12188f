package report

import (
	"fmt"
	"math"
	"strings"
)

// Names of the works, links and programs that goals speak of.
const (
	Write     = "write"
	Read      = "read"
	Random    = "random read"
	Again     = "read again"
	Tar       = "tar"
	Find      = "find"
	Idle      = "idle"
	Names     = "list 10,000 names"
	Near      = "0s"
	Far       = "15ms"
	Capped    = "1Gbit"
	Client    = "sigilfs client"
	Packed    = "sigilfs client zstd"
	Hidden    = "sigilfs client names"
	Plain     = "sigilfs none"
	S3FS      = "s3fs"
	Rclone    = "rclone"
	RawClient = "raw client"
	NullFS    = "null fs"
)

// A Verdict is one goal beside what was measured.
type Verdict struct {
	Goal string
	Got  string // "not measured" where a part of it is missing
	Met  bool
}

const missing = "not measured"

// Verdicts holds what was measured against what was promised.
func (r *Report) Verdicts() []Verdict {
	var all []Verdict
	for _, link := range []string{Near, Far, Capped} {
		for _, work := range []string{Write, Read} {
			all = append(all, r.ahead(work, link))
		}
	}
	for _, work := range []string{Write, Read} {
		all = append(all, r.beside(work, Capped, Client, RawClient, 0.95), r.beside(work, Near, Client, RawClient, 0.7))
	}
	for _, link := range []string{Near, Capped} {
		for _, work := range []string{Write, Read} {
			all = append(all, r.cost(work, link))
		}
	}
	return append(all,
		r.beside(Random, Far, Client, RawClient, 1/1.15),
		r.beside(Again, Near, Client, NullFS, 0.5),
		r.beside(Write, Near, Packed, Client, 0.95), r.beside(Write, Far, Packed, Client, 0.95), // of what does not compress
		r.beside(Random, Far, Packed, Client, 1/1.3),
		r.beside(Names, Near, Hidden, Client, 1/1.3),
		r.beside(Tar, Far, Client, S3FS, 8),
		r.beside(Tar, Far, Client, Rclone, 8),
		r.asked(Find, Near), r.asked(Find, Far),
		r.most("", 300<<20), r.most(Idle, 60<<20))
}

// times is how many times as fast who is as whom.
func (r *Report) times(work, link, who, whom string) (float64, bool) {
	a, ok := r.Find(work, link, who)
	b, there := r.Find(work, link, whom)
	if !ok || !there {
		return 0, false
	}
	s, ok := a.Median()
	t, there := b.Median()
	if !ok || !there || s.time() == 0 || t.time() == 0 {
		return 0, false
	}
	return t.time() / s.time(), true
}

func (r *Report) beside(work, link, who, whom string, least float64) Verdict {
	v := Verdict{Goal: fmt.Sprintf("%s at %s: %s at least %.2f times as fast as %s", work, link, who, least, whom), Got: missing}
	if got, ok := r.times(work, link, who, whom); ok {
		v.Got, v.Met = fmt.Sprintf("%.2f", got), got >= least
	}
	return v
}

func (r *Report) ahead(work, link string) Verdict {
	v := Verdict{Goal: fmt.Sprintf("%s at %s: %s ahead of every peer", work, link, Client), Got: missing}
	row, ok := r.Find(work, link, Client)
	if !ok {
		return v
	}
	if got, ok := r.faster(row, Peer); ok {
		best, _ := r.Best(work, link, Peer)
		v.Got, v.Met = fmt.Sprintf("%.2f times %s", got, best.Who), got > 1
	}
	return v
}

// cost is what encryption adds to the time of the same work without.
func (r *Report) cost(work, link string) Verdict {
	v := Verdict{Goal: fmt.Sprintf("%s at %s: encryption costs under 8 %% of the time", work, link), Got: missing}
	if got, ok := r.times(work, link, Plain, Client); ok {
		v.Got, v.Met = fmt.Sprintf("%.1f %%", (got-1)*100), got < 1.08
	}
	return v
}

// asked holds the requests of a walk against two a directory, the root of the
// mount being one too, and one for each thousand files.
func (r *Report) asked(work, link string) Verdict {
	most := 2*(r.Sizes.Dirs+1) + int(math.Ceil(float64(r.Sizes.Files)/1000))
	v := Verdict{Goal: fmt.Sprintf("%s at %s: at most %d requests", work, link, most), Got: missing}
	row, ok := r.Find(work, link, Client)
	if s, good := row.Median(); ok && good {
		v.Got, v.Met = fmt.Sprint(s.Total()), s.Total() <= most
	}
	return v
}

// most is the memory of all rounds of sigilfs in one work, "" for all.
func (r *Report) most(work string, under int64) Verdict {
	v := Verdict{Goal: fmt.Sprintf("peak memory under %s in all work", Bytes(under)), Got: missing}
	if work != "" {
		v.Goal = fmt.Sprintf("memory under %s when %s", Bytes(under), work)
	}
	peak, where := int64(0), ""
	for _, row := range r.Rows {
		if row.Kind != Ours || work != "" && row.Work != work {
			continue
		}
		for _, s := range row.Rounds {
			if s.RSS > peak {
				peak, where = s.RSS, strings.Join([]string{row.Work, row.Link, row.Who}, ", ")
			}
		}
	}
	if peak > 0 {
		v.Got, v.Met = Bytes(peak)+" ("+where+")", peak < under
	}
	return v
}
