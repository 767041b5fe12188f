package volume

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// TestReplayOfCopies: what a copy was made from may move between the close that
// failed and the replay. It is found where this host put it; if another host has
// taken it, nothing is committed.
func TestReplayOfCopies(t *testing.T) {
	text, other := noise(18*mib, 1), noise(19*mib, 2)
	changed := text[:9*mib] + "changed" + text[9*mib+7:]
	for _, tc := range []struct {
		name string
		do   func(f *fixture)
		gone bool // where there are no versions
	}{
		{"stays", func(*fixture) {}, false},
		{"renamed", func(f *fixture) { f.must(f.Rename(f.ctx, "src", "other", false)) }, false},
		{"removed", func(f *fixture) { f.must(f.Remove(f.ctx, "src")) }, false},
		{"replaced", func(f *fixture) { f.put("src", other) }, false},
		{"taken", func(f *fixture) { mount(f.t, f.mem, host("there"), f.alike).put("src", other) }, true},
	} {
		for _, name := range []string{"client", "none", "sse-c"} {
			for _, versioned := range []bool{false, true} {
				s := setupOf(name)
				t.Run(fmt.Sprintf("%s %s versioned=%v", tc.name, s.name, versioned), func(t *testing.T) {
					f := mountSpooled(t, kmsBucket(mem.Options{Versioned: versioned}), s.on)
					f.put("src", text)
					dst, err := f.copyTo("src", "a")
					f.must(err)
					f.write(dst, "changed", 9*mib)
					f.s.SetScript(func(op faulty.Op) faulty.Fault {
						if op.Verb.Writes() && op.Key == "a" {
							return faulty.Fault{Err: objstore.ErrUnreachable}
						}
						return faulty.Fault{}
					})
					wants(t, dst.Flush(f.ctx), objstore.ErrUnreachable)
					tc.do(f.fixture)
					_ = dst.Flush(f.ctx)
					r := f.remains()
					again := mount(t, f.mem, s.on, boot("1"), left(r))
					all := again.leftIn(r)
					if tc.gone && !versioned {
						again.absent("a")
						if len(all) != 1 {
							t.Fatalf("left: %+v", all)
						}
						_, err := NewRecovery(again.Volume, []*spool.Remains{r}).Replay(again.ctx, all[0].ID)
						wants(t, err, ErrPartial)
						got, gaps, err := again.exports(r, true)
						again.must(err)
						if !strings.Contains(got, "changed") || len(gaps) == 0 {
							t.Errorf("salvaged %d bytes with gaps %v", len(got), gaps)
						}
						return
					}
					again.has("a", changed)
					if len(all) != 0 {
						t.Errorf("left: %+v", all)
					}
					again.settle()
					again.noLeftovers()
				})
			}
		}
	}
}

// alike gives another host the same policy.
func (f *fixture) alike(o *Options) {
	o.Rules, o.Keys, o.S3ECKeys, o.Customers = f.opt.Rules, f.opt.Keys, f.opt.S3ECKeys, f.opt.Customers
}

// TestBodyThatIsKeptForAReplay: a removed file whose body lies under what is
// left for a person goes when that has gone, and not before.
func TestBodyThatIsKeptForAReplay(t *testing.T) {
	text := noise(18*mib, 1)
	f := mountSpooled(t, bucket())
	f.put("src", text)
	dst, err := f.copyTo("src", "a")
	f.must(err)
	f.must(f.Remove(f.ctx, "src"))
	piece := noise(spool.BlockSize, 3)
	f.write(dst, piece, 9*mib) // and it is never closed
	r := f.remains()
	changed := text[:9*mib] + piece + text[9*mib+len(piece):]
	for range 2 {
		again := mount(t, f.mem, boot("1"), left(r))
		again.absent("a")
		again.settle()
		again.end()
	}
	again := mount(t, f.mem, boot("1"), left(r))
	all := again.leftIn(r)
	if len(all) != 1 || !all[0].Open {
		t.Fatalf("left: %+v", all)
	}
	_, err = NewRecovery(again.Volume, []*spool.Remains{r}).Replay(again.ctx, all[0].ID)
	again.must(err)
	again.has("a", changed)
	again.settle()
	again.end()
	last := mount(t, f.mem, boot("1"), left(r))
	last.has("a", changed)
	last.settle()
	last.noLeftovers()
}
