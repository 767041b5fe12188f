// Package faultproxy is an S3 endpoint in front of another one, which tests
// use to see, stop, fail and cut requests. It speaks TLS with a certificate of
// its own and keeps the Host header, which the signature covers.
//
// Lifecycle: Start → Set a Fault, any number of times → Close.
package faultproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// A Fault stands between a request and the server behind: it calls next, or
// not, or later. It is called by many requests at once.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Pass is the Fault that is none.
func Pass(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }

// A Proxy forwards to one upstream. Safe for concurrent use.
type Proxy struct {
	server *httptest.Server
	next   http.Handler
	end    context.CancelFunc // of all requests

	mu       sync.Mutex // guards what follows
	fault    Fault
	delay    time.Duration
	up, down *line // nil: as fast as it goes
}

// buffers are what bodies are passed on by.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 64<<10)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// Start listens on a free loopback port. upstream is a URL; roots are the CA
// certificates (PEM) to trust there, where it is https.
func Start(upstream string, roots []byte) (*Proxy, error) {
	p, err := prepare(upstream, roots)
	if err != nil {
		return nil, err
	}
	p.server.StartTLS()
	return p, nil
}

// StartPlain is Start without TLS on this side.
func StartPlain(upstream string, roots []byte) (*Proxy, error) {
	p, err := prepare(upstream, roots)
	if err != nil {
		return nil, err
	}
	p.server.Start()
	return p, nil
}

func prepare(upstream string, roots []byte) (*Proxy, error) {
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if target.Scheme == "https" && !pool.AppendCertsFromPEM(roots) {
		return nil, errors.New("no CA certificate for " + upstream)
	}
	quiet := log.New(io.Discard, "", 0)                   // killed clients are the point
	life, end := context.WithCancel(context.Background()) //nolint:forbidigo // the proxy lives until Close
	p := &Proxy{fault: Pass, end: end}
	p.next = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 64,
			DisableCompression:  true, // bodies are passed on as they are
		},
		ErrorLog:   quiet,
		BufferPool: new(buffers),
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = quiet
	p.server.Config.BaseContext = func(net.Listener) context.Context { return life }
	return p, nil
}

// URL is the endpoint.
func (p *Proxy) URL() string { return p.server.URL }

// CA is the certificate to trust, in PEM.
func (p *Proxy) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
}

// Set puts f in the way of every request that arrives from now on.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// Far puts the server at a distance: every request that arrives from now on is
// held for a round trip of that length before its Fault sees it.
func (p *Proxy) Far(roundTrip time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = roundTrip
}

// Cap has bodies that arrive from now on pass at perSecond bytes a second, all
// together, each way for itself; 0 ends that.
func (p *Proxy) Cap(perSecond int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up, p.down = nil, nil
	if perSecond > 0 {
		p.up, p.down = &line{perSecond: perSecond}, &line{perSecond: perSecond}
	}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	f, d, up, down := p.fault, p.delay, p.up, p.down
	p.mu.Unlock()
	hold(r.Context(), d)
	if up != nil {
		w, r = p.limited(w, r, up, down)
	}
	f(w, r, p.next)
}

// hold returns when d has passed, or the client is gone.
func hold(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Close ends the listener, cuts the requests under way, also those that a Gate
// holds, and waits for them.
func (p *Proxy) Close() {
	p.end()
	p.server.CloseClientConnections()
	p.server.Close()
}
