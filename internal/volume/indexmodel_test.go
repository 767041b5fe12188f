package volume

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestIndexModel: whatever two hosts with indexes do to one directory, each is
// shown the truth as soon as nothing from before is believed any more; and what
// it has done itself, at once.
func TestIndexModel(t *testing.T) {
	few(t, "10", func() { rapid.Check(t, func(rt *rapid.T) { modelOfIndex(t, rt) }) })
}

func modelOfIndex(t *testing.T, rt *rapid.T) {
	c := newClock()
	m := memAt(c)
	hosts := []*fixture{mount(t, m, indexing(c), host("a")), mount(t, m, indexing(c), host("b"))}
	defer func() {
		for _, f := range hosts {
			f.end()
		}
	}()
	for i := range 6 {
		hosts[i%2].put(nameOf(i), fmt.Sprint(i))
	}
	pick := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(rt, what) }
	rt.Repeat(map[string]func(*rapid.T){
		"pass":  func(*rapid.T) { c.pass(time.Duration(pick(4, "s")) * time.Second) },
		"looks": func(*rapid.T) { hosts[pick(2, "host")].looks("d") },
		"remount": func(*rapid.T) {
			i := pick(2, "host")
			c.pass(time.Duration(pick(3, "s")) * time.Second)
			hosts[i].end()
			hosts[i] = mount(t, m, indexing(c), host(string(rune('a'+i))))
		},
		"change": func(*rapid.T) {
			f, p, q := hosts[pick(2, "host")], nameOf(pick(6, "p")), nameOf(pick(6, "q"))
			c.pass(2 * time.Second) // in the second of a write another host's change of attributes may not show
			switch pick(5, "what") {
			case 0:
				_ = f.tryPut(p, fmt.Sprint(pick(1000, "content")))
			case 1:
				_, _ = f.SetAttr(f.ctx, p, mode(uint32(0o400+pick(0o200, "mode"))))
			case 2:
				_ = f.Remove(f.ctx, p)
			case 3:
				_ = f.Rename(f.ctx, p, q, false)
			case 4:
				_, _ = f.Link(f.ctx, p, q)
			}
			for _, p := range []string{p, q} {
				a, err := f.Attributes(f.ctx, p)
				info, serr := f.Stat(f.ctx, p)
				if (err == nil) != (serr == nil) || a != info.Attr {
					rt.Fatalf("%s: told %+v, %v of what it did, which is %+v, %v", p, a, err, info.Attr, serr)
				}
			}
		},
		"": func(*rapid.T) {
			f := hosts[pick(2, "host")]
			c.pass(time.Duration(pick(2, "s")+1) * time.Second)
			got, want := f.looks("d"), f.truth("d")
			for name, w := range want {
				g := got[name]
				g.Incarnation, w.Incarnation = 0, 0
				if g != w {
					rt.Fatalf("%s shows %+v, is %+v", name, g, w)
				}
			}
		},
	})
}
