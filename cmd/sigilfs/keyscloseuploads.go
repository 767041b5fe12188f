package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// A multipart upload shows what it carries only when it has ended. One that was
// begun while hosts sealed under an epoch, and ends during the look at a key that
// this has passed, would not be seen at all: so it is asked for before. One that
// is begun later carries no retired epoch.

// uploads says why nothing may be closed: an upload that may carry what is to be.
func (c *closing) uploads(ctx context.Context, since time.Time) (refused string, err error) {
	if refused, err = pendingUpload(ctx, c.store, c.set.volumeRoot, since); refused != "" || err != nil {
		return refused, err
	}
	return recordedUpload(ctx, c.store, c.places.Within)
}

// pendingUpload looks for one below root that the server tells of and that was
// begun before a time. A server that tells of none leaves it to the records.
func pendingUpload(ctx context.Context, store objstore.Store, root string, before time.Time) (refused string, err error) {
	b, ok := store.(objstore.Bucket)
	if !ok {
		return "", nil
	}
	for u, err := range b.Pending(ctx, root) {
		switch {
		case errors.Is(err, objstore.ErrUnsupported):
			return "", nil
		case errors.Is(err, objstore.ErrAccess):
			return fmt.Sprintf("multipart uploads that are under way may carry one, and cannot be asked for: %s; grant s3:ListBucketMultipartUploads (keys close EPOCH… --force does not look)", oneLine(err)), nil
		case err != nil:
			return "", err
		case u.Began.Before(before):
			return fmt.Sprintf("a multipart upload of %q has been under way since %s, and may carry one: wait for it, or abort it", u.Key, u.Began.UTC().Format("2006-01-02 15:04Z")), nil
		}
	}
	return "", nil
}

// recordedUpload looks for one that some mount has recorded at the places.
func recordedUpload(ctx context.Context, store objstore.Store, places []string) (refused string, err error) {
	for _, at := range places {
		for e, err := range store.List(ctx, objstore.ListOptions{Prefix: at + ".sigil/uploads/"}) {
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("an upload that %q records is under way, or was left behind, and may carry one: wait for it; what a crash left, the next mount of its host ends", e.Key), nil
		}
	}
	return "", nil
}
