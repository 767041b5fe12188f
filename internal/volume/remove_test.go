package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// TestRemovalThatNobodyHeardOf: a file with changes that are not committed yet has
// gone with its object, also where the answer to its removal was lost.
func TestRemovalThatNobodyHeardOf(t *testing.T) {
	f := mountIdle(t, bucket()) // nobody commits the rest
	f.put("a", "text")
	file, err := f.Open(f.ctx, "a", OpenOptions{Write: true})
	f.must(err)
	f.must(file.Truncate(f.ctx, 0))
	file.Release()
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Delete {
			return faulty.Fault{Lost: true}
		}
		return faulty.Fault{Err: objstore.ErrUnreachable}
	})
	wants(t, f.Remove(f.ctx, "a"), objstore.ErrUnknown)
	f.s.SetScript(nil)
	if got := f.list(""); len(got) > 0 {
		t.Errorf("shows %v", got)
	}
	wants(t, f.Remove(f.ctx, "a"), ErrNotExist)
	f.absent("a")
	if got := f.mem.Keys(); len(got) > 0 {
		t.Errorf("the bucket holds %v", got)
	}
}
