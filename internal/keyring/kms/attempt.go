package kms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/sigilfs/sigilfs/internal/awsclient"
)

// try sends one request with the options given.
type try func(ctx context.Context, opt func(*awskms.Options)) error

// do attempts a call until it is answered, and reports it.
func (c *Client) do(ctx context.Context, a action, keyID string, send try) error {
	begin := time.Now()
	n, err := c.repeat(ctx, a, keyID, send)
	if c.cfg.OnCall != nil {
		c.cfg.OnCall(Call{Action: a.String(), KeyID: keyID, Attempts: n, Took: time.Since(begin), Err: err})
	}
	return err
}

// repeat gives the number of attempts too. KMS calls change nothing, so every
// one may be sent again.
func (c *Client) repeat(ctx context.Context, a action, keyID string, send try) (int, error) {
	begin := time.Now()
	for n := 1; ; n++ {
		f := c.attempt(ctx, a, keyID, send)
		if f == nil {
			return n, nil
		}
		if f.state && a != reEncrypt { // which has two keys
			c.askState(ctx, keyID, f)
		}
		wait := awsclient.Backoff(n, f.slowDown, 10*time.Second)
		over := !f.again || f.few && n >= few || n == c.cfg.MaxAttempts || time.Since(begin)+wait > c.cfg.RetryTimeout
		if ctx.Err() != nil || over {
			return n, f.error(ctx, a, keyID)
		}
		if err := awsclient.Wait(ctx, wait); err != nil {
			return n, f.error(ctx, a, keyID)
		}
	}
}

// few bounds attempts with credentials that KMS does not take.
const few = 4

// attempt sends one request within the bound of those under way.
func (c *Client) attempt(ctx context.Context, a action, keyID string, send try) *failure {
	select {
	case c.gate <- struct{}{}:
		defer func() { <-c.gate }()
	case <-ctx.Done():
		return &failure{cause: "not sent"}
	}
	limit, cancel := context.WithTimeout(ctx, c.cfg.AttemptTimeout)
	defer cancel()
	c.count[a].Add(1)
	err := send(limit, func(o *awskms.Options) { o.Region = c.regionOf(keyID) })
	if err == nil {
		c.authed.Store(true)
		return nil
	}
	f := c.classify(limit, a, keyID, err)
	if f.expired {
		awsclient.Invalidate(c.client.Options().Credentials)
	}
	return f
}

// askState tells a key that is on its way out from one whose key store (CloudHSM
// or external) is away, which has the same error and may pass (AWS KMS Developer
// Guide, "Troubleshooting external key stores"). Who may not ask takes it for
// gone.
func (c *Client) askState(ctx context.Context, keyID string, f *failure) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AttemptTimeout)
	defer cancel()
	c.count[describeKey].Add(1)
	out, err := c.client.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: &keyID}, func(o *awskms.Options) { o.Region = c.regionOf(keyID) })
	if err != nil || out.KeyMetadata == nil {
		return
	}
	f.cause += "; the key is " + awsclient.OneLine(string(out.KeyMetadata.KeyState), 40)
	switch out.KeyMetadata.KeyState {
	case types.KeyStateDisabled, types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion, types.KeyStatePendingImport:
	default:
		f.is = nil
	}
}

// regionOf is the region of a key named by ARN, or the configured one.
func (c *Client) regionOf(keyID string) string {
	if a, err := arn.Parse(keyID); err == nil && a.Region != "" {
		return a.Region
	}
	return c.region
}

// error is what the caller sees: what, with which key, why, and the sentinel.
func (f *failure) error(ctx context.Context, a action, keyID string) error {
	text := fmt.Sprintf("kms: %s with %s: %s", a, awsclient.OneLine(keyID, 2048), f.cause)
	switch {
	case f.is != nil:
		return fmt.Errorf("%s: %w", text, f.is)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", text, context.Cause(ctx))
	}
	return errors.New(text)
}
