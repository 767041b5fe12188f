package volume

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// TestRequests: what each operation costs.
func TestRequests(t *testing.T) {
	f := mount(t, bucket(), long)
	f.requests("")

	file := f.create("a", "small", false)
	f.must(file.Commit(f.ctx))
	f.must(file.Commit(f.ctx)) // a clean flush
	file.Release()
	f.requests("put")

	f.stat("a")
	f.requests("")
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
	f.requests("copy")
	f.absent("b")
	f.requests("get list")
	f.rename("a", "b")
	f.requests("list copy delete") // the new name is looked for
	f.put("c", "x")
	f.s.Reset()
	f.rename("c", "b")
	f.requests("copy delete")
	f.has("b", "x")
	f.has("b", "x")
	f.requests("get")

	dirty := f.create("new", "x", false)
	f.must(f.Remove(f.ctx, "new"))
	dirty.Release()
	f.requests("") // never sent
	f.must(f.Remove(f.ctx, "b"))
	f.requests("delete")
	f.mkdir("d")
	f.requests("put")
	f.must(f.Rmdir(f.ctx, "d"))
	f.requests("get list head list delete")
	f.list("")
	f.requests("list")
}

// TestFailingCommit: the error comes back from every commit until one
// succeeds; the data stays, is shown, and is nowhere in the bucket.
func TestFailingCommit(t *testing.T) {
	for _, tc := range []error{objstore.ErrAccess, objstore.ErrThrottled, objstore.ErrQuota, objstore.ErrUnreachable, objstore.ErrUnknown} {
		f := mount(t, bucket())
		f.put("a", "old")
		file := f.open("a")
		f.write(file, "new", 0)
		f.failing(tc, false, faulty.Put)
		for range 3 {
			wants(t, file.Commit(f.ctx), tc)
			f.has("a", "new")
			mount(t, f.mem).has("a", "old")
		}
		wants(t, f.Rename(f.ctx, "a", "b", false), tc)
		f.write(file, "er", 3)
		if f.Dirty() != 1 {
			t.Errorf("%d dirty", f.Dirty())
		}
		f.healed()
		f.must(file.Commit(f.ctx))
		f.s.Reset()
		f.must(file.Commit(f.ctx))
		file.Release()
		f.requests("")
		mount(t, f.mem).has("a", "newer")
	}
}

// TestLostAnswers: what was done although no answer came is found out: no
// false conflict, nothing twice.
func TestLostAnswers(t *testing.T) {
	lost := func(f *fixture) {
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			// A part is sent again by the store itself.
			return faulty.Fault{Lost: slices.Contains([]faulty.Verb{faulty.Put, faulty.Complete, faulty.Copy, faulty.Delete}, op.Verb)}
		})
	}
	for _, tc := range []struct {
		name string
		do   func(f *fixture)
		want map[string]string
	}{
		{"NewFile", func(f *fixture) { f.put("new", "1") }, map[string]string{"a": "a", "d": "/", "d/x": "dx", "new": "1"}},
		{"Overwrite", func(f *fixture) { f.put("a", "2") }, map[string]string{"a": "2", "d": "/", "d/x": "dx"}},
		{"Multipart", func(f *fixture) { f.put("a", noise(200<<10, 1)) }, map[string]string{"a": noise(200<<10, 1), "d": "/", "d/x": "dx"}},
		{"Chmod", func(f *fixture) { f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)}))) }, map[string]string{"a": "a", "d": "/", "d/x": "dx"}},
		{"Rename", func(f *fixture) { f.rename("a", "b") }, map[string]string{"b": "a", "d": "/", "d/x": "dx"}},
		{"RenameOver", func(f *fixture) { f.rename("d/x", "a") }, map[string]string{"a": "dx", "d": "/"}},
		{"RenameDir", func(f *fixture) { f.rename("d", "e") }, map[string]string{"a": "a", "e": "/", "e/x": "dx"}},
		{"Mkdir", func(f *fixture) { f.mkdir("e") }, map[string]string{"a": "a", "d": "/", "d/x": "dx", "e": "/"}},
		{"Remove", func(f *fixture) { f.must(f.Remove(f.ctx, "a")) }, map[string]string{"d": "/", "d/x": "dx"}},
		{"Rmdir", func(f *fixture) {
			f.must(f.Remove(f.ctx, "d/x"))
			f.must(f.Rmdir(f.ctx, "d"))
		}, map[string]string{"a": "a"}},
		{"UnlinkOpen", func(f *fixture) {
			file := f.open("a")
			f.must(f.Remove(f.ctx, "a"))
			f.reads(file, "a")
			file.Release()
			f.must(f.doChores(f.ctx))
		}, map[string]string{"d": "/", "d/x": "dx"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, bucket())
			f.put("a", "a")
			f.mkdir("d")
			f.put("d/x", "dx")
			lost(f)
			tc.do(f)
			f.healed()
			sameTree(t, treeOf(f), tc.want)
			f.settle()
			sameTree(t, treeOf(mount(t, f.mem)), tc.want)
			f.noLeftovers()
		})
	}
}

// TestUnknownOutcomes: an answer is lost and cannot be found out either;
// the next commit meets its own earlier try and knows it.
func TestUnknownOutcomes(t *testing.T) {
	for _, excl := range []bool{false, true} {
		for _, exists := range []bool{false, true} {
			f := mount(t, bucket())
			var file *File
			if exists {
				f.put("a", "base")
				file = f.open("a")
				f.write(file, "one", 0)
			} else {
				file = f.create("a", "one", excl)
			}
			f.s.SetScript(func(op faulty.Op) faulty.Fault {
				if op.Verb == faulty.Head {
					return faulty.Fault{Err: objstore.ErrUnreachable}
				}
				return faulty.Fault{Lost: op.Verb == faulty.Put}
			})
			for _, text := range []string{"one", "two"} {
				f.write(file, text, 0)
				wants(t, file.Commit(f.ctx), objstore.ErrUnknown)
			}
			f.healed()
			f.write(file, "six", 0)
			f.must(file.Commit(f.ctx))
			file.Release()
			f.lists("", "a")
			want := "six"
			if exists {
				want += "e"
			}
			mount(t, f.mem).has("a", want)
		}
	}
}

// TestUnlinkOfUnknown: what a commit of unknown outcome left goes with the
// file, what another host has put there does not.
func TestUnlinkOfUnknown(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		f := mount(t, bucket())
		file := f.create("a", "one", false)
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			return faulty.Fault{Lost: op.Verb == faulty.Put, After: func(err error) error {
				if op.Verb == faulty.Head {
					return objstore.ErrUnreachable
				}
				if op.Verb == faulty.Put && err == nil {
					return objstore.ErrUnknown
				}
				return err
			}}
		})
		wants(t, file.Commit(f.ctx), objstore.ErrUnknown)
		f.healed()
		other := mount(t, f.mem, host("there"))
		if foreign {
			other.put("a", "theirs")
		}
		f.must(f.Remove(f.ctx, "a"))
		file.Release()
		if foreign {
			other.has("a", "theirs")
		} else {
			other.absent("a")
		}
	}
	f := mount(t, bucket())
	file := f.create("a", "one", false)
	other := mount(t, f.mem, host("there"))
	other.put("a", "theirs")
	f.must(f.Remove(f.ctx, "a"))
	file.Release()
	other.has("a", "theirs")
}

// TestUnlinkOpen: the file goes on working until its last handle is released.
func TestUnlinkOpen(t *testing.T) {
	f := mount(t, bucket())
	text := noise(300<<10, 1)
	f.put("a", text)
	one, two := f.open("a"), f.open("a")
	if one != two {
		t.Fatal("two files of one path")
	}
	f.must(f.Remove(f.ctx, "a"))
	f.absent("a")
	f.lists("")
	if keys := f.mem.Keys(); len(keys) != 1 || !strings.HasPrefix(keys[0], ".sigil/inodes/") {
		t.Errorf("%q", keys)
	}
	f.reads(one, text)
	f.write(two, "more", 0)
	f.must(two.Commit(f.ctx))
	f.put("a", "another")
	f.reads(one, "more"+text[4:])
	one.Release()
	f.reads(two, "more"+text[4:])
	two.Release()
	f.settle()
	f.noLeftovers()
	f.has2("a", "another")
	if f.opt.Spool.Used() != 0 {
		t.Errorf("spool holds %d", f.opt.Spool.Used())
	}
}

// has2 reads by another mount: this one is closed.
func (f *fixture) has2(p, want string) {
	f.t.Helper()
	mount(f.t, f.mem, host("there")).has(p, want)
}

// TestUnlinkFails: the file stays what it was, dirty data included.
func TestUnlinkFails(t *testing.T) {
	for _, verb := range []faulty.Verb{faulty.Delete, faulty.Copy} {
		f := mount(t, bucket())
		f.put("a", "abc")
		file := f.open("a")
		f.write(file, "x", 0)
		f.failing(objstore.ErrAccess, false, verb)
		wants(t, f.Remove(f.ctx, "a"), ErrAccess)
		f.has("a", "xbc")
		f.healed()
		f.must(file.Commit(f.ctx))
		file.Release()
		f.has("a", "xbc")
		f.settle()
		f.noLeftovers()
		f.has2("a", "xbc")
	}
}

// TestCloseWithUnlinkedOpen: what an open handle kept alive goes with the mount.
func TestCloseWithUnlinkedOpen(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "abc")
	file := f.open("a")
	f.must(f.Remove(f.ctx, "a"))
	f.must(f.Close(f.ctx))
	f.must(f.Close(f.ctx))
	f.noLeftovers()
	file.Release()
	wants(t, errOf(f.Open(f.ctx, "a", OpenOptions{})), ErrClosed)
	wants(t, errOf(f.Create(f.ctx, "b", Attr{}, false)), ErrClosed)
}

// TestCloseNamesWhatIsLeft and keeps it.
func TestCloseNamesWhatIsLeft(t *testing.T) {
	f := mount(t, bucket())
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Key != "fine" {
			return faulty.Fault{Err: objstore.ErrAccess}
		}
		return faulty.Fault{}
	})
	f.create("open", "1", false)
	f.create("released", "1", false).Release()
	f.create("fine", "1", false).Release()
	err := f.Close(f.ctx)
	wants(t, err, ErrAccess)
	for _, name := range []string{`"open"`, `"released"`} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "fine") || f.Dirty() != 2 {
		t.Errorf("%d dirty, %v", f.Dirty(), err)
	}
}

// TestBackgroundCommits: what is released dirty is committed without anybody
// asking, and tried again, each file by itself.
func TestBackgroundCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Key == "bad" {
				return faulty.Fault{Err: objstore.ErrAccess}
			}
			return faulty.Fault{}
		})
		f.create("bad", "bad", false).Release()
		synctest.Wait()
		for range 10 {
			pass(30 * time.Second)
		}
		if n := tries(f, "bad"); n < 8 || n > 14 {
			t.Errorf("%d tries in five minutes", n)
		}
		f.create("good", "good", false).Release()
		synctest.Wait() // not a moment later
		if keys := f.mem.Keys(); !slices.Equal(keys, []string{"good"}) {
			t.Errorf("%q", keys)
		}
		f.has("bad", "bad")
		f.healed()
		pass(lastRetry + time.Second)
		synctest.Wait()
		if keys := f.mem.Keys(); !slices.Equal(keys, []string{"bad", "good"}) || f.Dirty() != 0 {
			t.Errorf("%q, %d dirty", keys, f.Dirty())
		}
		f.must(f.Close(f.ctx))
	})
}

func tries(f *fixture, key string) (n int) {
	for _, op := range f.s.Ops() {
		if op.Key == key && op.Verb == faulty.Put {
			n++
		}
	}
	return n
}

// TestBackgroundDoesNotBlock: one file whose upload hangs holds up no other.
func TestBackgroundDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		gate := make(chan struct{})
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Key == "stuck" && op.Verb == faulty.Put {
				return faulty.Fault{Wait: gate}
			}
			return faulty.Fault{}
		})
		f.create("stuck", "1", false).Release()
		synctest.Wait()
		f.create("free", "1", false).Release()
		f.put("d/other", "1")
		synctest.Wait()
		f.has("stuck", "1")
		if keys := f.mem.Keys(); !slices.Equal(keys, []string{"d/other", "free"}) {
			t.Errorf("%q", keys)
		}
		close(gate)
		f.must(f.Close(f.ctx))
		if f.Dirty() != 0 {
			t.Errorf("%d dirty", f.Dirty())
		}
	})
}

// TestWriteDuringCommit: a commit sends the file as it was; what is written
// meanwhile belongs to the next.
func TestWriteDuringCommit(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", noise(100<<10, 1))
	file := f.open("a")
	f.write(file, "one", 0)
	gate, begun := make(chan struct{}), make(chan struct{})
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Put {
			close(begun)
			return faulty.Fault{Wait: gate}
		}
		return faulty.Fault{}
	})
	done := make(chan error)
	go func() { done <- file.Commit(f.ctx) }()
	<-begun
	f.write(file, "TWO", 0)
	f.reads(file, "TWO"+noise(100<<10, 1)[3:])
	close(gate)
	f.must(<-done)
	f.healed()
	mount(t, f.mem).has("a", "one"+noise(100<<10, 1)[3:])
	if f.Dirty() != 1 {
		t.Errorf("%d dirty", f.Dirty())
	}
	f.must(file.Commit(f.ctx))
	file.Release()
	mount(t, f.mem).has("a", "TWO"+noise(100<<10, 1)[3:])
}

// TestReadDuringCommit: between the answer of the store and its publication
// the base that a reader reads is gone; it waits for the new one.
func TestReadDuringCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mount(t, bucket())
		text := noise(300<<10, 1)
		f.put("a", text)
		file := f.open("a")
		f.write(file, "one", 0)
		gate := make(chan struct{})
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb != faulty.Put {
				return faulty.Fault{}
			}
			return faulty.Fault{After: func(err error) error {
				<-gate
				return err
			}}
		})
		done, read := make(chan error, 1), make(chan error, 1)
		go func() { done <- file.Commit(f.ctx) }()
		synctest.Wait()
		file.content().blob.Drop()
		go func() {
			p := make([]byte, 100)
			_, err := file.ReadAt(f.ctx, p, 250<<10)
			if err == nil && string(p) != text[250<<10:250<<10+100] {
				err = errors.New("other bytes")
			}
			read <- err
		}()
		synctest.Wait() // it has found its base gone
		close(gate)
		f.must(<-done)
		f.must(<-read)
		file.Release()
		f.must(f.Close(f.ctx))
	})
}

// TestStaleAnswer: what the store said before a commit of our own is not taken
// for another host's version.
func TestStaleAnswer(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "one")
	file := f.open("a")
	defer file.Release()
	old := f.recall("a")
	f.write(file, "two", 0)
	f.must(file.Commit(f.ctx))
	if info := f.infoOf("a", old); info.Incarnation != file.Info().Incarnation || f.fileAt("a") != file {
		t.Errorf("%+v", info.Attr)
	}
}

func TestSpoolFull(t *testing.T) {
	f := mount(t, bucket(), func(o *Options) { o.Spool = smallSpool(t) })
	file := f.create("a", noise(150<<10, 1), false)
	_, err := file.WriteAt(f.ctx, []byte(noise(500<<10, 2)), 150<<10)
	wants(t, err, ErrSpoolFull)
	f.must(file.Truncate(f.ctx, 128<<10)) // a whole block, which takes no space
	f.must(file.Commit(f.ctx))
	f.reads(file, noise(150<<10, 1)[:128<<10])
	file.Release()
	f.has("a", noise(150<<10, 1)[:128<<10])
}

func smallSpool(t *testing.T) *spool.Spool {
	s, err := spool.Open(t.TempDir()+"/small", spool.Options{Limit: 5 * 68 << 10, Reserve: -1, Key: &[32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
