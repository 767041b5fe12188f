package s3

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// ask asks one question about the bucket; what is not set leaves the zero answer.
func (s *Store) ask(ctx context.Context, what, action string, send func(context.Context) error) error {
	err := s.do(ctx, s.asking(what, action), func(ctx context.Context, a *attempt) error {
		if err := send(ctx); err != nil {
			return err
		}
		a.end()
		return nil
	})
	if errors.Is(err, errUnset) {
		return nil
	}
	return err
}

// Policy is objstore.Settings's.
func (s *Store) Policy(ctx context.Context) (policy []byte, err error) {
	err = s.ask(ctx, "policy of", "s3:GetBucketPolicy", func(ctx context.Context) error {
		out, err := s.client.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: &s.cfg.Bucket, ExpectedBucketOwner: s.owner()}, s.options)
		if err == nil && out.Policy != nil {
			policy = []byte(*out.Policy)
		}
		return err
	})
	return policy, err
}

// PublicAccess is objstore.Settings's.
func (s *Store) PublicAccess(ctx context.Context) (p objstore.PublicAccess, err error) {
	err = s.ask(ctx, "public access block of", "s3:GetBucketPublicAccessBlock", func(ctx context.Context) error {
		out, err := s.client.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: &s.cfg.Bucket, ExpectedBucketOwner: s.owner()}, s.options)
		if err != nil || out.PublicAccessBlockConfiguration == nil {
			return err
		}
		c := out.PublicAccessBlockConfiguration
		p = objstore.PublicAccess{
			BlockACLs: aws.ToBool(c.BlockPublicAcls), IgnoreACLs: aws.ToBool(c.IgnorePublicAcls),
			BlockPolicies: aws.ToBool(c.BlockPublicPolicy), RestrictBuckets: aws.ToBool(c.RestrictPublicBuckets),
		}
		return nil
	})
	return p, err
}

// ObjectLock is objstore.Settings's.
func (s *Store) ObjectLock(ctx context.Context) (l objstore.ObjectLock, err error) {
	err = s.ask(ctx, "object lock of", "s3:GetBucketObjectLockConfiguration", func(ctx context.Context) error {
		out, err := s.client.GetObjectLockConfiguration(ctx, &awss3.GetObjectLockConfigurationInput{Bucket: &s.cfg.Bucket, ExpectedBucketOwner: s.owner()}, s.options)
		if err != nil || out.ObjectLockConfiguration == nil {
			return err
		}
		l = objstore.ObjectLock{Enabled: out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled}
		if r := out.ObjectLockConfiguration.Rule; r != nil && r.DefaultRetention != nil {
			l.Mode = string(r.DefaultRetention.Mode)
			l.Days, l.Years = int(aws.ToInt32(r.DefaultRetention.Days)), int(aws.ToInt32(r.DefaultRetention.Years))
		}
		return nil
	})
	return l, err
}
