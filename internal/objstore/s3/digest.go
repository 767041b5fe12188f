package s3

import (
	"crypto/md5" //nolint:gosec // what S3 asks for, against damage on the way
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// Buckets with Object Lock take no body without a checksum or a Content-MD5
// (Amazon S3 API Reference, PutObject; "Managing Object Lock"): a PUT and each
// part. Where the server knows no checksum, or does not bear them, the header is
// sent once it has asked for it, and from then on: it costs a pass over every
// body, which is for those who need it.

// wantsDigest tells that refusal: 400 InvalidRequest of AWS, MissingContentMD5
// of others.
func wantsDigest(code, message string) bool {
	return code == "MissingContentMD5" ||
		code == "InvalidRequest" && strings.Contains(message, "Content-MD5") && strings.Contains(message, "required")
}

// keptByLock tells the refusal to remove what is under retention or a legal hold:
// 403 of AWS, of a version; 400 of MinIO, which keeps no versions of keys that end
// in a slash, so that those cannot be removed at all as long.
func keptByLock(code, message string) bool {
	return code == "AccessDenied" && strings.Contains(message, "protected by object lock") ||
		code == "InvalidRequest" && strings.Contains(message, "WORM protected")
}

// lockless tells the answer about locks of a bucket that keeps none: 400
// InvalidRequest, "Bucket is missing Object Lock Configuration" of AWS, in other
// words of MinIO (cmd/api-errors.go, ErrInvalidBucketObjectLockConfiguration).
func lockless(code, message string) bool {
	return code == "InvalidRequest" && strings.Contains(strings.ReplaceAll(message, " ", ""), "missingObjectLockConfig")
}

// digest is the Content-MD5 of a body that has no checksum, where the server
// wants one; nil where not. body is rewound.
func (s *Store) digest(a *attempt, body io.ReadSeeker, checksum bool) (*string, error) {
	if checksum || !s.locked.Load() {
		return nil, nil
	}
	h := md5.New() //nolint:gosec // see above
	if _, err := io.Copy(h, body); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	a.digest = true
	text := base64.StdEncoding.EncodeToString(h.Sum(nil))
	return &text, nil
}
