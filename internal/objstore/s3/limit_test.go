package s3

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// nearby is a server without a network, and so without a time of its own: it
// takes what comes, gives bodies of zeros, and counts both.
type nearby struct {
	mu             sync.Mutex // guards what follows
	sent, received int64
}

func (n *nearby) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		got, err := io.Copy(io.Discard, r.Body)
		if err = cmp.Or(err, r.Body.Close()); err != nil {
			return nil, err
		}
		n.mu.Lock()
		n.sent += got
		n.mu.Unlock()
	}
	body, status := n.body(r)
	n.mu.Lock()
	n.received += int64(len(body))
	n.mu.Unlock()
	h := http.Header{"Etag": {`"e"`}, "Last-Modified": {"Sat, 21 Nov 2026 12:00:00 GMT"}}
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %s/%d", strings.TrimPrefix(r.Header.Get("Range"), "bytes="), 1<<40))
	}
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

func (n *nearby) body(r *http.Request) ([]byte, int) {
	q, copied := r.URL.Query(), r.Header.Get("X-Amz-Copy-Source") != ""
	var first, last int64
	switch {
	case q.Has("uploads"):
		return []byte(`<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>`), 200
	case q.Has("uploadId") && r.Method == http.MethodPost:
		return []byte(`<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>`), 200
	case q.Has("partNumber") && copied:
		return []byte(`<CopyPartResult><ETag>"e"</ETag></CopyPartResult>`), 200
	case copied:
		return []byte(`<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>`), 200
	case r.Method == http.MethodGet:
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
			return nil, 400
		}
		return make([]byte, last-first+1), 206
	}
	return nil, 200
}

// paceStore is a Store before a nearby server.
func paceStore(t *testing.T, up, down int64) (*Store, *nearby) {
	t.Helper()
	s, err := New(t.Context(), Config{Bucket: "bucket", Endpoint: "https://store.example", UploadLimit: up, DownloadLimit: down})
	if err != nil {
		t.Fatal(err)
	}
	server := &nearby{}
	s.http.Transport.(*wire).next = server
	return s, server
}

// alone has nothing of this host's settings for AWS count.
func alone(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value) // so that it comes back
			_ = os.Unsetenv(name)
		}
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "sekrit-sekrit", "AWS_REGION": "us-east-1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
}

// wantTime holds what n bytes took to the limit, to the microsecond.
func wantTime(t *testing.T, what string, took time.Duration, n, limit int64) {
	t.Helper()
	want := time.Duration(float64(max(n-int64(burstOf(limit)), 0)) / float64(limit) * 1e9)
	if (took - want).Abs() > time.Microsecond {
		t.Errorf("%s: %d bytes took %v, want %v", what, n, took, want)
	}
}

// All bodies that go up are within one rate, whatever sends them, parts side by
// side among them; a copy, which moves nothing, takes none of it.
func TestUploadLimitHoldsEverything(t *testing.T) {
	alone(t)
	synctest.Test(t, func(t *testing.T) {
		const limit, part = 1 << 20, 5 << 20
		s, server := paceStore(t, limit, 0)
		defer s.Close() //nolint:errcheck // nothing is open
		ctx, begin := t.Context(), time.Now()
		if _, err := s.Put(ctx, "k", bytes.NewReader(make([]byte, 3<<20)), 3<<20, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		wantTime(t, "put", time.Since(begin), server.sent, limit)
		up, err := s.Upload(ctx, "k", objstore.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				if err := up.Part(ctx, n+1, bytes.NewReader(make([]byte, part)), part); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantTime(t, "and parts", time.Since(begin), server.sent, limit)
		if server.sent < 3<<20+4*part {
			t.Errorf("only %d bytes were sent", server.sent)
		}
		sent, before := server.sent, time.Since(begin)
		if err := up.CopyPart(ctx, 5, objstore.ID{Key: "k"}, objstore.Range{Off: 0, Len: 5 << 30}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Copy(ctx, objstore.ID{Key: "k"}, "other", objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin) - before; took != 0 || server.sent != sent {
			t.Errorf("copies took %v and %d bytes", took, server.sent-sent)
		}
		if _, err := up.Complete(ctx, objstore.Condition{}); err != nil {
			t.Fatal(err)
		}
		wantTime(t, "and the end", time.Since(begin), server.sent, limit)
	})
}

// All bodies that come are within one rate: reads ahead are ranges side by side.
func TestDownloadLimitHoldsReadingAhead(t *testing.T) {
	alone(t)
	synctest.Test(t, func(t *testing.T) {
		const limit, segment = 2 << 20, 8 << 20
		s, server := paceStore(t, 0, limit)
		defer s.Close() //nolint:errcheck // nothing is open
		begin := time.Now()
		var all sync.WaitGroup
		for n := range int64(4) {
			all.Go(func() {
				_, _, body, err := s.Get(t.Context(), objstore.ID{Key: "k", ETag: "e"}, objstore.Range{Off: n * segment, Len: segment})
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := io.Copy(io.Discard, body); err != nil || got != segment {
					t.Error(got, err)
				}
				_ = body.Close()
			})
		}
		all.Wait()
		if server.received != 4*segment {
			t.Errorf("%d bytes came", server.received)
		}
		wantTime(t, "four ranges", time.Since(begin), server.received, limit)
		_, err := s.Put(t.Context(), "k", bytes.NewReader(make([]byte, 1<<20)), 1<<20, objstore.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantTime(t, "and a write, which is not held", time.Since(begin), server.received, limit)
	})
}
