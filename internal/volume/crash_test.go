package volume

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// TestCrashes cuts each operation at every one of its requests, before it is
// done and after, and starts the host anew: the tree is as before or as after
// it, and nothing of the volume's own is left.
func TestCrashes(t *testing.T) {
	t.Parallel()
	inSetups(t, testCrashes)
}

func testCrashes(t *testing.T, s *setup) {
	both := func(change map[string]string) []map[string]string { return []map[string]string{sceneBut(t, s, change)} }
	for _, tc := range []struct {
		name   string
		before func(f *fixture)
		do     func(f *fixture) error
		also   []map[string]string // how the crash may leave the tree, beside before and after
	}{
		{"Create", nil, func(f *fixture) error { return f.tryPut("new", "1") }, nil},
		{"Overwrite", nil, func(f *fixture) error { return f.tryPut("a", "longer than before") }, nil},
		{"Mkdir", nil, func(f *fixture) error { return errOf(f.Mkdir(f.ctx, "new", Attr{Mode: 0o755})) }, nil},
		{"Remove", nil, func(f *fixture) error { return f.Remove(f.ctx, "a") }, nil},
		{"Chmod", nil, func(f *fixture) error {
			return errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)}))
		}, nil},
		{"UnlinkOpen", nil, func(f *fixture) error {
			file, err := f.Open(f.ctx, "a", OpenOptions{})
			if err != nil {
				return err
			}
			defer file.Release()
			return f.Remove(f.ctx, "a")
		}, nil},
		{"Rename", nil, func(f *fixture) error { return f.Rename(f.ctx, "a", "new", false) }, both(map[string]string{"new": "a"})},
		{"RenameOver", nil, func(f *fixture) error { return f.Rename(f.ctx, "a", "b", false) }, both(map[string]string{"b": "a"})},
		{"RenameDir", nil, func(f *fixture) error { return f.Rename(f.ctx, "d", "new", false) }, nil},
		{"RenameDirOverEmpty", nil, func(f *fixture) error { return f.Rename(f.ctx, "d", "empty", false) }, both(map[string]string{"empty": ""})},
		{"RenameDirDirty", func(f *fixture) {
			f.create("d/dirty", "dirty", false)
		}, func(f *fixture) error { return f.Rename(f.ctx, "d", "new", false) }, both(map[string]string{"d/dirty": "dirty"})},
	} {
		t.Run(tc.name, func(t *testing.T) { crashEverywhere(t, s, scene(t, s), tc.before, tc.do, tc.also) })
	}
}

func crashEverywhere(t *testing.T, s *setup, m *mem.Store, before func(*fixture), do func(*fixture) error, also []map[string]string) {
	begin := func(m *mem.Store) *fixture {
		g := mount(t, m, s.on)
		if before != nil {
			before(g)
		}
		return g
	}
	whole := m.Clone()
	f := begin(whole)
	f.must(do(f))
	f.must(f.Close(f.ctx))
	allowed := append([]map[string]string{bucketTree(t, s, m), bucketTree(t, s, whole)}, also...)
	cuts := 0
	for n := 1; ; n++ {
		for _, done := range []bool{false, true} {
			clone := m.Clone()
			g := begin(clone)
			g.s.CrashAt(n, done)
			err := do(g)
			crashed := g.s.Crashed()
			g.end()
			if !crashed {
				wants(t, err, nil)
				if cuts < 2 {
					t.Errorf("%d cuts only", cuts)
				}
				return
			}
			cuts++
			again := mount(t, clone, s.on)
			again.must(again.Close(again.ctx))
			again.noLeftovers()
			again.end()
			now := bucketTree(t, s, clone)
			if !slices.ContainsFunc(allowed, func(x map[string]string) bool { return maps.Equal(x, now) }) {
				t.Errorf("request %d, done %v: %v", n, done, now)
			}
		}
	}
}

// scene is a bucket with some files.
func scene(t *testing.T, s *setup) *mem.Store {
	f := mount(t, s.store(), s.on)
	f.put("a", "a")
	f.put("b", "b")
	for _, d := range strings.Fields("d d/marker empty") {
		f.mkdir(d)
	}
	for _, p := range strings.Fields("d/x d/sub/z d/sub/deeper/w") {
		f.put(p, p)
	}
	f.must(f.Close(f.ctx))
	return f.mem
}

// sceneBut is the tree of scene with changes; "" removes.
func sceneBut(t *testing.T, s *setup, change map[string]string) map[string]string {
	out := bucketTree(t, s, scene(t, s))
	for p, text := range change {
		if out[p] = text; text == "" {
			delete(out, p)
		}
	}
	return out
}

// bucketTree is the tree of a bucket as a host that comes fresh sees it.
func bucketTree(t *testing.T, s *setup, m *mem.Store) map[string]string {
	f := mountIdle(t, m, s.on, host("fresh"), func(o *Options) { o.ReadOnly = true })
	defer f.end()
	return treeOf(f)
}
