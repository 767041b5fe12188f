package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/objstore/past"
	"golang.org/x/sys/unix"
)

// bringBack brings back what was below p at a time, and counts what came of it.
func (f *fixture) bringBack(p string, at time.Time, dry bool) (did map[BroughtBack]int, failed error) {
	f.t.Helper()
	r, err := f.NewRestorer(RestorerOptions{At: at, Dry: dry})
	f.must(err)
	did = map[BroughtBack]int{}
	for m, err := range past.Moments(f.History(f.ctx, p, ""), at) {
		if err != nil {
			return did, err
		}
		one, err := r.BringBack(f.ctx, m)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", m.Key, err))
			continue
		}
		did[one]++
	}
	return did, failed
}

// harm is what somebody does to a bucket who can write to it and has no key.
func harm(t *testing.T, m *mem.Store) {
	t.Helper()
	for i, key := range m.Keys() {
		if i%3 == 0 && !strings.HasSuffix(key, "/") {
			m.Plant(key, mem.Object{Body: []byte("pay"), Info: objstore.Info{Metadata: map[string]string{"note": "pay"}}})
		} else if i%3 == 1 {
			if err := m.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range m.Keys() { // removed first, then overwritten
		if ownPart(key) == partRoll {
			if err := m.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
				t.Fatal(err)
			}
			m.Plant(key, mem.Object{Body: []byte("pay")})
		}
	}
	m.Plant("PAY", mem.Object{Body: []byte("pay")})
}

// grown makes some of everything, and tells what it is.
func grown(f *fixture, links bool) {
	f.mkdir("d")
	f.mkdir("d/empty")
	f.put("a", "content of a")
	f.put("d/b", strings.Repeat("b", 70_000))
	f.put("d/c", "")
	_, err := f.Symlink(f.ctx, "d/link", "../a", Attr{UID: 1, GID: 2})
	f.must(err)
	mode := uint32(0o4640)
	_, err = f.SetAttr(f.ctx, "d/b", Change{Mode: &mode, Xattrs: map[string][]byte{"user.x": []byte("y")}})
	f.must(err)
	if links {
		f.put("h", "hard")
		f.link("h", "d/h")
	}
}

// view is what stands in a volume.
func (f *fixture) view(dir string) (lines []string) {
	f.t.Helper()
	for _, name := range f.list(dir) {
		p := join(dir, name)
		i := f.stat(p)
		line := fmt.Sprintf("%s %o %d %d %d %d %v", p, i.Mode, i.UID, i.Mtime, i.Size, i.Nlink, i.Xattrs)
		switch i.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			lines = append(lines, line)
			lines = append(lines, f.view(p)...)
			continue
		case unix.S_IFREG:
			text, err := f.get(p)
			line += fmt.Sprintf(" %.20q %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestBringBack: whatever was done to a bucket, everything is again as it was, and
// doing it once more does nothing.
func TestBringBack(t *testing.T) {
	for name, how := range map[string]struct {
		links  bool
		tweaks []tweak
	}{
		"client": {true, nil}, "none": {false, []tweak{rules(Rule{Mode: "none"})}},
		"careless": {true, []tweak{func(o *Options) { o.Capabilities.CopyConditions, o.Capabilities.DeleteConditions = false, false }}},
	} {
		t.Run(name, func(t *testing.T) {
			now := newClock()
			m := mem.New(mem.Options{Versioned: true, Now: now.now, IgnoreCopyConditions: name == "careless", IgnoreDeleteConditions: name == "careless"})
			tweaks := append([]tweak{func(o *Options) { o.Now = now.now }}, how.tweaks...)
			f := mount(t, m, tweaks...)
			grown(f, how.links)
			want, at := f.view(""), now.now()
			known := f.newest(m)
			f.end()
			now.pass(time.Minute)
			harm(t, m)
			now.pass(time.Minute)

			g := mount(t, m, append(tweaks, host("mender"))...)
			before := m.Snapshot()
			if did, err := g.bringBack("", at, true); err != nil || did[Restored] == 0 {
				t.Fatalf("dry: %v, %v", did, err)
			}
			if len(before) != len(m.Snapshot()) {
				t.Error("a dry run wrote")
			}
			did, err := g.bringBack("", at, false)
			if err != nil || did[NewSince] != 1 || did[Restored] == 0 {
				t.Fatalf("%v, %v", did, err)
			}
			g.end()
			g = mount(t, m, append(tweaks, host("there"))...)
			if got := slices.DeleteFunc(g.view(""), func(l string) bool { return strings.HasPrefix(l, "PAY ") }); !slices.Equal(got, want) {
				t.Errorf("it is\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			g.s.Reset()
			if did, err := g.bringBack("", at, false); err != nil || did[Restored] != 0 || g.s.Counts().Writes() != 0 {
				t.Errorf("again: %v, %v, %d writes", did, err, g.s.Counts().Writes())
			}
			for p, version := range known {
				if got := g.newest(m)[p]; got < version {
					t.Errorf("%s: version %d after %d is a rollback", p, got, version)
				}
			}
			if how.links {
				all, _ := g.verified(VerifyOptions{Path: "d", Data: true})
				if len(all) != 0 {
					t.Errorf("found %v", told(all))
				}
			}
		})
	}
}

// newest are the version numbers of the sealed objects of a bucket.
func (f *fixture) newest(m *mem.Store) map[string]uint64 {
	all := map[string]uint64{}
	for _, key := range m.Keys() {
		if o, err := f.fetch(f.ctx, key); err == nil && o.err == nil && ownPart(key) == partFile {
			all[key] = o.version()
		}
	}
	return all
}

// TestBringBackInterrupted: cut off at any request, it is ended by another run.
func TestBringBackInterrupted(t *testing.T) {
	now := newClock()
	base := mem.New(mem.Options{Versioned: true, Now: now.now})
	tweaks := []tweak{func(o *Options) { o.Now = now.now }}
	f := mount(t, base, tweaks...)
	f.put("a", "text")
	f.put("h", "hard")
	f.link("h", "h2")
	want, at := f.view(""), now.now()
	f.end()
	now.pass(time.Minute)
	for _, key := range base.Keys() {
		if err := base.Delete(t.Context(), objstore.ID{Key: key}, objstore.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	now.pass(time.Minute)
	for n := 1; ; n++ {
		m := base.Clone()
		g := mount(t, m, append(tweaks, host("mender"))...)
		g.s.Reset()
		g.s.CrashAt(n, n%2 == 0)
		_, _ = g.bringBack("", at, false)
		crashed := g.s.Crashed()
		g.s.Reset()
		g.end()
		g = mount(t, m, append(tweaks, host("again"))...)
		if _, err := g.bringBack("", at, false); err != nil {
			t.Fatalf("after request %d: %v", n, err)
		}
		if got := g.view(""); !slices.Equal(got, want) {
			t.Fatalf("after request %d it is\n%s\nnot\n%s", n, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		g.end()
		if !crashed {
			if n < 10 {
				t.Fatalf("only %d requests", n)
			}
			return
		}
	}
}

// TestBringBackLosesToWriters: who writes in between wins, and is told of.
func TestBringBackLosesToWriters(t *testing.T) {
	now := newClock()
	m := mem.New(mem.Options{Versioned: true, Now: now.now})
	f := mount(t, m, func(o *Options) { o.Now = now.now })
	f.put("a", "old")
	at := now.now()
	now.pass(time.Minute)
	f.put("a", "new")
	other := mount(t, m, host("other"), func(o *Options) { o.Now = now.now })
	once := false
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Copy && !once {
			once = true
			other.put("a", "newest")
		}
		return x
	})
	if did, err := f.bringBack("a", at, false); !errors.Is(err, ErrChanged) || len(did) != 0 {
		t.Errorf("%v, %v", did, err)
	}
	f.healed()
	other.has("a", "newest")
}

// TestBringBackOpensFirst: a version that does not open is no better than what is
// there, and nothing is touched.
func TestBringBackOpensFirst(t *testing.T) {
	now := newClock()
	m := mem.New(mem.Options{Versioned: true, Now: now.now})
	f := mount(t, m, func(o *Options) { o.Now = now.now })
	m.Plant("a", mem.Object{Body: []byte("plain")})
	at := now.now()
	now.pass(time.Minute)
	f.put("b", "x")
	m.Plant("a", mem.Object{Body: []byte("other")})
	f.s.Reset()
	if _, err := f.bringBack("a", at, false); !errors.Is(err, ErrDowngrade) || f.s.Counts().Writes() != 0 {
		t.Errorf("%v, %d writes", err, f.s.Counts().Writes())
	}
	ro := mount(t, m, func(o *Options) { o.ReadOnly = true })
	if _, err := ro.NewRestorer(RestorerOptions{}); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
}

// TestHistory: versions of a file with those of its inode, of a directory without
// what begins like it.
func TestHistory(t *testing.T) {
	m := mem.New(mem.Options{Versioned: true})
	f := mount(t, m)
	f.put("dir-other", "x")
	f.mkdir("dir")
	f.put("dir/a", "one")
	f.put("dir/a", "two!")
	f.must(f.Remove(f.ctx, "dir/a"))
	f.put("h", "hard")
	f.link("h", "h2")
	tell := func(p string) (lines []string) {
		var kept []Kept
		for v, err := range f.History(f.ctx, p, "") {
			f.must(err)
			k, err := f.Look(f.ctx, v)
			f.must(err)
			kept = append(kept, k)
			lines = append(lines, fmt.Sprintf("%s %d %s %v %v", k.Path, k.Content, k.Mode, k.Latest, k.Deleted))
		}
		for v, err := range f.InodeHistory(f.ctx, kept) {
			f.must(err)
			k, err := f.Look(f.ctx, v)
			f.must(err)
			lines = append(lines, fmt.Sprintf("inode %d %v", k.Content, k.Latest))
		}
		return lines
	}
	for p, want := range map[string][]string{
		"dir/a": {"dir/a -1  true true", "dir/a 4 client false false", "dir/a 3 client false false"},
		"dir":   {"dir 0 client true false", "dir/a -1  true true", "dir/a 4 client false false", "dir/a 3 client false false"},
		"none":  nil,
	} {
		got := tell(p)
		if p == "dir" {
			got = slices.Compact(slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, "dir 0 client false") }))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", p, got, want)
		}
	}
	if got := tell("h"); len(got) < 3 || !strings.HasPrefix(got[len(got)-1], "inode 4") {
		t.Errorf("h: %q", got)
	}
}
