package volume

import (
	"context"
	"errors"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// TestRenameDirKeepsForeignWrites: what another host writes below a directory
// between its copy and the removal of the source is not removed.
func TestRenameDirKeepsForeignWrites(t *testing.T) {
	f := mount(t, bucket())
	f.mkdir("d")
	f.put("d/a", "a")
	f.put("d/b", "b")
	other := mount(t, f.mem, host("there"))
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Delete && other.stat("d/b").Size == 1 {
			other.put("d/b", "newer")
		}
		return faulty.Fault{}
	})
	f.rename("d", "e")
	f.healed()
	f.has("e/a", "a")
	f.has("e/b", "b")
	f.has("d/b", "newer")
	f.noLeftovers()
}

// TestChmodOfRemovedDirectory: that another host has removed the directory is
// said as such.
func TestChmodOfRemovedDirectory(t *testing.T) {
	f := mount(t, bucket(), long)
	f.mkdir("d")
	other := mount(t, f.mem, host("there"))
	f.must(other.Rmdir(f.ctx, "d"))
	wants(t, errOf(f.SetAttr(f.ctx, "d", Change{Mode: ptr[uint32](0o700)})), ErrNotExist)
	f.absent("d")
}

// TestUnknownIsNotGone: a handle whose body was removed is told that it is gone only
// by a clean answer.
func TestUnknownIsNotGone(t *testing.T) {
	for _, tc := range []error{objstore.ErrThrottled, context.Canceled} {
		f := mount(t, bucket())
		text := noise(300<<10, 3)
		f.put("a", text)
		file := f.open("a")
		other := mount(t, f.mem, host("there"))
		other.rename("a", "b")
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Get && op.OfAll == 2 {
				return faulty.Fault{Err: tc}
			}
			return faulty.Fault{}
		})
		f.s.Reset()
		_, err := textOf(f.ctx, file)
		if !errors.Is(err, tc) || errors.Is(err, ErrChanged) {
			t.Errorf("%v, want %v", err, tc)
		}
		f.healed()
		wants(t, errOf(textOf(f.ctx, file)), ErrChanged)
		file.Release()
	}
}
