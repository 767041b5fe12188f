package volume

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// In a bucket whose versioning is suspended whatever is written becomes the null
// version of its key, and the null version that was there, current or not, is gone
// (Amazon S3 User Guide, "Working with objects in a versioning-suspended bucket").
// What is brought back must not cost what can still be read of that.

// ErrNotKept: a copy would take the place of a version that would be gone then.
var ErrNotKept = errors.New("the bucket keeps no versions now, and its null version would be gone: enable versioning first")

// versioning is what a bucket says of its versions, asked once.
type versioning struct {
	mu     sync.Mutex // guards the rest
	asked  bool
	kept   bool
	denied error
}

// ask tells whether what is replaced is kept. denied: nobody tells.
func (k *versioning) ask(ctx context.Context, store objstore.Store) (kept bool, denied, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked {
		return k.kept, k.denied, nil
	}
	b, ok := store.(objstore.Bucket)
	if !ok {
		return false, objstore.ErrUnsupported, nil
	}
	state, err := b.Versioning(ctx)
	if errors.Is(err, ErrAccess) || errors.Is(err, ErrUnsupported) {
		k.denied, err = err, nil
	}
	k.asked, k.kept = err == nil, state == objstore.VersionsKept
	return k.kept, k.denied, err
}

// sparesNull tells whether a copy of the version source over what is at key leaves
// its null version, if there is one: ErrNotKept. Of itself a copy may be made.
// Where nobody tells how the bucket is set up, it counts as suspended.
func (x *Verifier) sparesNull(ctx context.Context, key, source string) error {
	store, ok := x.v.raw.(objstore.Versioner)
	if !ok || source == objstore.NullVersion {
		return nil
	}
	kept, denied, err := x.versioning.ask(ctx, x.v.raw)
	if err != nil || kept {
		return err
	}
	for ver, err := range store.Versions(ctx, objstore.ListOptions{Prefix: key}) {
		switch {
		case err != nil:
			return err
		case ver.Key != key || ver.Prefix != "":
			return nil
		case ver.VersionID != objstore.NullVersion || ver.Deleted:
		case denied != nil:
			return fmt.Errorf("%s: %w (as nobody tells otherwise: %w)", key, ErrNotKept, denied)
		default:
			return fmt.Errorf("%s: %w", key, ErrNotKept)
		}
	}
	return nil
}
