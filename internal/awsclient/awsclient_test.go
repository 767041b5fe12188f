package awsclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/awsclient"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// chain makes the environment's credentials those that a command gives.
func chain(t *testing.T, command string) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // to have it back
			_ = os.Unsetenv(name)
		}
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, fmt.Appendf(nil, "[default]\ncredential_process = %s\n", command), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// What a source gave is used again until the service says that it expired.
func TestCredentialsAreAskedAnew(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	script := "#!/bin/sh\necho x >>" + dir + "/calls\n" + `echo '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"s","Expiration":"2999-01-01T00:00:00Z"}'` + "\n"
	if err := os.WriteFile(tool, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	chain(t, tool)
	cfg, err := awsclient.Load(t.Context(), awsclient.Config{})
	if err != nil || cfg.Region != "us-east-1" {
		t.Fatal(cfg.Region, err)
	}
	calls := func() int {
		for range 2 {
			if _, err := cfg.Credentials.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p, err := os.ReadFile(dir + "/calls")
		if err != nil {
			t.Fatal(err)
		}
		return len(p) / 2
	}
	if n := calls(); n != 1 {
		t.Errorf("the source was asked %d times", n)
	}
	awsclient.Invalidate(cfg.Credentials)
	if n := calls(); n != 2 {
		t.Errorf("the source was asked %d times after the credentials expired", n)
	}
}

func TestNoCredentials(t *testing.T) {
	chain(t, "/bin/false")
	cfg, err := awsclient.Load(t.Context(), awsclient.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var none awsclient.CredentialsError
	if _, err := cfg.Credentials.Retrieve(t.Context()); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
	awsclient.Invalidate(nil) // of requests that are not signed
}

func TestCABundle(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, flag, env, want string }{
		{"missing", dir + "/none", "", dir + "/none"},
		{"no certificate", empty, "", "empty.pem: no PEM"},
		{"missing in the environment", "", dir + "/none", "AWS_CA_BUNDLE=" + dir + "/none"},
		{"empty variable", "", "", "AWS_CA_BUNDLE is set but empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain(t, "/bin/false")
			t.Setenv("AWS_CA_BUNDLE", c.env)
			if _, err := awsclient.Load(t.Context(), awsclient.Config{CABundle: c.flag}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	for endpoint, c := range map[string]struct{ good, exposed bool }{
		"": {true, false}, "https://a.example": {true, false}, "http://a.example:9000": {true, true}, "http://10.0.0.1": {true, true},
		"http://localhost:9000": {true, false}, "http://127.0.0.2": {true, false}, "http://[::1]:9000": {true, false}, "http://[::ffff:127.0.0.1]": {true, false},
		"a.example": {false, false}, "ftp://a.example": {false, false}, "https://": {false, false}, "https://user:secret@a.example": {false, false}, "http://\x7f": {false, true},
	} {
		err := awsclient.CheckEndpoint(endpoint)
		if (err == nil) != c.good || awsclient.Exposed(endpoint) != c.exposed {
			t.Errorf("%q: %v, exposed %v", endpoint, err, awsclient.Exposed(endpoint))
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells it", endpoint)
		}
	}
}

// An answer is no longer than the client was told, and no request goes on to
// where a redirect sends it.
func TestClientBoundsAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = w.Write(make([]byte, 1000))
	}))
	t.Cleanup(server.Close)
	chain(t, "/bin/false")
	cfg, err := awsclient.Load(t.Context(), awsclient.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/document": 10, "/object": 1000} {
		client := awsclient.Client(awsclient.Transport(cfg, time.Second), 10, func(a *http.Response) bool { return a.Request.URL.Path == "/document" })
		answer, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := io.ReadAll(answer.Body)
		if len(p) != want || err != nil || answer.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d bytes, status %d, %v", path, len(p), answer.StatusCode, err)
		}
		_ = answer.Body.Close()
		client.CloseIdleConnections()
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	const most = 10 * time.Second
	for n := 1; n < 100; n++ {
		for slow, base := range map[bool]time.Duration{false: 50 * time.Millisecond, true: 250 * time.Millisecond} {
			if d := awsclient.Backoff(n, slow, most); d < base/2 || d > base/2+most || n == 1 && d > base/2+2*base {
				t.Errorf("attempt %d, %v: %v", n, slow, d)
			}
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	boom := errors.New("boom")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(boom)
	if err := awsclient.Wait(ctx, time.Hour); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	if err := awsclient.Wait(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("%v", err)
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{"a\nb\x1b[2J\x7f": "a b [2J ", "a\u009b2J": "a 2J", "12345678": "12345678", "123456789": "12345678...", "1234567é": "1234567..."} {
		if got := awsclient.OneLine(in, 8); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// Keys that were replaced in the shared file are those of the next request
// after Reload, and a file that cannot be read changes nothing.
func TestReloadReadsTheSharedFileAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(id string) {
		t.Helper()
		text := "[default]\naws_access_key_id = " + id + "\naws_secret_access_key = s\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("FIRST")
	for name, value := range map[string]string{
		"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_CONFIG_FILE": file, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	cfg, err := awsclient.Load(t.Context(), awsclient.Config{})
	if err != nil {
		t.Fatal(err)
	}
	has := func(id string) {
		t.Helper()
		if v, err := cfg.Credentials.Retrieve(t.Context()); err != nil || v.AccessKeyID != id {
			t.Errorf("%s, %v, want %s", v.AccessKeyID, err, id)
		}
	}
	write("SECOND")
	has("FIRST")
	if err := awsclient.Reload(t.Context(), cfg.Credentials); err != nil {
		t.Fatal(err)
	}
	has("SECOND")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := awsclient.Reload(t.Context(), cfg.Credentials); err == nil {
		t.Error("reloaded from nowhere")
	}
	has("SECOND")
}
