package s3

import (
	"context"
	"fmt"
	"math"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Restore is objstore.Restorer's. An order that was sent twice is one.
func (s *Store) Restore(ctx context.Context, at objstore.ID, days int, tier string) error {
	if err := objstore.CheckKey(at.Key); err != nil {
		return fmt.Errorf("restore %w", err)
	}
	if days < 0 || days > math.MaxInt32 {
		return fmt.Errorf("restore %s for %d days: %w", s.place(at.Key), days, objstore.ErrInvalid)
	}
	order := &types.RestoreRequest{}
	if days > 0 {
		order.Days = aws.Int32(int32(days)) //nolint:gosec // checked above
	}
	if tier != "" {
		order.GlacierJobParameters = &types.GlacierJobParameters{Tier: types.Tier(tier)}
	}
	c := s.writing("restore", at.Key, "s3:RestoreObject", objstore.Condition{})
	c.absent, c.thaws = objstore.ErrNotExist, true
	if at.VersionID != "" {
		c.absent = objstore.ErrChanged
	}
	return s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		_, err := s.client.RestoreObject(ctx, &awss3.RestoreObjectInput{
			Bucket: &s.cfg.Bucket, Key: &at.Key, VersionId: some(at.VersionID), RestoreRequest: order,
			ChecksumAlgorithm: s.algorithm(plainUploads), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, s.options)
		if code(err) == "RestoreAlreadyInProgress" {
			err = nil
		}
		if err == nil {
			a.end()
		}
		return err
	})
}
