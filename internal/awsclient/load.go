// Package awsclient is what clients of AWS's services have in common: the
// SDK's configuration with our defaults, an HTTP client that follows no
// redirect and trusts what it was told to, and the waits between attempts. What
// a service's answers mean is for the packages that speak to it.
package awsclient

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// Config says where to look. What is empty comes from the SDK's default chain
// (environment, shared configuration and so on).
type Config struct {
	Region    string // "" is AWS_REGION, the profile's, else us-east-1
	Endpoint  string // URL; "" is the environment's for the service, the profile's, else AWS
	Profile   string // "" is AWS_PROFILE
	CABundle  string // path of a PEM file to trust instead of the system's; "" is AWS_CA_BUNDLE
	Anonymous bool   // requests are not signed

	// PasswdFile is a file of credentials as s3fs has it, which is read instead of
	// asking the chain; "" is none. Bucket is whose lines in it are meant.
	PasswdFile, Bucket string
}

// Load runs the SDK's default chain, which may ask the sources of credentials.
// Errors that its credentials give later are CredentialsErrors.
func Load(ctx context.Context, cfg Config) (aws.Config, error) {
	opts, err := cfg.options()
	if err != nil {
		return aws.Config{}, err
	}
	loaded, err := loadWith(ctx, opts)
	if err != nil {
		return aws.Config{}, err
	}
	if !cfg.Anonymous {
		loaded.Credentials = &credentials{inner: loaded.Credentials, build: func(ctx context.Context) (aws.CredentialsProvider, error) {
			again, err := loadWith(ctx, opts)
			return again.Credentials, err
		}}
	}
	return loaded, nil
}

func loadWith(ctx context.Context, opts []func(*config.LoadOptions) error) (aws.Config, error) {
	loaded, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("AWS configuration: %w", err)
	}
	return loaded, nil
}

func (c Config) options() ([]func(*config.LoadOptions) error, error) {
	opts := []func(*config.LoadOptions) error{
		config.WithDefaultRegion("us-east-1"),
		config.WithHTTPClient(awshttp.NewBuildableClient()),
		config.WithLogger(logging.Nop{}),
	}
	if c.Region != "" {
		opts = append(opts, config.WithRegion(c.Region))
	}
	if c.Endpoint != "" {
		opts = append(opts, config.WithBaseEndpoint(c.Endpoint))
	}
	if c.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(c.Profile))
	}
	switch {
	case c.Anonymous:
		opts = append(opts, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case c.PasswdFile != "":
		opts = append(opts, config.WithCredentialsProvider(passwd(c.PasswdFile, c.Bucket)))
	}
	bundle, err := readBundle(c.CABundle)
	if bundle != nil {
		opts = append(opts, func(o *config.LoadOptions) error { // a reader for each time that they are used
			o.CustomCABundle = bytes.NewReader(bundle)
			return nil
		})
	}
	return opts, err
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
			return nil, errors.New("AWS_CA_BUNDLE is set but empty: unset it or name a PEM file")
		}
		name = "AWS_CA_BUNDLE=" + path
	}
	pem, err := os.ReadFile(path) //nolint:gosec // the operator's own choice
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in it", name)
	}
	return pem, nil
}
