package s3

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// maxPage is the most that S3 lists at once.
const maxPage = 1000

// List is objstore.Store's. Keys that XML cannot hold come url-encoded.
func (s *Store) List(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		token, last := "", opt.After
		for left := opt.Limit; ; {
			p, err := s.page(ctx, opt, token, left)
			if err != nil {
				yield(objstore.Entry{}, err)
				return
			}
			for _, e := range p.entries {
				name := e.Key + e.Prefix
				if name <= last { // what After begins in, or what two pages share
					if name <= opt.After || name == last {
						continue
					}
					yield(objstore.Entry{}, fmt.Errorf("list %s: the listing is not in order: %w", s.place(opt.Prefix), objstore.ErrUnsupported))
					return
				}
				last = name
				if !yield(e, nil) {
					return
				}
				if left--; opt.Limit > 0 && left == 0 {
					return
				}
			}
			if p.next == "" {
				return
			}
			token = p.next
		}
	}
}

type page struct {
	entries []objstore.Entry
	next    string // token of the next page; "" behind the last
}

// page gets one page, of about limit entries where that is positive.
func (s *Store) page(ctx context.Context, opt objstore.ListOptions, token string, limit int) (p page, err error) {
	in := &awss3.ListObjectsV2Input{
		Bucket: &s.cfg.Bucket, Prefix: some(opt.Prefix), Delimiter: some(opt.Delimiter), EncodingType: types.EncodingTypeUrl,
		ContinuationToken: some(token), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
	}
	if token == "" {
		in.StartAfter = some(opt.After)
	}
	if limit > 0 {
		in.MaxKeys = aws.Int32(int32(min(limit, maxPage))) //nolint:gosec // at most 1000
	}
	c := s.reading("list", opt.Prefix, "s3:ListBucket")
	c.absent = objstore.ErrBucket
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.ListObjectsV2(ctx, in, s.options)
		if err != nil {
			return err
		}
		defer a.end()
		p, err = read(out, opt, token)
		return err
	})
	return p, err
}

// read makes entries of an answer, in bytewise order. What was not asked for is
// no listing: callers cut the prefix off.
func read(out *awss3.ListObjectsV2Output, opt objstore.ListOptions, token string) (page, error) {
	decode := func(s *string) (string, error) {
		if out.EncodingType != types.EncodingTypeUrl {
			return aws.ToString(s), nil
		}
		return url.QueryUnescape(aws.ToString(s))
	}
	answered := dated(header(out.ResultMetadata))
	p := page{entries: make([]objstore.Entry, 0, len(out.Contents)+len(out.CommonPrefixes))}
	for _, o := range out.Contents {
		key, err := decode(o.Key)
		if err != nil || key == "" || o.Size == nil || *o.Size < 0 {
			return page{}, odd("the listing has an entry without key or size")
		}
		if !strings.HasPrefix(key, opt.Prefix) {
			return page{}, odd("the listing has a key outside its prefix")
		}
		p.entries = append(p.entries, objstore.Entry{Info: objstore.Info{
			ID: id(key, aws.ToString(o.ETag), ""), Size: *o.Size, Modified: aws.ToTime(o.LastModified), Answered: answered,
			StorageClass: class(string(o.StorageClass)),
		}})
	}
	for _, c := range out.CommonPrefixes {
		prefix, err := decode(c.Prefix)
		if err != nil || prefix == "" {
			return page{}, odd("the listing has an empty prefix")
		}
		if !strings.HasPrefix(prefix, opt.Prefix) || opt.Delimiter == "" || !strings.HasSuffix(prefix, opt.Delimiter) {
			return page{}, odd("the listing has a common prefix that was not asked for")
		}
		p.entries = append(p.entries, objstore.Entry{Prefix: prefix})
	}
	slices.SortStableFunc(p.entries, func(a, b objstore.Entry) int { return cmp.Compare(a.Key+a.Prefix, b.Key+b.Prefix) })
	if aws.ToBool(out.IsTruncated) {
		p.next = aws.ToString(out.NextContinuationToken)
		if p.next == "" || p.next == token {
			return page{}, odd("the listing is cut off and names no way on")
		}
	}
	return p, nil
}
