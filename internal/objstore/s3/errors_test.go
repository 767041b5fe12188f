package s3_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestErrorsBecomeSentinels(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string
		want   error
		text   string
	}{
		{404, "NoSuchKey", objstore.ErrNotExist, "NoSuchKey"},
		{404, "NoSuchBucket", objstore.ErrBucket, "NoSuchBucket"},
		{403, "AccessDenied", objstore.ErrAccess, "permission s3:GetObject is missing"},
		{403, "InvalidAccessKeyId", objstore.ErrBadAuth, "access key ID is not known"},
		{403, "SignatureDoesNotMatch", objstore.ErrBadAuth, "secret access key is wrong"},
		{400, "ExpiredToken", objstore.ErrBadAuth, "session token has expired"},
		{403, "RequestTimeTooSkewed", objstore.ErrBadAuth, "clock is off"},
		{401, "Whatever", objstore.ErrBadAuth, "Whatever"},
		{403, "InvalidObjectState", objstore.ErrArchived, "InvalidObjectState"},
		{403, "ObjectNotInActiveTierError", objstore.ErrArchived, "ObjectNotInActiveTierError"},
		{400, "KeyTooLongError", objstore.ErrTooLong, "KeyTooLongError"},
		{400, "EntityTooLarge", objstore.ErrTooLarge, "EntityTooLarge"},
		{501, "NotImplemented", objstore.ErrUnsupported, "NotImplemented"},
		{507, "XMinioStorageFull", objstore.ErrQuota, "XMinioStorageFull"},
		{403, "QuotaExceeded", objstore.ErrQuota, "QuotaExceeded"},
		{400, "InvalidArgument", objstore.ErrInvalid, "InvalidArgument"},
		{503, "SlowDown", objstore.ErrThrottled, "SlowDown"},
		{429, "TooManyRequests", objstore.ErrThrottled, "TooManyRequests"},
		{500, "InternalError", objstore.ErrUnknown, "InternalError"},
		{301, "PermanentRedirect", objstore.ErrInvalid, "another region"},
	} {
		s := newFake(t, fails(tc.status, tc.code)).open(t, func(c *s3.Config) { c.RetryTimeout = 50 * time.Millisecond })
		_, _, err := get(t.Context(), s, objstore.ID{Key: "dir/k"}, objstore.Range{})
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%d %s: %v", tc.status, tc.code, err)
		}
		for _, part := range []string{"get ", "s3://bucket/dir/k", "REQ123"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%d %s: no %q in %v", tc.status, tc.code, part, err)
			}
		}
		if strings.Contains(err.Error(), "sekrit") || strings.Contains(err.Error(), "\n") {
			t.Errorf("unfit for a log: %v", err)
		}
	}
}

func TestMissingActionIsNamed(t *testing.T) {
	answer := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		_, _ = w.Write([]byte(`<Error><Code>AccessDenied</Code><Message>User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey on resource: arn</Message></Error>`))
	}
	_, err := put(t.Context(), newFake(t, answer).open(t), "x", objstore.Condition{})
	if !errors.Is(err, objstore.ErrAccess) || !strings.Contains(err.Error(), "kms:GenerateDataKey") {
		t.Error(err)
	}
	_, err = put(t.Context(), newFake(t, fails(403, "AccessDenied")).open(t), "x", objstore.Condition{})
	if !strings.Contains(err.Error(), "s3:PutObject") {
		t.Error(err)
	}
}

func TestHeadOfAMissingBucket(t *testing.T) {
	// HEAD has no body: whether key or bucket is missing only a GET tells.
	bare := saysAs(404, "")
	for code, want := range map[string]error{"NoSuchBucket": objstore.ErrBucket, "NoSuchKey": objstore.ErrNotExist} {
		s := newFake(t, bare, fails(404, code)).open(t)
		if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, want) {
			t.Errorf("%s: %v", code, err)
		}
	}
	// A bucket that was just seen is not looked for again.
	f := newFake(t, says("", "ETag", `"x"`), bare)
	s := f.open(t)
	if _, err := s.Head(t.Context(), objstore.ID{Key: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), objstore.ID{Key: "b"}); !errors.Is(err, objstore.ErrNotExist) || len(f.requests()) != 2 {
		t.Errorf("%d requests, %v", len(f.requests()), err)
	}
}

func TestHeadIsExplained(t *testing.T) {
	s := newFake(t, saysAs(400, ""), fails(400, "ExpiredToken")).open(t)
	if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, objstore.ErrBadAuth) {
		t.Error(err)
	}
}

func TestRegionIsFollowed(t *testing.T) {
	f := newFake(t, fails(301, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-1"), says("body", "ETag", `"x"`))
	s := f.open(t)
	for range 2 {
		if _, data, err := get(t.Context(), s, objstore.ID{Key: "k"}, objstore.Range{}); err != nil || data != "body" {
			t.Fatalf("%q, %v", data, err)
		}
	}
	all := f.requests()
	if len(all) != 3 || !strings.Contains(all[0].Header.Get("Authorization"), "us-east-1") || !strings.Contains(all[2].Header.Get("Authorization"), "eu-west-1") {
		t.Errorf("%d requests", len(all))
	}
	// A region that is named again and again is not followed for ever.
	f = newFake(t, fails(301, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-1"))
	_, _, err := get(t.Context(), f.open(t), objstore.ID{Key: "k"}, objstore.Range{})
	if !errors.Is(err, objstore.ErrInvalid) || len(f.requests()) != 2 {
		t.Errorf("%d requests, %v", len(f.requests()), err)
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	s := newFake(t, says("")).open(t, func(c *s3.Config) { c.Endpoint, c.CommitTimeout = "https://"+address, 100*time.Millisecond })
	if _, err := put(t.Context(), s, "x", ifNone); !errors.Is(err, objstore.ErrUnreachable) || errors.Is(err, objstore.ErrUnknown) {
		t.Error(err)
	}
}

func TestUnknownAuthorityIsNotRetried(t *testing.T) {
	f := newFake(t, says("", "ETag", `"x"`))
	s := f.open(t, func(c *s3.Config) { c.CABundle = ""; c.RetryTimeout = 5 * time.Second })
	_, err := s.Head(t.Context(), objstore.ID{Key: "k"})
	if !errors.Is(err, objstore.ErrUnreachable) || !strings.Contains(err.Error(), "--ca-bundle") {
		t.Error(err)
	}
}

func TestBundle(t *testing.T) {
	f := newFake(t, says("", "ETag", `"x"`))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ env, flag, text string }{
		{empty, "", "AWS_CA_BUNDLE=" + empty},
		{"/no/such/file", "", "AWS_CA_BUNDLE=/no/such/file"},
		{"", "", "AWS_CA_BUNDLE"},
		{f.ca, empty, empty},
		{empty, f.ca, ""},
		{f.ca, "", ""},
	} {
		settle(t)
		t.Setenv("AWS_CA_BUNDLE", tc.env)
		s, err := s3.New(t.Context(), s3.Config{Bucket: "b", Endpoint: f.URL, CABundle: tc.flag})
		if tc.text != "" {
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%+v: %v", tc, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Head(t.Context(), objstore.ID{Key: "k"}); err != nil {
			t.Errorf("%+v: %v", tc, err)
		}
		_ = s.Close()
	}
}

func TestCredentials(t *testing.T) {
	f := newFake(t, says("", "ETag", `"x"`))
	settle(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	open := func(anonymous bool) *s3.Store {
		s, err := s3.New(t.Context(), s3.Config{Bucket: "b", Endpoint: f.URL, CABundle: f.ca, NoSignRequest: anonymous})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	if _, err := open(false).Head(t.Context(), objstore.ID{Key: "k"}); !errors.Is(err, objstore.ErrBadAuth) || len(f.requests()) != 0 {
		t.Error(err)
	}
	if _, err := open(true).Head(t.Context(), objstore.ID{Key: "k"}); err != nil || f.requests()[0].Header.Get("Authorization") != "" {
		t.Error(err)
	}
}

func TestConfiguration(t *testing.T) {
	settle(t)
	for _, cfg := range []s3.Config{{}, {Bucket: "b", Endpoint: "127.0.0.1:9000"}, {Bucket: "b", Endpoint: "ftp://x"}, {Bucket: "b", Endpoint: "https://user:pw@x"}} {
		if _, err := s3.New(t.Context(), cfg); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	f := newFake(t, says("", "ETag", `"x"`))
	t.Setenv("AWS_ENDPOINT_URL_S3", f.URL)
	s, err := s3.New(t.Context(), s3.Config{Bucket: "bucket", CABundle: f.ca, RequesterPays: true, ExpectedBucketOwner: "123456789012"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Head(t.Context(), objstore.ID{Key: "dir/k"}); err != nil {
		t.Fatal(err)
	}
	r := f.requests()[0]
	if r.URL.Path != "/bucket/dir/k" || r.ProtoMajor != 1 || s.Endpoint() != f.URL {
		t.Errorf("%s %s", r.Proto, r.URL.Path)
	}
	if r.Header.Get("X-Amz-Request-Payer") != "requester" || r.Header.Get("X-Amz-Expected-Bucket-Owner") != "123456789012" {
		t.Errorf("headers %v", r.Header)
	}
}

func TestAttemptsByNumber(t *testing.T) {
	f := newFake(t, fails(503, "SlowDown"))
	settle(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	s, err := s3.New(t.Context(), s3.Config{Bucket: "b", Endpoint: f.URL, CABundle: f.ca})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, _, err := get(t.Context(), s, objstore.ID{Key: "k"}, objstore.Range{}); !errors.Is(err, objstore.ErrThrottled) || len(f.requests()) != 2 {
		t.Errorf("%d requests, %v", len(f.requests()), err)
	}
}
