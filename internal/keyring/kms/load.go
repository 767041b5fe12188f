package kms

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// load runs the SDK's default chain.
func load(ctx context.Context, cfg Config) (aws.Config, error) {
	opts := []func(*config.LoadOptions) error{
		config.WithDefaultRegion("us-east-1"),
		config.WithHTTPClient(awshttp.NewBuildableClient()),
		config.WithLogger(logging.Nop{}),
	}
	if cfg.Region != "" {
		opts = append(opts, config.WithRegion(cfg.Region))
	}
	if cfg.Endpoint != "" {
		opts = append(opts, config.WithBaseEndpoint(cfg.Endpoint))
	}
	if cfg.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(cfg.Profile))
	}
	bundle, err := readBundle(cfg.CABundle)
	if err != nil {
		return aws.Config{}, err
	}
	if bundle != nil {
		opts = append(opts, config.WithCustomCABundle(bytes.NewReader(bundle)))
	}
	loaded, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("kms: AWS configuration: %w", err)
	}
	loaded.Credentials = &credentials{loaded.Credentials}
	return loaded, nil
}

// readBundle reads the CA bundle that was asked for; nil is none. The SDK
// reads AWS_CA_BUNDLE too, but says neither its name nor that it was empty.
func readBundle(path string) ([]byte, error) {
	name := "CA bundle " + path
	if path == "" {
		set := false
		if path, set = os.LookupEnv("AWS_CA_BUNDLE"); !set {
			return nil, nil
		}
		if path == "" {
			return nil, errors.New("kms: AWS_CA_BUNDLE is set but empty: unset it or name a PEM file")
		}
		name = "AWS_CA_BUNDLE=" + path
	}
	pem, err := os.ReadFile(path) //nolint:gosec // the operator's own choice
	if err != nil {
		return nil, fmt.Errorf("kms: %s: %w", name, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("kms: %s: no PEM certificate in it", name)
	}
	return pem, nil
}

// maxAnswer bounds the headers of an answer; its body is bounded by bounded.
const maxAnswer = 256 << 10

// newHTTP makes the client for KMS: few, small requests.
func newHTTP(cfg aws.Config) *http.Client {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		t = b.GetTransport() // a clone, with the CA bundle of the shared configuration
	}
	t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = 5 * time.Second
	t.MaxResponseHeaderBytes = maxAnswer
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = tls.VersionTLS12
	return &http.Client{
		Transport: bounded{t},
		// A redirect is an answer: no credentials and no keys follow it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// credentials marks the errors of the chain, which the SDK wraps without a type.
type credentials struct{ inner aws.CredentialsProvider }

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.inner.Retrieve(ctx)
	if err != nil {
		return v, credentialsError{err}
	}
	return v, nil
}

// Invalidate lets the SDK's cache be asked anew after ExpiredToken.
func (c *credentials) Invalidate() {
	if cache, ok := c.inner.(*aws.CredentialsCache); ok {
		cache.Invalidate()
	}
}
