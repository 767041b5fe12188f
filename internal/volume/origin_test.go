package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// TestReplayOfCopies: what a copy was made from may move between the close that
// failed and the replay. It is found where this host put it; if another host has
// taken it, nothing is committed.
func TestReplayOfCopies(t *testing.T) {
	t.Parallel()
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
					f.unwritable("a")
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

// TestCopyOfRemoved: where a body lies since its name has gone does not make it
// one of another rule, neither for the commit nor for a replay.
func TestCopyOfRemoved(t *testing.T) {
	text := noise(300<<10, 1)
	ks := func(n byte) *fakeKeys { return &fakeKeys{epochs: []sigil.Epoch{epoch(n)}} }
	for name, rules := range map[string][2]Rule{ // of the root, and of the source
		"none":        {{Mode: "client", Keys: ks(1)}, {Mode: "none"}},
		"other keys":  {{Mode: "client", Keys: ks(1)}, {Mode: "client", Keys: ks(2)}},
		"other s3ec":  {{Mode: "s3ec", S3EC: &S3EC{Key: aesKey(1)}}, {Mode: "s3ec", S3EC: &S3EC{Key: aesKey(2)}}},
		"from client": {{Mode: "none"}, {Mode: "client", Keys: ks(2)}},
	} {
		for _, crash := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s crash=%v", name, crash), func(t *testing.T) {
				from := rules[1]
				from.Prefix = "from/"
				on := func(o *Options) {
					o.Keys = &fakeKeys{epochs: []sigil.Epoch{epoch(1), epoch(2)}}
					o.S3ECKeys, o.Rules = s3ec.Keyring{aesKey(1), aesKey(2)}, []Rule{rules[0], from}
				}
				m := bucket()
				f := mountSpooled(t, m, on)
				lending(f.fixture)
				f.mkdir("from")
				f.put("from/a", text)
				dek := [32]byte{}
				if from.Keys != nil {
					dek = f.record("from/a").DEK
				}
				dst, err := f.copyTo("from/a", "b")
				f.must(err)
				again := f.fixture
				if crash {
					f.unwritable("b")
					f.must(f.Remove(f.ctx, "from/a"))
					wants(t, dst.Flush(f.ctx), objstore.ErrUnreachable)
					again = mount(t, f.mem, on, boot("1"), left(f.remains()))
				} else {
					f.must(f.Remove(f.ctx, "from/a"))
					f.must(dst.Flush(f.ctx))
					dst.Release()
				}
				again.has("b", text)
				if mode := again.stat("b").Sigil["mode"]; mode != rules[0].Mode {
					t.Errorf("is %s, not %s", mode, rules[0].Mode)
				}
				if rules[0].Keys != nil && from.Keys != nil && again.record("b").DEK == dek {
					t.Error("the data key went to other master keys")
				}
				if rules[0].S3EC != nil {
					only := mount(t, m, host("there"), func(o *Options) {
						on(o)
						o.S3ECKeys = s3ec.Keyring{aesKey(1)}
					})
					only.has("b", text)
				}
			})
		}
	}
}

// TestCopyDuringCommit: what is copied into a file while it is committed is not
// taken for the body under what the commit has written: a replay reads that.
func TestCopyDuringCommit(t *testing.T) {
	text := noise(34*mib, 1)
	piece := noise(spool.BlockSize, 3)
	for _, over := range []bool{true, false} { // another range that was copied
		f := mountSpooled(t, bucket())
		f.put("src", text)
		src := f.open("src")
		dst := f.create("a", "", false)
		want := []byte(text[:16*mib])
		if over {
			f.copyRange(src, dst, 0, 0, 16*mib)
			f.write(dst, piece, mib)
			copy(want[mib:], piece)
		} else {
			f.write(dst, noise(16*mib, 5), 0)
			want = []byte(noise(16*mib, 5))
		}
		wait, there := make(chan struct{}), make(chan struct{}, 16)
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb.Writes() && op.Key == "a" {
				there <- struct{}{}
				return faulty.Fault{Wait: wait}
			}
			return faulty.Fault{}
		})
		done := make(chan error, 1)
		go func() { done <- dst.Commit(f.ctx) }()
		<-there
		f.copyRange(src, dst, 16*mib, 16*mib, 8*mib)
		close(wait)
		f.must(<-done)
		f.healed()
		want = append(want, text[16*mib:24*mib]...)
		f.reads(dst, string(want))
		r := f.remains()
		again := mount(t, f.mem, boot("1"), left(r))
		all := again.leftIn(r)
		if len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		_, err := NewRecovery(again.Volume, []*spool.Remains{r}).Replay(again.ctx, all[0].ID)
		again.must(err)
		again.has("a", string(want))
		again.end()
		src.Release()
		dst.Release()
		f.end()
	}
}

// TestBodiesOfWhatDoesNotOpen: what may lie under files of which nothing is known
// now is not removed.
func TestBodiesOfWhatDoesNotOpen(t *testing.T) {
	text := noise(300<<10, 1)
	for _, name := range []string{"key", "note"} {
		t.Run(name, func(t *testing.T) {
			f := mountSpooled(t, bucket())
			lending(f.fixture)
			f.put("src", text)
			dst, err := f.copyTo("src", "a")
			f.must(err)
			f.must(f.Remove(f.ctx, "src"))
			dir := t.TempDir()
			r := f.remains()
			if name == "key" {
				again := mount(t, f.mem, func(o *Options) { o.LeftSealed = true })
				again.settle()
				again.end()
			} else {
				damaged := filepath.Join(dir, "s")
				f.must(os.CopyFS(damaged, os.DirFS(f.dir)))
				f.must(os.Chmod(damaged, 0o700))
				flip(t, damaged, ".meta", 40)
				again := mount(t, f.mem, boot("1"), left(f.take(damaged)))
				again.settle()
				again.end()
			}
			again := mount(t, f.mem, boot("1"), left(r))
			all := again.leftIn(r)
			if len(all) != 1 {
				t.Fatalf("%+v", all)
			}
			_, err = NewRecovery(again.Volume, []*spool.Remains{r}).Replay(again.ctx, all[0].ID)
			again.must(err)
			again.has("a", text)
			dst.Release()
		})
	}
}
