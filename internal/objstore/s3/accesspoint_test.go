package s3

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// recorder answers every request as if it had been done.
type recorder struct{ sent []*http.Request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	r.sent = append(r.sent, req)
	body := `<CopyObjectResult><ETag>"x"</ETag></CopyObjectResult>`
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Etag": {`"x"`}}, Body: io.NopCloser(bytes.NewReader([]byte(body))), ContentLength: int64(len(body)),
	}, nil
}

// An access point is the host of every request, in its own region, and a copy
// names its source as S3 asks for it; path style and the client's region change
// nothing.
func TestAccessPoint(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "sekrit", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	const point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/web"
	s, err := New(t.Context(), Config{Bucket: point, ForcePathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	wire := &recorder{}
	s.http.Transport = wire
	id := objstore.ID{Key: "a b/c"}
	if _, err := s.Put(t.Context(), id.Key, bytes.NewReader([]byte("x")), 1, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Copy(t.Context(), id, "d", objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range wire.sent {
		got = append(got, r.Method+" "+r.URL.Host+r.URL.EscapedPath()+" "+r.Header.Get("X-Amz-Copy-Source"))
	}
	const host = "web-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"
	want := []string{
		"PUT " + host + "/a%20b/c ",
		"PUT " + host + "/d arn%3Aaws%3As3%3Aeu-west-1%3A123456789012%3Aaccesspoint/web/object/a%20b/c",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if auth := wire.sent[0].Header.Get("Authorization"); !bytes.Contains([]byte(auth), []byte("/eu-west-1/s3/")) {
		t.Errorf("signed for %s", auth)
	}
}
