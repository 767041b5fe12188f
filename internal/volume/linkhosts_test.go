package volume

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"
)

func TestLinksOfTwoHosts(t *testing.T) {
	f := linked(t)
	g := mount(t, f.mem, host("there"))
	g.has("d/b", "one")
	f.put("a", "from here")
	g.has("d/b", "from here")
	g.put("d/b", "from there")
	f.has("a", "from there")
	f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
	if got := g.stat("d/b").Mode & 0o777; got != 0o600 {
		t.Errorf("mode %o there", got)
	}
	g.link("d/b", "c")
	f.nlink("a", 3)
	f.must(f.Remove(f.ctx, "a"))
	g.must(g.Remove(g.ctx, "d/b"))
	wants(t, f.Remove(f.ctx, "d/b"), ErrNotExist)
	f.has("c", "from there")
	f.nlink("c", 1)
	soundLinks(t, f.mem, exact)
	f.must(f.Remove(f.ctx, "c"))
	g.absent("c")
}

// TestLinkedElsewhere: what a host has open, or knows, is linked by another.
func TestLinkedElsewhere(t *testing.T) {
	for name, tw := range map[string]tweak{"Asking": noTimeout, "Believing": long} {
		t.Run(name, func(t *testing.T) {
			f := mount(t, bucket(), tw)
			f.put("a", "one")
			clean := f.open("a")
			defer clean.Release()
			g := mount(t, f.mem, host("there"))
			g.link("a", "b")
			f.reads(clean, "one")
			f.write(clean, "two", 0)
			f.must(clean.Commit(f.ctx))
			g.has("b", "two")
			g.has("a", "two")
			f.has("a", "two")
			f.lists("", "a", "b")
			if got := clean.Info().Nlink; got != 2 {
				t.Errorf("nlink %d of the open file", got)
			}
			soundLinks(t, f.mem, exact)
		})
	}
}

// TestRacingLinks: many links, unlinks and renames at once by two hosts lose no
// body and leave no name uncounted.
func TestRacingLinks(t *testing.T) {
	f := linked(t)
	g := mount(t, f.mem, host("there"))
	var tasks errgroup.Group
	for i := range 4 {
		for who, h := range map[string]*fixture{"f": f, "g": g} {
			tasks.Go(func() error {
				mine := fmt.Sprintf("%s%d", who, i)
				_, err := h.Link(h.ctx, "a", mine)
				if err == nil {
					err = h.Rename(h.ctx, mine, mine+"x", false)
				}
				if err == nil && i%2 == 0 {
					err = h.Remove(h.ctx, mine+"x")
				}
				return err
			})
		}
		for _, h := range []*fixture{f, g} { // exactly one wins
			tasks.Go(func() error {
				if _, err := h.Link(h.ctx, "a", fmt.Sprintf("both%d", i)); !errors.Is(err, ErrExist) {
					return err
				}
				return nil
			})
		}
	}
	f.must(tasks.Wait())
	soundLinks(t, f.mem, counted)
	names := f.list("")
	if len(names) != 2+4+4 {
		t.Errorf("%q", names)
	}
	for _, p := range append(names, "d/b") {
		if p != "d" {
			g.has(p, "one")
			g.must(g.Remove(g.ctx, p))
		}
	}
	soundLinks(t, f.mem, exact)
}

// TestRacingUnlinks: two hosts remove the same and the last names at once, while
// another is made.
func TestRacingUnlinks(t *testing.T) {
	for range 6 {
		f := linked(t)
		g := mount(t, f.mem, host("there"))
		var tasks errgroup.Group
		var made error
		for _, h := range []*fixture{f, g} {
			for _, p := range []string{"a", "d/b"} {
				tasks.Go(func() error {
					if err := h.Remove(h.ctx, p); !errors.Is(err, ErrNotExist) {
						return err
					}
					return nil
				})
			}
		}
		tasks.Go(func() error {
			made = errOf(g.Link(g.ctx, "d/b", "new"))
			return nil
		})
		f.must(tasks.Wait())
		if made != nil {
			wants(t, made, ErrNotExist)
			f.lists("", "d")
		} else {
			f.has("new", "one") // how many links it shows may lag
			soundLinks(t, f.mem, counted)
			f.must(f.Remove(f.ctx, "new"))
			soundLinks(t, f.mem, exact) // none is left
		}
		f.end()
		g.end()
	}
}

// TestModelOfLinks: two hosts take turns with names of a few files; a map from
// names to files says what each must show.
func TestModelOfLinks(t *testing.T) {
	few(t, "30", func() { rapid.Check(t, func(rt *rapid.T) { modelOfLinks(t, rt) }) })
}

func modelOfLinks(t *testing.T, rt *rapid.T) {
	type file struct {
		text  string
		names int
	}
	store := bucket()
	hosts := []*fixture{mount(t, store), mount(t, store, host("there"))}
	defer hosts[0].end()
	defer hosts[1].end()
	hosts[0].mkdir("d")
	names := map[string]*file{}
	name := rapid.SampledFrom(strings.Fields("a b c d/a d/b"))
	var h *fixture
	turn := func(op func(p, q string)) func(*rapid.T) {
		return func(rt *rapid.T) {
			h = hosts[rapid.IntRange(0, 1).Draw(rt, "host")]
			op(name.Draw(rt, "name"), name.Draw(rt, "other"))
		}
	}
	expect := func(err, want error) bool {
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			rt.Fatalf("got %v, want %v", err, want)
		}
		return want == nil
	}
	unlink := func(p string) {
		names[p].names--
		delete(names, p)
	}
	exists := func(p string) error {
		if names[p] == nil {
			return ErrNotExist
		}
		return nil
	}
	rt.Repeat(map[string]func(*rapid.T){
		"put": turn(func(p, _ string) {
			text := rapid.StringN(0, 20, -1).Draw(rt, "text")
			expect(h.tryPut(p, text), nil)
			if names[p] == nil {
				names[p] = &file{names: 1}
			}
			names[p].text = text
		}),
		"link": turn(func(p, q string) {
			want := exists(p)
			if p == q || want == nil && names[q] != nil {
				want = ErrExist
			}
			if expect(errOf(h.Link(h.ctx, p, q)), want) {
				names[q] = names[p]
				names[p].names++
			}
		}),
		"remove": turn(func(p, _ string) {
			if expect(h.Remove(h.ctx, p), exists(p)) {
				unlink(p)
			}
		}),
		"rename": turn(func(p, q string) {
			if !expect(h.Rename(h.ctx, p, q, false), exists(p)) || names[p] == names[q] {
				return
			}
			if names[q] != nil {
				unlink(q)
			}
			names[q] = names[p]
			delete(names, p)
		}),
		"": func(rt *rapid.T) {
			ids := map[uint64]*file{}
			for p, f := range names {
				for _, h := range hosts {
					text, err := h.get(p)
					info, serr := h.Stat(h.ctx, p)
					if err != nil || serr != nil || text != f.text || int(info.Nlink) != f.names {
						rt.Fatalf("%s: %q of %d names, %v, %v; want %q of %d", p, text, info.Nlink, err, serr, f.text, f.names)
					}
					if other := ids[info.FileID]; other != nil && other != f {
						rt.Fatalf("%s: file id of another", p)
					}
					ids[info.FileID] = f
				}
			}
		},
	})
	soundLinks(t, store, exact)
}
