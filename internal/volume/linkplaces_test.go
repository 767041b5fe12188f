package volume

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

func TestLinksAndRules(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	other := &fakeKeys{epochs: []sigil.Epoch{epoch(2)}}
	f := mount(t, bucket(), rules(
		Rule{Mode: "client", Keys: k}, Rule{Prefix: "other/", Mode: "client", Keys: other}, Rule{Prefix: "clear/", Mode: "none"},
	), func(o *Options) { o.Keys = &fakeKeys{epochs: []sigil.Epoch{epoch(1), epoch(2)}} })
	for _, p := range []string{"a", "other/a", "clear/a"} {
		f.put(p, p)
	}
	link := func(from, to string) error { return errOf(f.Link(f.ctx, from, to)) }
	wants(t, link("a", "other/b"), ErrCrossing)
	wants(t, link("a", "clear/b"), ErrCrossing)
	wants(t, link("clear/a", "clear/b"), ErrNoLinks)
	wants(t, link("clear/a", "b"), ErrNoLinks)

	f.link("other/a", "other/b")
	for _, key := range f.mem.Keys() {
		if !isInodeKey(key) {
			continue
		}
		o, err := f.fetch(f.ctx, key)
		f.must(err)
		if got := o.form.(*sealedForm).header.Epoch; got != epoch(2).ID {
			t.Errorf("%s is sealed under %s, not under the rule of its names", key, got)
		}
	}
	file := f.open("other/b")
	f.write(file, "changed", 0)
	f.must(file.Commit(f.ctx))
	file.Release()
	f.must(errOf(f.SetAttr(f.ctx, "other/a", Change{Mode: ptr[uint32](0o600)})))
	in, err := f.lookup(f.ctx, "other/a")
	f.must(err)
	if got := in.obj.form.(*sealedForm).header.Epoch; got != epoch(2).ID {
		t.Errorf("written through a link under %s", got)
	}
	wants(t, f.Rename(f.ctx, "other/a", "a2", false), ErrCrossing)
	wants(t, f.Rename(f.ctx, "other", "moved", false), ErrCrossing)
	f.has("other/a", "changed")
	f.has("other/b", "changed")
}

// TestLinksOfSubmounts: an inode is found from mounts whose volume root is
// another than that under which it was made.
func TestLinksOfSubmounts(t *testing.T) {
	m := bucket()
	whole, sub := mount(t, m), mount(t, m, host("sub"), under("s/", "s/"))
	whole.mkdir("s")
	whole.put("s/a", "one")
	whole.link("s/a", "s/b")
	sub.put("c", "two")
	sub.link("c", "d")

	sub.has("a", "one")
	whole.has("s/d", "two")
	sub.put("b", "more")
	whole.has("s/a", "more")
	whole.link("s/c", "s/e")
	sub.nlink("e", 3)
	sub.must(sub.Remove(sub.ctx, "a"))
	sub.must(sub.Remove(sub.ctx, "b"))
	for _, p := range []string{"s/c", "s/d", "s/e"} {
		whole.must(whole.Remove(whole.ctx, p))
	}
	whole.noLeftovers()
}

func TestLinkWithoutInode(t *testing.T) {
	f := linked(t)
	for _, key := range f.mem.Keys() {
		if isInodeKey(key) {
			f.must(f.mem.Delete(f.ctx, objstore.ID{Key: key}, objstore.Condition{}))
		}
	}
	_, err := f.Open(f.ctx, "a", OpenOptions{})
	wants(t, err, ErrCorrupt)
	wants(t, f.stat("a").Err, ErrCorrupt)
	f.must(f.Remove(f.ctx, "a"))
	f.lists("d", "b")
}

// TestPlantedInodes: nothing that the owner of the bucket puts in the place of
// an inode or a roll is believed.
func TestPlantedInodes(t *testing.T) {
	f := linked(t)
	f.put("x", "other")
	f.link("x", "y")
	all := f.mem.Snapshot()
	var inodes, rolls []string
	for _, key := range f.mem.Keys() {
		if isInodeKey(key) && bytes.Contains([]byte(key), []byte(rollDir)) {
			rolls = append(rolls, key)
		} else if isInodeKey(key) {
			inodes = append(inodes, key)
		}
	}
	put := func(key string, body []byte, md map[string]string) {
		t.Helper()
		_, err := f.mem.Put(f.ctx, key, bytes.NewReader(body), int64(len(body)), objstore.PutOptions{Metadata: md})
		f.must(err)
	}
	g := mount(t, f.mem, host("there"))
	for i, key := range inodes { // exchanged
		o := all[inodes[1-i]]
		put(key, o.Body, o.Info.Metadata)
	}
	_, err := g.get("a")
	wants(t, err, ErrCorrupt)
	for _, key := range inodes { // in the clear
		put(key, []byte("one"), nil)
	}
	_, err = g.get("a")
	wants(t, err, ErrDowngrade)
	for _, key := range inodes {
		put(key, all[key].Body, all[key].Info.Metadata)
	}
	for _, key := range rolls {
		put(key, nil, nil)
	}
	_, err = g.Link(g.ctx, "a", "z")
	wants(t, err, ErrDowngrade)
	g.must(g.Remove(g.ctx, "a")) // its count stays
	g.has("d/b", "one")
}

// TestLinksWithoutConditions: a server that ignores conditions is looked at
// before each write.
func TestLinksWithoutConditions(t *testing.T) {
	f := linked(t, func(o *Options) { o.Capabilities = objstore.Capabilities{} })
	f.link("a", "c")
	wants(t, errOf(f.Link(f.ctx, "a", "c")), ErrExist)
	f.must(f.Rename(f.ctx, "c", "e", false))
	f.must(f.Remove(f.ctx, "a"))
	f.has("e", "one")
	f.nlink("e", 2)
	soundLinks(t, f.mem, exact)
}

func FuzzParseRoll(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, 16))
	f.Add(append(make([]byte, 31), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := parseRoll(b)
		if err != nil {
			wants(t, err, ErrCorrupt)
			return
		}
		if got := (&roll{names: names}).bytes(); !bytes.Equal(got, b) {
			t.Errorf("%x was %x", got, b)
		}
		for _, n := range names {
			r := &roll{names: (&roll{names: names}).without(n)}
			if len(r.names) != len(names)-1 || !slices.Equal(r.with(n), names) {
				t.Errorf("%x", n)
			}
		}
	})
}
