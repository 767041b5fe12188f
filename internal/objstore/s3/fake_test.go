package s3_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

// fake is an S3 server over TLS that plays what a test says: answer n is given
// by the n-th handler, the last one from then on.
type fake struct {
	*httptest.Server
	ca string

	mu       sync.Mutex // guards all below
	handlers []http.HandlerFunc
	seen     []*http.Request
	bodies   []string
}

func newFake(t *testing.T, handlers ...http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{handlers: handlers}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	f.ca = filepath.Join(t.TempDir(), "ca.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(f.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	h := f.handlers[min(len(f.seen), len(f.handlers)-1)]
	f.seen = append(f.seen, r)
	f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.bodies = append(f.bodies, string(body))
	f.mu.Unlock()
	h(w, r)
}

// requests gives what came so far.
func (f *fake) requests() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*http.Request(nil), f.seen...)
}

// settle sets the environment whole: nothing of the host's AWS settings counts.
func settle(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "AWS_") || strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
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

// open connects to f with short bounds.
func (f *fake) open(t *testing.T, change ...func(*s3.Config)) *s3.Store {
	t.Helper()
	settle(t)
	cfg := s3.Config{
		Bucket: "bucket", Endpoint: f.URL, CABundle: f.ca,
		RetryTimeout: 2 * time.Second, CommitTimeout: 2 * time.Second, StallTimeout: 2 * time.Second,
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := s3.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fails answers with an error document.
func fails(status int, code string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("X-Amz-Request-Id", "REQ123")
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>about %s</Message><RequestId>REQ123</RequestId></Error>", code, code)
	}
}

// says answers 200 with headers in pairs and a body.
func says(body string, headers ...string) http.HandlerFunc { return saysAs(200, body, headers...) }

func saysAs(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		if status != http.StatusNoContent {
			w.Header().Set("Content-Length", fmt.Sprint(len(body))) // of a HEAD too
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hangsUp ends the connection without an answer, although the request was read.
func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// cutAfter promises a body and sends only its beginning.
func cutAfter(status int, body string, n int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body[:n])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
