// Package raw is what a program does that knows S3 and wants speed alone: parts
// and ranges through AWS's SDK, several in flight, nothing mounted, nothing
// encrypted, nothing on disk. It is the measure beside which a filesystem on S3
// is put.
package raw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// ErrDiffers says that what was read is not what was written.
var ErrDiffers = errors.New("the content differs")

// Part is how many bytes a part or a range has.
const Part = 8 << 20

// A Client moves objects of one bucket. Safe for concurrent use.
type Client struct {
	S3     *s3.Client
	Bucket string
	Flight int // parts or ranges at once, in each call
}

// Write puts data under key, as a multipart upload where it is larger than a
// part.
func (c *Client) Write(ctx context.Context, key string, data []byte) error {
	if len(data) <= Part {
		_, err := c.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &c.Bucket, Key: &key, Body: bytes.NewReader(data)})
		return err
	}
	up, err := c.S3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &c.Bucket, Key: &key})
	if err != nil {
		return err
	}
	parts := make([]types.CompletedPart, pieces(int64(len(data))))
	err = c.each(ctx, len(parts), func(ctx context.Context, i int) error {
		number := int32(i + 1)
		out, err := c.S3.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &c.Bucket, Key: &key, UploadId: up.UploadId, PartNumber: &number, Body: bytes.NewReader(piece(data, i)),
		})
		if err == nil {
			parts[i] = types.CompletedPart{
				PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = c.S3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &c.Bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// Read gets the object under key and compares it with want.
func (c *Client) Read(ctx context.Context, key string, want []byte) error {
	buffers := sync.Pool{New: func() any { b := make([]byte, Part); return &b }}
	return c.each(ctx, pieces(int64(len(want))), func(ctx context.Context, i int) error {
		buffer := buffers.Get().(*[]byte)
		defer buffers.Put(buffer)
		right := piece(want, i)
		p := (*buffer)[:len(right)]
		if err := c.readAt(ctx, key, int64(i)*Part, p); err != nil {
			return err
		}
		if !bytes.Equal(p, right) {
			return fmt.Errorf("%s, range %d: %w", key, i, ErrDiffers)
		}
		return nil
	})
}

// Random reads n times size bytes, one after the other, at the places that
// Places gives, and tells how long each took.
func (c *Client) Random(ctx context.Context, key string, want []byte, n, size int) ([]time.Duration, error) {
	p := make([]byte, size)
	var took []time.Duration
	for off := range Places(int64(len(want)), n, size) {
		began := time.Now()
		if err := c.readAt(ctx, key, off, p); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if !bytes.Equal(p, want[off:off+int64(size)]) {
			return nil, fmt.Errorf("%s at %d: %w", key, off, ErrDiffers)
		}
	}
	return took, nil
}

// Places are n offsets of blocks of size bytes in a file of total bytes, the
// same in each run.
func Places(total int64, n, size int) func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		random := rand.New(rand.NewPCG(1, 2))
		for range n {
			if !yield(random.Int64N(total/int64(size)) * int64(size)) {
				return
			}
		}
	}
}

// Percentile is that of times; p is at most 100.
func Percentile(times []time.Duration, p int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func (c *Client) readAt(ctx context.Context, key string, off int64, p []byte) error {
	bytes := fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)
	out, err := c.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &c.Bucket, Key: &key, Range: &bytes})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	_, err = io.ReadFull(out.Body, p)
	return err
}

// each calls do for 0 to n-1, Flight at once, until one fails.
func (c *Client) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Flight)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

func pieces(size int64) int { return int((size + Part - 1) / Part) }

func piece(data []byte, i int) []byte {
	from := int64(i) * Part
	return data[from:min(from+Part, int64(len(data)))]
}
