package volume

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// TestRenameDirKeepsForeignWrites: what another host writes below a directory
// between its copy and the removal of the source is not removed.
func TestRenameDirKeepsForeignWrites(t *testing.T) {
	ignored := mem.New(mem.Options{IgnoreDeleteConditions: true})
	unhonoured := func(o *Options) { o.Capabilities.DeleteConditions = false }
	for name, tc := range map[string]struct {
		mem    *mem.Store
		tweaks []tweak
		last   faulty.Verb // asked of d/b before it would go
	}{
		"Condition": {bucket(), nil, faulty.Delete},
		"Look":      {ignored, []tweak{unhonoured}, faulty.Head},
	} {
		t.Run(name, func(t *testing.T) {
			f := mount(t, tc.mem, tc.tweaks...)
			f.mkdir("d")
			f.put("d/a", "a")
			f.put("d/b", "b")
			other := mount(t, f.mem, append(tc.tweaks, host("there"))...)
			var once sync.Once
			f.s.SetScript(func(op faulty.Op) faulty.Fault {
				if op.Verb == tc.last && op.Key == "d/b" {
					once.Do(func() { other.put("d/b", "newer") })
				}
				return faulty.Fault{}
			})
			f.rename("d", "e")
			f.healed()
			f.has("e/a", "a")
			f.has("e/b", "b")
			f.has("d/b", "newer")
			f.noLeftovers()
		})
	}
}

// TestRenameKeepsForeignWrites: so it is with a large file, also where the server
// does not honour the condition of the removal.
func TestRenameKeepsForeignWrites(t *testing.T) {
	f := mount(t, mem.New(mem.Options{IgnoreDeleteConditions: true}), inParts, func(o *Options) { o.Capabilities.DeleteConditions = false })
	text := noise(200<<10, 1)
	f.put("a", text)
	other := mount(t, f.mem, host("there"))
	copied := false
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		switch {
		case op.Verb == faulty.Copy:
			copied = true
		case copied && op.Key == "a":
			copied = false
			other.put("a", "newer")
		}
		return faulty.Fault{}
	})
	f.rename("a", "b")
	f.healed()
	f.has("b", text)
	f.has("a", "newer")
}

// TestRenameDirLooksBeforeCopies: where the server ignores the conditions of a
// copy, nothing of another host is copied over.
func TestRenameDirLooksBeforeCopies(t *testing.T) {
	f := mount(t, mem.New(mem.Options{IgnoreCopyConditions: true}), func(o *Options) { o.Capabilities.CopyConditions = false })
	f.mkdir("d")
	f.put("d/a", "mine")
	other := mount(t, f.mem, host("there"))
	var once sync.Once
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Put && strings.Contains(op.Key, "/journal/") { // the target was found to be free
			once.Do(func() {
				other.mkdir("e")
				other.put("e/a", "theirs")
			})
		}
		return faulty.Fault{}
	})
	wants(t, f.Rename(f.ctx, "d", "e", false), ErrExist)
	f.healed()
	f.has("d/a", "mine")
	f.has("e/a", "theirs")
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

// TestCreateOverOwn: what this host itself made at the name a moment ago is no
// conflict with another.
func TestCreateOverOwn(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "old")
	f.rename("a", "b")
	wants(t, errOf(f.Create(f.ctx, "b", Attr{}, true)), ErrExist)
	file := f.create("b", "new", false)
	f.must(file.Commit(f.ctx))
	file.Release()
	f.has("b", "new")
	f.mkdir("d")
	wants(t, errOf(f.Create(f.ctx, "d", Attr{}, false)), ErrIsDir)
	f.must(mount(t, f.mem, host("there")).Remove(f.ctx, "b"))
	f.create("b", "again", true).Release()
}
