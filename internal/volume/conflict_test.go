package volume

import (
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
)

// conflictCopy gives the content of the one conflict copy in the root.
func (f *fixture) conflictCopy() (name, text string) {
	f.t.Helper()
	for _, n := range f.list("") {
		if strings.Contains(n, ".conflict-") {
			if name != "" {
				f.t.Fatalf("two copies: %q, %q", name, n)
			}
			name = n
		}
	}
	if name == "" {
		f.t.Fatal("no conflict copy")
	}
	text, err := f.get(name)
	f.must(err)
	return name, text
}

// TestConflicts: another host replaces, removes or makes what is open here.
func TestConflicts(t *testing.T) { inSetups(t, testConflicts) }

func testConflicts(t *testing.T, s *setup) {
	overwrites := func(o *fixture) { o.put("a", "theirs") }
	removes := func(o *fixture) { o.must(o.Remove(o.ctx, "a")) }
	for _, tc := range []struct {
		name   string
		mode   OnConflict
		fresh  bool // made here, not opened
		excl   bool
		theirs func(o *fixture)
		want   error
		at     string // what "a" reads then, for both; "" is absent
		copied bool
	}{
		{"Copy", ConflictCopy, false, false, overwrites, ErrChanged, "theirs", true},
		{"CopyOfRemoved", ConflictCopy, false, false, removes, ErrChanged, "", true},
		{"CopyOfNew", ConflictCopy, true, false, overwrites, ErrChanged, "theirs", true},
		{"CopyOfExclusive", ConflictCopy, true, true, overwrites, ErrExist, "theirs", true},
		{"Fail", ConflictFail, false, false, overwrites, ErrChanged, "theirs", false},
		{"FailOfNew", ConflictFail, true, false, overwrites, ErrChanged, "theirs", false},
		{"FailOfExclusive", ConflictFail, true, true, overwrites, ErrExist, "theirs", false},
		{"Overwrite", ConflictOverwrite, false, false, overwrites, nil, "mine", false},
		{"OverwriteRemoved", ConflictOverwrite, false, false, removes, nil, "mine", false},
		{"OverwriteNew", ConflictOverwrite, true, false, overwrites, nil, "mine", false},
		{"OverwriteExclusive", ConflictOverwrite, true, true, overwrites, ErrExist, "theirs", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, s.store(), s.on, onConflict(tc.mode))
			other := mount(t, f.mem, s.on, host("there"))
			var file *File
			if tc.fresh {
				file = f.create("a", "mine", tc.excl)
			} else {
				f.put("a", "base")
				file = f.open("a")
				f.write(file, "mine", 0)
			}
			tc.theirs(other)
			err := file.Commit(f.ctx)
			wants(t, err, tc.want)
			if tc.at == "" {
				other.absent("a")
			} else {
				other.has("a", tc.at)
			}
			f.reads(file, "mine")
			switch {
			case tc.copied:
				name, text := other.conflictCopy()
				if text != "mine" || !strings.HasPrefix(name, "a.conflict-here-") || file.Path() != name {
					t.Errorf("copy %s at %s, the file is at %s", brief(text), name, file.Path())
				}
				if tc.at != "" {
					f.has("a", tc.at)
					if f.stat(name).FileID == f.stat("a").FileID {
						t.Error("one file id for two files")
					}
				}
				f.must(file.Commit(f.ctx)) // it goes on there
				f.write(file, "MINE", 0)
				f.must(file.Commit(f.ctx))
				other.has(name, "MINE")
			case err != nil:
				wants(t, file.Commit(f.ctx), tc.want) // again and again
				f.has("a", "mine")                    // this host goes on showing it
				other.has("a", tc.at)
				if err := f.Close(f.ctx); err == nil || !strings.Contains(err.Error(), `"a"`) {
					t.Errorf("close does not name what is left: %v", err)
				}
			}
			file.Release()
		})
	}
}

// TestOlderObjectIsOverwritten: a new file without O_EXCL over what was there
// before it was opened, but not over what came within the clock's resolution.
func TestOlderObjectIsOverwritten(t *testing.T) {
	clock := newClock()
	f := mount(t, memAt(clock), func(o *Options) { o.Now = clock.now })
	other := mount(t, f.mem, host("there"), func(o *Options) { o.Now = clock.now })
	other.put("a", "old")
	clock.pass(2e9)
	file := f.create("a", "new", false)
	f.must(file.Commit(f.ctx))
	file.Release()
	other.has("a", "new")

	clock.pass(7e8) // LastModified will be before the open, in whole seconds
	file = f.create("b", "mine", false)
	clock.pass(1e8)
	other.put("b", "theirs")
	wants(t, file.Commit(f.ctx), ErrChanged)
	file.Release()
	other.has("b", "theirs")
}

// TestClockAhead: what another host made after the open is not taken for older
// by a host whose clock is ahead of the store's; what is older still is.
func TestClockAhead(t *testing.T) {
	for _, ahead := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		clock := newClock()
		f := mount(t, memAt(clock), func(o *Options) { o.Now = func() time.Time { return clock.now().Add(ahead) } })
		other := mount(t, f.mem, host("there"), func(o *Options) { o.Now = clock.now })
		file := f.create("a", "mine", false)
		clock.pass(10 * time.Second)
		other.put("a", "theirs")
		clock.pass(10 * time.Second)
		wants(t, file.Commit(f.ctx), ErrChanged)
		file.Release()
		other.has("a", "theirs")
		f.must(f.Close(f.ctx))
		f.noLeftovers()
	}
}

// TestPinnedHandle: an open file reads the version it opened or ErrChanged,
// never another's bytes; opened anew it is another incarnation.
func TestPinnedHandle(t *testing.T) { inSetups(t, testPinnedHandle) }

func testPinnedHandle(t *testing.T, s *setup) {
	f := mount(t, s.store(), s.on)
	one, two := noise(300<<10, 1), noise(300<<10, 2)
	f.put("a", one)
	file := f.open("a")
	p := make([]byte, 100)
	_, err := file.ReadAt(f.ctx, p, 0) // part of it is cached now
	f.must(err)
	other := mount(t, f.mem, s.on, host("there"))
	other.put("a", two)
	for off := int64(0); off < 300<<10; off += 50 << 10 {
		n, err := file.ReadAt(f.ctx, p, off)
		if err == nil && string(p[:n]) != one[off:off+100] {
			t.Fatalf("torn at %d", off)
		}
		if whole := s.rules[0].S3EC != nil; off > 200<<10 && !whole { // which is here
			wants(t, err, ErrChanged)
		}
	}
	before := file.Info()
	f.has("a", two)
	after := f.stat("a")
	if after.Incarnation == before.Incarnation || after.FileID != before.FileID {
		t.Errorf("before %+v, after %+v", before.Attr, after.Attr)
	}
	file.Release()
	other.must(other.Remove(other.ctx, "a"))
	f.absent("a")
	other.put("a", one)
	if again := f.stat("a"); again.Incarnation == after.Incarnation {
		t.Error("a new file under the incarnation of a removed one")
	}
}

// TestForeignAttributes: a chmod by another host changes neither
// what an open handle reads nor its incarnation.
func TestForeignAttributes(t *testing.T) {
	f := mount(t, bucket())
	text := noise(300<<10, 1)
	f.put("a", text)
	file := f.open("a")
	defer file.Release()
	other := mount(t, f.mem, host("there"))
	_, err := other.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})
	f.must(err)
	f.reads(file, text)
	got := f.stat("a")
	if got.Incarnation != file.Info().Incarnation || got.Mode&0o777 != 0o600 {
		t.Errorf("%+v", got)
	}
	f.write(file, "x", 0)
	f.must(file.Commit(f.ctx))
	other.has("a", "x"+text[1:])
	if got := other.stat("a"); got.Mode&0o777 != 0o600 {
		t.Errorf("mode %o", got.Mode)
	}
}

// TestIncarnations: own commits and renames are no new version.
func TestIncarnations(t *testing.T) { inSetups(t, testIncarnations) }

func testIncarnations(t *testing.T, s *setup) {
	for _, tw := range []tweak{noTimeout, long} {
		f := mount(t, s.store(), s.on, tw)
		file := f.create("a", "1", false)
		want := file.Info()
		same := func(p string) {
			t.Helper()
			if got := f.stat(p); got.Incarnation != want.Incarnation || got.FileID != want.FileID {
				t.Fatalf("%+v, was %+v", got.Attr, want.Attr)
			}
		}
		same("a")
		for range 3 {
			f.write(file, "more", 0)
			f.must(file.Commit(f.ctx))
			same("a")
		}
		f.rename("a", "b")
		same("b")
		file.Release()
		same("b")
		f.must(errOf(f.SetAttr(f.ctx, "b", Change{Mode: ptr[uint32](0o600)})))
		same("b")
		again := f.open("b")
		f.write(again, "y", 0)
		f.must(again.Commit(f.ctx))
		again.Release()
		same("b")
		f.must(f.Remove(f.ctx, "b"))
		f.put("b", "2")
		if got := f.stat("b"); got.Incarnation == want.Incarnation || got.FileID == want.FileID {
			t.Errorf("a new file as the old one: %+v", got.Attr)
		}
	}
}

// TestAttrTimeout: what the store said is believed for so long; an open sees
// every close before it when that has passed.
func TestAttrTimeout(t *testing.T) {
	clock := newClock()
	f := mount(t, memAt(clock), func(o *Options) { o.AttrTimeout, o.Now = 0, clock.now })
	other := mount(t, f.mem, host("there"), func(o *Options) { o.Now = clock.now })
	f.put("a", "one")
	before := f.stat("a")
	other.put("a", "longer")
	if got := f.stat("a"); got.Size != 3 || got.Incarnation != before.Incarnation {
		t.Errorf("%+v", got.Attr)
	}
	wants(t, errOf(f.get("a")), ErrChanged)
	f.has("a", "longer") // asked again, once the old one was found to be gone
	other.put("a", "two")
	clock.pass(11e8)
	f.has("a", "two")
}

// TestNoCapabilities: a server that ignores conditions is asked before.
func TestNoCapabilities(t *testing.T) {
	f := mount(t, careless(), func(o *Options) { o.Capabilities = objstore.Capabilities{} })
	other := mount(t, f.mem, host("there"))
	f.put("a", "base")
	file, fresh := f.open("a"), f.create("b", "mine", true)
	f.write(file, "mine", 0)
	other.put("a", "theirs")
	other.put("b", "theirs")
	wants(t, file.Commit(f.ctx), ErrChanged)
	wants(t, fresh.Commit(f.ctx), ErrExist)
	other.has("a", "theirs")
	other.has("b", "theirs")
	wants(t, errOf(f.Mkdir(f.ctx, "d", Attr{})), nil)
	wants(t, errOf(f.Mkdir(f.ctx, "d", Attr{})), ErrExist)
	wants(t, errOf(f.Symlink(f.ctx, "b", "x", Attr{})), ErrExist)
	file.Release()
	fresh.Release()
	gone := f.open("a")
	f.write(gone, "mine", 0)
	f.must(other.Remove(f.ctx, "a"))
	wants(t, gone.Commit(f.ctx), ErrChanged)
	gone.Release()
	f.put("x", "1")
	f.rename("x", "y")
	f.has("y", "1")
	f.failing(objstore.ErrThrottled, false, faulty.Head)
	wants(t, f.tryPut("z", "1"), ErrThrottled)
}
