package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is a bucket and what is asked of it.
type patient struct {
	mem    mem.Options
	change func(*Target)
	script func(faulty.Op) faulty.Fault
	begin  []string // keys of uploads that nobody ends
}

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// examine gives the findings by name, and sees that nothing stays behind.
func (p patient) examine(t *testing.T) map[string]Finding {
	t.Helper()
	if p.mem.Now == nil {
		p.mem.Now = func() time.Time { return now }
	}
	m := mem.New(p.mem)
	for _, key := range p.begin {
		if _, err := m.Upload(t.Context(), key, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	target := Target{
		Store: faulty.New(m, faulty.Options{Script: p.script}), Bucket: "acme", Root: "web1/", Now: func() time.Time { return now },
		Explain: func(error) string { return "do something" },
	}
	if p.change != nil {
		p.change(&target)
	}
	found := map[string]Finding{}
	for _, r := range Examine(t.Context(), Bucket(target, nil, nil), Options{}) {
		found[r.Check] = r.Finding
		if strings.HasSuffix(r.Text, ".") || r.Text == "" || strings.ContainsRune(r.Text, '\n') {
			t.Errorf("%s says %q", r.Check, r.Text)
		}
	}
	if keys := m.Keys(); len(keys) != 0 || len(m.Uploads()) != len(p.begin) {
		t.Errorf("left behind are %q and %v", keys, m.Uploads())
	}
	return found
}

func rule(id, prefix string, change func(*objstore.LifecycleRule)) objstore.LifecycleRule {
	r := objstore.LifecycleRule{ID: id, Enabled: true, Filter: objstore.LifecycleFilter{Prefix: prefix}}
	change(&r)
	return r
}

func aborts(id, prefix string, days int) objstore.LifecycleRule {
	return rule(id, prefix, func(r *objstore.LifecycleRule) { r.AbortDays = days })
}

func expires(r *objstore.LifecycleRule) { r.Expires = true }

func disabled(r objstore.LifecycleRule) objstore.LifecycleRule {
	r.Enabled = false
	return r
}

// fault has every request of that verb fail.
func fault(verb faulty.Verb, err error) func(faulty.Op) faulty.Fault {
	return func(op faulty.Op) faulty.Fault {
		if op.Verb == verb {
			return faulty.Fault{Err: err}
		}
		return faulty.Fault{}
	}
}

func TestFindings(t *testing.T) {
	old := func() time.Time { return now.Add(-48 * time.Hour) }
	records := func(all ...Record) func(*Target) {
		return func(t *Target) {
			t.Records = func(context.Context) ([]Record, error) { return all, nil }
		}
	}
	rules := func(all ...objstore.LifecycleRule) patient { return patient{mem: mem.Options{Lifecycle: all}} }
	tagged := aborts("tagged", "", 8)
	tagged.Filter.Tags = 1
	for _, tc := range []struct {
		name  string
		of    patient
		check string
		want  Status
		says  []string // in the sentence, the remedy or the commands
	}{
		{"healthy", patient{}, Reach, OK, []string{"s3://acme/web1/"}},
		{"no bucket", patient{script: fault(faulty.List, objstore.ErrBucket), change: func(t *Target) { t.Explain = func(error) string { return "create it" } }}, Reach, Failure, []string{"bucket does not exist", "create it"}},
		{"no bucket, and the rest", patient{script: fault(faulty.List, objstore.ErrBucket)}, Lifecycle, Skipped, []string{"bucket is failure"}},
		{"healthy", patient{}, Writing, OK, nil},
		{"read-only", patient{change: func(t *Target) { t.ReadOnly = true }}, Writing, Skipped, []string{"--read-only"}},
		{"read-only", patient{change: func(t *Target) { t.ReadOnly = true }}, Conditions, Skipped, nil},
		{"no writes", patient{script: fault(faulty.Put, objstore.ErrAccess)}, Writing, Failure, []string{"access denied"}},
		{"no reads", patient{script: fault(faulty.Get, objstore.ErrAccess)}, Writing, Warning, []string{"s3:GetObject"}},
		{"healthy", patient{}, Conditions, OK, []string{"writes, copies and deletions"}},
		{"no conditions", patient{mem: mem.Options{IgnorePutConditions: true}}, Conditions, Warning, []string{"conditional"}},
		{"no conditions of copies", patient{mem: mem.Options{IgnoreCopyConditions: true}}, Conditions, Warning, []string{"conditional copies:", "the new name"}},
		{"no conditions of deletions", patient{mem: mem.Options{IgnoreDeleteConditions: true}}, Conditions, Warning, []string{"conditional deletions:", "the old name"}},
		{"no copies of parts", patient{script: fault(faulty.CopyPart, objstore.ErrUnsupported)}, Conditions, OK, []string{"copies no parts"}},
		{"no conditions at all", patient{mem: mem.Options{IgnorePutConditions: true, IgnoreCopyConditions: true, IgnoreDeleteConditions: true}}, Conditions, Warning, []string{"conditional writes and copies and deletions:"}},
		{"no reads, so no renames", patient{mem: mem.Options{IgnoreDeleteConditions: true}, script: fault(faulty.Get, objstore.ErrAccess)}, Conditions, OK, nil},

		{"no uploads", patient{}, Uploads, OK, []string{"none is open"}},
		{"one of sigilfs", patient{begin: []string{"web1/a"}, mem: mem.Options{Now: old}, change: records(Record{"here", "web1/a", "u1"})}, Uploads, OK, []string{"1 upload of sigilfs", "2026-11-19"}},
		{"whose is not known", patient{begin: []string{"web1/a"}, mem: mem.Options{Now: old}}, Uploads, Warning, []string{"of sigilfs or others"}},
		{"one of somebody", patient{begin: []string{"web1/a", "web1/b"}, mem: mem.Options{Now: old}, change: records(Record{"here", "web1/a", "u1"})}, Uploads, Warning, []string{"1 upload of sigilfs", "1 upload that no record", "aws s3api list-multipart-uploads --bucket acme --prefix web1/"}},
		{"young ones", patient{begin: []string{"web1/a", "web1/b"}, change: records()}, Uploads, OK, []string{"2 uploads that no record"}},
		{"beside the volume", patient{begin: []string{"web2/a"}, mem: mem.Options{Now: old}}, Uploads, OK, []string{"none is open"}},
		{"of a probe", patient{begin: []string{"web1/.sigil/doctor/x"}, mem: mem.Options{Now: old}}, Uploads, OK, []string{"none is open"}},
		{"sealed for others", patient{change: records(Record{Host: "there"})}, Uploads, OK, []string{"1 records", "cannot be read"}},
		{"told by key only, read-only", patient{begin: []string{"web1/a"}, mem: mem.Options{Now: old, PendingByKey: true}, change: func(t *Target) {
			t.ReadOnly = true
			records(Record{"here", "web1/a", "u1"})(t)
		}}, Uploads, OK, []string{"1 upload of sigilfs", "could not be tried"}},
		{"nothing told of, read-only", patient{begin: []string{"web1/a"}, mem: mem.Options{Now: old, PendingByKey: true}, change: func(t *Target) { t.ReadOnly = true }}, Uploads, OK, []string{"none is told of", "could not be tried"}},
		{"uploads may not be begun", patient{script: fault(faulty.Upload, objstore.ErrAccess)}, Uploads, OK, []string{"none is told of"}},
		{"told by key only", patient{begin: []string{"web1/a"}, mem: mem.Options{Now: old, PendingByKey: true}, change: records(Record{"here", "web1/a", "u1"})}, Uploads, OK, []string{"1 upload of sigilfs", "by its key"}},
		{"may not be asked", patient{script: fault(faulty.Pending, objstore.ErrAccess)}, Uploads, Warning, []string{"cannot be looked at: permission s3:ListBucketMultipartUploads is missing"}},
		{"records that fail", patient{change: func(t *Target) {
			t.Records = func(context.Context) ([]Record, error) { return nil, objstore.ErrThrottled }
		}}, Uploads, Failure, []string{"slow down"}},

		{"no rule", patient{}, Lifecycle, Warning, []string{
			`aws s3api put-bucket-lifecycle-configuration --bucket acme --lifecycle-configuration '{"Rules":[{"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":8},"Filter":{"Prefix":"web1/"},"ID":"abort-abandoned-uploads","Status":"Enabled"}]}'`,
		}},
		{"a rule for all", rules(aborts("all", "", 8)), Lifecycle, OK, []string{`"all"`, "8 days"}},
		{"a rule for the volume", rules(aborts("mine", "web1/", 30)), Lifecycle, OK, []string{`"mine"`}},
		{"a disabled rule", rules(disabled(aborts("off", "", 8))), Lifecycle, Warning, []string{"no lifecycle rule", "add to the Rules of lifecycle.json", "file://lifecycle.json"}},
		{"a rule beside it", rules(aborts("other", "web2/", 8)), Lifecycle, Warning, []string{`("other")`, "none is for all"}},
		{"a rule for a part", rules(aborts("part", "web1/logs/", 8)), Lifecycle, Warning, []string{"none is for all of s3://acme/web1/"}},
		{"a rule by tag", rules(tagged), Lifecycle, Warning, []string{"none is for all"}},
		{"a rule of another kind", rules(rule("expiry", "logs/", expires)), Lifecycle, Warning, []string{"no lifecycle rule", "add to the Rules"}},
		{"a hasty rule", rules(aborts("fast", "", 7)), Lifecycle, Warning, []string{"7 days after they began", "under way"}},
		{"a hasty rule for a part", rules(aborts("all", "", 8), aborts("fast", "web1/a/", 1)), Lifecycle, Warning, []string{`"fast"`, "1 day after"}},
		{"a hasty rule elsewhere", rules(aborts("all", "", 8), aborts("fast", "web2/", 1)), Lifecycle, OK, nil},
		{"may not be asked", patient{script: fault(faulty.Lifecycle, objstore.ErrAccess)}, Lifecycle, Warning, []string{"grant s3:GetLifecycleConfiguration"}},
		{"cannot be asked", patient{mem: mem.Options{NoSettings: true}}, Lifecycle, Skipped, []string{"cannot be asked"}},

		{"no rule", patient{}, Expiry, OK, nil},
		{"all expires", rules(rule("tidy", "", expires)), Expiry, Failure, []string{`"tidy" removes`, "web1/.sigil/"}},
		{"the volume expires", rules(rule("tidy", "web1/", expires)), Expiry, Failure, nil},
		{"epochs expire", rules(rule("tidy", "web1/.sigil/epochs/", expires)), Expiry, Failure, nil},
		{"others expire", rules(rule("tidy", "web1/logs/", expires), disabled(rule("off", "", expires))), Expiry, OK, nil},
		{"it is archived", rules(rule("cold", "", func(r *objstore.LifecycleRule) { r.Transitions = []string{"STANDARD_IA", "DEEP_ARCHIVE"} })), Expiry, Failure, []string{"archives"}},
		{"it gets cheaper", rules(rule("cold", "", func(r *objstore.LifecycleRule) { r.Transitions = []string{"GLACIER_IR"} })), Expiry, OK, nil},

		{"no versions", patient{}, Versions, OK, []string{"no versions"}},
		{"versions for ever", patient{mem: mem.Options{Versioned: true, Lifecycle: []objstore.LifecycleRule{aborts("a", "", 8)}}}, Versions, OK, []string{"NoncurrentVersionExpiration"}},
		{"versions for a time", patient{mem: mem.Options{Versioned: true, Lifecycle: []objstore.LifecycleRule{rule("old", "", func(r *objstore.LifecycleRule) { r.NoncurrentDays = 30 })}}}, Versions, OK, []string{`"old"`, "30 days"}},
		{"may not be asked", patient{script: fault(faulty.Versioning, objstore.ErrAccess)}, Versions, Warning, []string{"s3:GetBucketVersioning"}},
	} {
		t.Run(tc.check+" "+tc.name, func(t *testing.T) {
			tc.of.examine(t)[tc.check].is(t, tc.want, tc.says)
		})
	}
}

// is holds a finding to what it should be.
func (f Finding) is(t *testing.T, want Status, says []string) {
	t.Helper()
	if f.Status != want {
		t.Fatalf("%+v, want %v", f, want)
	}
	all := f.Text + "\n" + f.Remedy + "\n" + strings.Join(f.Commands, "\n")
	for _, s := range says {
		if !strings.Contains(all, s) {
			t.Errorf("%q is not in\n%s", s, all)
		}
	}
	if (f.Status == Warning || f.Status == Failure) && f.Remedy == "" {
		t.Errorf("there is no remedy against %q", f.Text)
	}
}

// Whoever copies a line into a shell gets what was meant.
func TestCommandsAreQuoted(t *testing.T) {
	e := &exam{Target: Target{Bucket: "acme", Root: "it's a $(test)/", AWS: []string{"--endpoint-url", "https://127.0.0.1:9000"}}}
	want := `aws --endpoint-url https://127.0.0.1:9000 s3api put-bucket-lifecycle-configuration --bucket acme --lifecycle-configuration '{"Rules":[{"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":8},"Filter":{"Prefix":"it'\''s a $(test)/"},"ID":"abort-abandoned-uploads","Status":"Enabled"}]}'`
	if got := e.add(); len(got) != 1 || got[0] != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestReadOnlyWritesNothing(t *testing.T) {
	m := mem.New(mem.Options{})
	s := faulty.New(m, faulty.Options{})
	Examine(t.Context(), Bucket(Target{Store: s, Bucket: "acme", ReadOnly: true}, nil, nil), Options{})
	if n := s.Counts().Writes(); n != 0 {
		t.Errorf("%d requests wrote: %v", n, s.Ops())
	}
}

// A check ends in time, and the next ones are asked all the same.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := Check{Name: "hang", Ask: func(ctx context.Context) Finding {
			<-ctx.Done()
			return Finding{Status: Failure, Text: context.Cause(ctx).Error()}
		}}
		var told []string
		results := Examine(t.Context(), []Check{hang, {Name: "next", Needs: []string{"hang"}}, Settled("last", ok("fine"))}, Options{
			Timeout: time.Minute, Tell: func(r Result) { told = append(told, r.Check+" "+r.Status.String()) },
		})
		if want := []string{"hang failure", "next skipped", "last ok"}; !slices.Equal(told, want) || Worst(results) != Failure {
			t.Errorf("%q, %v", told, Worst(results))
		}
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if got := Examine(ctx, []Check{Settled("a", ok("fine"))}, Options{}); got[0].Status != Warning || Worst(got) != Warning {
		t.Errorf("after the end: %+v", got)
	}
}

func TestResultsAsJSON(t *testing.T) {
	b, err := json.Marshal(Result{"write", Finding{Status: Warning, Text: "t", Remedy: "r"}})
	if want := `{"check":"write","status":"warning","text":"t","remedy":"r"}`; err != nil || !bytes.Equal(b, []byte(want)) {
		t.Errorf("%s, %v", b, err)
	}
}
