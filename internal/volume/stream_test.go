package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// spoolOf mounts with a spool of so many MiB.
func spoolOf(t testing.TB, size int64) tweak {
	return func(o *Options) {
		sp, err := spool.Open(filepath.Join(t.TempDir(), "small"), spool.Options{Limit: size * mib, Reserve: -1, Key: &[32]byte{8}})
		if err != nil {
			t.Fatal(err)
		}
		o.Spool = sp
	}
}

// streamed are the setups that can stream.
func streamed(t *testing.T, test func(*testing.T, *setup)) {
	t.Helper()
	streamedBy(t, test, "client", "client-sse", "none", "sse-kms silent", "sse-c")
}

// streamedToTheEnd are those whose ends differ most, where the race detector has
// hundreds of MiB to watch for each; make test-full has them all.
func streamedToTheEnd(t *testing.T, test func(*testing.T, *setup)) {
	t.Helper()
	if !raced {
		streamed(t, test)
		return
	}
	streamedBy(t, test, "client", "sse-kms silent")
}

func streamedBy(t *testing.T, test func(*testing.T, *setup), names ...string) {
	t.Helper()
	for _, name := range names {
		s := setupOf(name)
		t.Run(s.name, func(t *testing.T) { test(t, &s) })
	}
}

// writeOn writes text in order from off on, in pieces as a kernel sends them.
func (f *fixture) writeOn(file *File, text string, off int) {
	f.t.Helper()
	f.must(f.tryWriteOn(file, text, off))
}

func (f *fixture) tryWriteOn(file *File, text string, off int) error {
	for at := 0; at < len(text); at += mib {
		if _, err := file.WriteAt(f.ctx, []byte(text[at:min(len(text), at+mib)]), int64(off+at)); err != nil {
			return err
		}
	}
	return nil
}

// began makes a new file of which text is written.
func (f *fixture) began(p, text string) *File {
	f.t.Helper()
	file, err := f.Create(f.ctx, p, Attr{Mode: 0o644}, false)
	f.must(err)
	f.writeOn(file, text, 0)
	return file
}

// flown waits until nothing of file is under way.
func flown(file *File) {
	if st := file.streamOf(); st != nil {
		st.flights.Wait()
	}
}

// shows checks content and attributes as another host sees them.
func (f *fixture) shows(s *setup, p, want string, like Info) {
	f.t.Helper()
	there := mount(f.t, f.mem, s.on, host("there"))
	there.has(p, want)
	got := there.stat(p)
	if got.Mode != like.Mode || got.Mtime != like.Mtime || got.UID != like.UID || got.Size != like.Size || !maps.EqualFunc(got.Xattrs, like.Xattrs, func(a, b []byte) bool { return string(a) == string(b) }) {
		f.t.Errorf("%s: %+v, want %+v", p, got, like)
	}
}

// TestStream: a file of mode client goes up while it is written, each byte
// once, and what is left is little when it is closed.
func TestStream(t *testing.T) {
	f := mount(t, bucket())
	text := noise(60*mib+12345, 1)
	file := f.began("a", text)
	flown(file)
	if got := f.s.Counts().Requests; got[faulty.Upload] != 1 || got[faulty.Part] != 7 || got[faulty.Complete] != 0 {
		t.Errorf("before the close: %v", got)
	}
	f.reads(file, text)
	if n := f.s.Counts().Requests[faulty.Get]; n != 0 {
		t.Errorf("%d requests to read what is here", n)
	}
	f.must(errOf(file.SetAttr(f.ctx, Change{Mode: ptr[uint32](0o600), UID: ptr[uint32](7), Mtime: ptr[int64](1e18 + 3)})))
	f.must(file.Commit(f.ctx))
	got := f.s.Counts()
	if got.Requests[faulty.Part] != 8 || got.Requests[faulty.Complete] != 1 || got.Requests[faulty.Copy] != 0 {
		t.Errorf("%v", got.Requests)
	}
	if most := sigil.BodySize(int64(len(text))) + 1000; got.Up > most {
		t.Errorf("%d bytes sent, at most %d are due", got.Up, most)
	}
	info, err := f.mem.Head(f.ctx, objstore.ID{Key: "a"})
	f.must(err)
	h, err := sigil.ParseHeader(info.Metadata)
	f.must(err)
	if rec, err := f.unseal(f.ctx, "a", h); err != nil || !rec.Late {
		t.Errorf("the record does not say that attributes are late: %v", err)
	}
	f.s.Reset()
	f.must(file.Commit(f.ctx))
	f.requests("")
	f.reads(file, text)
	file.Release()
	f.shows(nil, "a", text, f.stat("a"))
	f.noLeftovers()
}

// TestNoStream: nothing goes up of a file that a single PUT takes, nor, in
// modes whose attributes are fixed when an upload begins, as long as there is
// room for all of it.
func TestNoStream(t *testing.T) {
	for name, size := range map[string]int{"client": streamFrom, "none": streamFrom + mib, "s3ec": streamFrom + mib} {
		s := setupOf(name)
		f := mount(t, s.store(), s.on)
		text := noise(size, 1)
		file := f.began("a", text)
		f.requests("")
		f.must(file.Commit(f.ctx))
		if n := f.s.Counts().Requests[faulty.Copy]; n != 0 {
			t.Errorf("%s: %d copies", name, n)
		}
		file.Release()
		f.has("a", text)
	}
}

// TestLargerThanSpool: such a file streams through. Extended attributes, and
// in the plain modes all, follow before the close returns.
func TestLargerThanSpool(t *testing.T) {
	streamed(t, func(t *testing.T, s *setup) {
		f := mount(t, s.store(), s.on, spoolOf(t, 40))
		text := noise(66*mib+777, 2)
		file, err := f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
		f.must(err)
		f.must(errOf(file.SetAttr(f.ctx, Change{Xattrs: map[string][]byte{"user.a": {1}}})))
		f.writeOn(file, text, 0)
		f.must(errOf(file.SetAttr(f.ctx, Change{Mode: ptr[uint32](0o640), Mtime: ptr[int64](1e18 + 3), Xattrs: map[string][]byte{"user.b": {2}}})))
		if _, err := f.mem.Head(f.ctx, objstore.ID{Key: "a"}); !errors.Is(err, ErrNotExist) {
			t.Errorf("before the close: %v", err)
		}
		f.must(file.Commit(f.ctx))
		got := f.s.Counts()
		if got.Requests[faulty.Upload] != 1 || got.Requests[faulty.Part] != 9 || got.Requests[faulty.Complete] != 1 || got.Requests[faulty.Copy] != 1 {
			t.Errorf("%v", got.Requests)
		}
		if most := sigil.BodySize(int64(len(text))) + 1000; got.Up > most {
			t.Errorf("%d bytes sent, at most %d are due", got.Up, most)
		}
		info := file.Info()
		f.reads(file, text)
		file.Release()
		f.shows(s, "a", text, info)
		f.noLeftovers()
		if used := f.opt.Spool.Used(); used != 0 {
			t.Errorf("%d bytes are left in the spool", used)
		}
	})
}

// TestStreamIsChanged: what was uploaded and changes goes up again; what was
// dropped besides is committed first, and goes on from there.
func TestStreamIsChanged(t *testing.T) {
	t.Parallel()
	const size = 58*mib + 5
	text := noise(size, 3)
	patched := func(s, p string, off int) string { return s[:off] + p + s[off+len(p):] }
	for _, c := range []struct {
		name string
		do   func(f *fixture, file *File) string
	}{
		{"rewrite", func(f *fixture, file *File) string {
			f.write(file, "changed", 0)
			f.write(file, "changed", 17*mib)
			return patched(patched(text, "changed", 0), "changed", 17*mib)
		}},
		{"block", func(f *fixture, file *File) string {
			f.write(file, noise(64<<10, 9), 8*mib)
			return patched(text, noise(64<<10, 9), 8*mib)
		}},
		{"hole", func(f *fixture, file *File) string {
			f.must(file.Allocate(f.ctx, 5*mib, 10*mib, AllocOptions{KeepSize: true, PunchHole: true}))
			return patched(text, string(make([]byte, 10*mib)), 5*mib)
		}},
		{"read back", func(f *fixture, file *File) string {
			p := make([]byte, 100)
			n, err := file.ReadAt(f.ctx, p, 3)
			f.must(err)
			if string(p[:n]) != text[3:103] {
				f.t.Error("read something else")
			}
			return text
		}},
		{"truncate", func(f *fixture, file *File) string {
			f.must(file.Truncate(f.ctx, 20*mib+1))
			return text[:20*mib+1]
		}},
		{"truncate to a segment", func(f *fixture, file *File) string {
			f.must(file.Truncate(f.ctx, sigil.SegmentSize))
			return text[:sigil.SegmentSize]
		}},
		{"begin anew", func(f *fixture, file *File) string {
			f.must(file.Truncate(f.ctx, 0))
			f.writeOn(file, text[mib:], 0)
			return text[mib:]
		}},
		{"grow", func(f *fixture, file *File) string {
			f.must(file.Truncate(f.ctx, size+9*mib))
			return text + string(make([]byte, 9*mib))
		}},
		{"fsync", func(f *fixture, file *File) string {
			f.must(file.Commit(f.ctx))
			f.writeOn(file, text, size)
			return text + text
		}},
		{"rename", func(f *fixture, file *File) string {
			f.rename("a", "b")
			f.writeOn(file, "more", size)
			f.must(file.Commit(f.ctx))
			f.rename("b", "a")
			return text + "more"
		}},
	} {
		for _, space := range []int64{256, 40} {
			for _, name := range []string{"client", "none"} {
				if name == "none" && space == 256 {
					continue // goes up at the end
				}
				t.Run(c.name+" "+name+map[int64]string{256: "", 40: " dropped"}[space], func(t *testing.T) {
					s := setupOf(name)
					f := mount(t, s.store(), s.on, spoolOf(t, space))
					file := f.began("a", text)
					flown(file)
					if st := file.streamOf(); name == "client" && (st == nil || st.isDropped() != (space == 40)) {
						t.Fatal("nothing was streamed, or dropped")
					}
					want := c.do(f, file)
					f.must(file.Commit(f.ctx))
					info := file.Info()
					file.Release()
					f.settle()
					f.shows(&s, "a", want, info)
					f.noLeftovers()
				})
			}
		}
	}
}

// TestStreamBegunDuringACommit: what is changed after a commit is not taken for
// what went up while that was under way.
func TestStreamBegunDuringACommit(t *testing.T) {
	text := []byte(noise(60*mib, 5))
	f := mount(t, bucket())
	hold, sent := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Put && op.Key == "a" {
			once.Do(func() { close(sent) })
			x.Wait = hold
		}
		return x
	})
	file := f.began("a", string(text[:2*mib]))
	synced := make(chan error)
	go func() { synced <- file.Commit(f.ctx) }()
	<-sent
	f.writeOn(file, string(text[2*mib:]), 2*mib)
	close(hold)
	f.must(<-synced)
	flown(file)
	copy(text[mib:], "changed")
	f.write(file, "changed", mib)
	f.must(file.Commit(f.ctx))
	file.Release()
	mount(t, f.mem, host("there")).has("a", string(text))
}

// TestStreamBegunDuringARename: what is written anew while the file is renamed
// goes up under its new name, also if it is larger than the spool.
func TestStreamBegunDuringARename(t *testing.T) {
	text := noise(60*mib, 5)
	f := mount(t, bucket(), spoolOf(t, 40))
	file := f.began("a", "old")
	f.must(file.Commit(f.ctx))
	hold, copying := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Copy {
			once.Do(func() { close(copying) })
			x.Wait = hold
		}
		return x
	})
	moved, written := make(chan error), make(chan error)
	go func() { moved <- f.Rename(f.ctx, "a", "b", false) }()
	<-copying
	f.must(file.Truncate(f.ctx, 0))
	at := make(chan int, len(text)/mib)
	go func() {
		defer close(at)
		for off := 0; off < len(text); off += mib {
			if _, err := file.WriteAt(f.ctx, []byte(text[off:off+mib]), int64(off)); err != nil {
				written <- err
				return
			}
			at <- off
		}
		written <- nil
	}()
	for off := range at {
		if off >= 36*mib {
			break
		}
	}
	close(hold)
	wants(t, <-moved, nil)
	wants(t, <-written, nil)
	f.must(file.Commit(f.ctx))
	file.Release()
	f.absent("a")
	mount(t, f.mem, host("there")).has("b", text)
}

// TestStreamAndOtherNames: what becomes of a stream whose name goes.
func TestStreamAndOtherNames(t *testing.T) {
	text := noise(90*mib, 4)
	for _, c := range []struct {
		name string
		do   func(f *fixture)
	}{
		{"unlinked", func(f *fixture) { f.must(f.Remove(f.ctx, "a")) }},
		{"replaced", func(f *fixture) {
			f.put("b", "b")
			f.rename("b", "a")
			f.has("a", "b")
		}},
	} {
		for _, space := range []int64{256, 40} {
			f := mount(t, bucket(), spoolOf(t, space))
			file := f.began("a", text)
			c.do(f)
			f.reads(file, text)
			file.Release()
			f.settle()
			f.noLeftovers()
		}
	}
}

// TestStreamMeetsAnotherHost: its data is saved beside, as long as all of it is
// here; else it is gone, and everybody who has the file open is told so.
func TestStreamMeetsAnotherHost(t *testing.T) {
	text := noise(90*mib, 4)
	for _, space := range []int64{256, 40} {
		f := mount(t, bucket(), spoolOf(t, space))
		file := f.began("a", text)
		flown(file)
		mount(t, f.mem, host("there")).put("a", "theirs")
		wants(t, file.Commit(f.ctx), ErrChanged)
		f.has("a", "theirs")
		if space == 256 {
			if _, got := f.conflictCopy(); got != text {
				t.Error("the copy is not what was written")
			}
		} else {
			_, err := file.ReadAt(f.ctx, make([]byte, 1), 0)
			wants(t, err, ErrChanged)
			_, err = file.WriteAt(f.ctx, []byte("x"), 0)
			wants(t, err, ErrChanged)
			wants(t, file.Truncate(f.ctx, 0), ErrChanged)
			wants(t, file.Commit(f.ctx), ErrChanged)
			f.lists("", "a")
		}
		file.Release()
		f.put("a", "again")
		f.has("a", "again")
		f.settle()
		f.noLeftovers()
		if used := f.opt.Spool.Used(); used != 0 {
			t.Errorf("%d bytes are left in the spool", used)
		}
	}
}

// TestStreamOverwrites: with --on-conflict=overwrite the last writer wins, with
// a part of it dropped too.
func TestStreamOverwrites(t *testing.T) {
	text := noise(90*mib, 4)
	f := mount(t, bucket(), spoolOf(t, 40), onConflict(ConflictOverwrite))
	file := f.began("a", text)
	flown(file)
	mount(t, f.mem, host("there")).put("a", "theirs")
	f.must(file.Commit(f.ctx))
	file.Release()
	f.has("a", text)
	f.noLeftovers()
}

// TestStreamIsNotEncrypted: a server that does not encrypt gets no part, and
// what is here stays.
func TestStreamIsNotEncrypted(t *testing.T) {
	s := setupOf("sse-s3")
	f := mount(t, mem.New(mem.Options{IgnoreEncryption: true}), s.on, spoolOf(t, 40))
	text := noise(90*mib, 4)
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
	f.must(err)
	wants(t, f.tryWriteOn(file, text, 0), ErrSpoolFull)
	wants(t, file.Commit(f.ctx), ErrNotEncrypted)
	f.reads(file, text[:file.Info().Size])
	file.Release()
	if n := f.s.Counts().Requests[faulty.Part]; n != 0 || len(f.mem.Uploads()) != 0 {
		t.Errorf("%d parts were sent", n)
	}
}

// TestStreamIsAborted: an upload that somebody has aborted is sent anew, as
// long as all of it is here.
func TestStreamIsAborted(t *testing.T) {
	f := mount(t, bucket())
	text := noise(60*mib, 4)
	file := f.began("a", text)
	flown(file)
	for id, key := range f.mem.Uploads() {
		f.must(f.mem.Resume(key, id).Abort(f.ctx))
	}
	f.must(file.Commit(f.ctx))
	file.Release()
	f.has("a", text)
	f.noLeftovers()
}

// TestStreamFails: whichever request fails, the close says so, and what is
// tried again succeeds.
func TestStreamFails(t *testing.T) {
	text := noise(90*mib, 4)
	for _, space := range []int64{256, 40} {
		for _, verb := range []faulty.Verb{faulty.Upload, faulty.Part, faulty.Complete} {
			for _, lost := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s lost=%v spool=%d", verb, lost, space), func(t *testing.T) { // which lets go of the bucket
					f := mount(t, bucket(), spoolOf(t, space))
					file := f.began("a", text[:60*mib])
					flown(file)
					f.s.SetScript(func(op faulty.Op) faulty.Fault {
						if op.Verb != verb {
							return faulty.Fault{}
						}
						if lost {
							return faulty.Fault{Lost: true}
						}
						return faulty.Fault{Err: objstore.ErrQuota}
					})
					f.writeOn(file, text[60*mib:70*mib], 60*mib)
					err := file.Commit(f.ctx)
					if verb == faulty.Upload || verb == faulty.Complete && lost { // it had begun, or is recognised
						f.must(err)
					} else if err == nil {
						t.Fatalf("%s, lost %v: no error", verb, lost)
					}
					f.healed()
					f.writeOn(file, text[70*mib:], 70*mib)
					f.must(file.Commit(f.ctx))
					f.reads(file, text)
					file.Release()
					f.settle()
					mount(t, f.mem, host("there")).has("a", text)
					f.noLeftovers()
				})
			}
		}
	}
}

// TestStreamCrashes cuts a stream at every one of its requests: the next mount
// finds the old file or the new one, and cleans up.
func TestStreamCrashes(t *testing.T) {
	text := noise(42*mib, 6)
	for n := 1; ; n++ {
		for _, done := range []bool{false, true} {
			m := bucket()
			mount(t, m).put("a", "old")
			f := mount(t, m, spoolOf(t, 24))
			f.s.CrashAt(n, done)
			err := func() error {
				file, err := f.Open(f.ctx, "a", OpenOptions{Write: true, Truncate: true})
				if err != nil {
					return err
				}
				defer file.Release()
				if err := f.tryWriteOn(file, text, 0); err != nil {
					return err
				}
				return file.Commit(f.ctx)
			}()
			if !f.s.Crashed() {
				f.must(err)
				if n < 10 {
					t.Errorf("%d requests only", n)
				}
				return
			}
			f.end()
			again := mount(t, m)
			got, gerr := again.get("a")
			again.must(gerr)
			if got != text && (got != "old" || err == nil) {
				t.Errorf("request %d, done %v: reads %s", n, done, brief(got))
			}
			again.must(again.Close(again.ctx))
			for _, key := range m.Keys() {
				if strings.Contains(key, hidden+"/") {
					t.Errorf("request %d, done %v: left %s", n, done, key)
				}
			}
			again.end()
		}
	}
}

// TestFullSpoolWaits: a write waits for parts that are under way, and returns
// when they have landed; with its context; or with the end of the mount.
func TestFullSpoolWaits(t *testing.T) {
	text := noise(60*mib, 7)
	for _, end := range []string{"landed", "cancelled", "closed"} {
		f := mount(t, bucket(), spoolOf(t, 40))
		hold, first := make(chan struct{}), make(chan struct{})
		var once sync.Once
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Part {
				once.Do(func() { close(first) })
				return faulty.Fault{Wait: hold}
			}
			return faulty.Fault{}
		})
		file, err := f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
		f.must(err)
		ctx, cancel := context.WithCancel(f.ctx)
		wrote, at := make(chan error), make(chan int, 100)
		go func() {
			defer close(at)
			for off := 0; off < len(text); off += mib {
				at <- off
				if _, err := file.WriteAt(ctx, []byte(text[off:off+mib]), int64(off)); err != nil {
					wrote <- err
					return
				}
			}
			wrote <- nil
		}()
		<-first
		for off := range at {
			if off >= 37*mib { // one slot is 68 KiB: the next, or the one after it, waits
				break
			}
		}
		switch end {
		case "landed":
			close(hold)
			wants(t, <-wrote, nil)
			f.must(file.Commit(f.ctx))
			f.has("a", text)
		case "cancelled":
			cancel()
			wants(t, <-wrote, context.Canceled)
			close(hold)
			f.reads(file, text[:file.Info().Size])
		case "closed":
			closed := make(chan error)
			go func() { closed <- f.Close(f.ctx) }()
			wants(t, <-wrote, ErrClosed)
			close(hold)
			if err := <-closed; err == nil {
				t.Error("Close did not name what is open")
			}
		}
		cancel()
		file.Release()
	}
}

// TestFullSpoolSaysSo: where nothing under way can make room, it is full.
func TestFullSpoolSaysSo(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on, spoolOf(t, 24))
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
	f.must(err)
	wants(t, f.tryWriteOn(file, noise(40*mib, 1), 0), ErrSpoolFull)
	file.Release()

	f = mount(t, bucket(), spoolOf(t, 24))
	f.failing(objstore.ErrAccess, false, faulty.Upload)
	file, err = f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
	f.must(err)
	wants(t, f.tryWriteOn(file, noise(40*mib, 1), 0), ErrSpoolFull)
	f.healed()
	f.must(file.Commit(f.ctx))
	file.Release()
}

// TestStreamsShareASpool: several files at once, each larger than it.
func TestStreamsShareASpool(t *testing.T) {
	f := mount(t, bucket(), spoolOf(t, 40))
	var wg sync.WaitGroup
	names := []string{"a", "b", "c"}
	for i, name := range names {
		wg.Go(func() {
			if err := f.tryStream(name, noise(70*mib, byte(i))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	for i, name := range names {
		f.has(name, noise(70*mib, byte(i)))
	}
	f.noLeftovers()
}

func (f *fixture) tryStream(p, text string) error {
	file, err := f.Create(f.ctx, p, Attr{Mode: 0o644}, false)
	if err != nil {
		return err
	}
	defer file.Release()
	if err := f.tryWriteOn(file, text, 0); err != nil {
		return err
	}
	return file.Commit(f.ctx)
}

// TestFsyncsOfALongFile: the bytes sent are those of the file and a segment for
// each fsync, not the whole file each time.
func TestFsyncsOfALongFile(t *testing.T) {
	f := mount(t, bucket(), spoolOf(t, 64))
	text := noise(160*mib, 8)
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
	f.must(err)
	const step, syncs = 20 * mib, 8
	for off := 0; off < len(text); off += step {
		f.writeOn(file, text[off:off+step], off)
		f.must(file.Commit(f.ctx))
	}
	if got, most := f.s.Counts().Up, int64(len(text)+syncs*2*sigil.SegmentSize); got > most {
		t.Errorf("%d MiB sent, at most %d are due", got/mib, most/mib)
	}
	file.Release()
	f.has("a", text)
}

// TestSparseStream: holes and parts that are written before their turn are as
// they should be.
func TestSparseStream(t *testing.T) {
	f := mount(t, bucket(), spoolOf(t, 40))
	text := make([]byte, 150*mib)
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o644}, false)
	f.must(err)
	for _, off := range []int{0, 3, 40, 20, 60, 61, 100, 90, 80, 142} {
		piece := noise(7*mib, byte(off))
		copy(text[off*mib:], piece)
		f.writeOn(file, piece, off*mib)
	}
	f.must(file.Truncate(f.ctx, int64(len(text))))
	f.must(file.Commit(f.ctx))
	file.Release()
	f.has("a", string(text))
	f.noLeftovers()
}
