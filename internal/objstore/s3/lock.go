package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Lock is objstore.Locker's, by two requests that are refused to those who may
// not know: HEAD leaves its headers out then, and needs the key of SSE-C.
func (s *Store) Lock(ctx context.Context, at objstore.ID) (l objstore.Lock, err error) {
	if err := objstore.CheckKey(at.Key); err != nil {
		return l, fmt.Errorf("lock of %w", err)
	}
	err = s.askLock(ctx, at, "s3:GetObjectRetention", func(ctx context.Context) error {
		out, err := s.client.GetObjectRetention(ctx, &awss3.GetObjectRetentionInput{
			Bucket: &s.cfg.Bucket, Key: &at.Key, VersionId: some(at.VersionID), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, s.options)
		if err == nil && out.Retention != nil {
			l.Mode, l.Until = string(out.Retention.Mode), aws.ToTime(out.Retention.RetainUntilDate).UTC()
		}
		return err
	})
	if err != nil {
		return objstore.Lock{}, err
	}
	err = s.askLock(ctx, at, "s3:GetObjectLegalHold", func(ctx context.Context) error {
		out, err := s.client.GetObjectLegalHold(ctx, &awss3.GetObjectLegalHoldInput{
			Bucket: &s.cfg.Bucket, Key: &at.Key, VersionId: some(at.VersionID), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, s.options)
		l.LegalHold = err == nil && out.LegalHold != nil && out.LegalHold.Status == types.ObjectLockLegalHoldStatusOn
		return err
	})
	if err != nil {
		return objstore.Lock{}, err
	}
	return l, nil
}

// askLock asks one of them; what is not set leaves the zero answer.
func (s *Store) askLock(ctx context.Context, at objstore.ID, action string, send func(context.Context) error) error {
	c := s.reading("lock of", at.Key, action)
	if at.VersionID != "" {
		c.absent = objstore.ErrChanged
	}
	err := s.do(ctx, c, func(ctx context.Context, a *attempt) error {
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
