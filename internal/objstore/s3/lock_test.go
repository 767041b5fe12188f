package s3_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func TestLock(t *testing.T) {
	retention := says("<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2030-01-02T03:04:05Z</RetainUntilDate></Retention>")
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	says400 := func(message string) http.HandlerFunc {
		return saysAs(400, "<Error><Code>InvalidRequest</Code><Message>"+message+"</Message></Error>")
	}
	for _, tc := range []struct {
		name            string
		retention, hold http.HandlerFunc
		want            objstore.Lock
		err             error
	}{
		{name: "both", retention: retention, hold: says("<LegalHold><Status>ON</Status></LegalHold>"), want: objstore.Lock{Mode: objstore.Compliance, Until: until, LegalHold: true}},
		{name: "retention", retention: retention, hold: fails(404, "NoSuchObjectLockConfiguration"), want: objstore.Lock{Mode: objstore.Compliance, Until: until}},
		{name: "hold taken off", retention: fails(404, "NoSuchObjectLockConfiguration"), hold: says("<LegalHold><Status>OFF</Status></LegalHold>")},
		{name: "no locks", retention: says400("Bucket is missing Object Lock Configuration"), hold: says400("Bucket is missing Object Lock Configuration")},
		{name: "no locks, MinIO", retention: says400("Bucket is missing ObjectLockConfiguration"), hold: says400("Bucket is missing ObjectLockConfiguration")},
		{name: "denied", retention: fails(403, "AccessDenied"), err: objstore.ErrAccess},
		{name: "half denied", retention: retention, hold: fails(403, "AccessDenied"), err: objstore.ErrAccess},
		{name: "unknown", retention: fails(501, "NotImplemented"), err: objstore.ErrUnsupported},
		{name: "gone", retention: fails(404, "NoSuchVersion"), err: objstore.ErrChanged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.hold == nil {
				tc.hold = tc.retention
			}
			got, err := newFake(t, tc.retention, tc.hold).open(t).Lock(t.Context(), objstore.ID{Key: "k", VersionID: "v"})
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A lock goes with what is written, and HEAD tells it.
func TestLockHeaders(t *testing.T) {
	f := newFake(t, anything)
	s := f.open(t)
	lock := &objstore.Lock{Mode: objstore.Governance, Until: time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600)), LegalHold: true}
	if _, err := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{Lock: lock}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Copy(t.Context(), objstore.ID{Key: "k"}, "l", objstore.PutOptions{Lock: lock}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(t.Context(), "k", objstore.PutOptions{Lock: lock}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{Lock: &objstore.Lock{}}); err != nil {
		t.Fatal(err)
	}
	for i, r := range f.requests() {
		want := []string{"GOVERNANCE", "2030-01-02T02:04:05.006Z", "ON"}
		if i == 3 {
			want = []string{"", "", ""}
		}
		got := []string{r.Header.Get("X-Amz-Object-Lock-Mode"), r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"), r.Header.Get("X-Amz-Object-Lock-Legal-Hold")}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request %d: %s", i, diff)
		}
	}
	_, err := s.Put(t.Context(), "k", strings.NewReader(""), 0, objstore.PutOptions{Lock: &objstore.Lock{Mode: "FOREVER", Until: lock.Until}})
	if !errors.Is(err, objstore.ErrInvalid) {
		t.Error(err)
	}
	for _, tc := range []struct {
		headers []string
		want    *objstore.Lock
	}{
		{nil, nil},
		{[]string{"X-Amz-Object-Lock-Legal-Hold", "ON"}, &objstore.Lock{LegalHold: true}},
		{[]string{"X-Amz-Object-Lock-Mode", "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date", "2030-01-02T03:04:05.000Z"}, &objstore.Lock{Mode: objstore.Compliance, Until: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}},
		{[]string{"X-Amz-Object-Lock-Mode", "COMPLIANCE"}, &objstore.Lock{Mode: objstore.Compliance, Until: time.Unix(1<<40, 0).UTC()}},
	} {
		info, err := newFake(t, says("", append(tc.headers, "ETag", `"e"`)...)).open(t).Head(t.Context(), objstore.ID{Key: "k"})
		if diff := cmp.Diff(tc.want, info.Lock); diff != "" || err != nil {
			t.Errorf("%v: %v %s", tc.headers, err, diff)
		}
	}
}

func TestRestore(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		err    error
	}{
		{"taken", saysAs(202, ""), nil},
		{"back already", saysAs(200, ""), nil},
		{"under way", fails(409, "RestoreAlreadyInProgress"), nil},
		{"not archived", fails(403, "InvalidObjectState"), objstore.ErrInvalid},
		{"no expedited", fails(503, "GlacierExpeditedRetrievalNotAvailable"), objstore.ErrUnsupported},
		{"gone", fails(404, "NoSuchKey"), objstore.ErrNotExist},
		{"denied", fails(403, "AccessDenied"), objstore.ErrAccess},
		{"unknown", fails(501, "NotImplemented"), objstore.ErrUnsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t, tc.answer)
			err := f.open(t).Restore(t.Context(), objstore.ID{Key: "k"}, 7, "Bulk")
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if n := len(f.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if body := f.bodies[0]; !strings.Contains(body, "<Days>7</Days>") || !strings.Contains(body, "<Tier>Bulk</Tier>") {
				t.Errorf("ordered by %s", body)
			}
		})
	}
	f := newFake(t, saysAs(202, ""))
	if err := f.open(t).Restore(t.Context(), objstore.ID{Key: "k"}, 0, ""); err != nil || strings.Contains(f.bodies[0], "Days") || strings.Contains(f.bodies[0], "Tier") {
		t.Errorf("%v, ordered by %s", err, f.bodies[0])
	}
}

func TestRestoring(t *testing.T) {
	info, err := newFake(t, says("", "ETag", `"e"`, "X-Amz-Storage-Class", "DEEP_ARCHIVE", "X-Amz-Restore", `ongoing-request="true"`)).open(t).Head(t.Context(), objstore.ID{Key: "k"})
	if err != nil || !info.Archived() || info.Restoring == nil || !info.Restoring.Ongoing {
		t.Errorf("%+v, %v", info, err)
	}
	info, err = newFake(t, says("", "ETag", `"e"`, "X-Amz-Storage-Class", "INTELLIGENT_TIERING", "X-Amz-Archive-Status", "ARCHIVE_ACCESS")).open(t).Head(t.Context(), objstore.ID{Key: "k"})
	if err != nil || !info.Archived() {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestChecksumsKept(t *testing.T) {
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", n))) }
	for _, tc := range []struct {
		headers []string
		want    objstore.Checksums
	}{
		{nil, objstore.Checksums{}},
		{[]string{"X-Amz-Checksum-Crc64nvme", b64(8), "X-Amz-Checksum-Type", "FULL_OBJECT"}, objstore.Checksums{Sums: map[string][]byte{"crc64nvme": []byte("ssssssss")}}},
		{[]string{"X-Amz-Checksum-Crc32", b64(4) + "-3", "X-Amz-Checksum-Type", "COMPOSITE"}, objstore.Checksums{Sums: map[string][]byte{"crc32": []byte("ssss")}, Parts: true}},
		{[]string{"X-Amz-Checksum-Crc32c", b64(4) + "-3"}, objstore.Checksums{Sums: map[string][]byte{"crc32c": []byte("ssss")}, Parts: true}},
		{[]string{"X-Amz-Checksum-Sha256", b64(31), "X-Amz-Checksum-Sha1", "?"}, objstore.Checksums{}},
	} {
		f := newFake(t, says("", append(tc.headers, "ETag", `"e"`)...))
		got, err := f.open(t).Checksums(t.Context(), objstore.ID{Key: "k"})
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%v: %v %s", tc.headers, err, diff)
		}
		if f.requests()[0].Header.Get("X-Amz-Checksum-Mode") != "ENABLED" {
			t.Error("not asked for")
		}
	}
}
