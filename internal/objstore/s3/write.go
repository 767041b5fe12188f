package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// check refuses what no server would take.
func check(verb, key string, opt objstore.PutOptions) error {
	err := errors.Join(objstore.CheckKey(key), objstore.CheckMetadata(opt.Metadata), objstore.CheckSystem(opt.System))
	if opt.Lock != nil {
		err = errors.Join(err, opt.Lock.Check())
	}
	if opt.Condition.IfNone && opt.Condition.IfMatch != "" {
		err = errors.Join(err, fmt.Errorf("two conditions: %w", objstore.ErrInvalid))
	}
	if err != nil {
		return fmt.Errorf("%s %.1100q: %w", verb, key, err)
	}
	return nil
}

func contentType(opt objstore.PutOptions) string {
	if t := opt.System["content-type"]; t != "" {
		return t
	}
	return "application/octet-stream"
}

// with sets headers in one request, before it is signed: those of encryption,
// which nothing here needs to understand, and system metadata. A key never goes
// over a wire that anybody may read.
func (s *Store) with(sets ...map[string]string) func(*awss3.Options) {
	return func(o *awss3.Options) {
		for _, set := range sets {
			if s.bare && secret(set) {
				o.APIOptions = append(o.APIOptions, func(*middleware.Stack) error { return errPlainHTTP })
			}
			for name, value := range set {
				o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue(name, value))
			}
		}
	}
}

var errPlainHTTP = fmt.Errorf("a key of SSE-C goes over HTTPS only, and the endpoint is plain http: %w", objstore.ErrInvalid)

// making are the headers of a request that makes an object.
func (s *Store) making(opt objstore.PutOptions) func(*awss3.Options) {
	return s.with(opt.System, map[string]string{"content-type": contentType(opt)}, opt.Encryption.Writes(), locking(opt.Lock))
}

// locking are the headers of a lock; nil is that of the bucket.
func locking(l *objstore.Lock) map[string]string {
	if l == nil || *l == (objstore.Lock{}) {
		return nil
	}
	h := map[string]string{}
	if l.Mode != "" {
		h["x-amz-object-lock-mode"] = l.Mode
		h["x-amz-object-lock-retain-until-date"] = l.Until.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if l.LegalHold {
		h["x-amz-object-lock-legal-hold"] = "ON"
	}
	return h
}

// puts is the permission that a request which makes an object takes.
func puts(opt objstore.PutOptions) string {
	action := "s3:PutObject"
	if len(opt.Tags) > 0 {
		action += " or s3:PutObjectTagging"
	}
	if opt.Lock != nil && opt.Lock.Mode != "" {
		action += " or s3:PutObjectRetention"
	}
	if opt.Lock != nil && opt.Lock.LegalHold {
		action += " or s3:PutObjectLegalHold"
	}
	return action
}

// tagging is a set of tags as a header has it; nil is none.
func tagging(tags map[string]string) *string {
	if len(tags) == 0 {
		return nil
	}
	set := url.Values{}
	for k, v := range tags {
		set.Set(k, v)
	}
	return aws.String(set.Encode())
}

// star is If-None-Match: * or nothing.
func star(cond objstore.Condition) *string {
	if cond.IfNone {
		return aws.String("*")
	}
	return nil
}

// made gives the receipt of what was written. Without an ETag nobody can say what
// is there now.
func made(key, etag string, enc *objstore.Encryption, md middleware.Metadata) (objstore.Receipt, error) {
	h := header(md)
	got := objstore.Receipt{ID: id(key, etag, h.Get("X-Amz-Version-Id")), Answered: dated(h), Encrypted: encrypted(h)}
	got.Encryption = enc
	if got.ETag == "" {
		return got, odd("the answer has no ETag")
	}
	return got, nil
}

// Put is objstore.Store's.
func (s *Store) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (got objstore.Receipt, err error) {
	if err := check("put", key, opt); err != nil {
		return got, err
	}
	if size > objstore.MaxPartSize {
		return got, fmt.Errorf("put %s: %d bytes at once: %w", s.place(key), size, objstore.ErrTooLarge)
	}
	c := s.writing("put", key, puts(opt), opt.Condition).making(opt.Encryption)
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		data, err := a.send(body, size)
		if err != nil {
			return err
		}
		md5, err := s.digest(a, data, s.algorithm(plainUploads) != "")
		if err != nil {
			return err
		}
		out, err := s.client.PutObject(ctx, &awss3.PutObjectInput{
			Bucket: &s.cfg.Bucket, Key: &key, Body: data, ContentLength: &size, ContentMD5: md5,
			Metadata: opt.Metadata, StorageClass: types.StorageClass(opt.StorageClass),
			IfMatch: quoted(opt.Condition.IfMatch), IfNoneMatch: star(opt.Condition), ChecksumAlgorithm: s.algorithm(plainUploads),
			RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(), Tagging: tagging(opt.Tags),
		}, s.options, s.making(opt))
		if err != nil {
			return err
		}
		defer a.end()
		got, err = made(key, aws.ToString(out.ETag), opt.Encryption, out.ResultMetadata)
		return err
	})
	return got, err
}

// source is a copy's source: bucket/key, escaped to the last byte that might
// mean something to a server, '+' among them.
func (s *Store) source(src objstore.ID) *string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	path := sourcePrefix(s.cfg.Bucket) + src.Key
	for i := range len(path) {
		c := path[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString(string([]byte{'%', hex[c>>4], hex[c&15]}))
	}
	if src.VersionID != "" {
		b.WriteString("?versionId=" + src.VersionID)
	}
	return aws.String(b.String())
}

// Copy is objstore.Store's.
func (s *Store) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (got objstore.Receipt, err error) {
	if err := errors.Join(objstore.CheckKey(src.Key), check("copy", dst, opt)); err != nil {
		return got, err
	}
	c := s.writing("copy", dst, "s3:GetObject on the source or "+puts(opt)+" on the destination", opt.Condition)
	c = c.making(opt.Encryption).from(src.Encryption)
	c.slow = true
	c.absent = objstore.ErrNotExist
	if src.VersionID != "" {
		c.absent = objstore.ErrChanged
	}
	in := &awss3.CopyObjectInput{
		Bucket: &s.cfg.Bucket, Key: &dst, CopySource: s.source(src), CopySourceIfMatch: quoted(src.ETag),
		IfMatch: quoted(opt.Condition.IfMatch), IfNoneMatch: star(opt.Condition),
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: opt.Metadata,
		StorageClass: types.StorageClass(opt.StorageClass), RequestPayer: s.payer(),
		ExpectedBucketOwner: s.owner(), ExpectedSourceBucketOwner: s.owner(),
	}
	if opt.Tags != nil {
		in.TaggingDirective, in.Tagging = types.TaggingDirectiveReplace, tagging(opt.Tags)
	}
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.CopyObject(ctx, in, s.options, s.making(opt), s.with(src.Encryption.Sources()))
		if err != nil {
			return err
		}
		defer a.end()
		if out.CopyObjectResult == nil {
			return odd("the answer has no CopyObjectResult")
		}
		got, err = made(dst, aws.ToString(out.CopyObjectResult.ETag), opt.Encryption, out.ResultMetadata)
		return err
	})
	if err != nil && opt.Condition != (objstore.Condition{}) {
		err = s.whose(ctx, src, opt.Condition, err)
	}
	return got, err
}

// whose finds out whether a condition of the source or of the destination did
// not hold: both are 412 (or 404), and only a look at the source can tell.
func (s *Store) whose(ctx context.Context, src objstore.ID, cond objstore.Condition, err error) error {
	held := errors.Is(err, objstore.ErrExist) || errors.Is(err, objstore.ErrChanged)
	if !held && !errors.Is(err, objstore.ErrNotExist) {
		return err
	}
	_, seen := s.head(ctx, src)
	switch {
	case errors.Is(seen, objstore.ErrNotExist):
		return again(seen, err)
	case errors.Is(seen, objstore.ErrChanged):
		return again(seen, err)
	case seen == nil && !held && cond.IfMatch != "":
		return again(fmt.Errorf("copy: nothing at the destination: %w", objstore.ErrChanged), err)
	}
	return err
}

// again replaces err, but for its doubt.
func again(by, err error) error {
	if errors.Is(err, objstore.ErrUnknown) {
		return fmt.Errorf("%w; an earlier attempt was not answered: %w", by, objstore.ErrUnknown)
	}
	return by
}

// Delete is objstore.Store's.
func (s *Store) Delete(ctx context.Context, at objstore.ID, cond objstore.Condition) error {
	key := at.Key
	if err := check("delete", key, objstore.PutOptions{}); err != nil {
		return err
	}
	if cond.IfNone {
		return fmt.Errorf("delete %s: %w", s.place(key), objstore.ErrInvalid)
	}
	c := s.writing("delete", key, "s3:DeleteObject", cond)
	c.absent = objstore.ErrNotExist
	err := s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		_, err := s.client.DeleteObject(ctx, &awss3.DeleteObjectInput{
			Bucket: &s.cfg.Bucket, Key: &key, VersionId: some(at.VersionID), IfMatch: quoted(cond.IfMatch), RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, s.options)
		if err == nil {
			a.end()
		}
		return err
	})
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return nil // gone, as was asked
	case errors.Is(err, objstore.ErrChanged):
		// Some servers say 412 of what is not there.
		if _, seen := s.Head(ctx, objstore.ID{Key: key, Encryption: at.Encryption}); errors.Is(seen, objstore.ErrNotExist) {
			return nil
		}
	}
	return err
}
