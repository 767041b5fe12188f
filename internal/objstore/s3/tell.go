package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Tags is objstore.Tagger's.
func (s *Store) Tags(ctx context.Context, at objstore.ID) (tags map[string]string, err error) {
	if err := objstore.CheckKey(at.Key); err != nil {
		return nil, fmt.Errorf("tags of %w", err)
	}
	c := s.reading("tags of", at.Key, "s3:GetObjectTagging")
	if at.VersionID != "" {
		c.action, c.absent = "s3:GetObjectVersionTagging", objstore.ErrChanged
	}
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{
			Bucket: &s.cfg.Bucket, Key: &at.Key, VersionId: some(at.VersionID), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, s.options)
		if err != nil {
			return err
		}
		defer a.end()
		tags = map[string]string{}
		for _, t := range out.TagSet {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		return nil
	})
	return tags, err
}

// errUnset is the answer of a bucket without a configuration, which is no
// failure (Amazon S3 API Reference, "Error responses"; 400 or 404).
var errUnset = errors.New("not configured")

// DefaultEncryption is objstore.Defaulter's.
func (s *Store) DefaultEncryption(ctx context.Context) (got objstore.Default, err error) {
	c := s.reading("default encryption of", "", "s3:GetEncryptionConfiguration")
	c.absent = objstore.ErrUnsupported
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: &s.cfg.Bucket, ExpectedBucketOwner: s.owner()}, s.options)
		if err != nil {
			return err
		}
		defer a.end()
		got = configured(out.ServerSideEncryptionConfiguration)
		return nil
	})
	if errors.Is(err, errUnset) {
		return objstore.Default{}, nil
	}
	return got, err
}

// configured reads a bucket's rules, of which S3 takes one.
func configured(c *types.ServerSideEncryptionConfiguration) (got objstore.Default) {
	if c == nil {
		return got
	}
	for _, rule := range c.Rules {
		if b := rule.BlockedEncryptionTypes; b != nil && slices.Contains(b.EncryptionType, types.EncryptionTypeSseC) {
			got.KeysBlocked = true
		}
		by := rule.ApplyServerSideEncryptionByDefault
		if by == nil || by.SSEAlgorithm == "" {
			continue
		}
		got.Encrypted = objstore.Header{encryptionPrefix: string(by.SSEAlgorithm)}
		if key := aws.ToString(by.KMSMasterKeyID); key != "" {
			got.Encrypted[encryptionPrefix+"-aws-kms-key-id"] = key
		}
		if aws.ToBool(rule.BucketKeyEnabled) && by.SSEAlgorithm == types.ServerSideEncryptionAwsKms {
			got.Encrypted[encryptionPrefix+"-bucket-key-enabled"] = "true"
		}
	}
	return got
}
