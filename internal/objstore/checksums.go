package objstore

import "context"

// Checksummer is what a Store also is that can tell the checksums that the server
// has kept of a body since it was sent (Amazon S3 User Guide, "Checking object
// integrity"). Of a body under a KMS key that takes kms:Decrypt. Errors are those
// of Head.
type Checksummer interface {
	Checksums(ctx context.Context, id ID) (Checksums, error)
}

// Checksums by algorithm: crc64nvme, crc32, crc32c, sha1 and sha256, as the raw
// bytes (big endian).
type Checksums struct {
	Sums map[string][]byte // nil where nothing was kept

	// Parts: they are of the checksums of the parts that were sent, not of the
	// body, so nobody can compute them from it alone.
	Parts bool
}
