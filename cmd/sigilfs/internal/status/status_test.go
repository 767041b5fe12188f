package status

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew")

// example has everything in it.
func example() *Report {
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	full := Mount{
		Version: Version, Dir: "/mnt", Source: "/etc/sigilfs/a.yaml", Bucket: "s3://acme/web1", PID: 42, UID: 0, Program: "1.2.3",
		State: Serving, Since: at.Add(-50 * time.Hour), Asked: at, ReadOnly: false,
		Options: map[string]string{"upload-limit": "10MiB", "region": "eu-west-1"},
		Rules:   []Rule{{Prefix: "logs/", Mode: "sse-kms", Keys: []string{"main"}}, {Mode: "client", Keys: []string{"main", "escrow"}}},
		Files: &Files{Dirty: 3, Size: 70 << 20, Uploading: 1, Failing: 1, More: 7, List: []File{
			{Path: "a/failing\x1b[2J", Size: 1234, Open: true, Error: "put \"s3://acme/web1/a\": access denied", Since: at.Add(-90 * time.Second), Next: at.Add(30 * time.Second)},
			{Path: "b", Size: 64 << 20, Uploading: true, Uploaded: 16 << 20},
			{Size: 5, AttributesOnly: true},
		}},
		Uploads: 1, Chores: 2, Conflicts: 3,
		Older: &Older{Objects: 3, More: 1, List: []OlderObject{
			{Path: "etc/sudoers", Kind: "rollback", Shown: 1, Known: 2, Since: at.Add(-time.Hour)},
			{Path: "removed", Kind: "resurrection", Shown: 3, Known: 4, Since: at.Add(-time.Minute)},
		}},
		Versions: &Known{Records: 5, Limit: 1000, Forgotten: 6, Error: "no space"},
		Spool:    &Space{Dir: "/var/lib/sigilfs/x", Used: 95 << 20, Limit: 100 << 20},
		Cache: &Cache{
			Memory: Tier{Space: Space{Used: 32 << 20, Limit: 64 << 20}, Hits: 3, Misses: 1},
			Disk:   &Tier{Space: Space{Dir: "/var/cache/sigilfs", Used: 5 << 30, Limit: 10 << 30}, Lost: 4},
		},
		Memory: &Memory{Heap: 100 << 20, System: 150 << 20, Limit: 512 << 20},
		Keys:   []Key{{Name: "main", Kind: "kms", ID: "kms:arn", Created: at.Add(-400 * 24 * time.Hour)}, {Kind: "ssec"}},
		Epochs: []Epoch{
			{ID: "n55j3ol3cvxelki6cr3lsprozy", State: "open", Created: at.Add(-49 * time.Hour), Host: "h", Keys: []string{"kms:arn"}, Current: true},
			{ID: "aaaaaaaaaaaaaaaaaaaaaaaaaa", State: "retired", Created: at.Add(-1000 * time.Hour), Lost: true, RolledBack: true},
		},
		MoreEpochs: 2, KMSRequests: map[string]uint64{"Decrypt": 5}, KeysFailing: &Failing{Since: at.Add(-time.Hour), Error: "KMS is away"},
		Errors: []Event{
			{Time: at, Level: "error", Text: "operation failed", Op: "write", Path: "a", Error: "no", Again: 2},
			{Time: at, Level: "warning", Text: "a new epoch is made", More: map[string]string{"epoch": "n55j", "at": "logs/"}},
		},
	}
	full.Judge()
	gone := Mount{Version: Version, Dir: "/gone", Source: "s3://acme", PID: 7, Error: "no answer"}
	gone.Judge()
	return &Report{Version: Version, Mounts: []Mount{full, gone}}
}

// The document as programs have it, and as people do. The first is a promise:
// what changes in testdata/report.json beyond additions needs a new Version.
func TestDocument(t *testing.T) {
	text, err := json.MarshalIndent(example(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	if err := example().Text(&shown); err != nil {
		t.Fatal(err)
	}
	for path, got := range map[string][]byte{"testdata/report.json": append(text, '\n'), "testdata/report.txt": shown.Bytes()} {
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n%s", path, err, got)
		}
	}
	if strings.ContainsRune(shown.String(), '\x1b') {
		t.Error("a path steers the terminal")
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range example().Mounts {
		text, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(text); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestDecodeOthers(t *testing.T) {
	for text, wrong := range map[string]string{
		`{"version":1,"dir":"/mnt","new_field":{}}`: "",
		`{"version":2}`: "version 2",
		`{}`:            "version 0",
		`[]`:            "answer of the mount",
		``:              "answer of the mount",
	} {
		if _, err := Decode([]byte(text)); wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	text, _ := example().Mounts[0].Encode()
	f.Add(text)
	f.Add([]byte(`{"version":1,"files":{"list":[{"size":0,"uploaded":9,"uploading":true}]},"spool":{"limit":0}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Decode(text)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := (&Report{Mounts: []Mount{m}}).Text(&out); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && printable(r) != r {
				t.Fatalf("%q", out.String())
			}
		}
	})
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    Mount
		want Health
	}{
		{"nothing", Mount{}, OK},
		{"dirty", Mount{Files: &Files{Dirty: 5}}, OK},
		{"failing", Mount{Files: &Files{Dirty: 5, Failing: 1}}, Degraded},
		{"spool", Mount{Spool: &Space{Used: 89, Limit: 100}}, OK},
		{"full spool", Mount{Spool: &Space{Used: 90, Limit: 100}}, Degraded},
		{"lost epoch", Mount{Epochs: []Epoch{{Lost: true}}}, OK},
		{"lost epoch in use", Mount{Epochs: []Epoch{{Lost: true, Current: true}}}, Degraded},
		{"keys", Mount{KeysFailing: &Failing{}}, Degraded},
		{"silent", Mount{Error: "no", Files: &Files{Failing: 1}}, Silent},
	} {
		if tt.m.Judge(); tt.m.Health != tt.want || (tt.want == Degraded) != (len(tt.m.Reasons) == 1) {
			t.Errorf("%s: %s, %q", tt.name, tt.m.Health, tt.m.Reasons)
		}
	}
	if got := example().Worst(); got != Silent {
		t.Error(got)
	}
	if got := (&Report{}).Worst(); got != OK {
		t.Error(got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 10 << 10: "10 KiB", 1<<20 + 1<<19: "1.5 MiB", 1 << 40: "1.0 TiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
