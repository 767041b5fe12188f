package s3_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

func TestLifecycle(t *testing.T) {
	document := func(rules string) http.HandlerFunc {
		return says("<LifecycleConfiguration>" + rules + "</LifecycleConfiguration>")
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   []objstore.LifecycleRule
		err    error
	}{
		{name: "none", answer: fails(404, "NoSuchLifecycleConfiguration")},
		{name: "denied", answer: fails(403, "AccessDenied"), err: objstore.ErrAccess},
		{name: "unknown", answer: fails(501, "NotImplemented"), err: objstore.ErrUnsupported},
		{name: "no bucket", answer: fails(404, "NoSuchBucket"), err: objstore.ErrBucket},
		{
			name: "uploads", answer: document(`<Rule><ID>a</ID><Filter><Prefix>p/</Prefix></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>8</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>`),
			want: []objstore.LifecycleRule{{ID: "a", Enabled: true, Filter: objstore.LifecycleFilter{Prefix: "p/"}, AbortDays: 8}},
		},
		{
			name: "of before 2016", answer: document(`<Rule><Prefix>logs/</Prefix><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>`),
			want: []objstore.LifecycleRule{{Filter: objstore.LifecycleFilter{Prefix: "logs/"}, Expires: true}},
		},
		{
			name: "delete markers alone", answer: document(`<Rule><Filter/><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration></Rule>`),
			want: []objstore.LifecycleRule{{Enabled: true, NoncurrentDays: 30}},
		},
		{
			name: "several conditions", answer: document(`<Rule><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter><Status>Enabled</Status><Transition><Days>3</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>` +
				`<Rule><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule>`),
			want: []objstore.LifecycleRule{
				{Enabled: true, Filter: objstore.LifecycleFilter{Prefix: "a/", Tags: 1, Over: 5, Under: 9}, Transitions: []string{"GLACIER"}},
				{Enabled: true, Filter: objstore.LifecycleFilter{Tags: 1}, Expires: true},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t, tc.answer)
			got, err := f.open(t).Lifecycle(t.Context())
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if tc.err == objstore.ErrAccess && !strings.Contains(err.Error(), "s3:GetLifecycleConfiguration") {
				t.Errorf("%v names no permission", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Uploads come in pages; a key may hold more of them than one page does.
func TestPending(t *testing.T) {
	page := func(body string) http.HandlerFunc {
		return says("<ListMultipartUploadsResult><EncodingType>url</EncodingType>" + body + "</ListMultipartUploadsResult>")
	}
	upload := func(key, id string) string {
		return "<Upload><Key>" + key + "</Key><UploadId>" + id + "</UploadId><Initiated>2026-11-01T10:00:00Z</Initiated></Upload>"
	}
	f := newFake(t,
		page("<IsTruncated>true</IsTruncated><NextKeyMarker>p%2Fa+b</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>"+upload("p%2Fa+b", "1")+upload("p%2Fa+b", "2")),
		page(upload("p%2Fa+b", "3")+upload("p%2Fc", "4")))
	var got []string
	for p, err := range f.open(t).Pending(t.Context(), "p/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Key+" "+p.UploadID+" "+p.Began.UTC().Format("2006-01-02"))
	}
	if diff := cmp.Diff([]string{"p/a b 1 2026-11-01", "p/a b 2 2026-11-01", "p/a b 3 2026-11-01", "p/c 4 2026-11-01"}, got); diff != "" {
		t.Error(diff)
	}
	if q := f.requests()[1].URL.Query(); q.Get("key-marker") != "p/a b" || q.Get("upload-id-marker") != "2" || q.Get("prefix") != "p/" {
		t.Errorf("the second page is asked for by %v", q)
	}
	for name, body := range map[string]string{
		"no way on":          "<IsTruncated>true</IsTruncated>" + upload("p/a", "1"),
		"outside the prefix": upload("q/a", "1"),
		"no id":              upload("p/a", ""),
	} {
		t.Run(name, func(t *testing.T) {
			for _, err := range newFake(t, page(body)).open(t).Pending(t.Context(), "p/") {
				if !errors.Is(err, objstore.ErrUnknown) {
					t.Errorf("error %v", err)
				}
			}
		})
	}
	round := newFake(t, page("<IsTruncated>true</IsTruncated><NextKeyMarker>p/a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>"+upload("p/a", "1")))
	var last error
	for _, err := range round.open(t).Pending(t.Context(), "p/") {
		last = err
	}
	if !errors.Is(last, objstore.ErrUnknown) {
		t.Errorf("pages that go round end in %v", last)
	}
}

func TestVersioning(t *testing.T) {
	for body, want := range map[string]objstore.Versioning{"": objstore.VersionsNone, "<Status>Enabled</Status>": objstore.VersionsKept, "<Status>Suspended</Status>": objstore.VersionsStopped} {
		got, err := newFake(t, says("<VersioningConfiguration>"+body+"</VersioningConfiguration>")).open(t).Versioning(t.Context())
		if got != want || err != nil {
			t.Errorf("%q is %q, %v", body, got, err)
		}
	}
}
