package main

import (
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/integration/bench/report"
)

// Sizes in bytes.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// options are those of the command line.
type options struct {
	sizes       sizes
	rounds      int // of works whose median counts
	works, who  *regexp.Regexp
	links       []link
	limit       time.Duration // of one round
	results     string        // file of the JSON
	publish     string        // directory of PERFORMANCE.md; "" for nowhere
	publishOnly bool
	profile     string // directory for CPU profiles of sigilfs; "" for none
	store       string // directory for the server's files; "" chooses
}

// sizes are those of the work.
type sizes struct {
	large   int64
	streams int
	random  int
	dirs    int // of the tree, below its root
	files   int // in each
	names   int // of a directory that is listed for their sake
}

// Small files have between these many bytes.
const (
	smallest = 4 * kib
	largest  = 100 * kib
)

func (s sizes) small() int { return s.dirs * s.files }

// smallSize is the size of the i'th small file.
func smallSize(i int) int64 { return smallest + int64(i)*7919%(largest-smallest) }

func (s sizes) smallBytes() int64 {
	sum := int64(0)
	for i := range s.small() {
		sum += smallSize(i)
	}
	return sum
}

func (s sizes) reported() report.Sizes {
	return report.Sizes{Large: s.large, Streams: s.streams, Random: s.random, Files: s.small(), Dirs: s.dirs + 1, Small: s.smallBytes()}
}

var (
	wholeSizes = sizes{large: gib, streams: 4, random: 200, dirs: 10, files: 100, names: 10_000}
	quickSizes = sizes{large: 32 * mib, streams: 4, random: 20, dirs: 3, files: 20, names: 100}
)

func parse(args []string) (options, error) {
	o := options{sizes: wholeSizes}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := f.Bool("quick", false, "small sizes, one round: to see that everything works")
	f.IntVar(&o.rounds, "rounds", 5, "`rounds` of works whose median counts; all others have one")
	works := f.String("run", "", "only works that match this `expression`")
	who := f.String("who", "", "only programs that match this `expression`")
	links := f.String("links", strings.Join([]string{report.Near, report.Far, report.Capped}, ","), "`distances and rates` of the server, like 15ms or 1Gbit or 15ms/1Gbit")
	f.DurationVar(&o.limit, "limit", 15*time.Minute, "the most `time` that one round may take")
	f.StringVar(&o.results, "results", "../.cache/bench.json", "`file` of all results, in which what is measured anew is replaced; none if empty")
	f.StringVar(&o.publish, "publish", "", "`directory` in which to bring PERFORMANCE.md and its plot up to date")
	f.BoolVar(&o.publishOnly, "publish-only", false, "measure nothing")
	f.StringVar(&o.profile, "profile", "", "build sigilfs to write CPU and heap profiles of each round into this `directory`")
	f.StringVar(&o.store, "store", "", "`directory` for the server's files; /dev/shm where that has room")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		o.sizes, o.rounds = quickSizes, 1
	}
	var err error
	if o.works, err = regexp.Compile(*works); err != nil {
		return o, err
	}
	if o.who, err = regexp.Compile(*who); err != nil {
		return o, err
	}
	o.links, err = parseLinks(*links)
	return o, err
}

// A link is how far away the server is.
type link struct {
	name string
	trip time.Duration // before each request
	rate int64         // bytes a second each way; 0 for as many as there are
}

func parseLinks(text string) ([]link, error) {
	var all []link
	for name := range strings.SplitSeq(text, ",") {
		l, err := parseLink(name)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func parseLink(name string) (link, error) {
	l := link{name: name}
	for part := range strings.SplitSeq(name, "/") {
		if bits, ok := rate(part); ok {
			l.rate = bits / 8
			continue
		}
		trip, err := time.ParseDuration(part)
		if err != nil || trip < 0 {
			return l, fmt.Errorf("link %q: neither a time nor a rate like 1Gbit", name)
		}
		l.trip = trip
	}
	return l, nil
}

// rate reads bits a second.
func rate(text string) (int64, bool) {
	for unit, bits := range map[string]int64{"Mbit": 1e6, "Gbit": 1e9} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			v, err := strconv.ParseFloat(n, 64)
			return int64(v * float64(bits)), err == nil && v > 0
		}
	}
	return 0, false
}
