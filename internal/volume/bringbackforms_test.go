package volume

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/objstore/past"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
)

// TestBringBackInstructed: an object comes back with the wrapped key that it had,
// in one step, whatever became of the file that this lay in.
func TestBringBackInstructed(t *testing.T) {
	for _, format := range []s3ec.Format{s3ec.FormatV3, s3ec.FormatV2} {
		for name, do := range map[string]func(t *testing.T, m *mem.Store){
			"Deleted": func(t *testing.T, m *mem.Store) {
				for _, key := range []string{"a", "a.instruction"} {
					if err := m.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
						t.Fatal(err)
					}
				}
			},
			"FileDeleted": func(t *testing.T, m *mem.Store) {
				if err := m.Delete(t.Context(), objstore.ID{Key: "a.instruction"}, objstore.Condition{}); err != nil {
					t.Fatal(err)
				}
			},
			"Overwritten": func(t *testing.T, m *mem.Store) {
				for _, key := range []string{"a", "a.instruction"} {
					m.Plant(key, mem.Object{Body: []byte("pay")})
				}
			},
			"Newer": func(t *testing.T, m *mem.Store) { plantInstructed(t, m, "a", "newer", format) },
		} {
			for _, whole := range []bool{true, false} {
				t.Run(name, func(t *testing.T) {
					now := newClock()
					clocked := func(o *Options) { o.Now = now.now }
					m := mem.New(mem.Options{Versioned: true, Now: now.now})
					plantInstructed(t, m, "a", "text of a", format)
					o, _ := m.Object("a")
					at := now.now()
					now.pass(time.Minute)
					do(t, m)
					now.pass(time.Minute)
					f := mount(t, m, instructed, clocked, host("mender"))
					if whole {
						if did, err := f.bringBack("", at, false); err != nil || did[Restored] == 0 {
							t.Fatalf("%v, %v", did, err)
						}
						if did, err := f.bringBack("", at, false); err != nil || did[Restored] != 0 {
							t.Errorf("again: %v, %v", did, err)
						}
					} else if did, err := f.bringOne("a", o.Info.VersionID); err != nil || did != Restored {
						t.Fatalf("%v, %v", did, err)
					}
					mount(t, m, instructed, clocked, host("there")).has("a", "text of a")
				})
			}
		}
	}
}

// bringOne brings one version back, as versions --restore does.
func (f *fixture) bringOne(p, version string) (BroughtBack, error) {
	f.t.Helper()
	r, err := f.NewRestorer(RestorerOptions{})
	f.must(err)
	return r.BringBack(f.ctx, f.momentOf(f.fileKey(p), version))
}

// momentOf is what key was by one of its versions.
func (f *fixture) momentOf(key, version string) past.Moment {
	f.t.Helper()
	m := past.Moment{Key: key}
	for v, err := range f.mem.Versions(f.ctx, objstore.ListOptions{Prefix: key}) {
		f.must(err)
		if v.Key == key && v.Latest {
			m.Now = v
		}
		if v.Key == key && v.VersionID == version {
			m.Then = v
		}
	}
	return m
}

// TestBringBackProves: what bears the record of the version that was there and has
// not its body is not taken for it.
func TestBringBackProves(t *testing.T) {
	for name, size := range map[string]int{"small": 100, "chunks": 200_000, "segments": 9 << 20} {
		t.Run(name, func(t *testing.T) {
			now := newClock()
			clocked := func(o *Options) { o.Now = now.now }
			m := mem.New(mem.Options{Versioned: true, Now: now.now})
			f := mount(t, m, clocked)
			text := noise(size, 1)
			f.put("a", text)
			f.end()
			at := now.now()
			now.pass(time.Minute)
			o, _ := m.Object("a")
			body := bytes.Clone(o.Body)
			body[10] ^= 1
			m.Plant("a", mem.Object{Body: body, Info: objstore.Info{Metadata: o.Info.Metadata}})
			now.pass(time.Minute)
			g := mount(t, m, clocked, host("mender"))
			if did, err := g.bringBack("", at, true); err != nil || did[Restored] != 1 {
				t.Errorf("dry: %v, %v", did, err)
			}
			if did, err := g.bringBack("", at, false); err != nil || did[Restored] != 1 {
				t.Errorf("%v, %v", did, err)
			}
			mount(t, m, clocked, host("there")).has("a", text)
		})
	}
}

// TestBringBackUnderForeignKey: what somebody encrypted under a key of his own,
// which he alone has, makes way, whatever conditions the server honours.
func TestBringBackUnderForeignKey(t *testing.T) {
	for name, careless := range map[string]bool{"conditions": false, "careless": true} {
		for form, policy := range map[string]tweak{"client": func(*Options) {}, "sse-c": ssec('b', 'a')} {
			t.Run(name+"/"+form, func(t *testing.T) {
				now := newClock()
				clocked := func(o *Options) {
					o.Now = now.now
					o.Capabilities.CopyConditions = !careless
				}
				m := mem.New(mem.Options{Versioned: true, Now: now.now, IgnoreCopyConditions: careless})
				mount(t, m, clocked, policy).put("a", "text of a")
				if form == "sse-c" { // of an earlier key
					mount(t, m, clocked, ssec('a'), host("then")).put("b", "text of b")
				}
				at := now.now()
				now.pass(time.Minute)
				thief := mount(t, m, clocked, ssec('z'), host("thief"))
				for _, key := range m.Keys() {
					_, err := m.Put(t.Context(), key, strings.NewReader("pay"), 3, objstore.PutOptions{Encryption: thief.rule(key).want.headers()})
					if err != nil {
						t.Fatal(err)
					}
				}
				now.pass(time.Minute)
				f := mount(t, m, clocked, policy, host("mender"))
				if did, err := f.bringBack("", at, false); err != nil || did[Restored] == 0 {
					t.Fatalf("%v, %v", did, err)
				}
				there := mount(t, m, clocked, policy, host("there"))
				there.has("a", "text of a")
				if form == "sse-c" {
					there.has("b", "text of b")
					if key := keyOf(t, m, "b"); key != "b" {
						t.Errorf("it is under key %q, not under that of its rule", key)
					}
				}
			})
		}
	}
}

// TestBringBackKeepsLocks: a copy is locked as the version is still, and no more.
func TestBringBackKeepsLocks(t *testing.T) {
	now := newClock()
	clocked := func(o *Options) { o.Now = now.now }
	m := mem.New(mem.Options{Locks: true, Now: now.now})
	f := mount(t, m, clocked)
	late, soon := now.now().Add(time.Hour), now.now().Add(time.Second)
	want := map[string]objstore.Lock{"held": {LegalHold: true}, "kept": {Mode: objstore.Governance, Until: late}, "over": {}, "free": {}}
	for p, lock := range map[string]objstore.Lock{"held": {Mode: objstore.Compliance, Until: soon, LegalHold: true}, "kept": want["kept"], "over": {Mode: objstore.Compliance, Until: soon}, "free": {}} {
		f.put(p, "text of "+p)
		o, _ := m.Object(p)
		_, err := m.Copy(f.ctx, objstore.ID{Key: p}, p, objstore.PutOptions{Metadata: o.Info.Metadata, Lock: &lock})
		f.must(err)
	}
	at := now.now()
	now.pass(time.Minute)
	for p := range want {
		m.Plant(p, mem.Object{Body: []byte("pay")})
	}
	now.pass(time.Minute)
	if did, err := f.bringBack("", at, false); err != nil || did[Restored] != len(want) {
		t.Fatalf("%v, %v", did, err)
	}
	for p, lock := range want {
		f.has(p, "text of "+p)
		got, err := m.Lock(f.ctx, objstore.ID{Key: p})
		f.must(err)
		if got.LegalHold != lock.LegalHold || got.Mode != lock.Mode || !got.Until.Equal(lock.Until) {
			t.Errorf("%s: %+v, want %+v", p, got, lock)
		}
	}
}

// TestBringBackOlderContent: an older version of what hard links share comes back
// for all of them, and counts those that there are.
func TestBringBackOlderContent(t *testing.T) {
	now := newClock()
	clocked := func(o *Options) { o.Now = now.now }
	m := mem.New(mem.Options{Versioned: true, Now: now.now})
	f := mount(t, m, clocked)
	f.put("h", "older")
	f.link("h", "h2")
	inode, older := "", ""
	for _, key := range m.Keys() {
		if ownPart(key) == partInode {
			o, _ := m.Object(key)
			inode, older = key, o.Info.VersionID
		}
	}
	f.link("h", "h3")
	f.put("h", "newer")
	now.pass(time.Minute)
	r, err := f.NewRestorer(RestorerOptions{})
	f.must(err)
	if did, err := r.BringBack(f.ctx, f.momentOf(inode, older)); err != nil || did != Restored {
		t.Fatalf("%v, %v", did, err)
	}
	g := mount(t, m, clocked, host("there"))
	for i, p := range []string{"h", "h2", "h3"} {
		g.has(p, "older")
		if n := g.stat(p).Nlink; int(n) != 3-i {
			t.Errorf("%s has %d names, not %d", p, n, 3-i)
		}
		g.must(g.Remove(g.ctx, p))
	}
}

// TestRepairInstructed: verify --repair brings such an object back as well.
func TestRepairInstructed(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	plantInstructed(t, m, "a", "text of a", s3ec.FormatV3)
	o, _ := m.Object("a")
	m.Plant("a", mem.Object{Body: bytes.Repeat([]byte{1}, len(o.Body)), Info: objstore.Info{Metadata: o.Info.Metadata}})
	m.Plant("a.instruction", mem.Object{Body: []byte("pay")})
	f := mount(t, m, instructed)
	f.verified(VerifyOptions{Data: true, Repair: true})
	f.has("a", "text of a")
}
