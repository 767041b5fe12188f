package volume

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestLinkCrashes cuts each operation at every one of its requests, before it
// is done and after, and starts the host anew: the tree is as before or as
// after, every name has its body, and is counted.
func TestLinkCrashes(t *testing.T) {
	old := map[string]string{"a": "one", "d": "/", "d/b": "one", "plain": "plain", "d/open": "text"}
	tree := func(change map[string]string) map[string]string {
		out := maps.Clone(old)
		maps.Copy(out, change)
		maps.DeleteFunc(out, func(_, text string) bool { return text == "" })
		return out
	}
	for _, tc := range []struct {
		name string
		do   func(f *fixture) error
		also []map[string]string // beside before and after
	}{
		{"FirstLink", func(f *fixture) error { return errOf(f.Link(f.ctx, "plain", "new")) }, nil},
		{"NextLink", func(f *fixture) error { return errOf(f.Link(f.ctx, "d/b", "new")) }, nil},
		{"Unlink", func(f *fixture) error { return f.Remove(f.ctx, "a") }, nil},
		{"UnlinkLast", func(f *fixture) error {
			if err := f.Remove(f.ctx, "a"); err != nil {
				return err
			}
			return f.Remove(f.ctx, "d/b")
		}, []map[string]string{tree(map[string]string{"a": ""})}},
		{"UnlinkLastOpen", func(f *fixture) error {
			file, err := f.Open(f.ctx, "a", OpenOptions{})
			if err != nil {
				return err
			}
			defer file.Release()
			if err := f.Remove(f.ctx, "a"); err != nil {
				return err
			}
			return f.Remove(f.ctx, "d/b")
		}, []map[string]string{tree(map[string]string{"a": ""})}},
		{"Write", func(f *fixture) error { return f.tryPut("a", "two, longer") }, nil},
		{"Chmod", func(f *fixture) error { return errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})) }, nil},
		{"Rename", func(f *fixture) error { return f.Rename(f.ctx, "a", "new", false) }, []map[string]string{tree(map[string]string{"new": "one"})}},
		{"RenameOntoName", func(f *fixture) error { return f.Rename(f.ctx, "plain", "a", false) }, []map[string]string{tree(map[string]string{"a": "plain"})}},
		{"RenameNameOnto", func(f *fixture) error { return f.Rename(f.ctx, "a", "plain", false) }, []map[string]string{tree(map[string]string{"plain": "one"})}},
		{"RenameDir", func(f *fixture) error { return f.Rename(f.ctx, "d", "D", false) }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := linked(t)
			f.put("plain", "plain")
			f.put("d/open", "text")
			f.must(f.Close(f.ctx))
			m := f.mem

			whole := m.Clone()
			f = mount(t, whole)
			f.must(tc.do(f))
			f.must(f.Close(f.ctx))
			soundLinks(t, whole, exact)
			fresh := mount(t, whole, host("fresh"))
			allowed := append([]map[string]string{old, treeOf(fresh)}, tc.also...)
			for n, cut := 1, true; cut; n++ {
				for _, done := range []bool{false, true} {
					clone := m.Clone()
					g := mount(t, clone)
					g.s.CrashAt(n, done)
					err := tc.do(g)
					cut = g.s.Crashed()
					g.end()
					if !cut {
						wants(t, err, nil)
						break
					}
					again := mount(t, clone)
					again.must(again.Close(again.ctx))
					again.end()
					g = mount(t, clone, host("fresh"))
					now := treeOf(g)
					if !slices.ContainsFunc(allowed, func(x map[string]string) bool { return maps.Equal(x, now) }) {
						t.Errorf("request %d, done %v: %v", n, done, now)
					}
					// The roll of a renamed name is one ahead of nlink for a moment.
					want := shown
					if strings.HasPrefix(tc.name, "Rename") {
						want = counted
					}
					soundLinks(t, clone, want)
					clearAll(g, now)
					soundLinks(t, clone, want)
				}
			}
		})
	}
}

// clearAll removes one file after another; the others keep their bodies.
func clearAll(f *fixture, tree map[string]string) {
	f.t.Helper()
	left := maps.Clone(tree)
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		if tree[p] == "/" {
			continue
		}
		f.must(f.Remove(f.ctx, p))
		delete(left, p)
		if now := treeOf(f); !maps.Equal(now, left) {
			f.t.Errorf("without %s: %v, want %v", p, now, left)
		}
	}
}
