package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

type sink interface {
	Object(Object) error
	Close(*Report) error
}

func writeAll(t *testing.T, s sink) {
	t.Helper()
	for _, o := range sample() {
		if err := s.Object(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(report()); err != nil {
		t.Fatal(err)
	}
}

func TestGolden(t *testing.T) {
	var table, doc, rows, page bytes.Buffer
	if err := WriteTable(&table, report()); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", table.Bytes())
	writeAll(t, NewJSON(&doc, head()))
	golden(t, "audit.json", doc.Bytes())
	writeAll(t, NewCSV(&rows))
	golden(t, "audit.csv", rows.Bytes())
	if err := WriteHTML(&page, report()); err != nil {
		t.Fatal(err)
	}
	golden(t, "audit.html", page.Bytes())
}

func TestTableObeysNobody(t *testing.T) {
	var out bytes.Buffer
	if err := WriteTable(&out, report()); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r < ' ' && r != '\n' || r == 0x7f || r == 0x202e || r == 0xfffd {
			t.Errorf("the table has %U", r)
		}
	}
}

func TestJSONIsOneDocument(t *testing.T) {
	var out bytes.Buffer
	writeAll(t, NewJSON(&out, head()))
	var doc struct {
		Version  int
		Complete bool
		Objects  []struct {
			Key    string
			RawKey []byte
			Plain  *int64
		}
		Totals   struct{ Objects, Bytes int64 }
		Findings struct{ Total int64 }
		Bucket   []BucketFinding
	}
	dec := json.NewDecoder(&out)
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if dec.More() {
		t.Error("something follows the document")
	}
	r := report()
	if len(doc.Objects) != len(sample()) || doc.Totals.Objects != r.Current.Objects || doc.Totals.Bytes != r.Current.Bytes || doc.Findings.Total != r.Findings || !doc.Complete || len(doc.Bucket) != 2 {
		t.Errorf("document says %+v", doc)
	}
	for i, o := range sample() {
		got := doc.Objects[i].Key
		if raw := doc.Objects[i].RawKey; raw != nil {
			got = string(raw)
		}
		if got != o.Key {
			t.Errorf("key %q is told as %q", o.Key, got)
		}
		if (doc.Objects[i].Plain == nil) != (o.Plain < 0) {
			t.Errorf("%q: plain %v, want %d", o.Key, doc.Objects[i].Plain, o.Plain)
		}
	}
}

func TestJSONOfNothing(t *testing.T) {
	var out bytes.Buffer
	j := NewJSON(&out, Head{Target: "s3://b", Began: now})
	if err := j.Close(NewTally(Head{Began: now}, "").End(now, true, nil)); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(out.Bytes()) || bytes.Contains(out.Bytes(), []byte("null")) {
		t.Errorf("document of an empty bucket: %s", out.Bytes())
	}
}

// encoding/csv makes LF of CRLF within fields; but for that it says what any
// reader of RFC 4180 does.
func TestCSV(t *testing.T) {
	var out bytes.Buffer
	writeAll(t, NewCSV(&out))
	if !strings.Contains(out.String(), "line\r\nbreak,\"\"quoted\"\"") {
		t.Error("a key does not stand as it is")
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(sample())+1 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, o := range sample() {
		got, want := rows[i+1][0], strings.ReplaceAll(o.Key, "\r\n", "\n")
		if got != want {
			t.Errorf("key %q is told as %q", o.Key, got)
		}
	}
}

func TestFieldIsNoFormula(t *testing.T) {
	for in, want := range map[string]string{
		"":              "",
		"a":             "a",
		"=1+1":          "'=1+1",
		"+1":            "'+1",
		"-1":            "'-1",
		"@SUM(A1)":      "'@SUM(A1)",
		"\t=1":          "'\t=1",
		"\r=1":          "\"'\r=1\"",
		"＝1":            "'＝1",
		"'quoted":       "''quoted",
		"a,b":           `"a,b"`,
		`a"b`:           `"a""b"`,
		" a":            `" a"`,
		`=a,"b`:         `"'=a,""b"`,
		"logs/=x":       "logs/=x",
		"arn:aws:kms:a": "arn:aws:kms:a",
	} {
		if got := field(in); got != want {
			t.Errorf("field(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPageLoadsNothing(t *testing.T) {
	var out bytes.Buffer
	if err := WriteHTML(&out, report()); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	if n := strings.Count(page, "<img"); n != 0 {
		t.Errorf("%d images", n)
	}
	for _, attr := range regexp.MustCompile(`(?i)\s(src|href|action|srcset|xlink:href|style|on\w+)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if attr[1] != "href" || !strings.HasPrefix(attr[2], "#") && attr[2] != "data:," {
			t.Errorf("the page has %s", attr[0])
		}
	}
	if strings.ContainsAny(page, "\x1b\u202e") {
		t.Error("the page has what a name brought: ESC or a mark of direction")
	}
	for _, want := range []string{"default-src &#39;none&#39;", `prefers-color-scheme: dark`, `<html lang="en">`, `<main id="main"`, `<caption`, `role="img"`, `scope="col"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("html/template refused a value")
	}
}

// What is kept does not grow with what a bucket's owner thinks of.
func TestTallyIsBounded(t *testing.T) {
	tally := NewTally(head(), "")
	const n = 200_000
	for i := range n {
		tally.Add(Object{
			Key: fmt.Sprintf("%d/%d/x", i, i), Mode: "none", KeyID: strings.Repeat("k", 1000) + fmt.Sprint(i), Class: fmt.Sprint("c", i), Stored: 2, Modified: now,
			Findings: []Finding{{Kind: Plaintext}, {Kind: Kind(fmt.Sprint("odd", i%3))}},
		})
	}
	r := tally.End(now, true, nil)
	if len(r.ByKey) > maxGroups+1 || len(r.ByClass) > maxGroups+1 || len(r.ByPrefix) > maxPrefixes+1 || len(r.Kept) > 4*maxKept {
		t.Errorf("kept %d keys, %d classes, %d prefixes, %d findings", len(r.ByKey), len(r.ByClass), len(r.ByPrefix), len(r.Kept))
	}
	for name, groups := range map[string][]Group{"mode": r.ByMode, "key": r.ByKey, "age": r.ByAge, "class": r.ByClass} {
		var sum Count
		for _, g := range groups {
			sum.Objects, sum.Bytes = sum.Objects+g.Objects, sum.Bytes+g.Bytes
		}
		if sum != (Count{n, 2 * n}) {
			t.Errorf("by %s there are %+v", name, sum)
		}
	}
	var found, below int64
	for _, k := range r.ByKind {
		found += k.Count
	}
	for _, p := range r.ByPrefix {
		below += p.Count
	}
	if found != 2*n || below != 2*n || r.Findings != 2*n || r.KeptAll {
		t.Errorf("%d findings, %d by kind, %d by prefix", r.Findings, found, below)
	}
}

// What is saved anywhere and gone on with comes to the same report, and stays
// small whatever a bucket's owner thinks of.
func TestTallyGoesOn(t *testing.T) {
	all := sample()
	for at := range all {
		first := NewTally(head(), "web1/")
		for _, o := range all[:at] {
			first.Add(o)
		}
		b, err := first.Save()
		if err != nil {
			t.Fatal(err)
		}
		later := head()
		later.Began = now.Add(365 * day)
		second, err := RestoreTally(later, "web1/", b)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range all[at:] {
			second.Add(o)
		}
		want := report()
		if diff := cmp.Diff(want, second.End(want.Ended, true, want.Bucket)); diff != "" {
			t.Fatalf("gone on with behind %d (-want +got):\n%s", at, diff)
		}
	}
	for _, text := range []string{"", "{}", "[]", `{"began":"2026-01-02T03:04:05Z","groups":{"odd":[{"name":"AA=="}]}}`} {
		if _, err := RestoreTally(head(), "", []byte(text)); !errors.Is(err, ErrSaved) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSavedIsBounded(t *testing.T) {
	tally := NewTally(head(), "")
	long := strings.Repeat("\x01\xff", 500)
	var findings []Finding
	for _, k := range Kinds() {
		findings = append(findings, Finding{Kind: k.Kind, Text: strings.Repeat(long, 20)})
	}
	for i := range 6000 {
		key := fmt.Sprintf("%04d", i) + long
		tally.Add(Object{Key: key[:500] + "/" + key[500:1000] + "/x", Mode: "none", KeyID: key, Class: key, Modified: now, Findings: findings})
	}
	b, err := tally.Save()
	if err != nil || len(b) > 15<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// An audit that ended in the midst of a key's versions goes on before them.
func TestLastIsWhole(t *testing.T) {
	tally := NewTally(head(), "")
	tally.Add(Object{Key: "a"})
	tally.Add(Object{Key: "b", More: true})
	r := tally.End(now, false, nil, "a note\x1b[2J")
	if r.Last != "a" {
		t.Errorf("it says that it ended after %q", r.Last)
	}
	says := func() string { return strings.Join(remarks(r), "\n") }
	if got := says(); !strings.Contains(got, "ended after a, from where --after goes on") || strings.Contains(got, "\x1b") {
		t.Errorf("it says %q", got)
	}
	r.GoesOn = true
	if got := says(); !strings.Contains(got, "the same command goes on") || strings.Contains(got, "--after") {
		t.Errorf("it says %q", got)
	}
}

func TestFindingsByPrefix(t *testing.T) {
	tally := NewTally(head(), "web1/")
	for _, key := range []string{"web1/a", "web1/a/b", "web1/a/b/c", "web1/a/b/c/d", "web1/a/x/y", "elsewhere/z"} {
		tally.Add(Object{Key: key, Findings: []Finding{{Kind: Name}}})
	}
	want := []PrefixCount{{"web1/", 2}, {"web1/a/b/", 2}, {"web1/a/", 1}, {"web1/a/x/", 1}}
	if diff := cmp.Diff(want, tally.End(now, true, nil).ByPrefix); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAges(t *testing.T) {
	for age, want := range map[time.Duration]string{
		-time.Hour: "under a day", 0: "under a day", day: "under a week", 7 * day: "under a month", 30 * day: "under 3 months",
		91 * day: "under a year", 365 * day: "under 3 years", 3 * 365 * day: ageOldest,
	} {
		if got := ageOf(now.Add(-age), now); got != want {
			t.Errorf("what is %v old is %q, want %q", age, got, want)
		}
	}
	if got := ageOf(time.Time{}, now); got != ageUnknown {
		t.Errorf("what has no time is %q", got)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %s, want %s", n, got, want)
		}
	}
	for _, c := range []struct {
		part, whole int64
		want        string
	}{{0, 0, "0 %"}, {0, 5, "0 %"}, {5, 5, "100 %"}, {1, 1_000_000, "<0.1 %"}, {999_999, 1_000_000, ">99.9 %"}, {1, 3, "33.3 %"}} {
		if got := share(c.part, c.whole); got != c.want {
			t.Errorf("share(%d, %d) = %s, want %s", c.part, c.whole, got, c.want)
		}
	}
}

type broken struct{ after int }

var errBroken = errors.New("disk is full")

func (b *broken) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestWritersTellOfErrors(t *testing.T) {
	w := &broken{100}
	if err := WriteTable(w, report()); !errors.Is(err, errBroken) {
		t.Errorf("table: %v", err)
	}
	if err := WriteHTML(&broken{100}, report()); !errors.Is(err, errBroken) {
		t.Errorf("page: %v", err)
	}
	for _, s := range []sink{NewJSON(&broken{100}, head()), NewCSV(&broken{100})} {
		for range 10_000 {
			if s.Object(sample()[0]) != nil {
				break
			}
		}
		if err := s.Close(report()); !errors.Is(err, errBroken) {
			t.Errorf("%T: %v", s, err)
		}
	}
}
