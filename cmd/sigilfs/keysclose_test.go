package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
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
// epoch may carry it, and where nobody may ask for it nothing is closed.
func TestPendingUploadKeepsOpen(t *testing.T) {
	bucket := mem.New(mem.Options{})
	before := time.Now()
	if _, err := bucket.Upload(t.Context(), "v/large", objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	after := time.Now().Add(time.Second)
	for name, tt := range map[string]struct {
		root  string
		since time.Time
		fail  error
		want  string // in the refusal; "" is none
	}{
		"begun before":       {root: "v/", since: after, want: `"v/large"`},
		"begun since":        {root: "v/", since: before},
		"of another volume":  {root: "w/", since: after},
		"may not be asked":   {root: "v/", since: before, fail: objstore.ErrAccess, want: "grant s3:ListBucketMultipartUploads"},
		"is not told anyone": {root: "v/", since: after, fail: objstore.ErrUnsupported},
	} {
		store := faulty.New(bucket, faulty.Options{Script: func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Pending && tt.fail != nil {
				return faulty.Fault{Err: fmt.Errorf("list uploads: %w", tt.fail)}
			}
			return faulty.Fault{}
		}})
		got, err := pendingUpload(t.Context(), store, tt.root, tt.since)
		if err != nil || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
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
