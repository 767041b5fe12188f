package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// uploader is a multipart upload of this process, or one taken up to abort.
type uploader struct {
	s         *Store
	key, id   string
	algorithm types.ChecksumAlgorithm // fixed when it began
	enc       *objstore.Encryption
	told      objstore.Header // when it began

	mu    sync.Mutex // guards parts
	parts map[int32]types.CompletedPart
}

// Upload is objstore.Store's.
func (s *Store) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	if err := check("upload", key, opt); err != nil {
		return nil, err
	}
	if opt.Condition != (objstore.Condition{}) {
		return nil, fmt.Errorf("upload %s: a condition belongs to Complete: %w", s.place(key), objstore.ErrInvalid)
	}
	u := &uploader{s: s, key: key, algorithm: s.algorithm(plainNone), enc: opt.Encryption, parts: map[int32]types.CompletedPart{}}
	in := &awss3.CreateMultipartUploadInput{
		Bucket: &s.cfg.Bucket, Key: &key, Metadata: opt.Metadata,
		StorageClass: types.StorageClass(opt.StorageClass), ChecksumAlgorithm: u.algorithm,
		RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(), Tagging: tagging(opt.Tags),
	}
	if u.algorithm != "" {
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	c := s.writing("begin upload of", key, puts(opt), objstore.Condition{}).making(opt.Encryption)
	err := s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.CreateMultipartUpload(ctx, in, u.options, s.making(opt))
		if err != nil {
			return err
		}
		defer a.end()
		u.told = encrypted(header(out.ResultMetadata))
		if u.id = aws.ToString(out.UploadId); u.id == "" {
			return odd("the answer has no upload id")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Resume is objstore.Resumer's.
func (s *Store) Resume(key, uploadID string) objstore.Uploader {
	return &uploader{s: s, key: key, id: uploadID, algorithm: s.algorithm(plainNone), parts: map[int32]types.CompletedPart{}}
}

func (u *uploader) UploadID() string { return u.id }

func (u *uploader) Encrypted() objstore.Header { return maps.Clone(u.told) }

// options keep the SDK from a checksum of its own choice.
func (u *uploader) options(o *awss3.Options) {
	u.s.options(o)
	if u.algorithm == "" {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
}

// number checks a part's.
func (u *uploader) number(n int) (int32, error) {
	if n < 1 || n > objstore.MaxParts {
		return 0, fmt.Errorf("part %d of %s: %w", n, u.s.place(u.key), objstore.ErrInvalid)
	}
	return int32(n), nil //nolint:gosec // at most 10,000
}

// sent notes a part as Complete has to name it: by its ETag, and by its
// checksum if it has one (MinIO insists).
func (u *uploader) sent(n int32, etag, crc64 *string) error {
	if aws.ToString(etag) == "" {
		return odd("the answer has no ETag")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts[n] = types.CompletedPart{PartNumber: &n, ETag: etag, ChecksumCRC64NVME: crc64}
	return nil
}

func (u *uploader) Part(ctx context.Context, n int, body io.ReadSeeker, size int64) error {
	number, err := u.number(n)
	if err != nil {
		return err
	}
	if size > objstore.MaxPartSize {
		return fmt.Errorf("part %d of %s: %d bytes: %w", n, u.s.place(u.key), size, objstore.ErrTooLarge)
	}
	s := u.s
	c := s.writing(fmt.Sprintf("put part %d of", n), u.key, "s3:PutObject", objstore.Condition{}).on(u.enc)
	c.absent = objstore.ErrNoUpload
	return s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		data, err := a.send(body, size)
		if err != nil {
			return err
		}
		md5, err := s.digest(a, data, u.algorithm != "")
		if err != nil {
			return err
		}
		out, err := s.client.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: &s.cfg.Bucket, Key: &u.key, UploadId: &u.id, PartNumber: &number, Body: data, ContentLength: &size, ContentMD5: md5,
			ChecksumAlgorithm: u.algorithm, RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, u.options, s.with(u.enc.Reads()))
		if err != nil {
			return err
		}
		defer a.end()
		return u.sent(number, out.ETag, out.ChecksumCRC64NVME)
	})
}

func (u *uploader) CopyPart(ctx context.Context, n int, src objstore.ID, r objstore.Range) error {
	number, err := u.number(n)
	if err != nil {
		return err
	}
	span, err := u.span(ctx, src, r)
	if err != nil {
		return err
	}
	s := u.s
	c := s.writing(fmt.Sprintf("copy part %d of", n), u.key, "s3:GetObject on the source or s3:PutObject", objstore.Condition{}).on(u.enc).from(src.Encryption)
	c.slow, c.absent = true, objstore.ErrNotExist
	if src.VersionID != "" {
		c.absent = objstore.ErrChanged
	}
	return s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
			Bucket: &s.cfg.Bucket, Key: &u.key, UploadId: &u.id, PartNumber: &number,
			CopySource: s.source(src), CopySourceRange: some(span), CopySourceIfMatch: quoted(src.ETag),
			RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(), ExpectedSourceBucketOwner: s.owner(),
		}, s.options, s.with(u.enc.Reads(), src.Encryption.Sources()))
		if err != nil {
			return err
		}
		defer a.end()
		if out.CopyPartResult == nil {
			return odd("the answer has no CopyPartResult")
		}
		return u.sent(number, out.CopyPartResult.ETag, out.CopyPartResult.ChecksumCRC64NVME)
	})
}

// span is the range of a copied part, which needs both ends (Amazon S3 API
// Reference, UploadPartCopy); an open one is resolved by a HEAD of the source.
func (u *uploader) span(ctx context.Context, src objstore.ID, r objstore.Range) (string, error) {
	if err := errors.Join(objstore.CheckKey(src.Key), r.Check()); err != nil {
		return "", fmt.Errorf("copy part from %q: %w", src.Key, err)
	}
	if r == (objstore.Range{}) {
		return "", nil
	}
	if r.Len == 0 {
		info, err := u.s.head(ctx, src)
		if err != nil {
			return "", err
		}
		off, n := r.Of(info.Size)
		if n == 0 || r.Suffix > info.Size {
			return "", fmt.Errorf("copy part from %s: range %+v of %d bytes: %w", u.s.place(src.Key), r, info.Size, objstore.ErrInvalid)
		}
		r = objstore.Range{Off: off, Len: n}
	}
	return rangeHeader(r), nil
}

func (u *uploader) Complete(ctx context.Context, cond objstore.Condition) (got objstore.Receipt, err error) {
	s := u.s
	if cond.IfNone && cond.IfMatch != "" {
		return got, fmt.Errorf("complete %s: two conditions: %w", s.place(u.key), objstore.ErrInvalid)
	}
	parts := u.completed()
	if len(parts) == 0 {
		return got, fmt.Errorf("complete %s: no part was sent: %w", s.place(u.key), objstore.ErrInvalid)
	}
	c := s.writing("complete upload of", u.key, "s3:PutObject", cond).on(u.enc)
	c.slow = true
	in := &awss3.CompleteMultipartUploadInput{
		Bucket: &s.cfg.Bucket, Key: &u.key, UploadId: &u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		IfMatch: quoted(cond.IfMatch), IfNoneMatch: star(cond), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
	}
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.CompleteMultipartUpload(ctx, in, s.options, s.with(u.enc.Reads()))
		if err != nil {
			return err
		}
		defer a.end()
		got, err = made(u.key, aws.ToString(out.ETag), u.enc, out.ResultMetadata)
		return err
	})
	return got, err
}

// completed lists the parts in order.
func (u *uploader) completed() []types.CompletedPart {
	u.mu.Lock()
	defer u.mu.Unlock()
	parts := make([]types.CompletedPart, 0, len(u.parts))
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		parts = append(parts, u.parts[n])
	}
	return parts
}

func (u *uploader) Abort(ctx context.Context) error {
	s := u.s
	c := s.writing("abort upload of", u.key, "s3:AbortMultipartUpload", objstore.Condition{})
	c.absent = objstore.ErrNoUpload
	err := s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		_, err := s.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: &u.key, UploadId: &u.id, RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, s.options)
		if err == nil {
			a.end()
		}
		return err
	})
	if errors.Is(err, objstore.ErrNoUpload) {
		return nil
	}
	return err
}
