package volume

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// verified runs a Verifier over all that it lists, as commands do.
func (f *fixture) verified(opt VerifyOptions) ([]*Finding, Verified) {
	f.t.Helper()
	x, err := f.NewVerifier(opt)
	f.must(err)
	defer x.Close()
	var all []*Finding
	for e, err := range x.List(f.ctx, "") {
		f.must(err)
		err = x.Check(f.ctx, e)
		if one := (*Finding)(nil); errors.As(err, &one) {
			all = append(all, one)
			continue
		}
		f.must(err)
	}
	sum, err := x.Finish(f.ctx, func(one *Finding) { all = append(all, one) })
	f.must(err)
	return all, sum
}

// auditor is another host that looks at what is in the bucket of f, and changes
// nothing.
func (f *fixture) auditor(tweaks ...tweak) *fixture {
	f.t.Helper()
	return mountIdle(f.t, f.mem, append([]tweak{host("auditor"), func(o *Options) { o.ReadOnly = true }}, tweaks...)...)
}

// sound checks that nothing is found.
func (f *fixture) sound(opt VerifyOptions) Verified {
	f.t.Helper()
	all, sum := f.verified(opt)
	for _, one := range all {
		f.t.Errorf("%s: %v", one.Key, one)
	}
	return sum
}

// told gives Findings as "fault path".
func told(all []*Finding) []string {
	out := []string{}
	for _, one := range all {
		out = append(out, string(one.Fault)+" "+one.Path)
	}
	slices.Sort(out)
	return out
}

func TestVerifySound(t *testing.T) {
	inSetups(t, func(t *testing.T, s *setup) {
		f := mount(t, s.store(), s.on, inParts)
		f.mkdir("d")
		for p, n := range map[string]int{"empty": 0, "d/small": 10, "d/mid": sigil.ChunkSize + 1, "d/big": sigil.SegmentSize + 1000} {
			f.put(p, noise(n, 1))
		}
		f.must(errOf(f.Symlink(f.ctx, "d/sym", "small", Attr{})))
		if s.rules[0].Keys != nil {
			f.link("d/small", "d/name")
		}
		f.must(f.Close(f.ctx))
		a := f.auditor(s.on)
		a.sound(VerifyOptions{})
		sum := a.sound(VerifyOptions{Data: true})
		if sum.Objects < 6 || sum.Bodies < 4 || sum.Bytes < sigil.SegmentSize {
			t.Errorf("%+v", sum)
		}
		if sum.Unprovable != 0 { // the store keeps checksums
			t.Errorf("%d bodies that nothing proves", sum.Unprovable)
		}
		if s.rules[0].Keys != nil && (sum.Names != 2 || sum.Inodes != 1) {
			t.Errorf("%+v", sum)
		}
		for _, op := range a.s.Ops() {
			if op.Verb.Writes() {
				t.Errorf("%v", op)
			}
		}
	})
}

// TestVerifyRequests: a request for each object, and for content one more.
func TestVerifyRequests(t *testing.T) {
	f := mount(t, bucket(), inParts)
	f.mkdir("d")
	f.put("d/a", "a")
	f.put("d/b", noise(sigil.ChunkSize, 2))
	f.put("d/c", noise(sigil.SegmentSize+1, 2))
	f.must(f.Close(f.ctx))
	f.mem.Tamper("x", func(*mem.Object) {})
	a := f.auditor()
	a.s.Reset()
	a.sound(VerifyOptions{Path: "d"})
	a.requests("list list head get get get")
	a.sound(VerifyOptions{Path: "d", Data: true})
	a.requests("list list head get get get get get get")
}

// tampering changes one object, and what is found then.
type tampering struct {
	name   string
	change func(o *mem.Object)
	fault  Fault
	damage []objstore.Range // with data
	data   bool             // seen with data only
}

func flipAt(off int) func(*mem.Object) { return func(o *mem.Object) { o.Body[off] ^= 1 } }

func sealEdit(off int) func(*mem.Object) {
	return func(o *mem.Object) {
		raw := need(base64.StdEncoding.DecodeString(o.Info.Metadata[sigil.MetaSeal]))
		raw[off] ^= 1
		o.Info.Metadata[sigil.MetaSeal] = base64.StdEncoding.EncodeToString(raw)
	}
}

func cutBy(n int) func(*mem.Object) {
	return func(o *mem.Object) { o.Body = o.Body[:len(o.Body)-n] }
}

const sealedChunkLen = sigil.ChunkSize + sigil.TagSize

// TestVerifyNames: whatever part of an object is changed, the object is named,
// and which bytes of the content are lost.
func TestVerifyNames(t *testing.T) {
	const size = sigil.SegmentSize + 3*sigil.ChunkSize + 100
	body := int(sigil.BodySize(size))
	chunk := func(c, n int64) []objstore.Range {
		return []objstore.Range{{Off: c * sigil.ChunkSize, Len: n}}
	}
	big := []tampering{
		{"first byte", flipAt(0), FaultContent, chunk(0, sigil.ChunkSize), true},
		{"chunk 5", flipAt(5*sealedChunkLen + 70), FaultContent, chunk(5, sigil.ChunkSize), true},
		{"tag of chunk 7", flipAt(8*sealedChunkLen - 1), FaultContent, chunk(7, sigil.ChunkSize), true},
		{"two chunks", func(o *mem.Object) { flipAt(5 * sealedChunkLen)(o); flipAt(6 * sealedChunkLen)(o) }, FaultContent, chunk(5, 2*sigil.ChunkSize), true},
		{"second segment", flipAt(129 * sealedChunkLen), FaultContent, chunk(129, sigil.ChunkSize), true},
		{"last chunk", flipAt(131 * sealedChunkLen), FaultContent, chunk(131, 100), true},
		{"swapped chunks", func(o *mem.Object) {
			a, b := o.Body[:sealedChunkLen], o.Body[sealedChunkLen:2*sealedChunkLen]
			a, b = slices.Clone(a), slices.Clone(b)
			copy(o.Body, b)
			copy(o.Body[sealedChunkLen:], a)
		}, FaultContent, chunk(0, 2*sigil.ChunkSize), true},
		{"salt", flipAt(body - 40 - 256 - 32), FaultTail, nil, false},
		{"late block", flipAt(body - 40 - 100), FaultTail, nil, false},
		{"size in the tail", flipAt(body - 33), FaultTail, nil, false},
		{"MAC", flipAt(body - 1), FaultTail, nil, false},
		{"cut by a byte", cutBy(1), FaultSize, nil, false},
		{"cut by a chunk", cutBy(sealedChunkLen), FaultSize, nil, false},
		{"cut to nothing", cutBy(body), FaultSize, nil, false},
		{"extended", func(o *mem.Object) { o.Body = append(o.Body, 0) }, FaultSize, nil, false},
		{"salt of the seal", sealEdit(3), Unseen, nil, false}, // no epoch fits: the ring says which it is
		{"record", sealEdit(60), FaultSeal, nil, false},
		{"no seal", func(o *mem.Object) { delete(o.Info.Metadata, sigil.MetaSeal) }, FaultSeal, nil, false},
		{"plaintext", func(o *mem.Object) { o.Info.Metadata = nil; o.Body = []byte("hello") }, FaultWeak, nil, false},
		{"newer", func(o *mem.Object) { o.Info.Metadata[sigil.MetaSigil] = "2 0 x" }, Unseen, nil, false},
	}
	small := []tampering{
		{"content", flipAt(3), FaultContent, []objstore.Range{{Off: 0, Len: 10}}, true},
		{"cut", cutBy(1), FaultSize, nil, false}, // the record says how long
	}
	empty := []tampering{{"tag", flipAt(3), FaultContent, nil, false}}
	f := mount(t, bucket(), inParts)
	f.mkdir("d")
	f.put("d/big", noise(size, 3))
	f.put("d/small", noise(10, 3))
	f.put("d/empty", "")
	f.put("fine", "fine")
	f.must(f.Close(f.ctx))
	for p, all := range map[string][]tampering{"d/big": big, "d/small": small, "d/empty": empty} {
		for _, c := range all {
			t.Run(p+" "+c.name, func(t *testing.T) {
				m := f.mem.Clone()
				m.Tamper(p, c.change)
				a := mountIdle(t, m, host("auditor"), func(o *Options) { o.ReadOnly = true })
				if c.data {
					a.sound(VerifyOptions{})
				}
				for _, data := range []bool{false, true} {
					if c.data && !data {
						continue
					}
					got, _ := a.verified(VerifyOptions{Data: data})
					if len(got) != 1 || got[0].Fault != c.fault || got[0].Path != p || got[0].Key != p {
						t.Fatalf("data %v: %v", data, got)
					}
					if want := c.damage; data && !slices.Equal(got[0].Damage, want) {
						t.Errorf("damage %v, want %v", got[0].Damage, want)
					}
				}
			})
		}
	}
}

// TestVerifyExchanged: objects in each other's place are sealed for another key.
func TestVerifyExchanged(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "one")
	f.put("b", "two")
	a, _ := f.mem.Object("a")
	b, _ := f.mem.Object("b")
	f.mem.Plant("a", b)
	f.mem.Plant("b", a)
	got, _ := f.auditor().verified(VerifyOptions{})
	if want := []string{"moved a", "moved b"}; !slices.Equal(told(got), want) {
		t.Errorf("%q", told(got))
	}
}

// TestVerifyS3EC: one bit anywhere.
func TestVerifyS3EC(t *testing.T) {
	s := setupOf("s3ec")
	f := mount(t, s.store(), s.on)
	f.put("a", noise(300<<10, 1))
	f.mem.Tamper("a", flipAt(200<<10))
	a := f.auditor(s.on)
	a.sound(VerifyOptions{})
	got, _ := a.verified(VerifyOptions{Data: true})
	if want := []string{"content a"}; !slices.Equal(told(got), want) {
		t.Errorf("%q", told(got))
	}
}

// TestVerifyInTransit: what suffers on its way is asked for again, and answers
// that break off are gone on with.
func TestVerifyInTransit(t *testing.T) {
	f := mount(t, bucket(), inParts)
	f.put("big", noise(3<<20, 1))
	a := f.auditor()
	var gets atomic.Int64
	a.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb != faulty.Get {
			return x
		}
		switch gets.Add(1) {
		case 2:
			x.Body = faulty.Cut(1 << 20)
		case 3:
			x.Body = faulty.Flip(100)
		}
		return x
	})
	a.sound(VerifyOptions{Data: true})
	if n := gets.Load(); n != 4 {
		t.Errorf("%d gets", n)
	}
}

// TestVerifyBesideWriters: what is replaced, removed or changed while it is
// looked at is no damage.
func TestVerifyBesideWriters(t *testing.T) {
	for _, what := range []string{"replaced", "removed", "changed", "renamed", "linked"} {
		t.Run(what, func(t *testing.T) {
			f := mount(t, bucket(), inParts)
			f.put("d/a", noise(sigil.SegmentSize+5, 1))
			f.put("d/b", "b")
			for n := 1; ; n++ {
				a := f.auditor()
				at, done := 0, false
				a.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					if at++; at != n {
						return x
					}
					done = true
					switch what {
					case "replaced":
						f.put("d/a", noise(sigil.SegmentSize+5, byte(n)))
					case "removed":
						f.must(f.Remove(f.ctx, "d/a"))
					case "changed":
						f.must(errOf(f.SetAttr(f.ctx, "d/a", Change{Mode: ptr(uint32(n) & 0o777)})))
					case "renamed":
						f.rename("d/a", "d/c")
					case "linked":
						f.link("d/a", "d/c")
					}
					return x
				})
				a.sound(VerifyOptions{Data: true})
				a.end()
				if !done {
					break
				}
				switch what {
				case "removed":
					f.put("d/a", noise(sigil.SegmentSize+5, 1))
				case "renamed":
					f.rename("d/c", "d/a")
				case "linked":
					f.must(f.Remove(f.ctx, "d/c"))
				}
			}
		})
	}
}

// TestVerifyUnseen: what cannot be looked at is not called damaged.
func TestVerifyUnseen(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "a")
	other := f.auditor(keys(&fakeKeys{epochs: []sigil.Epoch{epoch(2)}}))
	got, sum := other.verified(VerifyOptions{Data: true})
	if want := []string{"unseen a"}; !slices.Equal(told(got), want) || !errors.Is(got[0].Err, ErrNoKey) {
		t.Errorf("%v", got)
	}
	if sum.Objects != 0 {
		t.Errorf("%+v", sum)
	}
}

// TestVerifyPart: of a path only what is there.
func TestVerifyPart(t *testing.T) {
	f := mount(t, bucket(), under("vol/", "vol/"))
	for _, p := range []string{"d", "da/x", "e/x"} {
		f.put(p, "text")
	}
	for path, want := range map[string]int{"": 3, "d": 1, "da": 1, "e": 1, "e/x": 1, "nothing": 0} {
		_, sum := f.auditor(under("vol/", "vol/")).verified(VerifyOptions{Path: path})
		if sum.Objects != int64(want) {
			t.Errorf("%q: %d objects", path, sum.Objects)
		}
	}
}

// TestVerifyEpochs: epochs of the volume, of volumes within, and of those above are
// looked at, of a part too, in order, once, and again where a run is gone on with.
func TestVerifyEpochs(t *testing.T) {
	f := mount(t, bucket(), under("vol/in/", "vol/in/"))
	f.put("d/x", "text")
	wrong := []string{".sigil/epochs/a", "vol/.sigil/epochs/a", "vol/in/.sigil/epochs/a", "vol/in/d/.sigil/epochs/a"}
	for _, key := range append(wrong, "other/.sigil/epochs/a", "vol/other/.sigil/epochs/a") {
		f.mem.Plant(key, mem.Object{Body: []byte("epoch")})
	}
	run := func(opt VerifyOptions) (found []string) {
		opt.Epoch = func(_ context.Context, key string) error {
			return &Finding{Fault: FaultEpoch, Err: errors.New("it is " + key)}
		}
		x, err := f.NewVerifier(opt)
		f.must(err)
		defer x.Close()
		list := x.List
		if opt.After != "" {
			list = x.Earlier
		}
		last := ""
		for e, err := range list(f.ctx, "") {
			f.must(err)
			if e.Key <= last {
				t.Errorf("%s after %s", e.Key, last)
			}
			last = e.Key
			if one := (*Finding)(nil); errors.As(x.Check(f.ctx, e), &one) {
				found = append(found, one.Key)
			}
		}
		return found
	}
	for what, opt := range map[string]VerifyOptions{"all": {}, "again": {After: "vol/in/z"}, "a part": {Path: "d"}} {
		if found := run(opt); !slices.Equal(found, wrong) {
			t.Errorf("%s: %q", what, found)
		}
	}
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.List && !strings.HasPrefix(op.Key, "vol/in/") {
			return faulty.Fault{Err: ErrAccess}
		}
		return faulty.Fault{}
	})
	if found := run(VerifyOptions{}); !slices.Equal(found, wrong[2:]) {
		t.Errorf("where nothing above may be listed: %q", found)
	}
}

// TestVerifyCalls: of the damaged body of a hard link its names are told.
func TestVerifyCalls(t *testing.T) {
	f := mount(t, bucket())
	f.mkdir("d")
	f.put("a", "one")
	f.link("a", "d/b")
	in := f.inodeKey()
	f.mem.Tamper(in, flipAt(0))
	all, sum := f.auditor().verified(VerifyOptions{Data: true})
	if len(all) != 1 || all[0].Key != in || !slices.Equal(sum.Files[in], []string{"a", "d/b"}) {
		t.Errorf("%v %v", all, sum.Files)
	}
}

// TestVerifyResumed: what an earlier run has verified is not read again, and the
// names in it are counted all the same.
func TestVerifyResumed(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", noise(100_000, 1))
	f.put("b", "one")
	f.link("b", "z")
	f.put("y", noise(100_000, 1))
	f.must(f.Close(f.ctx))
	a := f.auditor()
	x, err := a.NewVerifier(VerifyOptions{Data: true, After: "b"})
	a.must(err)
	a.s.Reset()
	for e, err := range x.Earlier(a.ctx, "") {
		a.must(err)
		a.must(x.Check(a.ctx, e))
	}
	for e, err := range x.List(a.ctx, x.After()) {
		a.must(err)
		a.must(x.Check(a.ctx, e))
	}
	sum, err := x.Finish(a.ctx, func(one *Finding) { t.Errorf("%v", one) })
	a.must(err)
	if sum.Names != 2 || sum.Inodes != 1 {
		t.Errorf("%+v", sum)
	}
	for _, op := range a.s.Ops() {
		if op.Key == "a" {
			t.Errorf("%v", op)
		}
	}
}
