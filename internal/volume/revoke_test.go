package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// TestRevoke: who has a file open reads it no more once its key is gone, what
// the cache has included, and goes on when the key is back.
func TestRevoke(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	f := mount(t, bucket(), keys(k), long)
	f.put("a", "secret")
	file := f.open("a")
	defer file.Release()
	f.reads(file, "secret")
	was := k.epochs
	k.epochs, k.fail = nil, ErrAccess
	f.Revoke(epoch(1).ID)
	_, err := textOf(f.ctx, file)
	wants(t, err, ErrAccess)
	_, err = f.Stat(f.ctx, "a")
	wants(t, err, ErrAccess)
	k.epochs, k.fail = was, nil
	f.reads(file, "secret")
	f.has("a", "secret")
}
