package awsclient

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// maxHeaders bounds the headers of an answer, in bytes.
const maxHeaders = 256 << 10

// Transport gives connections by cfg: its CA bundle, the environment's proxy,
// TLS 1.2 at least, and connect for the dial and for the handshake each. The
// caller tunes the rest before the first request.
func Transport(cfg aws.Config, connect time.Duration) *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		t = b.GetTransport() // a clone, with the CA bundle of the shared configuration
	}
	t.DialContext = (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = connect
	t.MaxResponseHeaderBytes = maxHeaders
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = tls.VersionTLS12
	return t
}

// Client sends by t, and cuts off the answers that bound tells are documents
// after most bytes, so that longer ones make no sense: the SDK parses them
// whole. A redirect is an answer: no credentials and no keys follow it.
func Client(t *http.Transport, most int64, bound func(*http.Response) bool) *http.Client {
	return &http.Client{
		Transport:     bounded{t, most, bound},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct {
	*http.Transport
	most  int64
	bound func(*http.Response) bool
}

var _ http.RoundTripper = bounded{}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if b.bound(answer) {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, b.most), answer.Body}
	}
	return answer, nil
}
