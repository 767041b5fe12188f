package volume

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

func gathering(o *Options) { o.AttrDelay = time.Hour }

func mode(m uint32) Change { return Change{Mode: &m} }

// TestGather: changes of attributes show at once, and one copy writes them all
// when something asks for it.
func TestGather(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(f *fixture)
		want string // requests
		at   string // path afterwards
	}{
		{"Fsync", func(f *fixture) {
			file := f.open("a")
			defer file.Release()
			f.must(file.Commit(f.ctx))
			f.must(file.Commit(f.ctx)) // costs nothing
		}, "copy", "a"},
		{"Rename", func(f *fixture) { f.rename("a", "b") }, "list copy delete", "b"},
		{"Close", func(f *fixture) { f.must(f.Close(f.ctx)) }, "copy", "a"},
		{"Write", func(f *fixture) {
			file := f.open("a")
			defer file.Release()
			f.write(file, "abc", 0)
			f.must(errOf(file.SetAttr(f.ctx, Change{Mtime: ptr[int64](5)})))
			f.must(file.Commit(f.ctx))
		}, "get put", "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, bucket(), long, gathering)
			f.put("a", "abc")
			f.s.Reset()
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{UID: ptr[uint32](7)})))
			f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mtime: ptr[int64](5), Xattrs: map[string][]byte{"user.a": {1}}})))
			if got := f.stat("a"); got.Mode&0o777 != 0o600 || got.UID != 7 || got.Mtime != 5 || got.Xattrs["user.a"] == nil {
				t.Errorf("%+v", got)
			}
			f.requests("")
			tc.end(f)
			f.requests(tc.want)
			got := mount(t, f.mem).stat(tc.at)
			if got.Mode&0o777 != 0o600 || got.UID != 7 || got.Mtime != 5 || got.Xattrs["user.a"] == nil {
				t.Errorf("%+v", got)
			}
			f.settledAt(tc.at)
		})
	}
}

// settledAt checks that nothing waits any more.
func (f *fixture) settledAt(p string) {
	f.t.Helper()
	mount(f.t, f.mem).has(p, "abc")
	for _, file := range f.allFiles() {
		if file.pending() {
			f.t.Errorf("%s waits", file.Path())
		}
	}
}

// TestGatherUnlinked: what has no name any more needs no attributes.
func TestGatherUnlinked(t *testing.T) {
	f := mount(t, bucket(), long, gathering)
	f.put("a", "abc")
	f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
	f.s.Reset()
	f.must(f.Remove(f.ctx, "a"))
	f.must(f.Close(f.ctx))
	f.requests("delete")
}

// TestGatherForeign: of attributes the last writer wins, over another host's
// version too; what another host has removed stays away.
func TestGatherForeign(t *testing.T) {
	f := mount(t, bucket(), gathering)
	other := mount(t, f.mem, host("there"))
	f.put("a", "abc")
	f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
	f.must(errOf(other.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o640), UID: ptr[uint32](9)})))
	if got := f.stat("a"); got.Mode&0o777 != 0o600 || got.UID != 9 {
		t.Errorf("%+v", got.Attr)
	}
	file := f.open("a")
	f.must(file.Commit(f.ctx))
	file.Release()
	if got := other.stat("a"); got.Mode&0o777 != 0o600 || got.UID != 9 {
		t.Errorf("%+v", got.Attr)
	}

	f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o611))))
	other.put("a", "theirs")
	f.must(f.commitAll(f.ctx))
	if got := other.stat("a"); got.Mode&0o777 != 0o611 {
		t.Errorf("%+v", got.Attr)
	}
	f.has("a", "theirs")

	f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o644))))
	other.put("a", "again")
	f.has("a", "again") // an open sees every close before it

	f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
	other.must(other.Remove(f.ctx, "a"))
	f.absent("a")
	f.must(f.Close(f.ctx))
	other.absent("a")
}

// TestGatherFailure: what could not be written is tried again, says so to
// fsync, and at the end of the mount; the content is nobody's worry.
func TestGatherFailure(t *testing.T) {
	f := mount(t, bucket(), long, gathering)
	f.put("a", "abc")
	f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
	f.failing(objstore.ErrAccess, false, faulty.Copy)
	file := f.open("a")
	wants(t, file.Commit(f.ctx), ErrAccess)
	wants(t, file.Commit(f.ctx), ErrAccess)
	if got := f.stat("a").Mode & 0o777; got != 0o600 {
		t.Errorf("mode %o", got)
	}
	f.healed()
	f.must(file.Commit(f.ctx))
	f.must(errOf(file.SetAttr(f.ctx, mode(0o640))))
	f.failing(objstore.ErrAccess, false, faulty.Copy)
	file.Release()
	wants(t, f.Close(f.ctx), ErrAccess)
	if n := f.opt.Spool.Used(); n != 0 {
		t.Errorf("spool holds %d bytes", n)
	}
}

// TestGatherBound: over the bound a change is written at once.
func TestGatherBound(t *testing.T) {
	f := mount(t, bucket(), long, gathering)
	f.put("a", "abc")
	held := f.create("b", "x", false)
	defer held.Release()
	f.mu.Lock()
	for range maxGathered {
		f.Volume.open[&File{v: f.Volume}] = struct{}{}
	}
	f.mu.Unlock()
	f.s.Reset()
	f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
	f.requests("copy")
	f.mu.Lock()
	clear(f.Volume.open)
	f.mu.Unlock()
}

// TestRenameOfRecent: where a copy would have to be guarded, or asked for its
// encryption, a small body that was just written is put under its new name.
func TestRenameOfRecent(t *testing.T) {
	silent := setupOf("sse-kms silent")
	for name, tc := range map[string]struct {
		setup *setup
		tweak tweak
		want  string
	}{
		"AWS":           {nil, nil, "copy delete"},
		"NoConditions":  {nil, func(o *Options) { o.Capabilities.CopyConditions = false }, "put delete"},
		"NothingEchoed": {&silent, nil, "put delete"},
	} {
		t.Run(name, func(t *testing.T) {
			f := mount(t, tc.setup.store(), tc.setup.on, long, gathering, func(o *Options) {
				if tc.tweak != nil {
					tc.tweak(o)
				}
			})
			f.lists("")
			f.put("a", "abc")
			f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
			f.s.Reset()
			f.rename("a", "b")
			f.requests(tc.want)
			f.settledIn(tc.setup, "b")
			f.absent("a")
		})
	}
}

func (f *fixture) settledIn(s *setup, p string) {
	f.t.Helper()
	f.has(p, "abc")
	other := mount(f.t, f.mem, s.on)
	other.has(p, "abc")
	if got := other.stat(p); got.Mode&0o777 != 0o600 {
		f.t.Errorf("%+v", got.Attr)
	}
}

// TestGatherDirectory: those of directories wait as those of files do, with the
// times that entries move.
func TestGatherDirectory(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(f *fixture)
		want string
		at   string
	}{
		"Close":  {func(f *fixture) { f.must(f.Close(f.ctx)) }, "put", "d"},
		"Due":    {func(f *fixture) { f.must(f.commitDir(f.ctx, "d")) }, "put", "d"},
		"Rename": {func(f *fixture) { f.rename("d", "e") }, "", "e"},
		"Above":  {func(f *fixture) { f.mkdir("up"); f.rename("d", "up/d"); f.rename("up", "e") }, "", "e/d"},
	} {
		t.Run(name, func(t *testing.T) {
			f := mount(t, bucket(), long, gathering)
			f.mkdir("d")
			f.put("d/a", "abc")
			f.s.Reset()
			f.must(errOf(f.SetAttr(f.ctx, "d", Change{UID: ptr[uint32](7), GID: ptr[uint32](8)})))
			f.must(errOf(f.SetAttr(f.ctx, "d", mode(0o700))))
			info, err := f.SetAttr(f.ctx, "d", Change{Mtime: ptr[int64](5), Xattrs: map[string][]byte{"user.a": {1}}})
			f.must(err)
			f.requests("")
			for _, got := range []Info{info, f.stat("d")} {
				if got.Mode&0o777 != 0o700 || got.UID != 7 || got.GID != 8 || got.Mtime != 5 || got.Xattrs["user.a"] == nil {
					t.Errorf("%+v", got)
				}
			}
			tc.end(f)
			if tc.want != "" {
				f.requests(tc.want)
			}
			got := mount(t, f.mem).stat(tc.at)
			if got.Mode&0o777 != 0o700 || got.UID != 7 || got.Mtime != 5 || got.Xattrs["user.a"] == nil {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("Touched", func(t *testing.T) {
		f := mount(t, bucket(), long, gathering)
		f.mkdir("d")
		f.must(errOf(f.SetAttr(f.ctx, "d", Change{Mtime: ptr[int64](5)})))
		f.put("d/a", "abc")
		now := f.stat("d").Mtime
		if now == 5 {
			t.Error("the entry did not move the time")
		}
		f.must(f.Close(f.ctx))
		if got := mount(t, f.mem).stat("d").Mtime; got != now {
			t.Errorf("mtime %d, want %d", got, now)
		}
	})
	t.Run("Removed", func(t *testing.T) {
		f := mount(t, bucket(), long, gathering)
		f.mkdir("d")
		f.must(errOf(f.SetAttr(f.ctx, "d", mode(0o700))))
		f.must(f.Rmdir(f.ctx, "d"))
		f.mkdir("e")
		f.must(errOf(f.SetAttr(f.ctx, "e", mode(0o700))))
		other := mount(t, f.mem, host("there"))
		other.must(other.Rmdir(f.ctx, "e"))
		f.must(f.Close(f.ctx))
		if left := f.mem.Keys(); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	})
	t.Run("Fails", func(t *testing.T) {
		f := mount(t, bucket(), long, gathering)
		f.mkdir("d")
		f.must(errOf(f.SetAttr(f.ctx, "d", mode(0o700))))
		f.failing(objstore.ErrAccess, false, faulty.Put)
		wants(t, f.Close(f.ctx), ErrAccess)
	})
}

// TestGatherDue: the background writes what waits, though the file is open.
func TestGatherDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket(), func(o *Options) { o.AttrDelay = time.Second })
		f.put("a", "abc")
		f.mkdir("d")
		file := f.open("a")
		f.must(errOf(f.SetAttr(f.ctx, "a", mode(0o600))))
		f.must(errOf(f.SetAttr(f.ctx, "d", mode(0o700))))
		f.s.Reset()
		f.failing(objstore.ErrThrottled, false, faulty.Copy)
		pass(1100 * time.Millisecond)
		synctest.Wait()
		f.healed()
		pass(3 * time.Second)
		synctest.Wait()
		if file.pending() || len(f.dueDirs("")) != 0 {
			t.Error("still waiting")
		}
		file.Release()
		other := mount(t, f.mem)
		if other.stat("a").Mode&0o777 != 0o600 || other.stat("d").Mode&0o777 != 0o700 {
			t.Error("not written")
		}
		f.end()
		other.end()
	})
}
