package objstore_test

import (
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func TestParseRestoration(t *testing.T) {
	until := time.Date(2012, 12, 21, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		header string
		want   *objstore.Restoration
	}{
		{"", nil},
		{`ongoing-request="true"`, &objstore.Restoration{Ongoing: true}},
		{`ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`, &objstore.Restoration{Until: until}},
		{`expiry-date="Fri, 21 Dec 2012 00:00:00 GMT", ongoing-request="false"`, &objstore.Restoration{Until: until}},
		{`ongoing-request="false"`, &objstore.Restoration{}},
		{`ongoing-request="false", expiry-date="soon"`, &objstore.Restoration{}},
		{`ongoing-request="maybe"`, nil},
		{`ongoing-request="true`, nil},
		{`ongoing-request=true`, nil},
	} {
		got := objstore.ParseRestoration(tc.header)
		if (got == nil) != (tc.want == nil) || got != nil && (got.Ongoing != tc.want.Ongoing || !got.Until.Equal(tc.want.Until)) {
			t.Errorf("%s: %+v, not %+v", tc.header, got, tc.want)
		}
	}
}

// Whatever a server says, it is either under way or over.
func FuzzParseRestoration(f *testing.F) {
	f.Add(`ongoing-request="true"`)
	f.Add(`ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`)
	f.Fuzz(func(t *testing.T, header string) {
		if r := objstore.ParseRestoration(header); r != nil && r.Ongoing && !r.Until.IsZero() {
			t.Errorf("%q: %+v", header, r)
		}
	})
}

func TestArchived(t *testing.T) {
	back := &objstore.Restoration{Until: time.Unix(1, 0)}
	for _, tc := range []struct {
		info             objstore.Info
		frozen, archived bool
	}{
		{objstore.Info{}, false, false},
		{objstore.Info{StorageClass: "GLACIER_IR"}, false, false},
		{objstore.Info{StorageClass: "GLACIER"}, true, true},
		{objstore.Info{StorageClass: "DEEP_ARCHIVE", Restoring: &objstore.Restoration{Ongoing: true}}, true, true},
		{objstore.Info{StorageClass: "DEEP_ARCHIVE", Restoring: back}, true, false},
		{objstore.Info{StorageClass: "INTELLIGENT_TIERING", ArchiveStatus: "ARCHIVE_ACCESS"}, true, true},
		{objstore.Info{StorageClass: "INTELLIGENT_TIERING"}, false, false},
	} {
		if tc.info.Frozen() != tc.frozen || tc.info.Archived() != tc.archived {
			t.Errorf("%+v: frozen %v, archived %v", tc.info, tc.info.Frozen(), tc.info.Archived())
		}
	}
}

func TestLock(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tc := range []struct {
		lock  objstore.Lock
		ok    bool
		holds bool
	}{
		{objstore.Lock{}, true, false},
		{objstore.Lock{LegalHold: true}, true, true},
		{objstore.Lock{Mode: objstore.Governance, Until: now.Add(time.Second)}, true, true},
		{objstore.Lock{Mode: objstore.Compliance, Until: now}, true, false},
		{objstore.Lock{Mode: objstore.Compliance}, false, false},
		{objstore.Lock{Until: now}, false, false},
		{objstore.Lock{Mode: "FOREVER", Until: now.Add(time.Second)}, false, true},
	} {
		if got := tc.lock.Check() == nil; got != tc.ok || tc.lock.Holds(now) != tc.holds {
			t.Errorf("%+v: checks %v, holds %v", tc.lock, got, tc.lock.Holds(now))
		}
	}
}
