package kms_test

import (
	"encoding/json"
	"encoding/pem"
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

	"github.com/sigilfs/sigilfs/internal/keyring/kms"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	keyID = "1234abcd-12ab-34cd-56ef-1234567890ab"
	arn   = "arn:aws:kms:eu-central-1:111122223333:key/" + keyID
)

// reply is one answer of the server.
type reply struct {
	status int
	code   string // of an error
	body   any    // of a success
	raw    string // the body as it is, if set
	hang   bool
}

// fakeAWS answers requests from a list, the last one again and again.
type fakeAWS struct {
	*httptest.Server
	mu      sync.Mutex // guards all below
	replies []reply
	seen    []seen
	inside  int // requests under way
	most    int
}

type seen struct {
	target, auth string
	body         map[string]any
}

func newAWS(t *testing.T, start func(*httptest.Server), replies ...reply) *fakeAWS {
	t.Helper()
	f := &fakeAWS{replies: replies}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(f.Server)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.mu.Lock()
	n := len(f.seen)
	f.seen = append(f.seen, seen{r.Header.Get("X-Amz-Target"), r.Header.Get("Authorization"), body})
	answer := f.replies[min(n, len(f.replies)-1)]
	f.inside++
	f.most = max(f.most, f.inside)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inside--
		f.mu.Unlock()
	}()
	if answer.hang {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "request-77")
	switch {
	case answer.raw != "":
		w.WriteHeader(max(answer.status, 200))
		_, _ = io.WriteString(w, answer.raw)
	case answer.code != "":
		w.WriteHeader(answer.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": answer.code, "message": "why\nso"})
	default:
		_ = json.NewEncoder(w).Encode(answer.body)
	}
}

func (f *fakeAWS) requests() []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// settle puts every setting of AWS out of the way but credentials.
func settle(t *testing.T) {
	t.Helper()
	for _, name := range os.Environ() {
		name, _, _ := strings.Cut(name, "=")
		if strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // has the old value come back
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKTEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
}

func newClient(t *testing.T, cfg kms.Config) *kms.Client {
	t.Helper()
	if cfg.RetryTimeout == 0 {
		cfg.RetryTimeout = 10 * time.Second
	}
	c, err := kms.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// served gives a client of a server with these replies.
func served(t *testing.T, cfg kms.Config, replies ...reply) (*kms.Client, *fakeAWS) {
	t.Helper()
	settle(t)
	f := newAWS(t, (*httptest.Server).Start, replies...)
	cfg.Endpoint = f.URL
	return newClient(t, cfg), f
}

func writeCA(t *testing.T, f *fakeAWS) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
