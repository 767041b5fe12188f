package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"pgregory.net/rapid"
)

// TestRepairModel: hosts link, unlink, rename and write at random and die at any
// request; whatever that leaves, a repair makes the counts of all links exact, and
// no file loses its content.
func TestRepairModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		now := newClock()
		m := memAt(now)
		at := func(o *Options) { o.Now = now.now }
		texts := map[string]string{} // content by its own name, which no rename changes
		for i := range rapid.IntRange(1, 3).Draw(r, "hosts") {
			f := mount(t, m, at, host(fmt.Sprint("host", i)))
			f.s.CrashAt(rapid.IntRange(1, 60).Draw(r, "crash"), rapid.Bool().Draw(r, "done"))
			for range 12 {
				linkStep(r, f, texts)
			}
			f.end()
			now.pass(2 * time.Hour)
		}
		f := mount(t, m, at, host("mender")) // goes on with renames of directories
		f.end()
		now.pass(abandonment + time.Hour)
		mender := mount(t, m, at, host("mender"))
		all, sum := mender.verified(VerifyOptions{Data: true, Repair: true})
		for _, one := range all {
			switch one.Fault {
			case FaultNlink, FaultOrphan:
				if one.Mended == "" || one.Unmended != nil {
					r.Fatalf("%s: %v: %v", one.Key, one, one.Unmended)
				}
			case FaultUpload, FaultParked, FaultJournal:
			default:
				r.Fatalf("%s: %v", one.Key, one)
			}
		}
		if sum.LinksUncounted != "" {
			r.Fatal(sum.LinksUncounted)
		}
		mender.end()
		soundLinks(t, m, exact)
		for _, key := range m.Keys() {
			if _, inode := m.Object(strings.Replace(key, rollDir, "", 1)); ownPart(key) == partRoll && !inode {
				r.Fatalf("%s is left", key)
			}
		}
		if t.Failed() {
			r.FailNow()
		}
		reader := mount(t, m, at, host("reader"))
		for _, p := range filesOf(m) {
			if text, err := reader.get(p); err != nil || !slices.Contains(slices.Collect(maps.Values(texts)), text) {
				r.Fatalf("%s reads %q, %v", p, text, err)
			}
		}
		reader.end()
	})
}

// filesOf are the paths of all files.
func filesOf(m *mem.Store) []string {
	var all []string
	for _, key := range m.Keys() {
		if ownPart(key) == partFile && !isMarker(key) {
			all = append(all, key)
		}
	}
	return all
}

// linkStep does something at random; what fails since the host is dead is not looked at.
func linkStep(r *rapid.T, f *fixture, texts map[string]string) {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d/a", "d/b", "e/a"})
	p := name.Draw(r, "name")
	switch rapid.SampledFrom([]string{"put", "link", "link", "remove", "rename", "chmod", "renamedir"}).Draw(r, "step") {
	case "put":
		text := fmt.Sprintf("text %d", len(texts))
		texts[text] = text
		_ = f.tryPut(p, text)
	case "link":
		_, _ = f.Link(f.ctx, p, name.Draw(r, "to"))
	case "remove":
		_ = f.Remove(f.ctx, p)
	case "rename":
		_ = f.Rename(f.ctx, p, name.Draw(r, "to"), false)
	case "chmod":
		_, _ = f.SetAttr(f.ctx, p, Change{Mode: ptr[uint32](0o600)})
	case "renamedir":
		dirs := []string{"d", "e"}
		i := rapid.IntRange(0, 1).Draw(r, "dir")
		if slices.ContainsFunc(filesOf(f.mem), func(p string) bool { return strings.HasPrefix(p, dirs[1-i]+"/") }) {
			return
		}
		_ = f.Rename(f.ctx, dirs[i], dirs[1-i], false)
	}
}

// TestRepairCrashes: a repair that dies at any request is simply repeated.
func TestRepairCrashes(t *testing.T) {
	for n := 1; ; n++ {
		for _, done := range []bool{false, true} {
			now := newClock()
			at := func(o *Options) { o.Now = now.now }
			m := mem.New(mem.Options{Versioned: true, Now: now.now})
			f := mount(t, m, at)
			f.put("a", "one")
			f.put("b", "two")
			f.link("b", "c")
			f.link("b", "d")
			f.end()
			now.pass(2 * time.Hour)
			m.Tamper("a", flipAt(0))
			_ = m.Delete(t.Context(), objstore.ID{Key: "d"}, objstore.Condition{})
			g := mount(t, m, at, host("mender"))
			g.s.CrashAt(n, done)
			x, err := g.NewVerifier(VerifyOptions{Data: true, Repair: true})
			g.must(err)
			for e, err := range x.List(g.ctx, "") {
				if err == nil {
					_ = x.Check(g.ctx, e)
				}
			}
			_, _ = x.Finish(g.ctx, func(*Finding) {})
			crashed := g.s.Crashed()
			g.end()
			now.pass(2 * time.Hour)
			h := mount(t, m, at, host("again"))
			h.verified(VerifyOptions{Data: true, Repair: true})
			now.pass(2 * time.Hour)
			h.auditor(at).sound(VerifyOptions{Data: true})
			h.has("a", "one")
			h.has("c", "two")
			h.nlink("b", 2)
			h.end()
			if !crashed {
				return
			}
		}
	}
}
