package volume

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
)

// ringOf is a key ring of which some epochs are retired: the first of the others
// seals.
type ringOf struct {
	fakeKeys
	old map[sigil.EpochID]bool
}

func retiring(live byte, old ...byte) *ringOf {
	k := &ringOf{old: map[sigil.EpochID]bool{}}
	k.epochs = []sigil.Epoch{epoch(live)}
	for _, n := range old {
		k.epochs = append(k.epochs, epoch(n))
		k.old[epoch(n).ID] = true
	}
	return k
}

func (k *ringOf) MayKeep(ctx context.Context, key string, id sigil.EpochID) (bool, error) {
	ok, err := k.fakeKeys.MayKeep(ctx, key, id)
	return ok && !k.old[id], err
}

// anyMode has f's rules take what is there, and its keys open all of it.
func anyMode(o *Options) {
	if _, ok := o.Keys.(*ringOf); !ok {
		k := &fakeKeys{}
		k.epochs = append(k.epochs, epoch(1))
		o.Keys = k
	}
	o.S3ECKeys = s3ec.Keyring{aesKey(1), fakeKMSKey()}
	o.Customers = []*sse.Mode{ssecMode('z'), ssecMode('a'), ssecMode('b')}
	for i := range o.Rules {
		o.Rules[i].AllowPlaintext = true
	}
}

// all are the modes of every object.
var allModes = []string{"client", "s3ec", "none", "sse-s3", "sse-kms", "dsse-kms", "sse-c"}

// passOver does every object once, and counts what became of them.
func passOver(f *fixture, opt ReencryptOptions) (map[string]int, error) {
	r := f.Reencrypt(opt)
	did := map[string]int{}
	var failed error
	for _, key := range f.mem.Keys() {
		d, err := r.Do(f.ctx, key)
		if failed = errors.Join(failed, err); err == nil {
			did[d.Did]++
		}
	}
	return did, failed
}

// scenery is a tree of all that objects can be, under any mode.
func scenery(t *testing.T, s setup) *mem.Store {
	m := awsBucket()
	f := mount(t, m, s.on, inParts)
	f.mkdir("d")
	for p, text := range map[string]string{"d/empty": "", "d/small": "small text", "d/parts": noise(150<<10, 1)} {
		f.put(p, text)
	}
	f.must(errOf(f.Symlink(f.ctx, "d/link", "small", Attr{})))
	for _, p := range []string{"d/small", "d"} {
		f.must(errOf(f.SetAttr(f.ctx, p, Change{Mode: ptr[uint32](0o640), UID: ptr[uint32](7), Mtime: ptr[int64](1e18 + 5), Xattrs: map[string][]byte{"user.x": []byte("y")}})))
	}
	f.must(f.Close(f.ctx))
	f.end()
	m.Tamper("d/small", func(o *mem.Object) {
		o.Info.System = map[string]string{"content-type": "text/x-poem"}
		o.Info.StorageClass = "STANDARD_IA"
		o.Tags = maps.Clone(o.Tags)
		if o.Tags == nil {
			o.Tags = map[string]string{}
		}
		o.Tags["team"] = "backup"
		o.Info.Tags = len(o.Tags)
	})
	return m
}

// TestReencryptAnyToAny: from every mode to every other one nothing is lost, the
// server says that it is so, a second pass finds nothing to do and takes one
// request an object, and no mode but SSE's own has data come through this host.
func TestReencryptAnyToAny(t *testing.T) {
	for _, from := range setups() {
		if from.name == "bucket-default" {
			continue
		}
		source := scenery(t, from)
		for _, to := range setups() {
			if to.name == "bucket-default" {
				continue
			}
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				m := source.Clone()
				f := mountIdle(t, m, to.on, inParts, anyMode)
				dry, err := passOver(f, ReencryptOptions{From: allModes, Dry: true})
				f.must(err)
				if writes(f) != 0 {
					t.Fatalf("a dry run wrote: %v", f.s.Ops())
				}
				f.s.Reset()
				did, err := passOver(f, ReencryptOptions{From: allModes})
				f.must(err)
				aliased := strings.HasPrefix(to.name, "sse-kms")
				if !maps.Equal(dry, did) && !aliased {
					t.Errorf("dry run said %v, it was %v", dry, did)
				}
				if plain := strings.Contains("none sse-s3 sse-kms sse-kms-customer dsse-kms sse-c", from.name); plain && strings.Contains("none sse-s3 sse-kms sse-kms-customer dsse-kms sse-c", to.name) && did[Rewritten] > 1 { // the directory
					t.Errorf("bodies went through this host: %v", did)
				}
				r := f.Reencrypt(ReencryptOptions{From: allModes})
				for range 2 { // the second pass of one run, with what it learned
					f.s.Reset()
					for _, key := range m.Keys() {
						d, err := r.Do(f.ctx, key)
						f.must(err)
						if !aliased && d.Changed() {
							t.Errorf("%s again: %v", key, d)
						}
					}
				}
				want := len(m.Keys())
				if to.name == "sse-c" {
					want++ // of what is empty some servers tell nothing with any key
				}
				if n := len(f.s.Ops()); n != want || writes(f) != 0 {
					t.Errorf("%d requests for %d objects: %v", n, len(m.Keys()), f.s.Ops())
				}
				f.end()

				g := mount(t, m, to.on, inParts)
				g.has("d/empty", "")
				g.has("d/small", "small text")
				g.has("d/parts", noise(150<<10, 1))
				if target, err := g.Readlink(g.ctx, "d/link"); err != nil || target != "small" {
					t.Errorf("readlink: %q, %v", target, err)
				}
				for _, p := range []string{"d/small", "d"} {
					info := g.stat(p)
					if info.Mode&0o7777 != 0o640 || info.UID != 7 || info.Mtime != 1e18+5 || string(info.Xattrs["user.x"]) != "y" {
						t.Errorf("%s: %+v", p, info)
					}
				}
				o, _ := m.Object("d/small")
				if o.Tags["team"] != "backup" || o.Info.StorageClass != "STANDARD_IA" || o.Info.System["content-type"] != "text/x-poem" {
					t.Errorf("tags %v, class %s, system %v", o.Tags, o.Info.StorageClass, o.Info.System)
				}
				if mode := g.stat("d/small").Sigil["mode"]; !strings.HasPrefix(to.name, mode) {
					t.Errorf("mode %s", mode)
				}
				if want := to.rules[0].Server; want != nil {
					for _, key := range m.Keys() {
						o, _ := m.Object(key)
						if err := want.Confirm(o.Info.Encrypted); err != nil {
							t.Errorf("%s: %v", key, err)
						}
					}
				}
				if len(m.Uploads()) != 0 {
					t.Error("uploads left")
				}
			})
		}
	}
}

// TestReencryptRotatesCustomerKeys: from one key of SSE-C to another inside the
// store, by a multipart copy too, and the tag follows.
func TestReencryptRotatesCustomerKeys(t *testing.T) {
	for name, most := range map[string]int64{"Copy": maxCopy, "ByParts": 6 << 20} {
		t.Run(name, func(t *testing.T) {
			m := awsBucket()
			f := mount(t, m, ssec('a'))
			f.put("f", noise(11<<20, 1))
			f.put("g", "other")
			f.must(f.Close(f.ctx))
			f.end()
			m.Tamper("f", func(o *mem.Object) { o.Tags["team"], o.Info.Tags = "backup", 2 })
			f = mountIdle(t, m, ssec('b', 'a'))
			f.maxCopy, f.copyPart = most, 5<<20
			did, err := passOver(f, ReencryptOptions{})
			if err != nil || did[Copied] != 2 {
				t.Fatal(did, err)
			}
			for _, op := range f.s.Ops() {
				if (op.Verb == faulty.Put || op.Verb == faulty.Part) && !strings.Contains(op.Key, hidden) {
					t.Errorf("data went through this host: %v", op)
				}
			}
			o, _ := m.Object("f")
			if keyOf(t, m, "f") != "b" || keyOf(t, m, "g") != "b" || o.Tags["team"] != "backup" || o.Tags[sse.KeyTag] != ssecMode('b').KeyID() {
				t.Errorf("keys %s and %s, tags %v", keyOf(t, m, "f"), keyOf(t, m, "g"), o.Tags)
			}
			f.end()
			f = mount(t, m, ssec('b'))
			f.has("f", noise(11<<20, 1))
		})
	}
}

// TestReencryptKeepsLocks: what replaces a locked version is locked as long.
func TestReencryptKeepsLocks(t *testing.T) {
	for _, to := range []string{"sse-kms", "client"} {
		m := mem.New(mem.Options{Locks: true})
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
		for key, l := range map[string]objstore.Lock{"held": {LegalHold: true}, "kept": {Mode: objstore.Governance, Until: until}} {
			_, err := m.Put(t.Context(), key, strings.NewReader("text"), 4, objstore.PutOptions{Lock: &l})
			wants(t, err, nil)
		}
		s := setupOf(to)
		f := mountIdle(t, m, s.on, anyMode)
		for _, key := range []string{"held", "kept"} {
			before, err := m.Head(f.ctx, objstore.ID{Key: key})
			f.must(err)
			did, err := f.Reencrypt(ReencryptOptions{From: allModes}).Do(f.ctx, key)
			if err != nil || !did.Changed() {
				t.Fatal(did, err)
			}
			after, err := m.Head(f.ctx, objstore.ID{Key: key})
			f.must(err)
			if after.VersionID == before.VersionID || after.Lock == nil || *after.Lock != *before.Lock {
				t.Errorf("%s: %+v after %+v", key, after.Lock, before.Lock)
			}
		}
		f.end()
	}
}

// writes counts requests that change anything.
func writes(f *fixture) (n int) {
	for _, op := range f.s.Ops() {
		if op.Verb != faulty.Get && op.Verb != faulty.Head && op.Verb != faulty.List && op.Verb != faulty.Tags {
			n++
		}
	}
	return n
}

// TestReencryptCrashes cuts at every request and goes on: all is there, and at
// every moment nothing is less protected than it was.
func TestReencryptCrashes(t *testing.T) {
	for _, pair := range [][2]string{{"none", "client"}, {"sse-c", "client-sse"}, {"client", "sse-kms"}, {"s3ec", "client"}, {"sse-s3", "sse-kms"}, {"client", "s3ec"}} {
		from, to := setupOf(pair[0]), setupOf(pair[1])
		t.Run(from.name+" to "+to.name, func(t *testing.T) {
			source := scenery(t, from)
			g := mount(t, source.Clone(), from.on, inParts)
			want := treeOf(g)
			g.end()
			for n, cut := 1, true; cut; n++ {
				for _, done := range []bool{false, true} {
					m := source.Clone()
					f := mountIdle(t, m, to.on, inParts, anyMode)
					f.s.CrashAt(n, done)
					_, err := passOver(f, ReencryptOptions{From: allModes})
					cut = f.s.Crashed()
					f.end()
					if !cut {
						wants(t, err, nil)
						break
					}
					f = mountIdle(t, m, to.on, inParts, anyMode)
					if now := treeOf(f); !maps.Equal(now, want) {
						t.Fatalf("request %d, done %v: %v", n, done, brief(strings.Join(slices.Sorted(maps.Keys(now)), " ")))
					}
					_, err = passOver(f, ReencryptOptions{From: allModes})
					f.must(err)
					f.end()
					f = mount(t, m, to.on, inParts)
					if now := treeOf(f); !maps.Equal(now, want) {
						t.Fatalf("request %d, done %v: after the second run %v", n, done, brief(strings.Join(slices.Sorted(maps.Keys(now)), " ")))
					}
					f.end()
				}
			}
		})
	}
}

// linkedTree is a bucket with hard links, sealed under epoch 1.
func linkedTree(t *testing.T) *mem.Store {
	m := bucket()
	f := mount(t, m, indexed)
	f.put("a", "one")
	f.mkdir("d")
	f.link("a", "d/b")
	f.link("a", "d/c")
	f.put("plain", noise(30<<10, 2))
	f.list("")
	f.stat("plain")
	f.must(f.Close(f.ctx))
	f.end()
	return m
}

func indexed(o *Options) { o.Index = true }

// TestReencryptLinks: names, inode and roll leave a retired epoch together, cut
// wherever; the counts of names stay exact, and nothing is left under it.
func TestReencryptLinks(t *testing.T) {
	source := linkedTree(t)
	today := keysOf(retiring(2, 1))
	for n, cut := 0, true; cut; n++ {
		for _, done := range []bool{false, true} {
			m := source.Clone()
			f := mountIdle(t, m, today)
			if n > 0 {
				f.s.CrashAt(n, done)
			}
			_, err := passOver(f, ReencryptOptions{})
			cut = n == 0 || f.s.Crashed()
			f.end()
			if n == 0 || !cut {
				wants(t, err, nil)
			}
			f = mountIdle(t, m, today)
			_, err = passOver(f, ReencryptOptions{})
			f.must(err)
			did, err := passOver(f, ReencryptOptions{})
			f.must(err)
			if did[Rewritten]+did[Copied]+did[Removed] != 0 {
				t.Fatalf("request %d, done %v: a third pass did %v", n, done, did)
			}
			for _, key := range m.Keys() {
				o, err := f.fetch(f.ctx, key)
				f.must(err)
				if o.err != nil {
					t.Fatalf("request %d, done %v: %s: %v", n, done, key, o.err)
				}
				rec := o.form.(*sealedForm)
				if rec.header.Epoch != epoch(2).ID || rec.rec.SealEpoch != epoch(2).ID && !o.isName() {
					t.Fatalf("request %d, done %v: %s is under %s, its data key under %s", n, done, key, rec.header.Epoch, rec.rec.SealEpoch)
				}
			}
			f.end()
			g := mount(t, m, keysOf(retiring(2)))
			for _, p := range []string{"a", "d/b", "d/c"} {
				g.has(p, "one")
				if got := g.stat(p).Nlink; got != 3 {
					t.Fatalf("request %d, done %v: %s has %d links", n, done, p, got)
				}
			}
			g.must(g.Remove(g.ctx, "d/c"))
			g.must(g.Remove(g.ctx, "a"))
			if got := g.stat("d/b").Nlink; got != 1 {
				t.Fatalf("request %d, done %v: %d links of one name", n, done, got)
			}
			g.has("d/b", "one")
			g.end()
			if !cut {
				return
			}
		}
	}
}

func keysOf(k *ringOf) tweak {
	return func(o *Options) { o.Keys, o.Rules = k, []Rule{{Mode: "client", Keys: k}} }
}

// TestReencryptMeetsWriters has another host change each object at the last
// moment: what he wrote is there, and is re-encrypted.
func TestReencryptMeetsWriters(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"Content": func(g *fixture) { g.put("f", "his text") },
		"Chmod": func(g *fixture) {
			g.must(errOf(g.SetAttr(g.ctx, "f", Change{Mode: ptr[uint32](0o600)})))
		},
		"Remove": func(g *fixture) { g.must(g.Remove(g.ctx, "f")) },
	} {
		for _, size := range []int{10, 150 << 10} {
			t.Run(name, func(t *testing.T) {
				m := awsBucket()
				from := setupOf("client")
				g := mount(t, m, from.on, inParts, host("there"), noTimeout)
				g.put("f", noise(size, 3))
				f := mountIdle(t, m, keysOf(retiring(2, 1)), inParts)
				once := false
				f.s.SetScript(func(op faulty.Op) faulty.Fault {
					if (op.Verb == faulty.Head || op.Verb == faulty.Upload) && op.Key == "f" && !once {
						once = true
						change(g)
					}
					return faulty.Fault{}
				})
				_, err := passOver(f, ReencryptOptions{})
				f.must(err)
				if !once {
					t.Fatal("nobody wrote")
				}
				f.end()
				h := mount(t, m, keysOf(retiring(2, 1)), inParts, host("reader"))
				switch name {
				case "Content":
					h.has("f", "his text")
				case "Chmod":
					h.has("f", noise(size, 3))
					if h.stat("f").Mode&0o777 != 0o600 {
						t.Errorf("mode %o", h.stat("f").Mode)
					}
				case "Remove":
					h.absent("f")
					return
				}
				o, err := h.fetch(h.ctx, "f")
				h.must(err)
				if o.form.(*sealedForm).header.Epoch != epoch(2).ID {
					t.Error("not re-encrypted")
				}
			})
		}
	}
}

// TestReencryptLaundersNothing: what does not authenticate is not made to look
// as if it did, and what nothing authenticates only where it is asked for.
func TestReencryptLaundersNothing(t *testing.T) {
	m := awsBucket()
	f := mount(t, m, inParts)
	f.put("flipped", noise(150<<10, 1))
	f.put("good", "good")
	f.must(f.Close(f.ctx))
	f.end()
	m.Tamper("flipped", func(o *mem.Object) { o.Body[100<<10] ^= 1 })
	m.Plant("planted", mem.Object{Body: []byte("planted")})
	before := m.Snapshot()
	today := func(o *Options) {
		keysOf(retiring(2, 1))(o)
		o.Rules[0].AllowPlaintext = true
	}
	f = mountIdle(t, m, today, inParts)
	r := f.Reencrypt(ReencryptOptions{})
	for key, want := range map[string]error{"flipped": ErrCorrupt, "planted": ErrUnproven, "good": nil} {
		did, err := r.Do(f.ctx, key)
		wants(t, err, want)
		if now, _ := m.Object(key); want != nil && (did.Changed() || now.Info.ETag != before[key].Info.ETag) {
			t.Errorf("%s was written", key)
		}
	}
	did, err := f.Reencrypt(ReencryptOptions{From: []string{"client"}}).Do(f.ctx, "planted")
	if err != nil || did.Did != Left {
		t.Errorf("of another mode: %v, %v", did, err)
	}
	did, err = f.Reencrypt(ReencryptOptions{From: []string{"none"}}).Do(f.ctx, "planted")
	if err != nil || did.Did != Rewritten {
		t.Errorf("asked for: %v, %v", did, err)
	}
	if len(m.Uploads()) != 0 {
		t.Error("an upload is left")
	}
	f.has("planted", "planted")
}

// TestReencryptFresh has what is as it should be under new data keys.
func TestReencryptFresh(t *testing.T) {
	m := bucket()
	f := mount(t, m)
	f.put("f", "text")
	before, err := f.fetch(f.ctx, "f")
	f.must(err)
	f.must(f.Close(f.ctx))
	g := mountIdle(t, m)
	did, err := g.Reencrypt(ReencryptOptions{Fresh: true}).Do(g.ctx, "f")
	if err != nil || did.Did != Rewritten {
		t.Fatal(did, err)
	}
	after, err := g.fetch(g.ctx, "f")
	g.must(err)
	if before.form.(*sealedForm).rec.DEK == after.form.(*sealedForm).rec.DEK || after.version() <= before.version() {
		t.Error("the data key stayed, or the version went back")
	}
	g.has("f", "text")
}

// TestReencryptKeepsWhatCannotBeConfirmed: a server that does not encrypt as it
// is asked has the object stay, and is told of.
func TestReencryptKeepsWhatCannotBeConfirmed(t *testing.T) {
	m := mem.New(mem.Options{IgnoreEncryption: true})
	m.Plant("f", mem.Object{Body: []byte("text")})
	to := setupOf("sse-s3")
	f := mountIdle(t, m, to.on, anyMode)
	_, err := f.Reencrypt(ReencryptOptions{}).Do(f.ctx, "f")
	wants(t, err, ErrNotEncrypted)
	if o, ok := m.Object("f"); !ok || string(o.Body) != "text" {
		t.Error("the object is gone")
	}
}

// TestReencryptSettles: walks of one run come to an end where the bucket encrypts
// whatever is written, or a key stands behind an alias: what an earlier walk has
// learned holds for the next, and for old versions. A bucket that tells of itself
// has nothing copied to learn it.
func TestReencryptSettles(t *testing.T) {
	alias := serverSetup("sse-kms", need(sse.KMS("alias/backup", nil, nil)), false)
	byDefault := mem.Options{Versioned: true, DefaultEncryption: objstore.Header{"x-amz-server-side-encryption": "AES256"}}
	for name, c := range map[string]struct {
		to     tweak
		bucket func() *mem.Store
		ask    bool
		most   int // objects that a second run copies
	}{
		"Default":     {keysOf(retiring(2, 1)), func() *mem.Store { return kmsBucket(byDefault) }, false, 1},
		"DefaultTold": {keysOf(retiring(2, 1)), func() *mem.Store { return kmsBucket(byDefault) }, true, 0},
		"Alias":       {alias.on, func() *mem.Store { return kmsBucket(mem.Options{Versioned: true}) }, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.bucket()
			f := mount(t, m)
			for _, p := range []string{"a", "b", "c"} {
				f.put(p, "text of "+p)
			}
			f.must(f.Close(f.ctx))
			f.end()
			f = mountIdle(t, m, c.to, anyMode)
			for run := range 2 {
				r := f.Reencrypt(ReencryptOptions{})
				if c.ask {
					r.Ask(f.ctx)
				}
				for walk := range 3 {
					changed := 0
					for _, key := range m.Keys() {
						did, err := r.Do(f.ctx, key)
						f.must(err)
						if did.Changed() {
							changed++
						}
					}
					if walk > 0 && changed > 0 || run == 1 && changed > c.most {
						t.Errorf("walk %d of run %d changed %d objects", walk+1, run+1, changed)
					}
					r = r.Again()
				}
				if run == 0 {
					continue
				}
				for h, err := range r.Histories(f.ctx, "") {
					f.must(err)
					n, err := r.Old(f.ctx, h, true)
					if err != nil || n.Needed > 0 {
						t.Errorf("%s: %+v, %v", h.Now.Key, n, err)
					}
				}
			}
		})
	}
}
