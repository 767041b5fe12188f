// Package s3 is an object store spoken to by the S3 protocol: Amazon S3 and
// the many servers that speak as it does. The AWS SDK's errors and types end
// here.
//
// A request is a call (verb, key, bounds) that is attempted until it is
// answered cleanly. Attempts are this package's own: the SDK builds, signs and
// parses one request, and the loop in call.go decides on another by the time
// that is left. Nothing that a server says is taken on trust: lengths, ranges
// and ETags are checked.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/awsclient"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Config says where the bucket is and how to speak to it. What is empty comes
// from the AWS SDK's default chain (environment, shared configuration and so
// on), then from the defaults given here.
type Config struct {
	Bucket   string // required; an access point's ARN will do
	Region   string // "" is AWS_REGION, the profile's, else us-east-1; the bucket's own is found
	Endpoint string // URL; "" is AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's, else AWS
	Profile  string // "" is AWS_PROFILE
	CABundle string // path of a PEM file to trust instead of the system's; "" is AWS_CA_BUNDLE

	PasswdFile string // of credentials, as s3fs has it; "" is none

	ForcePathStyle      bool // also set by any endpoint; never so with an access point
	NoSignRequest       bool // anonymous
	RequesterPays       bool
	ExpectedBucketOwner string // account ID

	RetryTimeout  time.Duration // of reads and metadata; 0 is 60 s
	CommitTimeout time.Duration // of Put, Copy, Delete and uploads; 0 is 300 s
	StallTimeout  time.Duration // an attempt that moves no byte for so long is given up; 0 is 30 s
	MaxAttempts   int           // 0 is AWS_MAX_ATTEMPTS, the profile's, else no limit but time
	Concurrency   int           // requests at once, fewer while the server asks to slow down; 0 is 128

	// UploadLimit and DownloadLimit bound the bodies of all requests together,
	// in bytes a second; MinLimit at least. 0 is no limit.
	UploadLimit, DownloadLimit int64

	Observer Observer // nil: nobody
}

// Store is a bucket. It is safe for concurrent use.
type Store struct {
	cfg    Config
	loaded aws.Config
	client *awss3.Client
	http   *http.Client
	gate   *gate
	bare   bool // plain HTTP to another host

	region atomic.Pointer[string] // that of the bucket, as far as is known
	plain  atomic.Int32           // which checksums are left away: see Simplify
	locked atomic.Bool            // bodies without a checksum need a Content-MD5
	authed atomic.Bool            // credentials were found once, so their absence will pass
	seen   atomic.Int64           // when the bucket last showed that it exists, Unix ns
}

var (
	_ objstore.Store      = (*Store)(nil)
	_ objstore.Resumer    = (*Store)(nil)
	_ objstore.Simplifier = (*Store)(nil)
	_ objstore.Tagger     = (*Store)(nil)
	_ objstore.Defaulter  = (*Store)(nil)
	_ objstore.Bucket     = (*Store)(nil)
	_ objstore.Settings   = (*Store)(nil)

	_ objstore.Versioner   = (*Store)(nil)
	_ objstore.Restorer    = (*Store)(nil)
	_ objstore.Locker      = (*Store)(nil)
	_ objstore.Checksummer = (*Store)(nil)
)

// New makes a client. It sends no request to the bucket (the credential chain
// may ask its own sources); errors are those of the configuration. Close it.
func New(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Bucket == "" {
		return nil, errors.New("s3: no bucket given")
	}
	if err := checkEndpoint(cfg.Endpoint); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	loaded, err := load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = loaded.RetryMaxAttempts
	}
	s := &Store{cfg: cfg, loaded: loaded, http: newHTTP(loaded, cfg), gate: newGate(cfg.Concurrency)}
	s.region.Store(&loaded.Region)
	if loaded.RequestChecksumCalculation == aws.RequestChecksumCalculationWhenRequired {
		s.plain.Store(plainAll)
	}
	s.client = awss3.NewFromConfig(loaded, func(o *awss3.Options) {
		o.HTTPClient = s.http
		o.Retryer, o.RetryMaxAttempts = aws.NopRetryer{}, 0
		o.UsePathStyle = (cfg.ForcePathStyle || o.BaseEndpoint != nil) && !isARN(cfg.Bucket)
		o.UseARNRegion = true
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	if base := s.client.Options().BaseEndpoint; base != nil {
		if err := checkEndpoint(*base); err != nil { // of the environment
			return nil, err
		}
		s.bare = Exposed(*base)
	}
	return s, nil
}

func (c *Config) setDefaults() {
	if c.RetryTimeout == 0 {
		c.RetryTimeout = 60 * time.Second
	}
	if c.CommitTimeout == 0 {
		c.CommitTimeout = 300 * time.Second
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = 30 * time.Second
	}
	if c.Concurrency == 0 {
		c.Concurrency = 128
	}
}

func checkEndpoint(endpoint string) error {
	if err := awsclient.CheckEndpoint(endpoint); err != nil {
		return fmt.Errorf("s3: %w", err)
	}
	return nil
}

// Exposed tells whether others may listen on the way to an endpoint; "" is
// Amazon S3.
func Exposed(endpoint string) bool { return awsclient.Exposed(endpoint) }

// Close drops idle connections. Requests under way are not touched.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// What Simplify leaves away, step by step. A body without a checksum has a signed
// SHA-256 over plain HTTP; over HTTPS the SDK signs none (UNSIGNED-PAYLOAD), and
// TLS alone protects it on the way.
const (
	plainNone    = iota
	plainUploads // MinIO copies no part into an upload that has a checksum
	plainAll     // some servers do not know the algorithm, or take trailers for data
)

// Simplify is objstore.Simplifier's: checksums only where S3 requires them, for
// uploads first, then for all.
func (s *Store) Simplify() bool {
	for {
		level := s.plain.Load()
		if level == plainAll {
			return false
		}
		if s.plain.CompareAndSwap(level, level+1) {
			return true
		}
	}
}

// Simplified is objstore.Simplifier's.
func (s *Store) Simplified() bool { return s.plain.Load() != plainNone }

// Endpoint gives the URL of a custom endpoint; "" is Amazon S3.
func (s *Store) Endpoint() string { return aws.ToString(s.client.Options().BaseEndpoint) }

// String names the bucket.
func (s *Store) String() string { return "s3://" + s.cfg.Bucket }

// options bring what was learnt since New into one request.
func (s *Store) options(o *awss3.Options) {
	o.Region = *s.region.Load()
	if s.plain.Load() == plainAll {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
}

// algorithm is the checksum that bodies are sent with at a level up to most;
// "" is none.
func (s *Store) algorithm(most int32) types.ChecksumAlgorithm {
	if s.plain.Load() > most {
		return ""
	}
	return types.ChecksumAlgorithmCrc64nvme
}

func (s *Store) payer() types.RequestPayer {
	if s.cfg.RequesterPays {
		return types.RequestPayerRequester
	}
	return ""
}

func (s *Store) owner() *string { return some(s.cfg.ExpectedBucketOwner) }

// some is nil for "", which the SDK leaves out.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// quoted is an ETag as it stands in a header.
func quoted(etag string) *string {
	if etag == "" {
		return nil
	}
	return aws.String(`"` + etag + `"`)
}

func (s *Store) place(key string) string {
	if key == "" {
		return s.String()
	}
	return fmt.Sprintf("%q", s.String()+"/"+key)
}
