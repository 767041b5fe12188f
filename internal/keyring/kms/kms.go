// Package kms is a client of AWS KMS, for the key ring and for every other who
// needs a data key: GenerateDataKey, Decrypt, Encrypt, ReEncrypt. The AWS SDK's
// types and errors end here; errors are the key ring's sentinels.
//
// A call is attempted until it is answered, with jitter, for as long as
// RetryTimeout; the SDK's own retries are off. A request goes to the region that
// the key's ARN names. Every request is counted by its kind.
//
// No plaintext key is kept: what the SDK gave is cleared once it was copied.
package kms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/keyring"
)

// Config says how to reach KMS. What is empty comes from the AWS SDK's default
// chain (environment, shared configuration and so on).
type Config struct {
	Region   string // of keys that are not named by ARN; "" is AWS_REGION, the profile's, else us-east-1
	Endpoint string // URL; "" is AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL, the profile's, else AWS
	Profile  string // "" is AWS_PROFILE
	CABundle string // path of a PEM file to trust instead of the system's; "" is AWS_CA_BUNDLE

	// PasswdFile is a file of credentials as s3fs has it, with those of Bucket; ""
	// is none.
	PasswdFile, Bucket string

	RetryTimeout   time.Duration // no new attempt begins after so long; 0 is 60 s
	AttemptTimeout time.Duration // an attempt is given up after so long; 0 is 10 s
	MaxAttempts    int           // 0 is AWS_MAX_ATTEMPTS, the profile's, else no limit but time
	Concurrency    int           // requests at once; 0 is 8

	// OnCall is told of every call when it ended; nil: nobody is. It may be
	// called concurrently.
	OnCall func(Call)
}

// Client speaks to KMS. Safe for concurrent use.
type Client struct {
	cfg    Config
	client *awskms.Client
	http   *http.Client
	region string        // of keys that are not named by ARN
	gate   chan struct{} // holds one for each request under way
	count  [actions]atomic.Uint64
	authed atomic.Bool // credentials were found once, so their absence will pass
	made   sync.Map    // time.Time by ARN, of the keys that Resolve asked for
}

var (
	_ keyring.KMS   = (*Client)(nil)
	_ keyring.Dated = (*Client)(nil)
)

// New makes a client. It sends no request to KMS (the credential chain may ask
// its own sources); errors are those of the configuration. Close it.
func New(ctx context.Context, cfg Config) (*Client, error) {
	cfg.setDefaults()
	loaded, err := awsclient.Load(ctx, awsclient.Config{Region: cfg.Region, Endpoint: cfg.Endpoint, Profile: cfg.Profile, CABundle: cfg.CABundle, PasswdFile: cfg.PasswdFile, Bucket: cfg.Bucket})
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = loaded.RetryMaxAttempts
	}
	c := &Client{cfg: cfg, http: newHTTP(loaded), region: loaded.Region, gate: make(chan struct{}, cfg.Concurrency)}
	c.client = awskms.NewFromConfig(loaded, func(o *awskms.Options) {
		o.HTTPClient = c.http
		o.Retryer, o.RetryMaxAttempts = aws.NopRetryer{}, 0
	})
	if err := checkEndpoint(aws.ToString(c.client.Options().BaseEndpoint)); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) setDefaults() {
	if c.RetryTimeout == 0 {
		c.RetryTimeout = 60 * time.Second
	}
	if c.AttemptTimeout == 0 {
		c.AttemptTimeout = 10 * time.Second
	}
	if c.Concurrency == 0 {
		c.Concurrency = 8
	}
}

func checkEndpoint(endpoint string) error {
	if err := awsclient.CheckEndpoint(endpoint); err != nil {
		return fmt.Errorf("kms: %w", err)
	}
	if awsclient.Exposed(endpoint) {
		return errors.New("kms: the endpoint is plain http, and its answers are keys in the clear: give https in AWS_ENDPOINT_URL_KMS (AWS_ENDPOINT_URL counts where that is not set)")
	}
	return nil
}

// maxAnswer bounds the body of an answer, in bytes.
const maxAnswer = 256 << 10

// newHTTP makes the client for KMS: few, small requests.
func newHTTP(cfg aws.Config) *http.Client {
	all := func(*http.Response) bool { return true }
	return awsclient.Client(awsclient.Transport(cfg, 5*time.Second), maxAnswer, all)
}

// Close drops idle connections. Requests under way are not touched.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}
