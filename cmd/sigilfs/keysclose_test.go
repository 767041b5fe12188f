package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

// TestCloseResumesTheSameOnly: what a look has seen that gave hosts little time to
// notice says nothing to one that gives them more: they may have sealed there since.
func TestCloseResumesTheSameOnly(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []closing{{retiredFor: time.Second}, {retiredFor: time.Hour}} {
		for _, ids := range []string{"a", "a b"} {
			seen[c.options(ids)] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("runs are told apart as %v", seen)
	}
}

// TestCloseGoesOnWithItsOwn: a look that was interrupted is gone on with by the
// same command, and what another one left is thrown away.
func TestCloseGoesOnWithItsOwn(t *testing.T) {
	m := &mounting{set: defaultSettings()}
	m.set.stateDir = t.TempDir()
	var err error
	if m.store, err = s3.New(t.Context(), s3.Config{Bucket: "b", Endpoint: "http://127.0.0.1:1", NoSignRequest: true}); err != nil {
		t.Fatal(err)
	}
	c := &closing{alteration: &alteration{keeping: &keeping{offline: &offline{mounting: m}}}}
	for i, run := range []struct{ ids, from string }{{"a", ""}, {"a", "key 0"}, {"b", ""}, {"a", ""}} {
		j, err := c.journal(run.ids)
		if err != nil {
			t.Fatal(err)
		}
		if j.Cursor() != run.from {
			t.Errorf("run %d of %s goes on from %q, want %q", i, run.ids, j.Cursor(), run.from)
		}
		if err := errors.Join(j.Keep(fmt.Sprint("key ", i), nil), j.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldVersionsAreCounted: what could not be looked at is not taken from what
// was removed.
func TestOldVersionsAreCounted(t *testing.T) {
	d := oldDocument{Versions: []oldJSON{{}, {}}, Failed: []failureJSON{{}, {}, {}}, Purged: true, Removed: 1}
	lines := d.lines()
	if last := lines[len(lines)-1]; last != "1 of 2 old versions were removed" {
		t.Error(last)
	}
}

// TestPendingUploadKeepsOpen: what was being uploaded while hosts sealed under an
// epoch may carry it, and where nobody can tell of it nothing is closed, but where
// somebody answers for that.
func TestPendingUploadKeepsOpen(t *testing.T) {
	bucket := mem.New(mem.Options{})
	before := time.Now()
	for _, key := range []string{"v/large", "p/.sigil/doctor/x"} {
		if _, err := bucket.Upload(t.Context(), key, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	after := time.Now().Add(time.Second)
	byKey := mem.New(mem.Options{PendingByKey: true})
	if _, err := byKey.Upload(t.Context(), "v/large", objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	fails := func(verb faulty.Verb, err error) map[faulty.Verb]error { return map[faulty.Verb]error{verb: err} }
	for name, tt := range map[string]struct {
		in        *mem.Store // nil: bucket
		root      string
		since     time.Time
		fail      map[faulty.Verb]error
		dry       bool
		noWriters bool
		want      string // in the refusal; "" is none
	}{
		"begun before":                      {root: "v/", since: after, want: `"v/large"`},
		"begun before, with --no-writers":   {root: "v/", since: after, noWriters: true, want: `"v/large"`},
		"begun since":                       {root: "v/", since: before},
		"of another volume":                 {root: "w/", since: after},
		"of a probe":                        {root: "p/", since: after},
		"may not be asked":                  {root: "v/", since: before, fail: fails(faulty.Pending, objstore.ErrAccess), want: "grant s3:ListBucketMultipartUploads"},
		"may not be asked, --no-writers":    {root: "v/", since: before, fail: fails(faulty.Pending, objstore.ErrAccess), noWriters: true},
		"is not told anyone":                {root: "v/", since: after, fail: fails(faulty.Pending, objstore.ErrUnsupported), want: "does not tell"},
		"is not told anyone, --no-writers":  {root: "v/", since: after, fail: fails(faulty.Pending, objstore.ErrUnsupported), noWriters: true},
		"told by key only":                  {in: byKey, root: "v/", since: after, want: "say --no-writers"},
		"told by key only, and none there":  {in: byKey, root: "w/", since: after, want: "say --no-writers"},
		"told by key only, --no-writers":    {in: byKey, root: "v/", since: after, noWriters: true},
		"told by key only, dry":             {in: byKey, root: "v/", since: after, dry: true},
		"whether it is told cannot be seen": {root: "w/", since: after, fail: fails(faulty.Upload, objstore.ErrAccess), want: `grant s3:PutObject for "w/.sigil/doctor/*"`},
		"the same, --no-writers":            {root: "w/", since: after, fail: fails(faulty.Upload, objstore.ErrAccess), noWriters: true},
	} {
		in := cmp.Or(tt.in, bucket)
		store := faulty.New(in, faulty.Options{Script: func(op faulty.Op) faulty.Fault {
			if err := tt.fail[op.Verb]; err != nil {
				return faulty.Fault{Err: fmt.Errorf("ask: %w", err)}
			}
			return faulty.Fault{}
		}})
		got, err := uploadLook{store: store, root: tt.root, untried: tt.dry, noWriters: tt.noWriters}.pending(t.Context(), tt.since)
		if err != nil || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for u, err := range bucket.Pending(t.Context(), "") {
		if err != nil || u.Key != "v/large" && u.Key != "p/.sigil/doctor/x" {
			t.Errorf("left by the look: %q, %v", u.Key, err)
		}
	}
	slow := faulty.New(bucket, faulty.Options{Script: func(faulty.Op) faulty.Fault { return faulty.Fault{Err: objstore.ErrThrottled} }})
	if got, err := (uploadLook{store: slow, root: "v/", noWriters: true}).pending(t.Context(), after); !errors.Is(err, objstore.ErrThrottled) {
		t.Errorf("no answer at all: %q, %v", got, err)
	}
}

// TestRecordedUploadKeepsOpen: a record of an upload is found at every place before
// anything else is looked at; a listing that fails is no answer.
func TestRecordedUploadKeepsOpen(t *testing.T) {
	bucket := mem.New(mem.Options{})
	bucket.Plant("v/in/.sigil/uploads/host/1", mem.Object{Body: []byte("sealed")})
	for _, tt := range []struct {
		places []string
		want   bool
	}{
		{[]string{"v/"}, false},
		{[]string{"v/", "v/in/"}, true},
	} {
		got, err := recordedUpload(t.Context(), bucket, tt.places)
		if err != nil || strings.Contains(got, `"v/in/.sigil/uploads/host/1"`) != tt.want || got != "" && !tt.want {
			t.Errorf("%q: %q, %v", tt.places, got, err)
		}
	}
	blind := faulty.New(bucket, faulty.Options{Script: func(faulty.Op) faulty.Fault { return faulty.Fault{Err: objstore.ErrAccess} }})
	if got, err := recordedUpload(t.Context(), blind, []string{"v/"}); err == nil {
		t.Errorf("not to be listed: %q", got)
	}
}

// TestCloseEverywhere: what lies at several places is closed at all or at none.
func TestCloseEverywhere(t *testing.T) {
	a, b := keyring.EpochID{1}, keyring.EpochID{2}
	one := func(id keyring.EpochID, at string, state keyring.Phase, err error) keyring.Held {
		return keyring.Held{ID: id, At: at, State: state, Err: err}
	}
	ready := one(a, "v/", keyring.Retired, nil)
	for name, tt := range map[string]struct {
		other keyring.Held
		ready bool // the other is, too
		kept  int
	}{
		"another epoch":   {other: one(b, "v/in/", keyring.Live, nil)},
		"ready there too": {other: one(a, "v/in/", keyring.Retired, nil), ready: true},
		"closed there":    {other: one(a, "v/in/", keyring.Closed, nil)},
		"open there":      {other: one(a, "v/in/", keyring.Live, nil), kept: 1},
		"not long enough": {other: one(a, "v/in/", keyring.Retired, nil), kept: 1},
		"does not open":   {other: one(a, "v/in/", keyring.Closed, keyring.ErrNoKey), kept: 1},
	} {
		all := []keyring.Held{ready}
		if tt.ready {
			all = append(all, tt.other)
		}
		here, kept := readyEverywhere([]keyring.Held{ready, tt.other}, all)
		if len(kept) != tt.kept || len(here) != len(all)-tt.kept || tt.kept > 0 && kept[0].at != "v/in/" {
			t.Errorf("%s: %d are to be closed, kept are %v", name, len(here), kept)
		}
	}
}

// TestCloseLooksAbove: an epoch that lies at a root above is found, whatever is in
// it; what may not be asked for is no answer.
func TestCloseLooksAbove(t *testing.T) {
	id := keyring.EpochID{1}
	bucket := mem.New(mem.Options{})
	bucket.Plant("v/.sigil/epochs/"+id.String(), mem.Object{Body: []byte("anything")})
	for _, tt := range []struct {
		places []string
		id     keyring.EpochID
		want   string
	}{
		{[]string{"v/in/", "v/"}, id, "v/"},
		{[]string{"v/in/", "v/"}, keyring.EpochID{2}, ""},
		{nil, id, ""},
	} {
		at, found, err := liesAt(t.Context(), bucket, tt.places, tt.id)
		if err != nil || found != (tt.want != "") || at != tt.want {
			t.Errorf("%q: %q, %v, %v", tt.places, at, found, err)
		}
	}
	blind := faulty.New(bucket, faulty.Options{Script: func(faulty.Op) faulty.Fault { return faulty.Fault{Err: objstore.ErrAccess} }})
	if _, _, err := liesAt(t.Context(), blind, []string{"v/"}, id); !errors.Is(err, objstore.ErrAccess) {
		t.Error(err)
	}
}

// TestCloseFindsUnlisted: an epoch at a place that the search for places did not
// reach is met by the look at all objects.
func TestCloseFindsUnlisted(t *testing.T) {
	id := keyring.EpochID{1}.String()
	c := &closing{alteration: &alteration{keeping: &keeping{places: keyring.Places{Within: []string{"v/"}}}}}
	for key, want := range map[string]bool{
		"v/deep/.sigil/epochs/" + id: true, "v/.sigil/epochs/" + id: false, "v/deep/x.sigil/epochs/" + id: false,
		"v/deep/.sigil/epochs/" + keyring.EpochID{2}.String(): false, "v/deep/" + id: false, ".sigil/epochs/" + id: true,
	} {
		for _, latest := range []bool{true, false} {
			ver := objstore.Version{Info: objstore.Info{ID: objstore.ID{Key: key}}, Latest: latest}
			if got, ok := c.unlisted(ver, []string{id}); ok != (want && latest) || ok && got != id {
				t.Errorf("%q, latest %v: %q, %v", key, latest, got, ok)
			}
		}
	}
}

// TestCloseParallel: how many at a time is bounded.
func TestCloseParallel(t *testing.T) {
	for _, n := range []string{"0", "-1", "1001"} {
		cmd := newKeysClose()
		if err := cmd.ParseFlags([]string{"--parallel", n}); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Args(cmd, []string{"s3://bucket"}); err == nil || !strings.Contains(err.Error(), "from 1 to 1000") {
			t.Errorf("%s: %v", n, err)
		}
	}
	cmd := newKeysClose()
	if err := errors.Join(cmd.ParseFlags([]string{"--parallel", "1000"}), cmd.Args(cmd, []string{"s3://bucket"})); err != nil {
		t.Error(err)
	}
}
