package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

func put(ctx context.Context, s *s3.Store, body string, cond objstore.Condition) (objstore.Receipt, error) {
	return s.Put(ctx, "k", strings.NewReader(body), int64(len(body)), objstore.PutOptions{Condition: cond})
}

var ifNone = objstore.Condition{IfNone: true}

func TestPutSendsTheWholeBodyAtEveryAttempt(t *testing.T) {
	f := newFake(t, fails(503, "SlowDown"), hangsUp, fails(500, "InternalError"), says("", "ETag", `"`+tag+`"`))
	id, err := put(t.Context(), f.open(t), "the body", objstore.Condition{})
	if err != nil || id.ETag != tag {
		t.Fatalf("%+v, %v", id, err)
	}
	if len(f.bodies) != 4 {
		t.Fatalf("%d requests", len(f.bodies))
	}
	for i, b := range f.bodies {
		if !strings.Contains(b, "the body") {
			t.Errorf("attempt %d sent %q", i, b)
		}
	}
}

func TestLostAnswerIsUnknown(t *testing.T) {
	for _, tc := range []struct {
		name     string
		cond     objstore.Condition
		handlers []http.HandlerFunc
		want     error
		unknown  bool
	}{
		{"never an answer", ifNone, []http.HandlerFunc{hangsUp}, objstore.ErrUnknown, true},
		{"then 412, perhaps by ourselves", ifNone, []http.HandlerFunc{hangsUp, fails(412, "PreconditionFailed")}, objstore.ErrExist, true},
		{"500, then 412", objstore.Condition{IfMatch: tag}, []http.HandlerFunc{fails(500, "InternalError"), fails(412, "PreconditionFailed")}, objstore.ErrChanged, true},
		{"412 at once", ifNone, []http.HandlerFunc{fails(412, "PreconditionFailed")}, objstore.ErrExist, false},
		{"503, then 412", ifNone, []http.HandlerFunc{fails(503, "SlowDown"), fails(412, "PreconditionFailed")}, objstore.ErrExist, false},
		{"throttled to the end", ifNone, []http.HandlerFunc{fails(503, "SlowDown")}, objstore.ErrThrottled, false},
		{"no ETag", ifNone, []http.HandlerFunc{says("")}, objstore.ErrUnknown, true},
		{"conflict", ifNone, []http.HandlerFunc{fails(409, "ConditionalRequestConflict")}, objstore.ErrExist, false},
		{"lost, then denied", ifNone, []http.HandlerFunc{hangsUp, fails(403, "AccessDenied")}, objstore.ErrAccess, true},
	} {
		_, err := put(t.Context(), newFake(t, tc.handlers...).open(t, func(c *s3.Config) { c.CommitTimeout = 900 * time.Millisecond }), "x", tc.cond)
		if !errors.Is(err, tc.want) || errors.Is(err, objstore.ErrUnknown) != tc.unknown {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestPutNeverSaysNotExist(t *testing.T) {
	// S3 gives 404 for a KMS key that is not there.
	_, err := put(t.Context(), newFake(t, fails(404, "KMS.NotFoundException")).open(t), "x", objstore.Condition{})
	if err == nil || errors.Is(err, objstore.ErrNotExist) || !strings.Contains(err.Error(), "KMS.NotFoundException") {
		t.Error(err)
	}
	_, err = put(t.Context(), newFake(t, fails(404, "NoSuchKey")).open(t), "x", objstore.Condition{IfMatch: tag})
	if !errors.Is(err, objstore.ErrChanged) {
		t.Error(err)
	}
}

func TestPutOfABodyThatFails(t *testing.T) {
	broken := errors.New("disk broke")
	_, err := newFake(t, says("", "ETag", `"x"`)).open(t).Put(t.Context(), "k", failing{err: broken}, 10, objstore.PutOptions{})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// failing is a body of 10 bytes whose reads fail.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (f failing) Seek(off int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return 10 + off, nil
	}
	return off, nil
}

func TestSuccessWithAnErrorInside(t *testing.T) {
	inside := says("<Error><Code>InternalError</Code><Message>m</Message></Error>")
	copied := says(`<CopyObjectResult><ETag>"` + tag + `"</ETag></CopyObjectResult>`)
	s := newFake(t, inside, copied).open(t)
	if id, err := s.Copy(t.Context(), objstore.ID{Key: "a"}, "b", objstore.PutOptions{}); err != nil || id.ETag != tag {
		t.Errorf("copy: %+v, %v", id, err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"error": inside, "empty": says(""), "no ETag": says("<CopyObjectResult></CopyObjectResult>"), "garbage": says("<CopyObj"),
	} {
		s := newFake(t, answer).open(t, func(c *s3.Config) { c.CommitTimeout = 300 * time.Millisecond })
		if id, err := s.Copy(t.Context(), objstore.ID{Key: "a"}, "b", objstore.PutOptions{}); !errors.Is(err, objstore.ErrUnknown) || id.ID != (objstore.ID{}) && id.ETag != "" {
			t.Errorf("copy, %s: %+v, %v", name, id, err)
		}
	}
}

// A key that cannot be used is final, inside of a 200 too.
func TestKeyErrorInsideSuccess(t *testing.T) {
	f := newFake(t, says("<Error><Code>KMS.DisabledException</Code><Message>m</Message></Error>"))
	_, err := f.open(t).Copy(t.Context(), objstore.ID{Key: "a"}, "b", objstore.PutOptions{})
	if !errors.Is(err, objstore.ErrKeyDisabled) || errors.Is(err, objstore.ErrUnknown) || len(f.requests()) != 1 {
		t.Errorf("%v after %d requests", err, len(f.requests()))
	}
}

func TestComplete(t *testing.T) {
	begun := says("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
	sent := says("", "ETag", `"p1"`)
	inside := says("<Error><Code>InternalError</Code><Message>m</Message></Error>")
	done := says(`<CompleteMultipartUploadResult><ETag>"` + tag + `-1"</ETag></CompleteMultipartUploadResult>`)
	for _, tc := range []struct {
		name    string
		answers []http.HandlerFunc
		want    error
		unknown bool
	}{
		{"error inside, then done", []http.HandlerFunc{inside, done}, nil, false},
		{"lost, then gone", []http.HandlerFunc{hangsUp, fails(404, "NoSuchUpload")}, objstore.ErrNoUpload, true},
		{"gone", []http.HandlerFunc{fails(404, "NoSuchUpload")}, objstore.ErrNoUpload, false},
		{"condition", []http.HandlerFunc{fails(412, "PreconditionFailed")}, objstore.ErrExist, false},
		{"error inside for ever", []http.HandlerFunc{inside}, objstore.ErrUnknown, true},
	} {
		f := newFake(t, append([]http.HandlerFunc{begun, sent}, tc.answers...)...)
		s := f.open(t, func(c *s3.Config) { c.CommitTimeout = 500 * time.Millisecond })
		up, err := s.Upload(t.Context(), "k", objstore.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := up.Part(t.Context(), 1, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
		_, err = up.Complete(t.Context(), ifNone)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) || errors.Is(err, objstore.ErrUnknown) != tc.unknown {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestDeleteTwiceAndMissing(t *testing.T) {
	ok := saysAs(204, "")
	for name, answers := range map[string][]http.HandlerFunc{
		"plain": {ok}, "lost": {hangsUp, ok}, "404": {fails(404, "NoSuchKey")},
		"412 of nothing": {fails(412, "PreconditionFailed"), fails(404, "NoSuchKey")},
	} {
		if err := newFake(t, answers...).open(t).Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{IfMatch: tag}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := newFake(t, fails(412, "PreconditionFailed"), says("", "ETag", `"other"`)).open(t).Delete(t.Context(), objstore.ID{Key: "k"}, objstore.Condition{IfMatch: tag})
	if !errors.Is(err, objstore.ErrChanged) {
		t.Error(err)
	}
}

func TestChecksums(t *testing.T) {
	answer := says("", "ETag", `"x"`)
	for _, tc := range []struct {
		name  string
		setup func(*testing.T, *s3.Store)
		env   string
		crc   bool
	}{
		{"default", func(*testing.T, *s3.Store) {}, "", true},
		{"environment", func(*testing.T, *s3.Store) {}, "when_required", false},
		{"simplified once", func(_ *testing.T, s *s3.Store) { s.Simplify() }, "", true},
		{"simplified twice", func(t *testing.T, s *s3.Store) {
			for step, want := range []bool{true, true, false} {
				if s.Simplify() != want {
					t.Errorf("step %d: %v", step, !want)
				}
			}
		}, "", false},
	} {
		f := newFake(t, answer)
		settle(t)
		cfg := s3.Config{Bucket: "bucket", Endpoint: f.URL, CABundle: f.ca}
		if tc.env != "" {
			t.Setenv("AWS_REQUEST_CHECKSUM_CALCULATION", tc.env)
		}
		s, err := s3.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if s.Simplified() != (tc.env != "") {
			t.Errorf("%s: simplified %v", tc.name, s.Simplified())
		}
		tc.setup(t, s)
		if _, err := put(t.Context(), s, "x", objstore.Condition{}); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		r := f.requests()[0]
		if got := strings.EqualFold(r.Header.Get("X-Amz-Trailer"), "x-amz-checksum-crc64nvme"); got != tc.crc {
			t.Errorf("%s: CRC64NVME %v; headers %v", tc.name, got, r.Header)
		}
		if !tc.crc && (strings.Contains(f.bodies[0], "checksum") || f.bodies[0] != "x") {
			t.Errorf("%s: sent %q", tc.name, f.bodies[0])
		}
	}
}

func TestBodiesStayInOneAttempt(t *testing.T) {
	// An answer that comes before the body was read must not leave a reader
	// behind that races with the next attempt. Run under -race.
	early := func(w http.ResponseWriter, r *http.Request) { fails(503, "SlowDown")(w, r) }
	f := newFake(t, early, early, says("", "ETag", `"x"`))
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	if _, err := f.open(t).Put(t.Context(), "k", bytes.NewReader(body), int64(len(body)), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}
