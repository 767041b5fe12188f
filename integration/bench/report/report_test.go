package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func row(work, link, who, kind string, seconds ...float64) Row {
	r := Row{Work: work, Link: link, Who: who, Kind: kind, Bytes: 100 << 20}
	for _, s := range seconds {
		r.Rounds = append(r.Rounds, Sample{Seconds: s, Requests: map[string]int{"GET": 12}, RSS: 50 << 20})
	}
	return r
}

func sample() *Report {
	walk := row(Find, Near, Client, Ours, 0.5)
	return &Report{
		When: "2026-11-21T00:00:00Z", Machine: Machine{CPU: "x & y", Cores: 2}, Versions: map[string]string{"s3fs": "1.90"},
		Sizes: Sizes{Large: 1 << 30, Streams: 4, Files: 1000, Dirs: 11},
		Rows: []Row{
			row(Read, Near, Client, Ours, 2, 1, 9), row(Read, Near, Plain, Ours, 1.9),
			row(Read, Near, S3FS, Peer, 4), row(Read, Near, Rclone, Peer, 3),
			row(Read, Near, RawClient, Raw, 1), walk,
			{Work: Tar, Link: Far, Who: Rclone, Kind: Peer, Rounds: []Sample{{Failed: "no <such> thing"}}},
		},
	}
}

func TestMedianIgnoresWhatFailed(t *testing.T) {
	r := row(Read, Near, S3FS, Peer, 3, 1, 2)
	r.Rounds = append(r.Rounds, Sample{Failed: "late"}, Sample{Failed: "later"})
	if s, ok := r.Median(); !ok || s.Seconds != 2 || r.Failed() != "late" {
		t.Errorf("median %v, %v; failed: %q", s.Seconds, ok, r.Failed())
	}
	if _, ok := (Row{Rounds: []Sample{{Failed: "x"}}}).Median(); ok {
		t.Error("a median of nothing")
	}
}

func TestVerdicts(t *testing.T) {
	got := map[string]Verdict{}
	for _, v := range sample().Verdicts() {
		if _, twice := got[v.Goal]; twice {
			t.Errorf("twice: %s", v.Goal)
		}
		got[v.Goal] = v
	}
	for _, want := range []Verdict{
		{"read at 0s: sigilfs client ahead of every peer", "1.50 times rclone", true},
		{"read at 0s: sigilfs client at least 0.70 times as fast as raw client", "0.50", false},
		{"read at 0s: encryption costs under 8 % of the time", "5.3 %", true},
		{"find at 0s: at most 25 requests", "12", true},
		{"tar at 15ms: sigilfs client at least 8.00 times as fast as rclone", missing, false},
		{"write at 0s: sigilfs client ahead of every peer", missing, false},
		{"peak memory under 300.0 MiB in all work", "50.0 MiB (read, 0s, sigilfs client)", true},
		{"memory under 60.0 MiB when idle", "", false},
	} {
		v, ok := got[want.Goal]
		if !ok || want.Got != "" && v != want {
			t.Errorf("got %+v, want %+v", v, want)
		}
	}
}

func TestRandomReadsAreComparedByOneRead(t *testing.T) {
	r := &Report{Rows: []Row{row(Random, Far, Client, Ours, 10), row(Random, Far, RawClient, Raw, 20)}}
	r.Rows[0].Rounds[0].P50, r.Rows[1].Rounds[0].P50 = 0.02, 0.018
	if v := r.beside(Random, Far, Client, RawClient, 1/1.15); v.Got != "0.90" || !v.Met {
		t.Errorf("%+v", v)
	}
}

func TestTableHasEveryRow(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 1+len(r.Rows)+1 {
		t.Errorf("%d lines:\n%s", len(lines), &b)
	}
	for _, want := range []string{"1.50", "0.50", "GET 12", "no <such> thing"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	for _, row := range r.Rows {
		if n := len(r.Cells(row)); n != len(Header()) {
			t.Errorf("%d cells of %s", n, row.Who)
		}
	}
}

func TestPlotIsXML(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	r.Rows[0].Who = `<a> & "b"`
	if err := r.Plot(&b); err != nil {
		t.Fatal(err)
	}
	bars := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if want := 1 + len(r.Rows) - 1; bars != want { // the background, and no bar of what failed
		t.Errorf("%d bars, want %d", bars, want)
	}
}

func TestDocumentChangesNothingElse(t *testing.T) {
	r := sample()
	first, err := r.Document([]byte("# Title\n\n" + begin + "\nold\n" + end + "\nfoot\n"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(first)
	if !strings.HasPrefix(text, "# Title\n\n"+begin) || !strings.HasSuffix(text, end+"\nfoot\n") || strings.Contains(text, "old") || !strings.Contains(text, "1.50 times rclone") {
		t.Errorf("%s", text)
	}
	if strings.Contains(text, "busy") {
		t.Errorf("an idle machine is said to be busy:\n%s", text)
	}
	again, err := r.Document(first)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("a second time: %v", err)
	}
	for _, bad := range []string{"", begin + "\n", end + "\n" + begin + "\n"} {
		if _, err := r.Document([]byte(bad)); !errors.Is(err, ErrMarks) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestReplaceTakesAWorkOfOneRun(t *testing.T) {
	old, later := sample(), sample()
	later.When, later.Versions = "later", map[string]string{"rclone": "1.60"}
	later.Rows = []Row{row(Read, Near, Client, Ours, 7), row(Write, Near, Client, Ours, 8)}
	old.Replace(later)
	if _, there := old.Find(Read, Near, S3FS); there {
		t.Error("a peer of another run is left")
	}
	var works []string
	for _, r := range old.Rows {
		works = append(works, r.Work)
	}
	if want := []string{Read, Find, Tar, Write}; !slices.Equal(works, want) {
		t.Errorf("works %q, want %q", works, want)
	}
	if r, _ := old.Find(Read, Near, Client); len(r.Rounds) != 1 || r.Rounds[0].Seconds != 7 || old.When != "later" || len(old.Versions) != 2 {
		t.Errorf("%+v", old)
	}
	if len(later.Rows) != 2 {
		t.Error("the later run was changed")
	}
}

func TestBusyMachineIsSaid(t *testing.T) {
	r := sample()
	r.Rows[0].Load = 1.5
	text, err := r.Document([]byte(begin + "\n" + end + "\n"))
	if err != nil || bytes.Count(text, []byte("load 1.5")) != 1 {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestReplaceForgetsOtherSizes(t *testing.T) {
	old := sample()
	later := &Report{Machine: old.Machine, Rows: []Row{row(Write, Near, Client, Ours, 8)}}
	old.Replace(later)
	if len(old.Rows) != 1 {
		t.Errorf("%d rows", len(old.Rows))
	}
}

func TestReportComesBackFromDisk(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.json")
	if r, err := Load(name); err != nil || len(r.Rows) != 0 {
		t.Fatalf("%v, %v", r, err)
	}
	want := sample()
	if err := want.Save(name); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(name); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %+v, want %+v", err, got, want)
	}
}
