package awsclient

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// credentials marks the errors of the chain, which the SDK wraps without a type.
type credentials struct{ inner aws.CredentialsProvider }

var _ aws.CredentialsProvider = (*credentials)(nil)

// CredentialsError is that the chain gave no credentials for a request.
type CredentialsError struct{ error }

// Unwrap gives the chain's own error.
func (e CredentialsError) Unwrap() error { return e.error }

// Retrieve implements aws.CredentialsProvider.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.inner.Retrieve(ctx)
	if err != nil {
		return v, CredentialsError{err}
	}
	return v, nil
}

// Invalidate has the credentials of Load asked for anew by the next request:
// the service says that they have expired. Others stay.
func Invalidate(p aws.CredentialsProvider) {
	if c, ok := p.(*credentials); ok {
		if cache, ok := c.inner.(*aws.CredentialsCache); ok {
			cache.Invalidate()
		}
	}
}
