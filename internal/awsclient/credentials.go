package awsclient

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// credentials marks the errors of the chain, which the SDK wraps without a type,
// and lets the chain be built anew.
type credentials struct {
	build func(ctx context.Context) (aws.CredentialsProvider, error)

	mu    sync.RWMutex // guards inner
	inner aws.CredentialsProvider
}

var _ aws.CredentialsProvider = (*credentials)(nil)

// CredentialsError is that the chain gave no credentials for a request.
type CredentialsError struct{ error }

// Unwrap gives the chain's own error.
func (e CredentialsError) Unwrap() error { return e.error }

// Retrieve implements aws.CredentialsProvider.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.current().Retrieve(ctx)
	if err != nil {
		return v, CredentialsError{err}
	}
	return v, nil
}

func (c *credentials) current() aws.CredentialsProvider {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.inner
}

// Invalidate has the credentials of Load asked for anew by the next request:
// the service says that they have expired. Others stay.
func Invalidate(p aws.CredentialsProvider) {
	if c, ok := p.(*credentials); ok {
		if cache, ok := c.current().(*aws.CredentialsCache); ok {
			cache.Invalidate()
		}
	}
}

// Reload builds the chain of Load anew, so that the shared files are read
// again, and asks it for credentials. If it has none the old chain stays.
// Credentials that are not Load's stay.
func Reload(ctx context.Context, p aws.CredentialsProvider) error {
	c, ok := p.(*credentials)
	if !ok {
		return nil
	}
	fresh, err := c.build(ctx)
	if err != nil {
		return err
	}
	if _, err := fresh.Retrieve(ctx); err != nil {
		return CredentialsError{err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inner = fresh
	return nil
}
