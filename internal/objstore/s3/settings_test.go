package s3_test

import (
	"context"
	"crypto/md5" //nolint:gosec // what Content-MD5 is
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

// Each question names the permission that it takes, and what is not set is no
// error.
func TestSettings(t *testing.T) {
	type ask func(context.Context, *s3.Store) (any, error)
	policy := func(ctx context.Context, s *s3.Store) (any, error) {
		b, err := s.Policy(ctx)
		return string(b), err
	}
	public := func(ctx context.Context, s *s3.Store) (any, error) { return s.PublicAccess(ctx) }
	lock := func(ctx context.Context, s *s3.Store) (any, error) { return s.ObjectLock(ctx) }
	for _, tc := range []struct {
		ask    ask
		answer http.HandlerFunc
		want   any
		err    error
		says   string
	}{
		{policy, fails(404, "NoSuchBucketPolicy"), "", nil, ""},
		{policy, says(`{"Statement":[]}`), `{"Statement":[]}`, nil, ""},
		{policy, fails(403, "AccessDenied"), nil, objstore.ErrAccess, "s3:GetBucketPolicy is missing"},
		{policy, fails(405, "MethodNotAllowed"), nil, objstore.ErrUnsupported, ""}, // of another account, or an access point
		{public, fails(404, "NoSuchPublicAccessBlockConfiguration"), objstore.PublicAccess{}, nil, ""},
		{public, says(`<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>`), objstore.PublicAccess{BlockACLs: true, IgnoreACLs: true, BlockPolicies: true}, nil, ""},
		{public, fails(403, "AccessDenied"), nil, objstore.ErrAccess, "s3:GetBucketPublicAccessBlock is missing"},
		{public, fails(501, "NotImplemented"), nil, objstore.ErrUnsupported, ""},
		{lock, fails(404, "ObjectLockConfigurationNotFoundError"), objstore.ObjectLock{}, nil, ""},
		{lock, says(`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`), objstore.ObjectLock{Enabled: true}, nil, ""},
		{lock, says(`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Years>7</Years></DefaultRetention></Rule></ObjectLockConfiguration>`), objstore.ObjectLock{Enabled: true, Mode: "COMPLIANCE", Years: 7}, nil, ""},
		{lock, fails(403, "AccessDenied"), nil, objstore.ErrAccess, "s3:GetBucketObjectLockConfiguration is missing"},
	} {
		got, err := tc.ask(t.Context(), newFake(t, tc.answer).open(t))
		switch {
		case tc.err != nil:
			if !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %v and %q", err, tc.err, tc.says)
			}
		case err != nil:
			t.Error(err)
		default:
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// Any answer tells of the connection, and none is an error.
func TestGreet(t *testing.T) {
	date := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for _, answer := range []http.HandlerFunc{says("", "Date", date.Format(http.TimeFormat), "Server", "any"), saysAs(403, "", "Date", date.Format(http.TimeFormat)), saysAs(404, "", "Date", date.Format(http.TimeFormat))} {
		f := newFake(t, answer)
		g, err := f.open(t).Greet(t.Context())
		if err != nil || g.Protocol != "TLS 1.3" || !g.Date.Equal(date) || "https://"+g.Host != f.URL || g.Exposed || g.Expires.Before(date) || g.Issuer == "" || g.Server != "any" && g.Server != "" {
			t.Errorf("%+v, %v", g, err)
		}
	}
	f := newFake(t, says(""))
	s := f.open(t, func(c *s3.Config) { c.RetryTimeout = time.Millisecond })
	f.Close()
	if _, err := s.Greet(t.Context()); !errors.Is(err, objstore.ErrUnreachable) {
		t.Errorf("error %v", err)
	}
}

// sts answers as STS does.
func sts(t *testing.T, handler http.HandlerFunc) (asked *int) {
	t.Helper()
	asked = new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	settle(t)
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	return asked
}

func TestCaller(t *testing.T) {
	answer := says(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/web</Arn><UserId>A</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	refusal := func(code string) http.HandlerFunc {
		return saysAs(403, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>`+code+`</Code><Message>about it</Message></Error></ErrorResponse>`)
	}
	caller := func(t *testing.T, cfg s3.Config) (objstore.Caller, error) {
		t.Helper()
		cfg.Bucket = "bucket"
		s, err := s3.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Caller(t.Context())
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		cfg     s3.Config
		arn     string
		silent  string
		asked   bool
		err     error
	}{
		{name: "known", handler: answer, arn: "arn:aws:iam::123456789012:user/web", asked: true},
		{name: "unknown", handler: refusal("InvalidClientTokenId"), asked: true, err: objstore.ErrBadAuth},
		{name: "expired", handler: refusal("ExpiredTokenException"), asked: true, err: objstore.ErrBadAuth},
		{name: "of another server", handler: answer, cfg: s3.Config{Endpoint: "https://127.0.0.1:1"}, silent: "not Amazon S3"},
		{name: "unsigned", handler: answer, cfg: s3.Config{NoSignRequest: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := sts(t, tc.handler)
			who, err := caller(t, tc.cfg)
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil || who.ARN != tc.arn || !strings.Contains(who.Silent, tc.silent) || (*asked > 0) != tc.asked || who.Anonymous != tc.cfg.NoSignRequest {
				t.Errorf("%+v, %v, asked %d times", who, err, *asked)
			}
			if !who.Anonymous && (who.KeyID != "MPLE" || !strings.Contains(who.Source, "Env")) {
				t.Errorf("%+v", who)
			}
			if text := fmt.Sprint(who, err); strings.Contains(text, "sekrit") || strings.Contains(text, "AKIDEXAMPLE") {
				t.Errorf("%s tells a secret", text)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		settle(t)
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		if _, err := caller(t, s3.Config{}); !errors.Is(err, objstore.ErrBadAuth) {
			t.Errorf("error %v", err)
		}
	})
}

// What a lock keeps is denied, and said so: 403 of AWS, 400 of MinIO.
func TestObjectLockKeeps(t *testing.T) {
	for _, answer := range []http.HandlerFunc{
		saysAs(403, "<Error><Code>AccessDenied</Code><Message>Access Denied because object protected by object lock.</Message></Error>"),
		saysAs(400, "<Error><Code>InvalidRequest</Code><Message>Object is WORM protected and cannot be overwritten</Message></Error>"),
	} {
		f := newFake(t, answer)
		err := f.open(t).Delete(t.Context(), objstore.ID{Key: "dir/", VersionID: "v"}, objstore.Condition{})
		if !errors.Is(err, objstore.ErrAccess) || !strings.Contains(err.Error(), "an object lock keeps it") || len(f.requests()) != 1 {
			t.Errorf("%v after %d requests", err, len(f.requests()))
		}
	}
}

// A bucket with Object Lock takes no body without a checksum or a Content-MD5.
// Where none is sent it is asked for once, and comes from then on.
func TestObjectLockWantsADigest(t *testing.T) {
	const refusal = "<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put %s requests with Object Lock parameters</Message></Error>"
	locked := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
			says("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")(w, r)
		case r.Header.Get("Content-Md5") == "" && r.Header.Get("X-Amz-Trailer") == "":
			saysAs(400, fmt.Sprintf(refusal, "Object"))(w, r)
		default:
			says("", "ETag", `"x"`)(w, r)
		}
	}
	sum := md5.Sum([]byte("body")) //nolint:gosec // as above
	want := base64.StdEncoding.EncodeToString(sum[:])
	t.Run("without checksums", func(t *testing.T) {
		f := newFake(t, locked)
		s := f.open(t)
		for s.Simplify() {
		}
		for range 2 {
			if _, err := put(t.Context(), s, "body", objstore.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		up, err := s.Upload(t.Context(), "k", objstore.PutOptions{})
		if err == nil {
			err = up.Part(t.Context(), 1, strings.NewReader("body"), 4)
		}
		if err != nil {
			t.Fatal(err)
		}
		var sent []string
		for _, r := range f.requests() {
			sent = append(sent, r.Method+" "+r.Header.Get("Content-Md5"))
		}
		if diff := cmp.Diff([]string{"PUT ", "PUT " + want, "PUT " + want, "POST ", "PUT " + want}, sent); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("parts alone without", func(t *testing.T) { // as for MinIO
		f := newFake(t, locked)
		s := f.open(t)
		s.Simplify()
		up, err := s.Upload(t.Context(), "k", objstore.PutOptions{})
		if err == nil {
			err = up.Part(t.Context(), 1, strings.NewReader("body"), 4)
		}
		if n := len(f.requests()); err != nil || n != 3 || f.requests()[2].Header.Get("Content-Md5") != want {
			t.Errorf("%v after %d requests", err, n)
		}
		if _, err := put(t.Context(), s, "body", objstore.Condition{}); err != nil || f.requests()[3].Header.Get("Content-Md5") != "" {
			t.Errorf("a body with a checksum has a digest too: %v", err)
		}
	})
	t.Run("at once", func(t *testing.T) { // none learns from another's refusal
		const parts = 4
		arrived, open := make(chan struct{}, parts), make(chan struct{})
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && r.Header.Get("Content-Md5") == "" {
				arrived <- struct{}{}
				<-open
			}
			locked(w, r)
		})
		s := f.open(t)
		s.Simplify()
		up, err := s.Upload(t.Context(), "k", objstore.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, parts)
		for n := range parts {
			go func() { results <- up.Part(t.Context(), n+1, strings.NewReader("body"), 4) }()
		}
		for range parts {
			<-arrived
		}
		close(open)
		for range parts {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("in vain", func(t *testing.T) {
		f := newFake(t, saysAs(400, fmt.Sprintf(refusal, "Part")))
		s := f.open(t)
		for s.Simplify() {
		}
		if _, err := put(t.Context(), s, "body", objstore.Condition{}); !errors.Is(err, objstore.ErrInvalid) || len(f.requests()) != 2 {
			t.Errorf("%v after %d requests", err, len(f.requests()))
		}
	})
}
