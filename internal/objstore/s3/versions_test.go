package s3_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

func versionsPage(body string) http.HandlerFunc {
	return says("<ListVersionsResult><EncodingType>url</EncodingType>"+body+"</ListVersionsResult>", "Date", "Sat, 21 Nov 2026 12:00:00 GMT")
}

const written = "<LastModified>2026-11-01T10:00:00Z</LastModified>"

func version(key, id, more string) string {
	return "<Version><Key>" + key + "</Key><VersionId>" + id + "</VersionId>" + written + `<ETag>"e"</ETag><Size>3</Size>` + more + "</Version>"
}

func marker(key, id string) string {
	return "<DeleteMarker><Key>" + key + "</Key><VersionId>" + id + "</VersionId>" + written + "</DeleteMarker>"
}

func versions(t *testing.T, s *s3.Store, opt objstore.ListOptions) (all []string, err error) {
	t.Helper()
	for v, err := range s.Versions(t.Context(), opt) {
		if err != nil {
			return all, err
		}
		all = append(all, fmt.Sprintf("%s%s %s %v %v", v.Key, v.Prefix, v.VersionID, v.Latest, v.Deleted))
	}
	return all, nil
}

// Versions and delete markers come in the order of the document, which is that of
// the store: their times say nothing within a second. A key's may fill pages.
func TestVersions(t *testing.T) {
	f := newFake(t,
		versionsPage("<IsTruncated>true</IsTruncated><NextKeyMarker>p%2Fa+b</NextKeyMarker><NextVersionIdMarker>2</NextVersionIdMarker>"+
			version("p%2Fa+b", "4", "<IsLatest>true</IsLatest><StorageClass>GLACIER</StorageClass>")+marker("p%2Fa+b", "3")+version("p%2Fa+b", "2", "")),
		versionsPage(marker("p%2Fa+b", "1")+version("p%2Fa+b", "null", "<StorageClass>STANDARD</StorageClass>")+marker("p%2Fc", "5")+version("p%2Fc", "6", "")))
	s := f.open(t)
	got, err := versions(t, s, objstore.ListOptions{Prefix: "p/"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"p/a b 4 true false", "p/a b 3 false true", "p/a b 2 false false", "p/a b 1 false true", "p/a b null false false", "p/c 5 false true", "p/c 6 false false"}, got); diff != "" {
		t.Error(diff)
	}
	if q := f.requests()[1].URL.Query(); q.Get("key-marker") != "p/a b" || q.Get("version-id-marker") != "2" || q.Get("prefix") != "p/" {
		t.Errorf("the second page is asked for by %v", q)
	}
	for v, err := range newFake(t, versionsPage(version("k", "1", "<StorageClass>GLACIER</StorageClass>"))).open(t).Versions(t.Context(), objstore.ListOptions{}) {
		if err != nil || v.StorageClass != objstore.Glacier || v.ETag != "e" || v.Size != 3 || v.Modified.Month() != 11 || v.Answered.Day() != 21 {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

func TestVersionsChosen(t *testing.T) {
	document := versionsPage(version("a", "1", "") + version("b", "2", "") + version("b", "1", "") + version("d", "1", "") + "<CommonPrefixes><Prefix>c%2F</Prefix></CommonPrefixes>")
	f := newFake(t, document)
	s := f.open(t)
	for _, tc := range []struct {
		opt  objstore.ListOptions
		want []string
	}{
		{objstore.ListOptions{Delimiter: "/"}, []string{"a 1 false false", "b 2 false false", "b 1 false false", "c/  false false", "d 1 false false"}},
		{objstore.ListOptions{Delimiter: "/", After: "b"}, []string{"c/  false false", "d 1 false false"}},
		{objstore.ListOptions{Delimiter: "/", Limit: 2}, []string{"a 1 false false", "b 2 false false"}},
	} {
		got, err := versions(t, s, tc.opt)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("%+v: %v %s", tc.opt, err, diff)
		}
	}
	if q := f.requests()[2].URL.Query(); q.Get("max-keys") != "2" || q.Get("delimiter") != "/" {
		t.Errorf("asked by %v", q)
	}
}

func TestOddVersions(t *testing.T) {
	for name, body := range map[string]string{
		"no way on":          "<IsTruncated>true</IsTruncated>" + version("p/a", "1", ""),
		"outside the prefix": version("q/a", "1", ""),
		"no version":         version("p/a", "", ""),
		"no key":             marker("", "1"),
		"no size":            strings.Replace(version("p/a", "1", ""), "<Size>3</Size>", "", 1),
		"negative size":      strings.Replace(version("p/a", "1", ""), ">3<", ">-3<", 1),
		"no time":            strings.Replace(version("p/a", "1", ""), written, "", 1),
		"bad escape":         version("p/%zz", "1", ""),
		"unasked prefix":     "<CommonPrefixes><Prefix>p/x/</Prefix></CommonPrefixes>",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := versions(t, newFake(t, versionsPage(body)).open(t), objstore.ListOptions{Prefix: "p/"})
			if !errors.Is(err, objstore.ErrUnknown) {
				t.Errorf("error %v", err)
			}
		})
	}
	for name, pages := range map[string][]http.HandlerFunc{
		"keys go back":   {versionsPage("<IsTruncated>true</IsTruncated><NextKeyMarker>p%2Fb</NextKeyMarker>" + version("p/b", "1", "")), versionsPage(version("p/a", "1", ""))},
		"another latest": {versionsPage(version("p/b", "1", "<IsLatest>true</IsLatest>") + version("p/b", "0", "<IsLatest>true</IsLatest>"))},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := versions(t, newFake(t, pages...).open(t), objstore.ListOptions{Prefix: "p/"})
			if !errors.Is(err, objstore.ErrUnsupported) {
				t.Errorf("error %v", err)
			}
		})
	}
	_, err := versions(t, newFake(t, fails(403, "AccessDenied")).open(t), objstore.ListOptions{})
	if !errors.Is(err, objstore.ErrAccess) || !strings.Contains(err.Error(), "s3:ListBucketVersions") {
		t.Error(err)
	}
}

// A delete marker is no version that can be read, and "null" is one.
func TestReadVersion(t *testing.T) {
	_, err := newFake(t, fails(405, "MethodNotAllowed", "X-Amz-Delete-Marker", "true")).open(t).Head(t.Context(), objstore.ID{Key: "k", VersionID: "1"})
	if !errors.Is(err, objstore.ErrChanged) {
		t.Errorf("a delete marker: %v", err)
	}
	f := newFake(t, says("content", "ETag", `"e"`, "X-Amz-Version-Id", "null"))
	s := f.open(t)
	info, err := s.Head(t.Context(), objstore.ID{Key: "k", VersionID: objstore.NullVersion})
	if err != nil || info.VersionID != objstore.NullVersion {
		t.Errorf("%+v, %v", info.ID, err)
	}
	got, _, body, err := s.Get(t.Context(), info.ID, objstore.Range{})
	if err != nil || got.VersionID != objstore.NullVersion {
		t.Fatalf("%+v, %v", got.ID, err)
	}
	_ = body.Close()
	if v := f.requests()[1].URL.Query().Get("versionId"); v != "null" {
		t.Errorf("asked for version %q", v)
	}
	if info, err = s.Head(t.Context(), objstore.ID{Key: "k"}); err != nil || info.VersionID != "" {
		t.Errorf("%+v, %v", info.ID, err)
	}
}
