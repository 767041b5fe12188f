package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// spooled is a mount whose spool a later one takes over.
type spooled struct {
	*fixture
	dir string
}

var spoolKey = &[32]byte{9}

func boot(id string) tweak { return func(o *Options) { o.Boot = id } }

func left(r ...*spool.Remains) tweak { return func(o *Options) { o.Left = r } }

func mountSpooled(t testing.TB, m *mem.Store, tweaks ...tweak) *spooled {
	t.Helper()
	return mountSpooledOf(t, 256, m, tweaks...)
}

// mountSpooledOf has a spool of so many MiB.
func mountSpooledOf(t testing.TB, size int64, m *mem.Store, tweaks ...tweak) *spooled {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	sp, err := spool.Open(dir, spool.Options{Limit: size * mib, Reserve: -1, Key: spoolKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sp.Close() })
	tweaks = append([]tweak{boot("1"), func(o *Options) { o.Spool = sp }}, tweaks...)
	return &spooled{mount(t, m, tweaks...), dir}
}

// remains is the spool as a kill at this moment leaves it.
func (s *spooled) remains() *spool.Remains {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "killed")
	s.must(os.CopyFS(dir, os.DirFS(s.dir)))
	s.must(os.Chmod(dir, 0o700))
	entries, err := os.ReadDir(dir)
	s.must(err)
	for _, e := range entries {
		s.must(os.Chmod(filepath.Join(dir, e.Name()), 0o600))
	}
	return s.take(dir)
}

func (s *spooled) take(dir string) *spool.Remains {
	s.t.Helper()
	r, err := spool.Recover(dir, spoolKey)
	s.must(err)
	s.t.Cleanup(func() { _ = r.Close() })
	return r
}

// leftIn are the files that are still in r, in order of their paths.
func (f *fixture) leftIn(r *spool.Remains) (all []Leftover) {
	f.t.Helper()
	rec := NewRecovery(f.Volume, []*spool.Remains{r})
	ids, err := rec.IDs()
	f.must(err)
	for _, id := range ids {
		l, err := rec.Describe(id)
		f.must(err)
		if !l.Void {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b Leftover) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// file is what an export goes to.
type file struct{ b []byte }

func (x *file) Truncate(n int64) error { x.b = make([]byte, n); return nil }

func (x *file) WriteAt(p []byte, off int64) (int, error) { return copy(x.b[off:], p), nil }

// exports gives what an export of the one file that is left says.
func (f *fixture) exports(r *spool.Remains, salvage bool) (string, []Gap, error) {
	f.t.Helper()
	all := f.leftIn(r)
	if len(all) != 1 {
		f.t.Fatalf("%d files are left", len(all))
	}
	var out file
	gaps, err := NewRecovery(f.Volume, []*spool.Remains{r}).Export(f.ctx, all[0].ID, &out, salvage)
	return string(out.b), gaps, err
}

// down makes every request fail that would change the bucket.
func (f *fixture) down() {
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb.Writes() {
			x.Err = objstore.ErrUnreachable
		}
		return x
	})
}

// flush is close(2): the file was to be written over, or made.
func (f *fixture) flush(p, content string) error {
	file, err := f.Open(f.ctx, p, OpenOptions{Write: true})
	if errors.Is(err, ErrNotExist) {
		file, err = f.Create(f.ctx, p, Attr{Mode: 0o640}, false)
	}
	if err != nil {
		return err
	}
	defer file.Release()
	if _, err := file.WriteAt(f.ctx, []byte(content), 0); err != nil {
		return err
	}
	return file.Flush(f.ctx)
}

// A workload ends in a close(2) that the kill meets, or comes before.
type workload struct {
	name string
	old  string // what "a" held; "" is absent
	do   func(f *fixture) error
	want string // what "a" holds after it
	also string // or after the first of two closes
}

// inTwoParts has the one that goes up in parts go up in two.
func inTwoParts(o *Options) { o.onePut = 4 << 20 }

func workloads() []workload {
	big, parts := noise(3<<20, 1), noise(twoParts, 2)
	return []workload{
		{"New", "", func(f *fixture) error { return f.flush("a", "new") }, "new", ""},
		{"Empty", "", func(f *fixture) error { return f.flush("a", "") }, "", ""},
		{"NewInParts", "", func(f *fixture) error { return f.flush("a", parts) }, parts, ""},
		{"Over", "old and longer", func(f *fixture) error { return f.flush("a", "new") }, "new and longer", ""},
		{"Piece", big, func(f *fixture) error { return f.flush("a", "new") }, "new" + big[3:], ""},
		{"Copy", "", func(f *fixture) error { return f.cp("src", "a") }, noise(200<<10, 8), ""},
		{"CopyOver", "old", func(f *fixture) error { return f.cp("src", "a") }, noise(200<<10, 8), ""},
		{"CopyChanged", "", func(f *fixture) error {
			file, err := f.copyTo("src", "a")
			if err != nil {
				return err
			}
			defer file.Release()
			_, err = file.WriteAt(f.ctx, []byte("changed"), 70<<10)
			return errors.Join(err, file.Flush(f.ctx))
		}, noise(200<<10, 8)[:70<<10] + "changed" + noise(200<<10, 8)[70<<10+7:], ""},
		{"Twice", "old", func(f *fixture) error {
			file, err := f.Open(f.ctx, "a", OpenOptions{Write: true})
			if err != nil {
				return err
			}
			defer file.Release()
			for _, text := range []string{"one", "two"} {
				if _, err := file.WriteAt(f.ctx, []byte(text), 0); err != nil {
					return err
				}
				if err := file.Flush(f.ctx); err != nil && text == "two" {
					return err
				}
			}
			return nil
		}, "two", "one"},
		{"SyncThenClose", "", func(f *fixture) error {
			file, err := f.Create(f.ctx, "a", Attr{Mode: 0o640}, true)
			if err != nil {
				return err
			}
			defer file.Release()
			_, err = file.WriteAt(f.ctx, []byte("one"), 0)
			_ = file.Commit(f.ctx)
			if err == nil {
				_, err = file.WriteAt(f.ctx, []byte("and two"), 3)
			}
			return errors.Join(err, file.Flush(f.ctx))
		}, "oneand two", ""},
	}
}

// TestReplayAfterAKillAnywhere kills the process at every request of a close,
// before it is done and after: the next mount brings what was closed to the
// bucket, once, and nothing is left, neither here nor there.
func TestReplayAfterAKillAnywhere(t *testing.T) {
	t.Parallel()
	inSetups(t, testReplayAnywhere)
}

func testReplayAnywhere(t *testing.T, s *setup) {
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			m := s.store()
			f := mount(t, m, s.on)
			if w.old != "" {
				f.put("a", w.old)
			}
			if strings.HasPrefix(w.name, "Copy") {
				f.put("src", noise(200<<10, 8))
			}
			replayed := 0
			for n := 1; ; n++ {
				for _, after := range []bool{false, true} {
					crashed, closed := killAt(t, s, m.Clone(), w, n, after)
					if t.Failed() {
						t.Fatalf("request %d, done %v", n, after)
					}
					if !crashed {
						if replayed < 2 {
							t.Error("no kill met a close")
						}
						return
					}
					if closed {
						replayed++
					}
				}
			}
		})
	}
}

// killAt does w on m, kills at request n and mounts again. closed: the kill has
// met a close.
func killAt(t *testing.T, s *setup, m *mem.Store, w workload, n int, after bool) (crashed, closed bool) {
	f := mountSpooled(t, m, s.on, inTwoParts)
	lending(f.fixture)
	var r *spool.Remains
	var once sync.Once // requests come from several goroutines
	kill := func() error {
		once.Do(func() { r = f.remains() })
		return faulty.ErrCrashed
	}
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		switch {
		case op.N < n:
			return faulty.Fault{}
		case op.N > n || !after:
			return faulty.Fault{Err: kill()}
		}
		return faulty.Fault{After: func(error) error { return kill() }}
	})
	err := w.do(f.fixture)
	once.Do(func() {}) // nothing comes later
	if r == nil {
		f.must(err)
		return false, false
	}
	then := f.leftIn(r)
	again := mount(t, m, s.on, inTwoParts, boot("1"), left(r))
	now := again.leftIn(r)
	closed = slices.ContainsFunc(then, func(l Leftover) bool { return l.Path == "a" && !l.Open })
	switch got, gerr := again.get("a"); {
	case w.also != "" && got == w.also && err != nil && len(now) == 0:
	case err == nil && (gerr != nil || got != w.want):
		t.Errorf("confirmed, and lost: %s, %v", brief(got), gerr)
	case closed && (gerr != nil || got != w.want || len(now) != 0):
		t.Errorf("closed, and not replayed: %s, %v, left %+v", brief(got), gerr, now)
	case gerr != nil && !errors.Is(gerr, ErrNotExist):
		t.Error(gerr)
	}
	for _, name := range again.list("") {
		if name != "a" && name != "src" {
			t.Errorf("%s is there", name)
		}
	}
	again.must(again.Close(again.ctx))
	for _, key := range again.mem.Keys() {
		if strings.Contains(key, hidden+"/") {
			t.Errorf("%s is left behind", key)
		}
	}
	return true, closed
}

// TestReplayNeverOverNewer: another host was there between the kill and the
// next mount.
func TestReplayNeverOverNewer(t *testing.T) { inSetups(t, testReplayNeverOverNewer) }

func testReplayNeverOverNewer(t *testing.T, s *setup) {
	for _, tc := range []struct {
		name, old string
		theirs    func(o *fixture) error
		at        string // what "a" reads then; "" is absent
	}{
		{"Replaced", "old", func(o *fixture) error { return o.tryPut("a", "theirs") }, "theirs"},
		{"Made", "", func(o *fixture) error { return o.tryPut("a", "theirs") }, "theirs"},
		{"Removed", "old", func(o *fixture) error { return o.Remove(o.ctx, "a") }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := s.store()
			f := mountSpooled(t, m, s.on)
			if tc.old != "" {
				f.put("a", tc.old)
			}
			f.down()
			wants(t, f.flush("a", "mine, all of it"), objstore.ErrUnreachable)
			r := f.remains()
			o := mount(t, m, s.on, host("there"))
			o.must(tc.theirs(o))
			again := mount(t, m, s.on, boot("1"), left(r))
			if got := again.leftIn(r); len(got) != 0 {
				t.Errorf("left: %+v", got)
			}
			if tc.at == "" {
				again.absent("a")
			} else {
				again.has("a", tc.at)
			}
			if name, text := again.conflictCopy(); text != "mine, all of it" || !strings.HasPrefix(name, "a.conflict-here-") {
				t.Errorf("saved: %s as %s", brief(text), name)
			}
		})
	}
}

// TestReplayIsKilledToo: however often, there is one conflict copy, or none.
func TestReplayIsKilledToo(t *testing.T) {
	for _, newer := range []bool{false, true} {
		t.Run(fmt.Sprintf("newer %v", newer), func(t *testing.T) {
			m := bucket()
			f := mountSpooled(t, m)
			f.put("a", "old")
			f.down()
			wants(t, f.flush("a", "mine"), objstore.ErrUnreachable)
			r := f.remains()
			if newer {
				mount(t, m, host("there")).put("a", "theirs")
			}
			for range 3 { // each is done, and nobody hears of it
				g := mountIdle(t, m, boot("1"), left(r))
				crashed := false
				g.s.SetScript(func(op faulty.Op) faulty.Fault {
					switch {
					case crashed:
						return faulty.Fault{Err: faulty.ErrCrashed}
					case op.Verb != faulty.Put:
						return faulty.Fault{}
					}
					crashed = true
					return faulty.Fault{After: func(error) error { return faulty.ErrCrashed }}
				})
				ids, err := r.Files()
				g.must(err)
				for _, id := range ids {
					_, _ = NewRecovery(g.Volume, []*spool.Remains{r}).Replay(g.ctx, id)
				}
			}
			again := mount(t, m, boot("1"), left(r))
			if newer {
				again.has("a", "theirs")
				if _, text := again.conflictCopy(); text != "mine" {
					t.Error(text)
				}
			} else {
				again.lists("", "a")
				again.has("a", "mine")
			}
			if got := again.leftIn(r); len(got) != 0 {
				t.Errorf("left: %+v", got)
			}
		})
	}
}

// TestOpenFilesAreLeftToAPerson: they are named, exported as they were written,
// and replayed only by name.
func TestOpenFilesAreLeftToAPerson(t *testing.T) {
	m := bucket()
	f := mountSpooled(t, m)
	base := noise(1<<20, 3)
	f.put("dir/a", base)
	file := f.open("dir/a")
	f.write(file, noise(2*spool.BlockSize, 4), spool.BlockSize) // whole blocks: a kill leaves them
	want := base[:spool.BlockSize] + noise(2*spool.BlockSize, 4) + base[3*spool.BlockSize:]
	r := f.remains()

	again := mount(t, m, boot("1"), left(r))
	again.has("dir/a", base)
	all := again.leftIn(r)
	if len(all) != 1 || all[0].Path != "dir/a" || !all[0].Open || all[0].Size != 1<<20 || all[0].Here != 2*spool.BlockSize ||
		!errors.Is(all[0].Err, ErrStillOpen) || all[0].At.IsZero() {
		t.Fatalf("%+v", all)
	}
	got, _, err := again.exports(r, false)
	if err != nil || got != want {
		t.Errorf("%s, %v", brief(got), err)
	}
	done, err := NewRecovery(again.Volume, []*spool.Remains{r}).Replay(again.ctx, all[0].ID)
	if err != nil || done.Path != "dir/a" || done.Done {
		t.Errorf("%+v, %v", done, err)
	}
	again.has("dir/a", want)
	if left := again.leftIn(r); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// TestNothingIsMadeUp: where a part is missing, damaged or not proved to be the
// last state, nothing is committed, and an export says what is missing.
func TestNothingIsMadeUp(t *testing.T) {
	base := noise(4*spool.BlockSize, 5)
	piece := noise(spool.BlockSize, 6)
	for _, tc := range []struct {
		name  string
		spoil func(f *spooled, r *spool.Remains)
		boot  string
		want  error
		gaps  []Gap // of a salvage
	}{
		{"BaseReplaced", func(f *spooled, _ *spool.Remains) { mount(f.t, f.mem, host("there")).put("a", "theirs") }, "1", ErrPartial, []Gap{{Off: 0, Len: spool.BlockSize}, {Off: 2 * spool.BlockSize, Len: 2 * spool.BlockSize}}},
		{"BaseRemoved", func(f *spooled, _ *spool.Remains) {
			o := mount(f.t, f.mem, host("there"))
			o.must(o.Remove(o.ctx, "a"))
		}, "1", ErrPartial, []Gap{{Off: 0, Len: spool.BlockSize}, {Off: 2 * spool.BlockSize, Len: 2 * spool.BlockSize}}},
		{"Damaged", func(f *spooled, r *spool.Remains) { flip(f.t, r.Path(), ".data", 100) }, "1", ErrDamaged, []Gap{{Off: spool.BlockSize, Len: spool.BlockSize}}},
		{"NoteDamaged", func(f *spooled, r *spool.Remains) { flip(f.t, r.Path(), ".meta", 60) }, "1", ErrDamaged, []Gap{{Off: 0, Len: spool.BlockSize}, {Off: 2 * spool.BlockSize, Len: 2 * spool.BlockSize}}},
		{"PowerFailure", func(*spooled, *spool.Remains) {}, "2", ErrUnproved, nil},
		{"OtherRule", func(*spooled, *spool.Remains) {}, "1", ErrOtherRule, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mountSpooled(t, bucket())
			f.put("a", base)
			// The close is under way: nothing of it is synced.
			wait := make(chan struct{})
			arrived := make(chan *spool.Remains, 1)
			f.s.SetScript(func(op faulty.Op) faulty.Fault {
				if op.Verb == faulty.Put {
					arrived <- f.remains()
					return faulty.Fault{Wait: wait, Err: objstore.ErrUnreachable}
				}
				return faulty.Fault{}
			})
			file := f.open("a")
			f.write(file, piece, spool.BlockSize)
			ended := make(chan error)
			go func() { ended <- file.Flush(f.ctx) }()
			r := <-arrived
			close(wait)
			_ = <-ended //nolint:staticcheck // whatever became of it
			file.Release()
			f.healed()
			tc.spoil(f, r)
			tweaks := []tweak{boot(tc.boot), left(r)}
			if tc.want == ErrOtherRule { //nolint:errorlint // of the table
				tweaks = append(tweaks, rules(Rule{Mode: "none"}))
			}
			before := f.mem.Snapshot()
			again := mount(t, f.mem, tweaks...)
			if after := again.mem.Snapshot(); len(before) != len(after) || !bytes.Equal(before["a"].Body, after["a"].Body) {
				t.Error("something was committed")
			}
			all := again.leftIn(r)
			if len(all) != 1 {
				t.Fatalf("left: %+v", all)
			}
			if tc.want == ErrOtherRule { //nolint:errorlint // of the table
				wants(t, all[0].Err, tc.want)
				return
			}
			if _, err := NewRecovery(again.Volume, []*spool.Remains{r}).Replay(again.ctx, all[0].ID); !errors.Is(err, tc.want) {
				t.Errorf("replay: %v", err)
			}
			if _, _, err := again.exports(r, false); !errors.Is(err, tc.want) {
				t.Errorf("export: %v", err)
			}
			got, gaps, err := again.exports(r, true)
			again.must(err)
			for i := range gaps {
				gaps[i].Err = nil
			}
			if !slices.Equal(gaps, tc.gaps) {
				t.Errorf("gaps %v", gaps)
			}
			want := []byte(base)
			copy(want[spool.BlockSize:], piece)
			for _, g := range gaps {
				clear(want[g.Off : g.Off+g.Len])
			}
			if got != string(want) {
				t.Errorf("salvaged %s", brief(got))
			}
		})
	}
}

// flip changes a bit of the one file in dir that ends so.
func flip(t testing.TB, dir, ext string, at int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+ext))
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFailedCommitsAreSynced: what a close was refused for is there after a
// power failure too, and has its reason.
func TestFailedCommitsAreSynced(t *testing.T) {
	f := mountSpooled(t, bucket())
	f.failing(ErrAccess, false, faulty.Put)
	wants(t, f.flush("a", "refused"), ErrAccess)
	r := f.remains()
	if all := f.leftIn(r); len(all) != 1 || all[0].Err != nil || !strings.Contains(all[0].Cause, "denied") {
		t.Errorf("%+v", all)
	}
	again := mount(t, f.mem, boot("2"), left(r))
	again.has("a", "refused")
	if info := again.stat("a"); info.Mode&0o777 != 0o640 {
		t.Errorf("mode %o", info.Mode)
	}
}

// TestReplayIsRetried: a store that is away when the mount begins is no reason
// to give up, nor to fail.
func TestReplayIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mountSpooled(t, bucket())
		f.down()
		wants(t, f.flush("a", "text"), objstore.ErrUnreachable)
		r := f.remains()
		again := mountIdle(t, f.mem, boot("1"), left(r))
		again.failing(objstore.ErrUnreachable, false, faulty.Put)
		again.must(again.Start(again.ctx))
		again.absent("a")
		again.healed()
		pass(2 * lastRetry)
		synctest.Wait()
		again.has("a", "text")
		again.must(again.Close(again.ctx))
		f.healed()
		_ = f.Close(f.ctx)
	})
}

// TestReplayGivesWayToWhoeverIsHere: what is open under the name is waited for.
func TestReplayGivesWayToWhoeverIsHere(t *testing.T) {
	f := mountSpooled(t, bucket())
	f.put("a", "old")
	f.down()
	wants(t, f.flush("a", "left"), objstore.ErrUnreachable)
	r := f.remains()
	again := mount(t, f.mem, boot("1"))
	file := again.open("a")
	again.write(file, "now", 0)
	rec := NewRecovery(again.Volume, []*spool.Remains{r})
	ids, err := rec.IDs()
	again.must(err)
	if _, err := rec.Replay(again.ctx, ids[0]); !errors.Is(err, errInUse) {
		t.Errorf("%v", err)
	}
	again.must(file.Flush(again.ctx))
	file.Release()
	done, err := rec.Replay(again.ctx, ids[0])
	again.must(err)
	again.has("a", "now")
	again.has(done.Path, "left")
}

// TestWhatIsUnlinkedOrCleanIsNotLeft: nobody hears of it again.
func TestWhatIsUnlinkedOrCleanIsNotLeft(t *testing.T) {
	f := mountSpooled(t, bucket())
	f.put("moved", "old")
	gone := f.create("gone", noise(3*spool.BlockSize, 1), false)
	f.must(f.Remove(f.ctx, "gone"))
	clean := f.create("clean", noise(3*spool.BlockSize, 1), false)
	f.must(clean.Commit(f.ctx))
	moved := f.open("moved")
	f.write(moved, "new", 0)
	f.must(f.Rename(f.ctx, "moved", "there", false))
	r := f.remains()
	again := mount(t, f.mem, boot("1"), left(r))
	if all := again.leftIn(r); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}
	again.lists("", "clean", "there")
	again.has("there", "new")

	// One that is renamed while it is dirty is left under its new name.
	f.write(moved, noise(spool.BlockSize, 9), 0)
	f.write(gone, "more", 0)
	f.must(f.Rename(f.ctx, "there", "elsewhere", false))
	f.write(moved, noise(spool.BlockSize, 8), 0)
	if all := again.leftIn(f.remains()); len(all) != 1 || all[0].Path != "elsewhere" {
		t.Errorf("left: %+v", all)
	}
	for _, x := range []*File{gone, clean, moved} {
		x.Release()
	}
}

// TestWriteOnlyHosts cannot open what they write, and recognise it all the same.
func TestWriteOnlyHosts(t *testing.T) {
	for _, after := range []bool{false, true} {
		f := mountSpooled(t, bucket())
		var r *spool.Remains
		f.s.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb != faulty.Put || r != nil {
				return faulty.Fault{}
			}
			if after {
				return faulty.Fault{After: func(error) error { r = f.remains(); return nil }}
			}
			r = f.remains()
			return faulty.Fault{Err: faulty.ErrCrashed}
		})
		_ = f.flush("a", "text")
		blind := &fakeKeys{epochs: []sigil.Epoch{epoch(2)}}
		again := mount(t, f.mem, keys(blind), boot("1"), left(r))
		if all := again.leftIn(r); len(all) != 0 {
			t.Errorf("after %v, left: %+v", after, all)
		}
		if names := again.list(""); !slices.Equal(names, []string{"a"}) {
			t.Errorf("after %v: %q", after, names)
		}
	}
}

// TestNotesAreCheap: one at the first write, none at those that follow, and
// none is left when all is in the bucket.
func TestNotesAreCheap(t *testing.T) {
	f := mountSpooled(t, bucket())
	file, err := f.Create(f.ctx, "a", Attr{Mode: 0o640}, false)
	f.must(err)
	note := func() os.FileInfo {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(f.dir, "*.meta"))
		f.must(err)
		if len(names) == 0 {
			return nil
		}
		info, err := os.Stat(names[0])
		f.must(err)
		return info
	}
	f.write(file, noise(1<<20, 1), 0)
	first := note()
	for i := range int64(100) {
		f.write(file, noise(1000, 2), i*1000)
	}
	if first == nil || !os.SameFile(first, note()) {
		t.Error("a note for each write")
	}
	f.must(file.Flush(f.ctx))
	if note() != nil {
		t.Error("a note of what is in the bucket")
	}
	file.Release()
}

// TestWhatWasDoneIsNotSentAgain: the kill came between the last request and its
// answer.
func TestWhatWasDoneIsNotSentAgain(t *testing.T) {
	f := mountSpooled(t, bucket())
	var r *spool.Remains
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb != faulty.Put {
			return faulty.Fault{}
		}
		return faulty.Fault{After: func(error) error { r = f.remains(); return nil }}
	})
	f.must(f.flush("a", "text"))
	before := f.mem.Snapshot()["a"].Body
	again := mount(t, f.mem, boot("1"), left(r))
	if all := again.leftIn(r); len(all) != 0 || !bytes.Equal(before, again.mem.Snapshot()["a"].Body) {
		t.Errorf("sent again; left %+v", all)
	}
}

// TestCommitOfUnknownOutcome: an earlier commit was done and nobody heard of it;
// what it made is not taken for another host's.
func TestCommitOfUnknownOutcome(t *testing.T) {
	f := mountSpooled(t, bucket())
	f.put("a", "old")
	file := f.open("a")
	puts := 0
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Put {
			puts++
		}
		switch {
		case op.Verb == faulty.Put && puts == 1:
			return faulty.Fault{Lost: true}
		case puts > 0:
			return faulty.Fault{Err: objstore.ErrUnreachable}
		}
		return faulty.Fault{}
	})
	f.write(file, "one", 0)
	if err := file.Flush(f.ctx); err == nil {
		t.Fatal("confirmed")
	}
	f.write(file, noise(spool.BlockSize, 1), 0)
	if err := file.Flush(f.ctx); err == nil {
		t.Fatal("confirmed")
	}
	r := f.remains()
	file.Release()
	again := mount(t, f.mem, boot("1"), left(r))
	again.lists("", "a")
	again.has("a", noise(spool.BlockSize, 1))
}

// TestOpenedAgain: what is written after a close that failed is not taken for
// closed, whatever else is noted meanwhile.
func TestOpenedAgain(t *testing.T) {
	f := mountSpooled(t, bucket())
	f.put("a", "old")
	f.down()
	file := f.open("a")
	f.write(file, noise(spool.BlockSize, 1), 0)
	wants(t, file.Flush(f.ctx), objstore.ErrUnreachable)
	f.write(file, noise(spool.BlockSize, 2), spool.BlockSize)
	f.must(errOf(file.SetAttr(f.ctx, Change{Mode: ptr[uint32](0o600)})))
	wants(t, file.Commit(f.ctx), objstore.ErrUnreachable) // fsync
	r := f.remains()
	if all := f.leftIn(r); len(all) != 1 || !all[0].Open {
		t.Errorf("%+v", all)
	}
	wants(t, file.Flush(f.ctx), objstore.ErrUnreachable)
	if all := f.leftIn(f.remains()); len(all) != 1 || all[0].Open {
		t.Errorf("%+v", all)
	}
	file.Release()
}
