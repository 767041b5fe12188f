package s3

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// asking is a question about the bucket. A server that has never heard of it
// says 404, or takes it for another.
func (s *Store) asking(what, action string) call {
	c := s.reading(what, "", action)
	c.absent = objstore.ErrUnsupported
	return c
}

// Lifecycle is objstore.Bucket's.
func (s *Store) Lifecycle(ctx context.Context) (rules []objstore.LifecycleRule, err error) {
	err = s.do(ctx, s.asking("lifecycle rules of", "s3:GetLifecycleConfiguration"), func(ctx context.Context, a *attempt) error {
		out, err := s.client.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: &s.cfg.Bucket, ExpectedBucketOwner: s.owner()}, s.options)
		if err != nil {
			return err
		}
		defer a.end()
		rules = nil
		for _, r := range out.Rules {
			rules = append(rules, lifecycleRule(r))
		}
		return nil
	})
	if errors.Is(err, errUnset) {
		return nil, nil
	}
	return rules, err
}

func lifecycleRule(r types.LifecycleRule) objstore.LifecycleRule {
	got := objstore.LifecycleRule{ID: aws.ToString(r.ID), Enabled: r.Status == types.ExpirationStatusEnabled, Filter: lifecycleFilter(r)}
	if a := r.AbortIncompleteMultipartUpload; a != nil {
		got.AbortDays = int(aws.ToInt32(a.DaysAfterInitiation))
	}
	if e := r.Expiration; e != nil {
		got.Expires = e.Days != nil || e.Date != nil // else delete markers alone
	}
	if n := r.NoncurrentVersionExpiration; n != nil {
		got.NoncurrentDays = int(aws.ToInt32(n.NoncurrentDays))
	}
	for _, t := range r.Transitions {
		got.Transitions = append(got.Transitions, class(string(t.StorageClass)))
	}
	return got
}

// lifecycleFilter reads the filter in each of the places that it may stand in:
// one condition by itself, several under And, or the prefix of before 2016.
func lifecycleFilter(r types.LifecycleRule) objstore.LifecycleFilter {
	f := objstore.LifecycleFilter{Prefix: aws.ToString(r.Prefix)} //nolint:staticcheck // deprecated, and still answered
	if r.Filter == nil {
		return f
	}
	f.Over, f.Under = aws.ToInt64(r.Filter.ObjectSizeGreaterThan), aws.ToInt64(r.Filter.ObjectSizeLessThan)
	if r.Filter.Prefix != nil {
		f.Prefix = *r.Filter.Prefix
	}
	if r.Filter.Tag != nil {
		f.Tags = 1
	}
	if and := r.Filter.And; and != nil {
		f = objstore.LifecycleFilter{
			Prefix: aws.ToString(and.Prefix), Tags: len(and.Tags),
			Over: aws.ToInt64(and.ObjectSizeGreaterThan), Under: aws.ToInt64(and.ObjectSizeLessThan),
		}
	}
	return f
}

// Versioning is objstore.Bucket's.
func (s *Store) Versioning(ctx context.Context) (v objstore.Versioning, err error) {
	err = s.do(ctx, s.asking("versioning of", "s3:GetBucketVersioning"), func(ctx context.Context, a *attempt) error {
		out, err := s.client.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: &s.cfg.Bucket, ExpectedBucketOwner: s.owner()}, s.options)
		if err != nil {
			return err
		}
		defer a.end()
		v = objstore.Versioning(out.Status)
		return nil
	})
	return v, err
}

// Pending is objstore.Bucket's. S3 gives the uploads of one key from the oldest
// to the newest, so the pages are told apart by both markers.
func (s *Store) Pending(ctx context.Context, prefix string) iter.Seq2[objstore.Pending, error] {
	return func(yield func(objstore.Pending, error) bool) {
		at := uploadPage{}
		for {
			uploads, next, err := s.pendingPage(ctx, prefix, at)
			if err != nil {
				yield(objstore.Pending{}, err)
				return
			}
			for _, u := range uploads {
				if !yield(u, nil) {
					return
				}
			}
			if next == (uploadPage{}) {
				return
			}
			at = next
		}
	}
}

// uploadPage is where a page of uploads begins; zero is the first.
type uploadPage struct{ key, upload string }

func (s *Store) pendingPage(ctx context.Context, prefix string, at uploadPage) (uploads []objstore.Pending, next uploadPage, err error) {
	in := &awss3.ListMultipartUploadsInput{
		Bucket: &s.cfg.Bucket, Prefix: some(prefix), EncodingType: types.EncodingTypeUrl, KeyMarker: some(at.key), UploadIdMarker: some(at.upload),
		RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
	}
	c := s.asking("list uploads of", "s3:ListBucketMultipartUploads")
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.ListMultipartUploads(ctx, in, s.options)
		if err != nil {
			return err
		}
		defer a.end()
		uploads, next, err = readPending(out, prefix, at)
		return err
	})
	return uploads, next, err
}

func readPending(out *awss3.ListMultipartUploadsOutput, prefix string, at uploadPage) (uploads []objstore.Pending, next uploadPage, err error) {
	decode := func(s *string) (string, error) {
		if out.EncodingType != types.EncodingTypeUrl {
			return aws.ToString(s), nil
		}
		return url.QueryUnescape(aws.ToString(s))
	}
	for _, u := range out.Uploads {
		key, err := decode(u.Key)
		if err != nil || key == "" || aws.ToString(u.UploadId) == "" {
			return nil, next, odd("the list of uploads has an entry without key or id")
		}
		if !strings.HasPrefix(key, prefix) {
			return nil, next, odd("the list of uploads has a key outside its prefix")
		}
		uploads = append(uploads, objstore.Pending{Key: key, UploadID: *u.UploadId, Began: aws.ToTime(u.Initiated)})
	}
	if !aws.ToBool(out.IsTruncated) {
		return uploads, next, nil
	}
	if next.key, err = decode(out.NextKeyMarker); err != nil || next.key == "" {
		return nil, next, odd("the list of uploads is cut off and names no way on")
	}
	if next.upload = aws.ToString(out.NextUploadIdMarker); next == at {
		return nil, next, odd("the list of uploads is cut off and goes round")
	}
	return uploads, next, nil
}
