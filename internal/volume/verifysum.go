package volume

import (
	"context"
	"crypto/sha1" //nolint:gosec // what S3 keeps where it was asked for; beside it nothing else
	"crypto/sha256"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// crc64nvme is the polynomial of CRC-64/NVME, reflected (NVM Express, NVM
// Command Set Specification 1.0b, 5.2.1.3.4).
const crc64nvme = 0x9a6c9329ac4bc9b5

// bodySums are the checksums that S3 keeps, by its names, in the order in which they
// are taken.
func bodySums() []bodySum {
	return []bodySum{
		{"sha256", sha256.New},
		{"crc64nvme", func() hash.Hash { return crc64.New(crc64.MakeTable(crc64nvme)) }},
		{"crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
		{"crc32", func() hash.Hash { return crc32.NewIEEE() }},
		{"sha1", sha1.New},
	}
}

type bodySum struct {
	name  string
	begin func() hash.Hash
}

// checksum gives what computes the checksum that the server keeps of a body, and
// that checksum; nil where it keeps none of the body as a whole, or does not tell.
func (v *Volume) checksum(ctx context.Context, id objstore.ID) (hash.Hash, []byte, error) {
	store, ok := v.raw.(objstore.Checksummer)
	if !ok {
		return nil, nil, nil
	}
	kept, err := store.Checksums(ctx, id)
	switch {
	case errors.Is(err, ErrAccess) || errors.Is(err, ErrUnsupported):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case kept.Parts:
		return nil, nil, nil
	}
	for _, s := range bodySums() {
		if want := kept.Sums[s.name]; len(want) > 0 {
			return s.begin(), want, nil
		}
	}
	return nil, nil, nil
}
