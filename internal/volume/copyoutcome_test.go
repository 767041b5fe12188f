package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// TestCopyMeetsAnotherHost: the copy that comes second is saved beside.
func TestCopyMeetsAnotherHost(t *testing.T) {
	inSetups(t, func(t *testing.T, s *setup) {
		f := mount(t, s.store(), s.on)
		text := noise(18*mib, 1)
		f.put("a", text)
		dst, err := f.copyTo("a", "b")
		f.must(err)
		mount(t, f.mem, s.on, host("there")).put("b", "theirs")
		wants(t, dst.Flush(f.ctx), ErrChanged)
		dst.Release()
		f.has("b", "theirs")
		if _, got := f.conflictCopy(); got != text {
			t.Error("the conflict copy is not what was copied")
		}
	})
}

// TestCopyOfUnknownOutcome: a copy whose answer was lost is not made twice, and
// is nobody else's.
func TestCopyOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	inSetups(t, func(t *testing.T, s *setup) {
		f := mount(t, s.store(), s.on)
		text := noise(18*mib, 1)
		f.put("a", text)
		dst, err := f.copyTo("a", "b")
		f.must(err)
		f.down()
		if dst.Flush(f.ctx) == nil {
			t.Fatal("done without a store")
		}
		f.healed()
		f.must(dst.Flush(f.ctx))
		dst.Release()
		f.isCopy("a", "b", text)
		if n := len(f.list("")); n != 2 {
			t.Errorf("%d names", n)
		}
	})
}

// TestMarksOfCopies: however often the commit of a copy fails, its note stays
// short enough to be written.
func TestMarksOfCopies(t *testing.T) {
	text := noise(300<<10, 1)
	f := lending(mount(t, bucket()))
	f.put("a", text)
	dst, err := f.copyTo("a", "b")
	f.must(err)
	f.unwritable("b")
	for range maxSent {
		wants(t, dst.Commit(f.ctx), objstore.ErrUnreachable)
	}
	dst.mu.Lock()
	n := len(dst.compose().Origin.Sent)
	dst.mu.Unlock()
	if n > maxSent {
		t.Errorf("%d marks", n)
	}
	f.healed()
	f.must(dst.Flush(f.ctx))
	dst.Release()
	f.has("b", text)
}

// TestCopyDuringChmod: between what the store has done and its answer this
// host's own change of attributes takes no body from anybody.
func TestCopyDuringChmod(t *testing.T) {
	text := noise(300<<10, 1)
	for _, name := range []string{"client", "none", "sse-kms silent", "s3ec"} {
		t.Run(name, func(t *testing.T) {
			s := setupOf(name)
			f := lending(mount(t, s.store(), s.on))
			f.put("a", text)
			dst, err := f.copyTo("a", "b")
			f.must(err)
			flushed := error(nil)
			f.s.SetScript(func(op faulty.Op) faulty.Fault {
				if op.Verb != faulty.Copy || op.Key != "a" {
					return faulty.Fault{}
				}
				return faulty.Fault{After: func(err error) error {
					flushed = dst.Flush(f.ctx)
					return err
				}}
			})
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
			f.must(flushed)
			dst.Release()
			f.has("b", text)
		})
	}
}

// TestSameCopyByAnotherHost: of a copy whose outcome is unknown the one that
// another host made of the same body is told apart.
func TestSameCopyByAnotherHost(t *testing.T) {
	text := noise(300<<10, 1)
	f := lending(mount(t, bucket()))
	f.put("a", text)
	dst, err := f.copyTo("a", "b")
	f.must(err)
	f.failing(objstore.ErrUnknown, false, faulty.Copy)
	wants(t, dst.Commit(f.ctx), objstore.ErrUnknown)
	f.healed()
	there := lending(mount(t, f.mem, host("there"), f.alike))
	there.must(there.cp("a", "b"))
	f.write(dst, "changed", 0)
	wants(t, dst.Flush(f.ctx), ErrChanged)
	dst.Release()
	there.has("b", text)
	if _, got := f.conflictCopy(); got != "changed"+text[7:] {
		t.Error("the conflict copy is not what was written")
	}
}
