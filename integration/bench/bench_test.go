package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/bench/report"
)

// TestMain is also the processes that the benchmark starts of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == rawCommand || os.Args[1] == nullCommand) {
		if err := start(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Every work, small, by everything that is no peer; peers, which may be missing,
// only show that they do not end the run.
func TestEveryWork(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	name := filepath.Join(t.TempDir(), "results.json")
	opt, err := parse([]string{"-quick", "-links", "0s,5ms/4Gbit", "-results", name, "-who", "sigilfs client|raw|null"})
	if err != nil {
		t.Fatal(err)
	}
	if err := opt.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := report.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range works {
		row, ok := r.Find(w.name, "0s", report.Client)
		s, good := row.Median()
		if !ok || !good {
			t.Errorf("%s: not measured", w.name)
			continue
		}
		if s.Seconds <= 0 || s.RSS <= 0 || s.Total() == 0 && !w.cached {
			t.Errorf("%s: %+v", w.name, s)
		}
	}
	for _, row := range r.Rows {
		if why := row.Failed(); why != "" {
			t.Errorf("%s at %s by %s: %s", row.Work, row.Link, row.Who, why)
		}
	}
	checkMeter(t, r)
}

// checkMeter looks at what is known beforehand: the bytes of a write and a read
// pass the meter once.
func checkMeter(t *testing.T, r *report.Report) {
	t.Helper()
	large := quickSizes.large
	for _, who := range []string{report.Client, report.RawClient} {
		write, _ := r.Find(report.Write, "0s", who)
		read, _ := r.Find(report.Read, "0s", who)
		w, _ := write.Median()
		g, _ := read.Median()
		if w.Sent < large || w.Sent > large+large/50 {
			t.Errorf("%s sent %d bytes of %d", who, w.Sent, large)
		}
		if g.Received < large || g.Received > large+large/50 {
			t.Errorf("%s received %d bytes of %d", who, g.Received, large)
		}
	}
	if row, _ := r.Find(report.Read, "5ms/4Gbit", report.RawClient); len(row.Rounds) == 1 {
		if least := float64(large) / 0.5e9; row.Rounds[0].Seconds < least {
			t.Errorf("%d bytes at 4 Gbit/s took %.3f s", large, row.Rounds[0].Seconds)
		}
	}
}

func TestParseLink(t *testing.T) {
	for _, tt := range []struct {
		text string
		trip time.Duration
		rate int64
		ok   bool
	}{
		{"0s", 0, 0, true},
		{"15ms", 15 * time.Millisecond, 0, true},
		{"1Gbit", 0, 125_000_000, true},
		{"15ms/100Mbit", 15 * time.Millisecond, 12_500_000, true},
		{"", 0, 0, false},
		{"fast", 0, 0, false},
		{"-1ms", 0, 0, false},
		{"0Gbit", 0, 0, false},
	} {
		l, err := parseLink(tt.text)
		if (err == nil) != tt.ok || err == nil && (l.trip != tt.trip || l.rate != tt.rate) {
			t.Errorf("%q: %+v, %v", tt.text, l, err)
		}
	}
}

func TestCappedLinksHaveOnlyWhatTheyBound(t *testing.T) {
	opt, err := parse([]string{"-links", "1Gbit"})
	if err != nil {
		t.Fatal(err)
	}
	for _, turn := range opt.turns() {
		if turn.w.bytes == nil || turn.w.tree {
			t.Errorf("%s on a capped link", turn.w.name)
		}
	}
}

func TestTicks(t *testing.T) {
	if n, err := ticks("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 110 23 0 0 20"); err != nil || n != 133 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := ticks("7 (a) S 1"); err == nil {
		t.Error("too short")
	}
}

func TestProcessorAndMemoryOfThisProcess(t *testing.T) {
	pids := []int{os.Getpid()}
	forget(pids)
	n, err := memory(pids)
	if err != nil || n < mib {
		t.Errorf("%d bytes, %v", n, err)
	}
	if s, err := processor(pids); err != nil || s < 0 {
		t.Errorf("%v s, %v", s, err)
	}
}

func TestSmallFilesAreOfTheirSizes(t *testing.T) {
	for _, s := range []sizes{wholeSizes, quickSizes} {
		sum := int64(0)
		for i := range s.small() {
			n := smallSize(i)
			if n < smallest || n >= largest {
				t.Errorf("file %d has %d bytes", i, n)
			}
			sum += n
		}
		if sum != s.smallBytes() || s.reported().Files != s.dirs*s.files {
			t.Errorf("%+v", s.reported())
		}
	}
}
