package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// proven is how long the bucket is believed to exist after it has shown so:
// a HEAD says 404 for a missing key and for a missing bucket alike.
const proven = time.Minute

// Head is objstore.Store's.
func (s *Store) Head(ctx context.Context, at objstore.ID) (objstore.Info, error) {
	if err := objstore.CheckKey(at.Key); err != nil {
		return objstore.Info{}, fmt.Errorf("head %w", err)
	}
	info, err := s.head(ctx, at)
	if errors.Is(err, objstore.ErrNotExist) && time.Since(time.Unix(0, s.seen.Load())) < proven {
		return info, err
	}
	if mute(err) && ctx.Err() == nil {
		return s.explain(ctx, at)
	}
	return info, err
}

// mute tells whether err may be one of those that HEAD, which has no body,
// could not put into words: missing bucket, expired token, wrong region.
func mute(err error) bool {
	for _, e := range []error{objstore.ErrNotExist, objstore.ErrInvalid, objstore.ErrAccess} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// explain asks by GET for one byte what HEAD did not say.
func (s *Store) explain(ctx context.Context, at objstore.ID) (objstore.Info, error) {
	info, _, body, err := s.Get(ctx, at, objstore.Range{Len: 1})
	if err != nil {
		return objstore.Info{}, err
	}
	_ = body.Close()
	return info, nil
}

func (s *Store) head(ctx context.Context, at objstore.ID) (got objstore.Info, err error) {
	in := &awss3.HeadObjectInput{
		Bucket: &s.cfg.Bucket, Key: &at.Key, IfMatch: quoted(at.ETag), VersionId: some(at.VersionID),
		RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
	}
	c := s.reading("head", at.Key, "s3:GetObject (or s3:ListBucket, if nothing is there)").on(at.Encryption)
	if at.VersionID != "" {
		c.action, c.absent = "s3:GetObjectVersion", objstore.ErrChanged
	}
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.HeadObject(ctx, in, s.options, s.with(at.Encryption.Reads()))
		if err != nil {
			return err
		}
		defer a.end()
		h := header(out.ResultMetadata)
		got = info(at, h)
		if out.ContentLength == nil || *out.ContentLength < 0 {
			return odd("the answer has no Content-Length")
		}
		if got.ETag == "" {
			return odd("the answer has no ETag")
		}
		got.Size = *out.ContentLength
		return nil
	})
	return got, err
}

// Get is objstore.Store's.
func (s *Store) Get(ctx context.Context, at objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	if err := errors.Join(objstore.CheckKey(at.Key), r.Check()); err != nil {
		return objstore.Info{}, 0, nil, fmt.Errorf("get %q: %w", at.Key, err)
	}
	got, err := s.open(ctx, at, r)
	if err != nil {
		return objstore.Info{}, 0, nil, err
	}
	if got.past {
		return s.nothing(ctx, at, r)
	}
	pinned := got.info.ID
	return got.info, got.off, &body{ctx: ctx, s: s, id: pinned, at: got.off, end: got.off + got.n, from: got.body}, nil
}

// nothing answers a range beyond the end, where 416 says neither size nor
// metadata everywhere.
func (s *Store) nothing(ctx context.Context, at objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	got, err := s.head(ctx, at)
	if err != nil {
		return objstore.Info{}, 0, nil, err
	}
	if off, n := r.Of(got.Size); n > 0 {
		return objstore.Info{}, 0, nil, fmt.Errorf("get %s: changed from under %d bytes: %w", s.place(at.Key), off, objstore.ErrChanged)
	}
	return got, got.Size, io.NopCloser(eof{}), nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// opened is the answer to a GET: n bytes from off.
type opened struct {
	info   objstore.Info
	off, n int64
	body   io.ReadCloser
	past   bool // or nothing: the range lies behind the end
}

// open asks for a range, until an answer begins.
func (s *Store) open(ctx context.Context, at objstore.ID, r objstore.Range) (got opened, err error) {
	in := &awss3.GetObjectInput{
		Bucket: &s.cfg.Bucket, Key: &at.Key, IfMatch: quoted(at.ETag), VersionId: some(at.VersionID), Range: some(rangeHeader(r)),
		RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
	}
	c := s.reading("get", at.Key, "s3:GetObject").on(at.Encryption)
	c.reads = true
	if at.VersionID != "" {
		c.action, c.absent = "s3:GetObjectVersion", objstore.ErrChanged
	}
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.GetObject(ctx, in, s.options, s.with(at.Encryption.Reads()))
		if status(err) == 416 {
			a.end()
			got.past = true
			return nil
		}
		if err != nil {
			return err
		}
		a.answered()
		got, err = accept(at, r, out)
		got.body = downward{a: a, ReadCloser: out.Body}
		if err != nil {
			_ = got.body.Close()
		}
		return err
	})
	return got, err
}

// rangeHeader puts r as RFC 9110, 14.1.2 has it.
func rangeHeader(r objstore.Range) string {
	switch {
	case r.Suffix > 0:
		return fmt.Sprintf("bytes=-%d", r.Suffix)
	case r.Len > 0 && r.Off <= math.MaxInt64-r.Len:
		return fmt.Sprintf("bytes=%d-%d", r.Off, r.Off+r.Len-1)
	case r.Off > 0:
		return fmt.Sprintf("bytes=%d-", r.Off)
	}
	return ""
}

// accept checks that an answer is the one to the question: the body, the
// range, and the length of both.
func accept(at objstore.ID, r objstore.Range, out *awss3.GetObjectOutput) (opened, error) {
	h := header(out.ResultMetadata)
	got := opened{info: info(at, h)}
	if got.info.ETag == "" { // MinIO gives some errors as if they were the body
		return got, odd("the answer has no ETag")
	}
	length := int64(-1)
	if out.ContentLength != nil {
		length = *out.ContentLength
	}
	if s := h.Get("Content-Range"); s != "" {
		first, last, size, ok := contentRange(s)
		if !ok {
			return got, odd("the answer has Content-Range %.60q", s)
		}
		got.off, got.n, got.info.Size = first, last-first+1, size
	} else if length < 0 {
		return got, odd("the answer has no length")
	} else {
		got.n, got.info.Size = length, length
	}
	if length >= 0 && length != got.n {
		return got, odd("the answer has Content-Length %d for %d bytes", length, got.n)
	}
	if off, n := r.Of(got.info.Size); got.off != off || got.n != n {
		if h.Get("Content-Range") == "" && n > 0 {
			return got, fmt.Errorf("the server does not know ranges: %w", objstore.ErrUnsupported)
		} else if h.Get("Content-Range") == "" && got.info.Size > 0 { // all of it for a range behind the end
			return got, fmt.Errorf("the server does not know ranges: %w", objstore.ErrUnsupported)
		}
		return got, odd("asked for %d bytes at %d, the answer has %d at %d", n, off, got.n, got.off)
	}
	if at.ETag != "" && got.info.ETag != at.ETag || at.VersionID != "" && got.info.VersionID != at.VersionID {
		return got, fmt.Errorf("the answer has another body, If-Match was ignored: %w", objstore.ErrChanged)
	}
	return got, nil
}
