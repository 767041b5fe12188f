package volume

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"pgregory.net/rapid"
)

// mended checks that a repair mends all of these, and that nothing is found then.
func (f *fixture) mended(opt VerifyOptions, want ...string) {
	f.t.Helper()
	opt.Repair = true
	all, _ := f.verified(opt)
	if got := told(all); !slices.Equal(got, want) {
		f.t.Fatalf("found %q, want %q", got, want)
	}
	for _, one := range all {
		if one.Mended == "" || one.Unmended != nil {
			f.t.Fatalf("%s: %v: mended %q, %v", one.Key, one, one.Mended, one.Unmended)
		}
	}
	f.auditor().sound(VerifyOptions{Data: true, Settled: opt.Settled})
}

// TestRepairTakesNewestGood: of a versioned bucket, in every way in which an
// object may be damaged, the newest version that is whole comes back.
func TestRepairTakesNewestGood(t *testing.T) {
	for name, damage := range map[string]func(*mem.Object){
		"content": flipAt(3), "cut": cutBy(1), "seal": sealEdit(60), "emptied": func(o *mem.Object) { o.Body = nil },
		"plaintext": func(o *mem.Object) { o.Info.Metadata = nil; o.Body = []byte("pay") },
	} {
		for _, caps := range []objstore.Capabilities{{PutConditions: true, CopyConditions: true, UploadConditions: true, DeleteConditions: true}, {}} {
			t.Run(name, func(t *testing.T) {
				m := mem.New(mem.Options{Versioned: true, IgnoreCopyConditions: !caps.CopyConditions, IgnorePutConditions: !caps.PutConditions})
				f := mount(t, m, func(o *Options) { o.Capabilities = caps })
				f.put("a", "older")
				f.put("a", "newest that is whole")
				f.put("fine", "fine")
				before := f.stat("a")
				bad, _ := m.Object("a")
				m.Tamper("a", cutBy(2)) // the version before the last is damaged too
				damage(&bad)
				m.Plant("a", bad)
				f.mended(VerifyOptions{Data: true}, map[string]string{
					"content": "content a", "cut": "size a", "seal": "seal a", "emptied": "size a", "plaintext": "weak a",
				}[name])
				g := mount(t, m, host("there"))
				g.has("a", "newest that is whole")
				after := g.stat("a")
				if after.FileID != before.FileID || after.Mtime != before.Mtime || after.Mode != before.Mode {
					t.Errorf("%+v, was %+v", after, before)
				}
			})
		}
	}
}

// versionOf is that of the record at p.
func (f *fixture) versionOf(p string) uint64 {
	o, err := f.fetch(f.ctx, p)
	f.must(err)
	return o.version()
}

// TestRepairIsNewer: what is brought back is no rollback to who knew the damaged
// object's predecessor.
func TestRepairIsNewer(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	f := mount(t, m)
	f.put("a", "text")
	known := f.versionOf("a")
	m.Tamper("a", flipAt(0))
	f.mended(VerifyOptions{Data: true}, "content a")
	if got := f.versionOf("a"); got <= known {
		t.Errorf("version %d after %d", got, known)
	}
}

// TestVerifyRollback (T17): what this host has known in a newer state is found,
// whatever the policy and beside all else; the newer one is taken where a version
// of it is kept, never one that is as old.
func TestVerifyRollback(t *testing.T) {
	for _, policy := range []RollbackPolicy{RollbackReport, RollbackDeny} {
		m := mem.New(mem.Options{Versioned: true})
		f := mount(t, m, func(o *Options) { o.Rollback = policy })
		f.put("a", "oldest")
		oldest := keep(t, m, "a")
		f.put("a", "old")
		f.put("a", "newest")
		f.put("gone", "removed")
		gone := keep(t, m, "gone")
		f.must(f.Remove(f.ctx, "gone"))
		f.put("fine", "fine")
		f.link("fine", "name")
		putBack(t, m, "a", oldest)
		putBack(t, m, "gone", gone)
		all, _ := f.verified(VerifyOptions{Data: true, Repair: true, Dry: true})
		if got := told(all); !slices.Equal(got, []string{"rollback a", "rollback gone"}) {
			t.Fatalf("found %q", got)
		}
		f.meets(map[string]string{}) // the Finding says it, and nothing else
		mountIdle(t, m, host("who never knew")).sound(VerifyOptions{Data: true})
		all, _ = f.verified(VerifyOptions{Repair: true})
		for _, one := range all {
			if one.Path == "a" && one.Mended == "" || one.Path == "gone" && !errors.Is(one.Unmended, ErrWasRemoved) {
				t.Errorf("%v: %q, %v", one, one.Mended, one.Unmended)
			}
		}
		f.has("a", "newest")
		f.must(f.AcceptRestore(f.ctx, "", false, func(Rollback) {}))
		f.sound(VerifyOptions{Data: true})
	}
}

// TestVerifyWithoutMemory: what cannot be held against what this host has known is
// counted; no version is taken for newer than an older state, and none adopted as
// what was moved, while nobody can tell.
func TestVerifyWithoutMemory(t *testing.T) {
	memory := &forgetful{}
	m := mem.New(mem.Options{Versioned: true})
	f := mount(t, m, func(o *Options) {
		memory.SealMemory = freshness.Open(freshness.Options{Log: o.Log})
		o.Seals = memory
	})
	f.put("a", "old")
	old := keep(t, m, "a")
	f.put("a", "new")
	f.put("b", "fine")
	if sum := f.sound(VerifyOptions{}); sum.Remembered != 2 {
		t.Errorf("%+v", sum)
	}
	putBack(t, m, "a", old)
	found, _ := f.verified(VerifyOptions{})
	memory.fails = true
	x, err := f.NewVerifier(VerifyOptions{Repair: true})
	f.must(err)
	defer x.Close()
	for e, err := range x.List(f.ctx, "") {
		f.must(err)
		if err := x.Check(f.ctx, e); !errors.Is(err, ErrUntold) {
			t.Errorf("%s: %v", e.Key, err)
		}
	}
	o, _ := m.Object("a")
	if said, err := x.bringBack(f.ctx, found[0].Key, o.Info.ETag, FaultRollback); err == nil {
		t.Errorf("%s", said)
	}
	f.has("a", "old")
	carry(m, "b", "moved", true)
	if got := f.adopts(AdoptOptions{Path: "moved", From: "b", Mapped: true}); strings.HasPrefix(got["moved"], "from") {
		t.Errorf("%v", got)
	}
}

// TestRepairTakesNothingOlder: in place of an older state no other such is taken;
// in place of a damaged one it is, and that is said.
func TestRepairTakesNothingOlder(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	f := mount(t, m)
	f.put("a", "oldest")
	oldest := keep(t, m, "a")
	f.put("a", "old")
	f.put("a", "newest")
	o, _ := m.Object("a")
	f.must(m.Delete(f.ctx, objstore.ID{Key: "a", VersionID: o.Info.VersionID}, objstore.Condition{}))
	putBack(t, m, "a", oldest)
	all, _ := f.verified(VerifyOptions{Repair: true})
	if len(all) != 1 || all[0].Fault != FaultRollback || !errors.Is(all[0].Unmended, ErrNoNewer) {
		t.Fatalf("%v", all)
	}
	m.Tamper("a", flipAt(0))
	all, _ = f.verified(VerifyOptions{Data: true, Repair: true})
	if len(all) != 1 || all[0].Fault != FaultContent || !strings.Contains(all[0].Mended, "older than what this host has known") {
		t.Fatalf("%v: %q", all, all[0].Mended)
	}
}

// TestRepairLeaves: nothing is mended that is not to be, or that cannot be.
func TestRepairLeaves(t *testing.T) {
	versioned := mem.Options{Versioned: true}
	for name, c := range map[string]struct {
		opt  mem.Options
		make func(f *fixture)
		want error
	}{
		"no versions": {mem.Options{}, func(f *fixture) {
			f.put("a", "text")
			f.mem.Tamper("a", flipAt(0))
		}, ErrNoVersion},
		"no good one": {versioned, func(f *fixture) {
			f.mem.Plant("a", mem.Object{Body: []byte("planted")})
			f.mem.Plant("a", mem.Object{Body: []byte("again")})
		}, ErrNoVersion},
		"removed before": {versioned, func(f *fixture) {
			f.put("a", "text")
			f.must(f.Remove(f.ctx, "a"))
			f.mem.Plant("a", mem.Object{Body: []byte("planted")})
		}, ErrWasRemoved},
	} {
		t.Run(name, func(t *testing.T) {
			f := mount(t, mem.New(c.opt))
			c.make(f)
			before := f.mem.Snapshot()
			all, _ := f.verified(VerifyOptions{Data: true, Repair: true})
			if len(all) != 1 || !errors.Is(all[0].Unmended, c.want) || all[0].Mended != "" {
				t.Fatalf("%v %v", told(all), all[0].Unmended)
			}
			if after := f.mem.Snapshot(); after["a"].Info.ETag != before["a"].Info.ETag {
				t.Error("it was changed")
			}
		})
	}
}

// TestRepairLosesToWriters: who writes while an object is repaired wins, at
// whichever request that is.
func TestRepairLosesToWriters(t *testing.T) {
	for n := 1; ; n++ {
		m := mem.New(mem.Options{Versioned: true})
		f := mount(t, m)
		f.put("a", "text")
		other := mount(t, m, host("there"))
		m.Tamper("a", flipAt(0))
		at, wrote := 0, false
		f.s.Reset()
		f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
			if at++; at == n {
				wrote = true
				m.Plant("a", mem.Object{}) // else the damaged one is in the way
				m.Tamper("a", func(*mem.Object) {})
				other.must(other.Remove(other.ctx, "a"))
				other.put("a", "newer")
			}
			return x
		})
		_, _ = f.verified(VerifyOptions{Data: true, Repair: true})
		f.healed()
		f.end()
		if !wrote {
			return
		}
		other.has("a", "newer")
		other.end()
	}
}

// TestRepairDry: a dry run says what would be, and writes nothing.
func TestRepairDry(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	f := mount(t, m)
	f.put("a", "text")
	m.Tamper("a", flipAt(0))
	a := f.auditor()
	all, _ := a.verified(VerifyOptions{Data: true, Repair: true, Dry: true})
	if len(all) != 1 || all[0].Mended == "" {
		t.Fatalf("%v", all)
	}
	for _, op := range a.s.Ops() {
		if op.Verb.Writes() {
			t.Errorf("%v", op)
		}
	}
}

// TestRepairIndex: a damaged index goes, and is made again.
func TestRepairIndex(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	f := mount(t, m)
	f.mem.Plant(".sigil/index/0123", mem.Object{Body: []byte("nothing")})
	f.mended(VerifyOptions{}, "index ")
	if _, ok := m.Object(".sigil/index/0123"); ok {
		t.Error("it is there still")
	}
}

// inode is the key of the only inode.
func (f *fixture) inodeKey() string {
	for _, key := range f.mem.Keys() {
		if ownPart(key) == partInode {
			return key
		}
	}
	f.t.Fatal("no inode")
	return ""
}

// TestRepairLinks: whatever part of a hard link is lost or damaged, the file is
// whole again, under all its names, and goes with the last of them.
func TestRepairLinks(t *testing.T) {
	settle := 2 * time.Hour
	for name, c := range map[string]struct {
		harm func(f *fixture)
		want []string
	}{
		"inode damaged": {func(f *fixture) { f.mem.Tamper(f.inodeKey(), sealEdit(60)) }, []string{"seal "}},
		"inode removed": {func(f *fixture) { f.must(f.s.Delete(f.ctx, objstore.ID{Key: f.inodeKey()}, objstore.Condition{})) }, []string{"dangling a"}},
		"roll damaged":  {func(f *fixture) { f.mem.Tamper(rollKey(f.inodeKey()), flipAt(1)) }, []string{"content ", "roll a"}},
		"roll removed": {func(f *fixture) {
			f.must(f.s.Delete(f.ctx, objstore.ID{Key: rollKey(f.inodeKey())}, objstore.Condition{}))
		}, []string{"roll a"}},
		"name gone":      {func(f *fixture) { f.must(f.s.Delete(f.ctx, objstore.ID{Key: "d/b"}, objstore.Condition{})) }, []string{"nlink a"}},
		"name damaged":   {func(f *fixture) { f.mem.Tamper("d/b", sealEdit(60)) }, []string{"seal d/b"}},
		"name unlisted":  {func(f *fixture) { f.strikeOut("d/b") }, []string{"roll a"}},
		"counted higher": {func(f *fixture) { f.miscount(7) }, []string{"nlink a"}},
	} {
		t.Run(name, func(t *testing.T) {
			now := newClock()
			m := mem.New(mem.Options{Versioned: true, Now: now.now})
			f := mount(t, m, func(o *Options) { o.Now = now.now })
			f.put("a", "one")
			f.mkdir("d")
			f.link("a", "d/b")
			now.pass(time.Minute)
			c.harm(f)
			now.pass(24 * time.Hour)
			r := mount(t, m, func(o *Options) { o.Now = now.now }, host("mender"))
			r.mendedAt(now, VerifyOptions{Settled: settle}, c.want...)
			g := mount(t, m, host("there"))
			g.has("a", "one")
			names := uint32(2)
			if name == "name gone" {
				names = 1
			} else {
				g.has("d/b", "one")
				g.must(g.Remove(g.ctx, "d/b"))
			}
			g.has("a", "one")
			g.nlink("a", 1)
			g.must(g.Remove(g.ctx, "a"))
			for _, key := range m.Keys() {
				if part := ownPart(key); part == partInode || part == partRoll {
					t.Errorf("%s is left (%d names)", key, names)
				}
			}
		})
	}
}

// mendedAt is mended where time passes before it is looked at again.
func (f *fixture) mendedAt(now *clock, opt VerifyOptions, want ...string) {
	f.t.Helper()
	opt.Repair = true
	all, _ := f.verified(opt)
	if got := told(all); !slices.Equal(got, want) {
		f.t.Fatalf("found %q (%v), want %q", got, all, want)
	}
	now.pass(24 * time.Hour)
	f.auditor(func(o *Options) { o.Now = now.now }).sound(VerifyOptions{Data: true, Settled: opt.Settled})
}

// strikeOut takes a name off its roll, as no host does while it is there.
func (f *fixture) strikeOut(p string) {
	o, err := f.fetch(f.ctx, p)
	f.must(err)
	in, err := f.inodeBehind(f.ctx, o)
	f.must(err)
	f.must(errOf(f.strike(f.ctx, in, o.token())))
}

// miscount writes a link count.
func (f *fixture) miscount(n int) {
	o, err := f.fetch(f.ctx, "a")
	f.must(err)
	in, err := f.inodeBehind(f.ctx, o)
	f.must(err)
	f.must(errOf(f.recount(f.ctx, in, n)))
}

// TestVerifyOrphan: an inode without a name is one only after a week, and only if
// every object was read.
func TestVerifyOrphan(t *testing.T) {
	now := newClock()
	m := memAt(now)
	f := mount(t, m, func(o *Options) { o.Now = now.now })
	f.put("a", "one")
	f.link("a", "b")
	f.put("other", "")
	for _, p := range []string{"a", "b"} {
		f.must(f.s.Delete(f.ctx, objstore.ID{Key: p}, objstore.Condition{}))
	}
	in := f.inodeKey()
	at := func(o *Options) { o.Now = now.now }
	now.pass(6 * 24 * time.Hour)
	f.auditor(at).sound(VerifyOptions{})
	now.pass(2 * 24 * time.Hour)
	m.Tamper("other", sealEdit(60)) // perhaps a name
	all, sum := f.auditor(at).verified(VerifyOptions{})
	if got := told(all); !slices.Equal(got, []string{"seal other"}) || sum.LinksUncounted == "" {
		t.Fatalf("%q %+v", got, sum)
	}
	m.Tamper("other", sealEdit(60))
	all, _ = f.auditor(at).verified(VerifyOptions{})
	if got := told(all); !slices.Equal(got, []string{"orphan "}) || all[0].Key != in {
		t.Fatalf("%q", got)
	}
	mount(t, m, at, host("mender")).mendedAt(now, VerifyOptions{}, "orphan ")
	if _, ok := m.Object(in); ok {
		t.Error("it is there still")
	}
}

// TestVerifyForsaken: what a host left that has been silent since.
func TestVerifyForsaken(t *testing.T) {
	now := newClock()
	m := memAt(now)
	at := func(o *Options) { o.Now = now.now }
	f := mount(t, m, at)
	up, err := f.beginUpload(f.ctx, f.complete(draft{key: "x"}), objstore.PutOptions{})
	f.must(err)
	if _, err := f.begin(f.ctx, "d/", "e/"); err != nil {
		t.Fatal(err)
	}
	f.put("a", "text")
	file := f.open("a")
	defer file.Release()
	f.must(f.Remove(f.ctx, "a"))
	f.auditor(at).sound(VerifyOptions{})
	now.pass(abandonment + time.Hour)
	all, _ := f.auditor(at).verified(VerifyOptions{})
	if got := told(all); !slices.Equal(got, []string{"journal ", "parked ", "upload "}) {
		t.Errorf("%q", got)
	}
	f.must(up.Abort(f.ctx))
}

// TestLinkLedger: lines come out as from a sorted set, whatever was spilled when.
func TestLinkLedger(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		g := newLinkLedger(dir, 1<<20)
		defer g.close()
		g.most = rapid.IntRange(1, 3000).Draw(t, "most")
		want := map[string]linkLine{}
		for range rapid.IntRange(0, 80).Draw(t, "lines") {
			l := linkLine{
				inode: sigil.Generation{rapid.Byte().Draw(t, "inode") % 8}, kind: rapid.Byte().Draw(t, "kind") % 4,
				token: token{rapid.Byte().Draw(t, "token")}, file: rapid.Uint64().Draw(t, "file"), nlink: rapid.Uint32().Draw(t, "nlink"),
				time: rapid.Int64().Draw(t, "time"), etag: rapid.StringN(0, 40, 40).Draw(t, "etag"), key: rapid.StringN(0, 200, 1024).Draw(t, "key"),
			}
			g.add(l)
			want[string(l.encode())] = l
		}
		last := ""
		err := g.each(t.Context(), func(l linkLine) error {
			b := string(l.encode())
			if b <= last && last != "" {
				t.Fatalf("%q after %q", b, last)
			}
			if want[b] != l {
				t.Fatalf("%+v was not added", l)
			}
			delete(want, b)
			last = b
			return nil
		})
		if err != nil || len(want) != 0 {
			t.Fatalf("%v, %d lines are missing", err, len(want))
		}
	})
}

// FuzzLinkLine: a line is what it was, or none.
func FuzzLinkLine(f *testing.F) {
	f.Add((&linkLine{kind: lineName, key: "a"}).encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLine(b)
		if err == nil && string(l.encode()) != string(b) {
			t.Errorf("%+v of %x", l, b)
		}
	})
}
