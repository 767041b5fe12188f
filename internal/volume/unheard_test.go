package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// TestUnheardChmod: an attribute change that was done, though nobody could be
// asked, makes no other host's version of the file for those who have it open.
func TestUnheardChmod(t *testing.T) { inSetups(t, testUnheardChmod) }

func testUnheardChmod(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	f.put("a", "text")
	file := f.open("a")
	down := false
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		switch {
		case down:
			x.Err = objstore.ErrUnreachable
		case op.Verb == faulty.Copy:
			down = true
			x.Lost = true
		}
		return x
	})
	if _, err := f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)}); err == nil {
		t.Fatal("confirmed what nobody knows")
	}
	f.healed()
	f.must(file.Truncate(f.ctx, 2))
	f.has("a", "te")
	f.must(file.Commit(f.ctx))
	file.Release()
	f.lists("", "a")
	mount(t, f.mem, s.on, host("there")).has("a", "te")
}
