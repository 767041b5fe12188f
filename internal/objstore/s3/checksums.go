package s3

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Checksums is objstore.Checksummer's.
func (s *Store) Checksums(ctx context.Context, at objstore.ID) (got objstore.Checksums, err error) {
	if err := objstore.CheckKey(at.Key); err != nil {
		return got, fmt.Errorf("checksums of %w", err)
	}
	c := s.reading("checksums of", at.Key, "s3:GetObject").on(at.Encryption)
	if at.VersionID != "" {
		c.action, c.absent = "s3:GetObjectVersion", objstore.ErrChanged
	}
	err = s.do(ctx, c, func(ctx context.Context, a *attempt) error {
		out, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{
			Bucket: &s.cfg.Bucket, Key: &at.Key, IfMatch: quoted(at.ETag), VersionId: some(at.VersionID), ChecksumMode: types.ChecksumModeEnabled,
			RequestPayer: s.payer(), ExpectedBucketOwner: s.owner(),
		}, s.options, s.with(at.Encryption.Reads()))
		if err != nil {
			return err
		}
		defer a.end()
		got = checksums(header(out.ResultMetadata))
		return nil
	})
	return got, err
}

// checksums reads the headers. "…-3" is of the checksums of three parts.
func checksums(h http.Header) (got objstore.Checksums) {
	for name, size := range map[string]int{"crc64nvme": 8, "crc32": 4, "crc32c": 4, "sha1": 20, "sha256": 32} {
		text, _, parts := strings.Cut(h.Get("x-amz-checksum-"+name), "-")
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) != size {
			continue
		}
		if got.Sums == nil {
			got.Sums = map[string][]byte{}
		}
		got.Sums[name] = sum
		got.Parts = got.Parts || parts
	}
	got.Parts = got.Parts || strings.EqualFold(h.Get("x-amz-checksum-type"), "COMPOSITE")
	return got
}
