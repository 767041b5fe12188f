package s3

import (
	"context"
	"fmt"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Versions is objstore.Versioner's.
func (s *Store) Versions(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Version, error] {
	return func(yield func(objstore.Version, error) bool) {
		at, left, last := versionPage{key: opt.After}, opt.Limit, opt.After
		for {
			page, next, err := s.versionsPage(ctx, opt, at, left)
			if err != nil {
				yield(objstore.Version{}, err)
				return
			}
			for _, v := range page {
				name := v.Key + v.Prefix
				if name <= opt.After || v.Prefix != "" && name == last { // what After begins in, what two pages share
					continue
				}
				if name < last || name == last && v.Latest {
					yield(objstore.Version{}, fmt.Errorf("list versions of %s: the listing is not in order: %w", s.place(opt.Prefix), objstore.ErrUnsupported))
					return
				}
				last = name
				if !yield(v, nil) {
					return
				}
				if left--; opt.Limit > 0 && left == 0 {
					return
				}
			}
			if next == (versionPage{}) {
				return
			}
			at = next
		}
	}
}

// versionPage is where a page of versions begins; zero is the first. The versions
// of one key may fill several, so both markers tell them apart.
type versionPage struct{ key, version string }

// versionsPage gets one page, of about limit entries where that is positive.
func (s *Store) versionsPage(ctx context.Context, opt objstore.ListOptions, at versionPage, limit int) (page []objstore.Version, next versionPage, err error) {
	in := &awss3.ListObjectVersionsInput{
		Bucket: &s.cfg.Bucket, Prefix: some(opt.Prefix), Delimiter: some(opt.Delimiter), EncodingType: types.EncodingTypeUrl,
		KeyMarker: some(at.key), VersionIdMarker: some(at.version), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
	}
	if limit > 0 {
		in.MaxKeys = aws.Int32(int32(min(limit, maxPage))) //nolint:gosec // at most 1000
	}
	c := s.reading("list versions of", opt.Prefix, "s3:ListBucketVersions")
	c.absent = objstore.ErrBucket
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		var document kept
		out, err := s.client.ListObjectVersions(ctx, in, s.options, document.keep)
		if err != nil {
			return err
		}
		defer a.end()
		answered := dated(header(out.ResultMetadata))
		page, next, err = readVersions(document.Bytes(), opt, at)
		for i := range page {
			page[i].Answered = answered
		}
		return err
	})
	return page, next, err
}
