package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
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

// TestCloseLooksAbove: an epoch that lies at a root above stays, also where the
// epochs of that root may not be listed; so does one of which nobody may ask.
func TestCloseLooksAbove(t *testing.T) {
	for name, tt := range map[string]struct {
		above  string
		denied map[faulty.Verb]bool // above, and nowhere else
		fails  error                // of the look above
		want   string               // in the reason; "": it is closed
	}{
		"nothing above":                  {},
		"above":                          {above: "v/", want: `lies above TARGET too, at "v/"`},
		"far above":                      {above: "", want: `lies above TARGET too, at ""`},
		"above, not to be listed":        {above: "v/", denied: map[faulty.Verb]bool{faulty.List: true}, want: `lies above TARGET too, at "v/"`},
		"not to be listed or asked":      {above: "v/", denied: map[faulty.Verb]bool{faulty.List: true, faulty.Head: true, faulty.Get: true}, want: "may not be asked"},
		"nothing above, and not allowed": {denied: map[faulty.Verb]bool{faulty.List: true, faulty.Head: true, faulty.Get: true}, want: "may not be asked"},
		"no answer":                      {fails: objstore.ErrThrottled},
	} {
		c, h := closingAt(t, "v/in/", func(op faulty.Op) faulty.Fault {
			switch above := !strings.HasPrefix(op.Key, "v/in/"); {
			case above && tt.denied[op.Verb]:
				return faulty.Fault{Err: objstore.ErrAccess}
			case above && op.Verb == faulty.Head && tt.fails != nil:
				return faulty.Fault{Err: tt.fails}
			}
			return faulty.Fault{}
		}, func(bucket *mem.Store, h keyring.Held) {
			if tt.want != "" && !strings.HasPrefix(name, "nothing") {
				bucket.Plant(keyring.Held{At: tt.above, ID: h.ID}.Path(), mem.Object{Body: []byte("anything")})
			}
		})
		alone, err := c.everywhere(t.Context(), []keyring.Held{h}, []keyring.Held{h})
		switch {
		case !errors.Is(err, tt.fails):
			t.Errorf("%s: %v", name, err)
		case tt.fails != nil:
		case (len(alone) == 1) != (tt.want == ""), tt.want != "" && (len(c.doc.Kept) != 1 || !strings.Contains(c.doc.Kept[0].Why, tt.want)):
			t.Errorf("%s: closed are %v, kept %+v", name, alone, c.doc.Kept)
		}
	}
}

// closingAt is of a volume with a retired epoch, whose places are known as far as
// the bucket lets them be.
func closingAt(t *testing.T, root string, script func(faulty.Op) faulty.Fault, prepare func(*mem.Store, keyring.Held)) (*closing, keyring.Held) {
	t.Helper()
	objects, master := mem.New(mem.Options{}), newMaster(t)
	store := faulty.New(objects, faulty.Options{Script: script})
	r, err := keyring.New(keyring.Options{Masters: []keyring.Master{master}, Bucket: bucket{store: store}, VolumeRoot: root, Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := r.Set([]keyring.Master{master})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = set.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	k := &keeping{offline: &offline{mounting: &mounting{set: defaultSettings(), stderr: io.Discard}}}
	k.ring, k.set.volumeRoot = r, root
	if k.admin, err = r.Admin(keyring.AdminOptions{Conditional: true}); err != nil {
		t.Fatal(err)
	}
	held, err := k.epochs(t.Context(), []string{root})
	if err != nil || len(held) != 1 {
		t.Fatalf("%d epochs, %v", len(held), err)
	}
	prepare(objects, held[0])
	if _, err := k.admin.Apply(t.Context(), &held[0], keyring.Aim{State: keyring.Retired}); err != nil {
		t.Fatal(err)
	}
	if k.places, err = k.admin.Places(t.Context(), 100, time.Minute); err != nil {
		t.Fatal(err)
	}
	c := &closing{alteration: k.newAlteration(""), objects: store}
	t.Cleanup(c.bar.Done)
	return c, held[0]
}

// TestForceLooksElsewhere: force closes no epoch that is open at another root, where
// hosts seal under it, whatever this host knows of the one within.
func TestForceLooksElsewhere(t *testing.T) {
	for name, tt := range map[string]struct {
		at   string // of a copy from before it was retired
		want bool   // it is closed
	}{
		"nowhere":         {"w/", true},
		"open above":      {"v/", false},
		"open far above":  {"", false},
		"open within too": {"v/in/deep/", false},
	} {
		var copied []byte
		c, h := closingAt(t, "v/in/", nil, func(objects *mem.Store, h keyring.Held) {
			var err error
			if copied, _, err = (bucket{store: objects}).Get(t.Context(), h.Path()); err != nil {
				t.Fatal(err)
			}
			objects.Plant(keyring.Held{At: tt.at, ID: h.ID}.Path(), mem.Object{Body: copied})
		})
		held := []keyring.Held{h}
		if strings.HasPrefix(tt.at, "v/in/") {
			held = append(held, keyring.Held{ID: h.ID, At: tt.at, State: keyring.Live, Err: keyring.ErrNoKey})
		}
		if err := c.force(t.Context(), held, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		now, err := c.epochs(t.Context(), []string{"v/in/"})
		if err != nil || (now[0].State == keyring.Closed) != tt.want || tt.want != (len(c.doc.Kept) == 0) {
			t.Errorf("%s: it is %v, %v; kept %+v", name, now[0].State, err, c.doc.Kept)
		}
		if len(c.doc.Kept) > 0 && !strings.Contains(c.doc.Kept[0].Why, fmt.Sprintf("it is open at %q", tt.at)) {
			t.Errorf("%s: %+v", name, c.doc.Kept)
		}
	}
}

// TestForceEndsIt: where closing failed at one of the places, what is closed stays
// so, and force closes the rest.
func TestForceEndsIt(t *testing.T) {
	deny, deep := false, "v/in/deep/"
	c, h := closingAt(t, "v/in/", func(op faulty.Op) faulty.Fault {
		if deny && op.Verb == faulty.Put && strings.HasPrefix(op.Key, deep) {
			return faulty.Fault{Err: objstore.ErrAccess}
		}
		return faulty.Fault{}
	}, func(*mem.Store, keyring.Held) {})
	retired, _, err := bucket{store: c.objects}.Get(t.Context(), h.Path())
	if err == nil {
		err = bucket{store: c.objects}.Create(t.Context(), keyring.Held{At: deep, ID: h.ID}.Path(), retired)
	}
	if err != nil {
		t.Fatal(err)
	}
	places := []string{"v/in/", deep}
	for _, deny = range []bool{true, false} {
		held, err := c.epochs(t.Context(), places)
		if err != nil {
			t.Fatal(err)
		}
		if deny {
			err = c.finish(t.Context(), held)
		} else {
			err = c.force(t.Context(), held, true)
		}
		if err != nil || len(c.doc.Failed) != 1 {
			t.Errorf("denied is %v: %v, failed %+v", deny, err, c.doc.Failed)
		}
		for _, at := range places {
			data, _, err := bucket{store: c.objects}.Get(t.Context(), keyring.Held{At: at, ID: h.ID}.Path())
			if err != nil {
				t.Fatal(err)
			}
			e, err := keyring.ParseEpoch(h.ID, data)
			if want := !deny || at != deep; err != nil || (e.State == keyring.Closed) != want {
				t.Errorf("denied is %v: at %q it is %v, %v", deny, at, e.State, err)
			}
		}
	}
}

// TestCloseTellsWhatNeedsIt: an epoch object where nobody looked for epochs is told
// of as that, and not as an object that needs the epoch.
func TestCloseTellsWhatNeedsIt(t *testing.T) {
	h := keyring.Held{ID: keyring.EpochID{1}, At: "v/", State: keyring.Retired}
	id := h.ID.String()
	for _, tt := range []struct {
		found *needs
		want  string
	}{
		{&needs{}, ""},
		{&needs{of: map[string]int64{id: 2, alsoAt + id: 1}, such: map[string]string{id: "v/a", alsoAt + id: "v/x"}}, `2 objects or old versions need it, such as "v/a"`},
		{&needs{of: map[string]int64{alsoAt + id: 1}, such: map[string]string{alsoAt + id: "v/x"}}, `did not come, such as "v/x"`},
	} {
		c := &closing{alteration: &alteration{}}
		if c.needed(h, tt.found) != (tt.want != "") {
			t.Errorf("want %q: %+v", tt.want, c.doc.Kept)
		}
		if tt.want != "" && !strings.HasSuffix(c.doc.Kept[0].line(), tt.want) {
			t.Errorf("told is %q, want %q", c.doc.Kept[0].line(), tt.want)
		}
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
			if got, ok := c.unlisted(ver, []string{id}); ok != (want && latest) || ok && got != alsoAt+id {
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
