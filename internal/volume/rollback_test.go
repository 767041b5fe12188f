package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// kept is an object as the bucket's owner has kept it.
type kept struct {
	body     []byte
	metadata map[string]string
}

// keep takes a copy of what lies at a key.
func keep(t testing.TB, m *mem.Store, key string) kept {
	t.Helper()
	info, _, body, err := m.Get(context.Background(), objstore.ID{Key: key}, objstore.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return kept{b, maps.Clone(info.Metadata)}
}

// putBack puts it there again.
func putBack(t testing.TB, m *mem.Store, key string, k kept) {
	t.Helper()
	_, err := m.Put(context.Background(), key, bytes.NewReader(k.body), int64(len(k.body)), objstore.PutOptions{Metadata: k.metadata})
	if err != nil {
		t.Fatal(err)
	}
}

// seals has a mount remember in a file that outlives it.
func seals(t *testing.T, path string) tweak {
	return func(o *Options) {
		m := freshness.Open(freshness.Options{Path: path, Log: o.Log, Now: o.Now})
		t.Cleanup(func() { _ = m.Close() })
		o.Seals = m
	}
}

func deny(o *Options) { o.Rollback = RollbackDeny }

// kinds are those of what was met, by path.
func (f *fixture) kinds() map[string]string {
	all := map[string]string{}
	list, _ := f.Rollbacks()
	for _, r := range list {
		all[r.Path] = r.Kind
	}
	return all
}

func (f *fixture) meets(want map[string]string) {
	f.t.Helper()
	if got := f.kinds(); !maps.Equal(got, want) {
		f.t.Errorf("met %v, want %v", got, want)
	}
}

func (f *fixture) rollbackOf(p string) string {
	f.t.Helper()
	info, err := f.Stat(f.ctx, p)
	f.must(err)
	return info.Sigil["rollback"]
}

// TestRollbackOfBody (T17): an older body is told of, and under deny refused, by this
// mount and the next one, until a newer state is there or this one is accepted.
func TestRollbackOfBody(t *testing.T) {
	for _, policy := range []RollbackPolicy{RollbackReport, RollbackDeny} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			path := t.TempDir() + "/versions.db"
			how := func(o *Options) { o.Rollback = policy }
			f := mount(t, bucket(), how, seals(t, path))
			f.put("x", "old")
			old := keep(t, f.mem, "x")
			f.put("x", "newer")
			newer := keep(t, f.mem, "x")
			f.meets(map[string]string{})
			putBack(t, f.mem, "x", old)
			check := func(f *fixture) {
				t.Helper()
				info, err := f.Stat(f.ctx, "x")
				f.must(err)
				if !strings.HasPrefix(info.Sigil["rollback"], "rollback: ") {
					t.Errorf("user.sigil.rollback is %q", info.Sigil["rollback"])
				}
				f.meets(map[string]string{"x": "rollback"})
				if policy == RollbackReport {
					f.has("x", "old")
					return
				}
				if _, err := f.Open(f.ctx, "x", OpenOptions{}); !errors.Is(err, ErrRollback) {
					t.Errorf("open: %v", err)
				}
				if _, err := f.SetAttr(f.ctx, "x", Change{Mode: ptr[uint32](0o600)}); !errors.Is(err, ErrRollback) {
					t.Errorf("chmod: %v", err)
				}
			}
			check(f)
			if n := f.RollbacksSeen()["rollback"]; n != 1 {
				t.Errorf("met %d times, want one episode", n)
			}
			f.must(f.opt.Seals.Flush())
			next := mount(t, f.mem, how, seals(t, path))
			check(next)

			putBack(t, f.mem, "x", newer)
			next.has("x", "newer")
			next.meets(map[string]string{})

			putBack(t, f.mem, "x", old)
			check(next)
			var told []Rollback
			next.must(next.AcceptRestore(next.ctx, "", false, func(r Rollback) { told = append(told, r) }))
			if len(told) != 1 || told[0].Path != "x" {
				t.Errorf("accepted %+v", told)
			}
			next.has("x", "old")
			next.meets(map[string]string{})
			f.meets(map[string]string{}) // another process was told
			f.has("x", "old")
			if got := f.rollbackOf("x"); got != "" {
				t.Errorf("user.sigil.rollback is %q", got)
			}
			f.put("x", "newest")
			f.meets(map[string]string{})
		})
	}
}

// TestRollbackOfAttributes: older metadata over the same body are seen, of files
// and of directories.
func TestRollbackOfAttributes(t *testing.T) {
	f := mount(t, bucket())
	f.put("x", "abc")
	f.must(errOf(f.Mkdir(f.ctx, "d", Attr{Mode: 0o777})))
	old, oldDir := keep(t, f.mem, "x"), keep(t, f.mem, "d/")
	f.must(errOf(f.SetAttr(f.ctx, "x", Change{Mode: ptr[uint32](0o600)})))
	f.must(errOf(f.SetAttr(f.ctx, "d", Change{Mode: ptr[uint32](0o700)})))
	f.meets(map[string]string{})
	putBack(t, f.mem, "x", old)
	putBack(t, f.mem, "d/", oldDir)
	for _, p := range []string{"x", "d"} {
		if f.rollbackOf(p) == "" {
			t.Errorf("%s: not told", p)
		}
	}
	f.meets(map[string]string{"x": "rollback", "d": "rollback"})
}

// TestRollbackIsNotWashedOff: what is made of an older state stays marked,
// until somebody accepts it; what replaces it is not.
func TestRollbackIsNotWashedOff(t *testing.T) {
	f := mount(t, bucket())
	f.must(errOf(f.Mkdir(f.ctx, "dir", Attr{Mode: 0o777})))
	dir := keep(t, f.mem, "dir/")
	f.must(errOf(f.SetAttr(f.ctx, "dir", Change{Mode: ptr[uint32](0o700)})))
	putBack(t, f.mem, "dir/", dir)
	for _, p := range []string{"chmod", "append", "rename", "link", "replaced", "removed", "again"} {
		f.put(p, "old "+p)
		old := keep(t, f.mem, p)
		f.put(p, "newer "+p)
		putBack(t, f.mem, p, old)
	}
	f.must(errOf(f.SetAttr(f.ctx, "chmod", Change{Mode: ptr[uint32](0o600)})))
	file := f.open("append")
	f.must(errOf(file.WriteAt(f.ctx, []byte("!"), 10)))
	f.must(file.Commit(f.ctx))
	file.Release()
	f.must(f.Rename(f.ctx, "rename", "renamed", false))
	f.put("other", "good")
	f.must(f.Rename(f.ctx, "other", "replaced", false))
	f.must(f.Remove(f.ctx, "removed"))
	f.must(errOf(f.Link(f.ctx, "link", "second")))
	f.must(errOf(f.SetAttr(f.ctx, "dir", Change{Mode: ptr[uint32](0o711)})))
	if did, err := f.Reencrypt(ReencryptOptions{Fresh: true}).Do(f.ctx, "again"); err != nil || !did.Changed() {
		t.Fatal(did, err)
	}
	got := f.kinds()
	for _, p := range []string{"chmod", "append", "renamed", "dir", "again"} {
		if got[p] != "descendant" || f.rollbackOf(p) == "" {
			t.Errorf("%s is %q", p, got[p])
		}
	}
	if f.rollbackOf("second") == "" {
		t.Error("a second name shows nothing")
	}
	for _, p := range []string{"rename", "replaced", "removed"} {
		if got[p] != "" {
			t.Errorf("%s is %q", p, got[p])
		}
	}
	f.must(f.AcceptRestore(f.ctx, "", false, func(Rollback) {}))
	f.meets(map[string]string{})
	for _, p := range []string{"chmod", "append", "renamed", "second", "dir", "again"} {
		if got := f.rollbackOf(p); got != "" {
			t.Errorf("%s after it was accepted: %s", p, got)
		}
	}
}

// TestRollbackOfRoll: the roll of a file's names that was changed in an older
// state stays marked too.
func TestRollbackOfRoll(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "text")
	f.must(errOf(f.Link(f.ctx, "a", "b")))
	roll := ""
	for _, key := range f.mem.Keys() {
		if strings.Contains(key, "/links/") {
			roll = key
		}
	}
	old := keep(t, f.mem, roll)
	f.must(errOf(f.Link(f.ctx, "a", "c")))
	putBack(t, f.mem, roll, old)
	f.must(errOf(f.Link(f.ctx, "a", "d")))
	if got := f.kinds()[f.pathOf(roll)]; got != "descendant" {
		t.Errorf("it is %q of %v", got, f.kinds())
	}
}

// TestDeniedDirectory: a change of a directory's attributes that waits is not
// written over a marker that is not believed, with attributes that stand in for
// its own.
func TestDeniedDirectory(t *testing.T) {
	f := mount(t, bucket(), deny, func(o *Options) { o.AttrDelay = time.Hour })
	f.must(errOf(f.Mkdir(f.ctx, "d", Attr{Mode: 0o700, UID: 7})))
	old := keep(t, f.mem, "d/")
	f.must(errOf(f.SetAttr(f.ctx, "d", Change{Mode: ptr[uint32](0o711)})))
	f.must(f.SyncDir(f.ctx, "d"))
	f.must(errOf(f.SetAttr(f.ctx, "d", Change{Mtime: ptr[int64](1)})))
	putBack(t, f.mem, "d/", old)
	if err := f.SyncDir(f.ctx, "d"); !errors.Is(err, ErrRollback) {
		t.Errorf("it was written: %v", err)
	}
	if now := keep(t, f.mem, "d/"); !maps.Equal(now.metadata, old.metadata) {
		t.Error("the marker was written over")
	}
}

// TestOnItsWay: what another host had sealed before a removal and comes behind it
// is no false alarm; from then on what is older than that is told of.
func TestOnItsWay(t *testing.T) {
	c := newClock()
	clock := func(o *Options) { o.Now = c.now }
	f := mount(t, bucket(), clock)
	elsewhere := mount(t, bucket(), clock, host("other"))
	f.put("x", "mine")
	mine := keep(t, f.mem, "x")
	c.pass(time.Minute)
	elsewhere.put("x", "first")
	first := keep(t, elsewhere.mem, "x")
	c.pass(time.Second)
	elsewhere.put("x", "second")
	second := keep(t, elsewhere.mem, "x")
	c.pass(time.Second)
	f.must(f.Remove(f.ctx, "x"))
	putBack(t, f.mem, "x", second)
	f.has("x", "second")
	f.meets(map[string]string{})
	for _, old := range []kept{first, mine} {
		putBack(t, f.mem, "x", old)
		if f.rollbackOf("x") == "" {
			t.Error("an older state is not told of")
		}
	}
	putBack(t, f.mem, "x", second)
	f.has("x", "second")
	f.meets(map[string]string{})
}

// TestAcceptBelow: what is below a directory is accepted with what belongs to it
// elsewhere, the bodies and rolls of its hard links and its index; nothing else.
func TestAcceptBelow(t *testing.T) {
	path := t.TempDir() + "/versions.db"
	m, c := indexBed(t, 10)
	f := mount(t, m, indexing(c), seals(t, path))
	f.put("x", "old")
	f.must(errOf(f.Link(f.ctx, nameOf(1), "d/second")))
	c.pass(3 * time.Second)
	_ = f.looks("d")
	old := map[string]kept{}
	for _, key := range m.Keys() {
		old[key] = keep(t, m, key)
	}
	f.put("x", "new")
	f.put(nameOf(2), "new")
	f.must(errOf(f.SetAttr(f.ctx, nameOf(1), Change{Mode: ptr[uint32](0o600)})))
	f.must(errOf(f.Link(f.ctx, nameOf(1), "d/third")))
	c.pass(3 * time.Second)
	_ = f.looks("d")
	known := f.opt.Seals
	f.end()
	f.must(known.Flush())
	changed := map[string]bool{}
	for key, k := range old {
		if now, found := m.Object(key); !found || !maps.Equal(now.Info.Metadata, k.metadata) {
			changed[key] = true
			putBack(t, m, key, k)
		}
	}
	c.pass(time.Minute)
	g := mount(t, m, indexing(c), deny, seals(t, path))
	for _, p := range []string{"x", nameOf(1), nameOf(2), "d/second"} {
		if _, err := g.Open(g.ctx, p, OpenOptions{}); !errors.Is(err, ErrRollback) {
			t.Errorf("%s: %v", p, err)
		}
	}
	g.must(g.AcceptRestore(g.ctx, "d", true, func(r Rollback) {
		if !changed[r.Key] {
			t.Errorf("would accept %s", r.Key)
		}
		delete(changed, r.Key)
	}))
	if len(changed) != 1 || !changed["x"] {
		t.Errorf("would not accept %v", changed)
	}
	if _, err := g.Open(g.ctx, nameOf(2), OpenOptions{}); !errors.Is(err, ErrRollback) {
		t.Errorf("a dry run accepted: %v", err)
	}
	g.must(g.AcceptRestore(g.ctx, "d", false, func(Rollback) {}))
	c.pass(2 * time.Second) // what was looked at is believed for one
	_ = g.looks("d")
	for i := range 10 {
		g.has(nameOf(i), fmt.Sprint("content ", i))
	}
	g.must(errOf(g.Link(g.ctx, nameOf(1), "d/fourth")))
	g.meets(map[string]string{"x": "rollback"})
	if _, err := g.Open(g.ctx, "x", OpenOptions{}); !errors.Is(err, ErrRollback) {
		t.Errorf("x was accepted: %v", err)
	}
}

// TestAcceptArchived: an older state whose body is archived can be accepted.
func TestAcceptArchived(t *testing.T) {
	f := mount(t, bucket(), archiving("GLACIER"))
	f.mkdir("cold")
	f.put("cold/a", "old")
	old, _ := f.mem.Object("cold/a")
	f.put("new", "new")
	f.rename("new", "cold/a")
	_, err := f.mem.Put(f.ctx, "cold/a", bytes.NewReader(old.Body), int64(len(old.Body)), objstore.PutOptions{Metadata: old.Info.Metadata, StorageClass: "GLACIER"})
	f.must(err)
	_ = f.stat("cold/a")
	f.meets(map[string]string{"cold/a": "rollback"})
	f.must(f.AcceptRestore(f.ctx, "cold", false, func(Rollback) {}))
	_ = f.stat("cold/a")
	f.meets(map[string]string{})
}

// forgetful is a memory that cannot be asked for a while.
type forgetful struct {
	SealMemory
	fails bool
}

func (m *forgetful) Get(key string) (freshness.Record, error) {
	if m.fails {
		return freshness.Record{}, errors.New("held by another process")
	}
	return m.SealMemory.Get(key)
}

// TestMemoryOutOfReach: under report nothing fails for it, and what was met is
// not taken for well; under deny nothing is believed meanwhile.
func TestMemoryOutOfReach(t *testing.T) {
	for _, policy := range []RollbackPolicy{RollbackReport, RollbackDeny} {
		m := &forgetful{}
		f := mount(t, bucket(), func(o *Options) {
			o.Rollback = policy
			m.SealMemory = freshness.Open(freshness.Options{Log: o.Log})
			o.Seals = m
		})
		f.put("x", "old")
		old := keep(t, f.mem, "x")
		f.put("x", "new")
		putBack(t, f.mem, "x", old)
		_ = f.stat("x")
		f.meets(map[string]string{"x": "rollback"})
		m.fails = true
		_, err := f.Stat(f.ctx, "x")
		f.meets(map[string]string{"x": "rollback"})
		if policy == RollbackDeny {
			if err == nil {
				t.Error("believed")
			}
			continue
		}
		f.must(err)
		f.has("x", "old")
		f.put("y", "new")
		f.has("y", "new")
		f.must(f.Rename(f.ctx, "y", "z", false))
		f.must(f.Remove(f.ctx, "z"))
	}
}

// TestResurrection: what was removed or moved away is told of when it is back;
// what another host makes anew is not.
func TestResurrection(t *testing.T) {
	f, other := mount(t, bucket()), (*fixture)(nil)
	other = mount(t, f.mem, host("other"))
	for _, p := range []string{"a", "b", "c"} {
		f.put(p, "old")
	}
	a, b := keep(t, f.mem, "a"), keep(t, f.mem, "b")
	f.must(f.Remove(f.ctx, "a"))
	f.must(f.Rename(f.ctx, "b", "moved", false))
	f.must(f.Remove(f.ctx, "c"))
	other.put("c", "new")
	f.has("c", "new")
	f.meets(map[string]string{})
	putBack(t, f.mem, "a", a)
	putBack(t, f.mem, "b", b)
	for _, p := range []string{"a", "b"} {
		if !strings.HasPrefix(f.rollbackOf(p), "resurrection") {
			t.Errorf("%s: %q", p, f.rollbackOf(p))
		}
	}
	other.has("a", "old") // who never knew
	other.meets(map[string]string{})
}

// TestRollbackOfIndexed: neither a listing nor an index of attributes shows what
// this host knows to be older.
func TestRollbackOfIndexed(t *testing.T) {
	c := newClock()
	m, _ := indexBed(t, 10)
	f := mount(t, m, indexing(c), deny)
	key := nameOf(3)
	old := keep(t, m, key)
	_ = f.looks("d")
	f.must(errOf(f.SetAttr(f.ctx, key, Change{Mode: ptr[uint32](0o600)})))
	c.pass(time.Minute)
	putBack(t, m, key, old)
	if _, err := f.Stat(f.ctx, key); err != nil {
		t.Fatal(err)
	}
	f.meets(map[string]string{key: "rollback"})
}

// TestFarAhead: a version over a year ahead is told of, once, and neither counted
// on from nor remembered.
func TestFarAhead(t *testing.T) {
	c := newClock()
	m := bucket()
	ahead := mount(t, m, host("ahead"), func(o *Options) {
		o.Now = func() time.Time { return c.now().Add(2 * 366 * 24 * time.Hour) }
	})
	f := mount(t, m, func(o *Options) { o.Now = c.now })
	ahead.put("x", "from the future")
	f.has("x", "from the future")
	f.meets(map[string]string{"x": "ahead"})
	f.put("x", "of now")
	f.has("x", "of now")
	if v := f.recall("x").obj.version(); v > uint64(c.now().Add(time.Hour).UnixNano()) {
		t.Errorf("version %d was counted on from", v)
	}
	f.meets(map[string]string{})
}

// TestFreshnessModel (T17): two hosts write, rename, remove, link and make anew at
// random through an hour of virtual time, and nothing is reported; then somebody
// puts back what there was at some moment, and each host tells of what it could
// have known to be older, and of nothing else.
func TestFreshnessModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { freshnessModel(t, seed) })
	}
}

// stamp is what a state is judged by.
type stamp struct {
	version uint64
	seal    freshness.Seal
}

// knowledge is what one host could have known, by key, by the words of the
// format and nothing of the program's memory: the highest state that it wrote or
// read, and what it has removed.
type knowledge map[string]struct {
	stamp
	gone uint64
}

func freshnessModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	c := newClock()
	clock := func() time.Time { // two seals of a host never have the same
		c.pass(time.Microsecond)
		return c.now()
	}
	m := bucket()
	var hosts [2]*fixture
	for i := range hosts {
		hosts[i] = mount(t, m, host(fmt.Sprint("host", i)), inParts, func(o *Options) { o.Now = clock })
	}
	parts := strings.Repeat("in parts ", 12<<10)
	streams, late := 0, 0
	var long string
	if seed == 5 { // that is much data
		long = strings.Repeat("streamed ", (streamFrom+2*mib)/9)
		if streams = 5; raced {
			streams = 1
		}
	}
	opener := hosts[0].Volume
	state := func(key string) (s stamp, ok bool) {
		info, suffix, err := opener.ends(context.Background(), objstore.ID{Key: key})
		if errors.Is(err, ErrNotExist) {
			return s, false
		}
		o, err := opener.decode(context.Background(), info, suffix)
		if err != nil || o.err != nil {
			t.Fatalf("%s: %v, %v", key, err, o.err)
		}
		if f, sealed := o.form.(*sealedForm); sealed {
			if rec, err := opener.unseal(context.Background(), key, f.header); err == nil && rec.Late {
				late++
			}
		}
		s.version, s.seal, ok = o.stateOf()
		return s, ok
	}
	names := []string{"a", "b", "c", "d/a", "d/b"}
	for _, f := range hosts[:1] {
		f.must(errOf(f.Mkdir(f.ctx, "d", Attr{Mode: 0o755})))
	}
	var known [2]knowledge
	known[0], known[1] = knowledge{}, knowledge{}
	var past []map[string]kept
	sees := func(i int) { // all that is there
		for _, p := range append(names, "d") {
			_, err := hosts[i].Stat(hosts[i].ctx, p)
			if err != nil && !errors.Is(err, ErrNotExist) {
				t.Fatal(err)
			}
			key := p
			if p == "d" {
				key = "d/"
			}
			if s, ok := state(key); ok {
				k := known[i][key]
				k.stamp = s
				known[i][key] = k
			}
		}
	}
	for step := range 250 {
		i := rnd.IntN(2)
		f, p, q := hosts[i], names[rnd.IntN(len(names))], names[rnd.IntN(len(names))]
		before := uint64(c.now().UnixNano()) //nolint:gosec // after 1970
		removed := ""
		var err error
		switch op := rnd.IntN(8); op {
		case 0, 1, 7: // in one request, and in parts
			text := fmt.Sprint("state ", step)
			streamed := op == 7 && streams > 0
			switch {
			case streamed:
				text += long
			case op == 7:
				text += parts
			}
			var file *File
			if file, err = f.Create(f.ctx, p, Attr{Mode: 0o644}, false); err == nil {
				err = f.tryWriteOn(file, text, 0)
				flown(file) // else a commit may come before anything has gone up
				err = errors.Join(err, file.Commit(f.ctx))
				file.Release()
			}
			if streamed && err == nil { // else the other host may have been first
				streams--
			}
		case 2:
			_, err = f.SetAttr(f.ctx, p, Change{Mode: ptr(uint32(0o600 + rnd.IntN(64)))})
		case 3:
			if err = f.Rename(f.ctx, p, q, false); err == nil && p != q {
				removed = p
			}
		case 4:
			if err = f.Remove(f.ctx, p); err == nil {
				removed = p
			}
		case 5:
			_, err = f.Link(f.ctx, p, q)
		case 6:
			_, err = f.SetAttr(f.ctx, "d", Change{Mode: ptr(uint32(0o700 + rnd.IntN(64)))})
		}
		if err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrExist) && !errors.Is(err, ErrChanged) {
			t.Fatalf("step %d: %v", step, err)
		}
		if removed != "" {
			k := known[i][removed]
			k.gone = max(before, k.version+1)
			known[i][removed] = k
		}
		sees(i)
		if rnd.IntN(3) == 0 {
			sees(1 - i)
		}
		for _, f := range hosts {
			if got := f.kinds(); len(got) > 0 {
				t.Fatalf("step %d: false alarm at %s: %v", step, f.opt.Host, got)
			}
		}
		if step%25 == 0 {
			all := map[string]kept{}
			for e, err := range m.List(context.Background(), objstore.ListOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				all[e.Key] = keep(t, m, e.Key)
			}
			past = append(past, all)
		}
		c.pass(time.Duration(rnd.IntN(28)) * time.Second)
	}
	sees(0)
	sees(1)
	// The attacker: each name as it was at a moment of his choice, if it was.
	reported := 0
	for round := range 20 {
		key := append(names, "d/")[rnd.IntN(len(names)+1)]
		old, ok := past[rnd.IntN(len(past))][key]
		if !ok {
			continue
		}
		putBack(t, m, key, old)
		shown, _ := state(key)
		for i, f := range hosts {
			k, knew := known[i][key]
			lower := knew && (shown.version < k.version || shown.version == k.version && shown.seal != k.seal || shown.version <= k.gone)
			if shown.version > k.version && shown.version+uint64(5*time.Second) >= k.gone {
				lower = false // never seen, and perhaps on its way at the removal
			}
			p := strings.TrimSuffix(key, "/")
			if _, err := f.Stat(f.ctx, p); err != nil && !errors.Is(err, ErrNotExist) {
				t.Fatal(err)
			}
			path := f.pathOf(key)
			if got := f.kinds()[path]; (got != "") != lower {
				t.Errorf("round %d: %s shows %d to %s, which knew %d and removed %d: reported as %q", round, key, shown.version, f.opt.Host, k.version, k.gone, got)
			}
			if lower {
				reported++
			}
		}
	}
	if reported == 0 {
		t.Error("the attacker did nothing that could be known")
	}
	if long != "" && late == 0 {
		t.Error("no object had late attributes")
	}
}

// BenchmarkJudge: what a lookup costs in memory of versions.
func BenchmarkJudge(b *testing.B) {
	f := mount(b, bucket())
	f.put("x", "abc")
	o, err := f.fetch(f.ctx, "x")
	f.must(err)
	for b.Loop() {
		if err := f.judge(o, f.knownOf("x")); err != nil || o.verdict.Bad() {
			b.Fatal(err, o.verdict)
		}
	}
}
