package doctor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// ErrUntried: no upload may be begun here to see whether it is told of.
var ErrUntried = errors.New("no upload may be begun to try it")

// TellsUploads tells whether the server tells of uploads by a prefix of their keys.
// Some do so by the whole key alone, and their empty answer says nothing. It begins
// an upload in Scratch of the volume, looks for it, and gives it up.
func TellsUploads(ctx context.Context, store objstore.Store, root string, enc *objstore.Encryption) (bool, error) {
	b, ok := store.(objstore.Bucket)
	if !ok {
		return false, fmt.Errorf("list uploads: %w", objstore.ErrUnsupported)
	}
	name := make([]byte, 16)
	if _, err := rand.Read(name); err != nil {
		return false, err
	}
	up, err := store.Upload(ctx, Scratch(root)+hex.EncodeToString(name), objstore.PutOptions{Encryption: enc})
	if errors.Is(err, objstore.ErrAccess) {
		return false, fmt.Errorf("%w (%w)", ErrUntried, err)
	}
	if err != nil {
		return false, err
	}
	defer giveUp(ctx, up)
	for p, err := range b.Pending(ctx, Scratch(root)) {
		if err != nil {
			return false, err
		}
		if p.UploadID == up.UploadID() {
			return true, nil
		}
	}
	return false, nil
}

// giveUp aborts an upload. It has no parts, so one that stays costs nothing.
func giveUp(ctx context.Context, up objstore.Uploader) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	_ = up.Abort(ctx)
}
