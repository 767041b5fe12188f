package volume

import (
	"context"
	"hash"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// checksum gives what computes the checksum that the server keeps of a body, and
// that checksum; nil where it keeps none of the body as a whole.
func (v *Volume) checksum(context.Context, objstore.ID) (hash.Hash, []byte, error) {
	return nil, nil, nil
}
