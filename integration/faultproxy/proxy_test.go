package faultproxy

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// origin is a server that counts what it carried out.
func origin(t *testing.T, done *atomic.Int64) *Proxy {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		done.Add(1)
		_, _ = io.WriteString(w, r.Host)
	}))
	t.Cleanup(s.Close)
	p, err := Start(s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func send(t *testing.T, p *Proxy, method string) (int, string, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CA())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL()+"/bucket/key", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestProxyKeepsTheSignedHost(t *testing.T) {
	var done atomic.Int64
	p := origin(t, &done)
	_, host, err := send(t, p, http.MethodPut)
	if err != nil || "https://"+host != p.URL() {
		t.Fatalf("the server saw host %q of %s: %v", host, p.URL(), err)
	}
}

func TestReplyAnswersInsteadOfTheServer(t *testing.T) {
	var done atomic.Int64
	p := origin(t, &done)
	p.Set(Reply(Writing("/key"), http.StatusServiceUnavailable, "SlowDown"))
	status, body, err := send(t, p, http.MethodPut)
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, "<Code>SlowDown</Code>") {
		t.Fatalf("got %d %q, %v", status, body, err)
	}
	if status, _, err := send(t, p, http.MethodGet); err != nil || status != http.StatusOK || done.Load() != 1 {
		t.Fatalf("a request that does not match: %d, %v; %d carried out", status, err, done.Load())
	}
}

// sendLater sends a request that a gate holds; its error comes when it has ended.
func sendLater(t *testing.T, p *Proxy, g *Gate) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, _, err := send(t, p, http.MethodPut)
		ended <- err
	}()
	<-g.Arrived()
	return ended
}

func TestGateStopsTheWorldAtTheRequest(t *testing.T) {
	for _, tt := range []struct {
		side Side
		want int64 // carried out
	}{{Before, 1}, {After, 2}} {
		t.Run(string(tt.side), func(t *testing.T) {
			var done atomic.Int64
			p := origin(t, &done)
			g := NewGate(Mutating, 1, tt.side)
			p.Set(g.Fault)
			if _, _, err := send(t, p, http.MethodPut); err != nil {
				t.Fatal(err)
			}
			ended := sendLater(t, p, g)
			g.Drop()
			if err := <-ended; err == nil {
				t.Error("the request at the gate was answered")
			}
			if _, _, err := send(t, p, http.MethodDelete); err == nil {
				t.Error("a request after the gate was answered")
			}
			if done.Load() != tt.want {
				t.Errorf("%d requests carried out, want %d", done.Load(), tt.want)
			}
		})
	}
}

func TestOpenGateLetsGoOn(t *testing.T) {
	for _, tt := range []struct {
		side     Side
		answered bool
	}{{Before, true}, {After, false}} {
		t.Run(string(tt.side), func(t *testing.T) {
			var done atomic.Int64
			p := origin(t, &done)
			g := NewGate(Mutating, 0, tt.side)
			p.Set(g.Fault)
			ended := sendLater(t, p, g)
			g.Open()
			g.Drop() // too late
			if err := <-ended; (err == nil) != tt.answered {
				t.Errorf("the request at the gate: %v", err)
			}
			if _, _, err := send(t, p, http.MethodDelete); err != nil {
				t.Errorf("a request after it: %v", err)
			}
			if done.Load() != 2 {
				t.Errorf("%d requests carried out, want 2", done.Load())
			}
		})
	}
}

// A test that fails with a request at the gate ends all the same.
func TestCloseCutsWhatAGateHolds(t *testing.T) {
	var done atomic.Int64
	p := origin(t, &done)
	g := NewGate(Mutating, 0, Before)
	p.Set(g.Fault)
	ended := sendLater(t, p, g)
	p.Close()
	if err := <-ended; err == nil || done.Load() != 0 {
		t.Errorf("the request at the gate: %v; %d carried out", err, done.Load())
	}
}

func TestFarHoldsEveryRequest(t *testing.T) {
	const roundTrip = 30 * time.Millisecond
	var done atomic.Int64
	p := origin(t, &done)
	p.Far(roundTrip)
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		began := time.Now()
		if _, _, err := send(t, p, method); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < roundTrip {
			t.Errorf("%s took %v, want at least %v", method, took, roundTrip)
		}
	}
	if done.Load() != 2 {
		t.Errorf("%d requests carried out, want 2", done.Load())
	}
}

// Strict refuses what the condition does not allow, and passes what it does.
func TestStrictHonoursConditions(t *testing.T) {
	for _, tt := range []struct {
		name        string
		method      string
		header, tag string
		etag        string // of what is there; "" for nothing
		want        int
	}{
		{"delete of that version", http.MethodDelete, "If-Match", `"a"`, `"a"`, http.StatusOK},
		{"delete of another", http.MethodDelete, "If-Match", `"a"`, `"b"`, http.StatusPreconditionFailed},
		{"delete of nothing", http.MethodDelete, "If-Match", `"a"`, "", http.StatusPreconditionFailed},
		{"delete without a condition", http.MethodDelete, "", "", `"b"`, http.StatusOK},
		{"copy over nothing", http.MethodPut, "If-None-Match", "*", "", http.StatusOK},
		{"copy over something", http.MethodPut, "If-None-Match", "*", `"b"`, http.StatusPreconditionFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			behind := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead && tt.etag == "" {
					w.WriteHeader(http.StatusNotFound)
				}
				w.Header().Set("ETag", tt.etag)
			})
			r := httptest.NewRequestWithContext(t.Context(), tt.method, "/bucket/key", nil)
			r.Header.Set("X-Amz-Copy-Source", "/bucket/other")
			if tt.header != "" {
				r.Header.Set(tt.header, tt.tag)
			}
			w := httptest.NewRecorder()
			Strict(func(*http.Request) {})(w, r, behind)
			if w.Code != tt.want {
				t.Errorf("%d, want %d", w.Code, tt.want)
			}
		})
	}
}

func TestMeterCountsRequestsAndBytes(t *testing.T) {
	var done atomic.Int64
	p := origin(t, &done)
	m := NewMeter(Mutating)
	p.Set(m.Fault)
	for _, method := range []string{http.MethodPut, http.MethodPut, http.MethodDelete, http.MethodGet} {
		if _, _, err := send(t, p, method); err != nil {
			t.Fatal(err)
		}
	}
	want := int64(len("body"))
	answer := int64(len(strings.TrimPrefix(p.URL(), "https://")))
	if got := m.Take(); got.String() != "DELETE 1, PUT 2" || got.Requests() != 3 || got.Sent != 3*want || got.Received != 3*answer {
		t.Errorf("counted %v, %d sent, %d received", got, got.Sent, got.Received)
	}
	if got := m.Take(); got.Requests() != 0 {
		t.Errorf("counted twice: %v", got)
	}
}
