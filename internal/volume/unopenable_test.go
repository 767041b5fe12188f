package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"golang.org/x/sys/unix"
)

type unopenableCase struct {
	do     func(f *fixture) // to the object a; b is a good one
	tweaks []tweak
	want   error
}

func unopenables() map[string]unopenableCase {
	tamper := func(change func(*mem.Object)) func(f *fixture) {
		return func(f *fixture) { f.mem.Tamper("a", change) }
	}
	wrong := epoch(1)
	wrong.Key[5] ^= 1
	return map[string]unopenableCase{
		"Plaintext":   {tamper(func(o *mem.Object) { clear(o.Info.Metadata) }), nil, ErrDowngrade},
		"FlippedSeal": {tamper(func(o *mem.Object) { flipSeal(o) }), nil, ErrCorrupt},
		"Cut":         {tamper(func(o *mem.Object) { o.Body = o.Body[:50] }), nil, ErrCorrupt},
		"Extended":    {tamper(func(o *mem.Object) { o.Body = append(o.Body, 0) }), nil, ErrCorrupt},
		"Swapped": {func(f *fixture) {
			b, _ := f.mem.Object("b")
			f.mem.Plant("a", b)
		}, nil, ErrCorrupt},
		"NextVersion": {tamper(func(o *mem.Object) {
			o.Info.Metadata[sigil.MetaSigil] = "2" + o.Info.Metadata[sigil.MetaSigil][1:]
		}), nil, ErrVersion},
		"NoKey":     {func(*fixture) {}, []tweak{keys(&fakeKeys{epochs: []sigil.Epoch{epoch(2)}})}, ErrNoKey},
		"WriteOnly": {func(*fixture) {}, []tweak{keys(&fakeKeys{fail: ErrNoKey})}, ErrNoKey},
		"WrongKey":  {func(*fixture) {}, []tweak{keys(&fakeKeys{epochs: []sigil.Epoch{wrong}, fail: ErrWrongKey})}, ErrWrongKey},
		"DirectoryAsFile": {func(f *fixture) {
			f.must(errOf(f.Mkdir(f.ctx, "d", Attr{})))
			d, _ := f.mem.Object("d/")
			f.mem.Plant("a", d)
		}, nil, ErrCorrupt},
	}
}

func flipSeal(o *mem.Object) {
	s := []byte(o.Info.Metadata[sigil.MetaSeal])
	if s[100] = 'A'; string(s) == o.Info.Metadata[sigil.MetaSeal] {
		s[100] = 'B'
	}
	o.Info.Metadata[sigil.MetaSeal] = string(s)
}

// TestFlippedBody: every byte of a body, flipped, is found, and nothing of the
// chunk is returned.
func TestFlippedBody(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "some content")
	o, _ := f.mem.Object("a")
	for i := range o.Body {
		f.mem.Tamper("a", func(x *mem.Object) { x.Body = append([]byte(nil), o.Body...); x.Body[i] ^= 0x10 })
		g := mount(t, f.mem)
		if got, err := g.get("a"); got != "" {
			t.Fatalf("byte %d: read %s, %v", i, brief(got), err)
		} else {
			wants(t, err, ErrCorrupt)
		}
	}
}

// TestTransientErrors: trouble of the moment is passed on and
// never taken for absence.
func TestTransientErrors(t *testing.T) {
	for _, tc := range []struct{ give, want error }{
		{objstore.ErrThrottled, ErrThrottled}, {objstore.ErrAccess, ErrAccess}, {objstore.ErrUnreachable, objstore.ErrUnreachable},
	} {
		f := mount(t, bucket())
		f.put("a", "abc")
		for _, verb := range []faulty.Verb{faulty.Get, faulty.List} {
			f.failing(tc.give, false, verb)
			wants(t, errOf(f.Stat(f.ctx, "a")), tc.want)
			wants(t, errOf(f.Open(f.ctx, "a", OpenOptions{Write: true, Truncate: true})), tc.want)
			wants(t, f.Remove(f.ctx, "a"), tc.want)
		}
		f.healed()
		f.has("a", "abc")
	}
}

func TestNoKeyToWrite(t *testing.T) {
	f := mount(t, bucket(), keys(&fakeKeys{fail: ErrNoKey}))
	wants(t, f.tryPut("a", "abc"), ErrNoKey)
	wants(t, errOf(f.Mkdir(f.ctx, "d", Attr{})), ErrNoKey)
	f.has("a", "abc") // what could not be committed is shown
	if f.Dirty() != 1 {
		t.Errorf("%d dirty", f.Dirty())
	}
}

func TestTwoEpochs(t *testing.T) {
	f := mount(t, bucket())
	f.put("a", "old")
	g := mount(t, f.mem, keys(&fakeKeys{epochs: []sigil.Epoch{epoch(2), epoch(1)}}))
	g.has("a", "old")
	g.put("b", "new")
	g.rename("a", "c")
	g.must(errOf(g.SetAttr(g.ctx, "c", Change{Mode: ptr[uint32](0o600)})))
	g.has("c", "old")
	h := mount(t, f.mem)
	wants(t, h.stat("b").Err, ErrNoKey)
	wants(t, h.stat("c").Err, ErrNoKey) // sealed anew under the epoch of now
}

// TestBadMarkers: a directory whose marker does not open is shown with default
// attributes.
func TestBadMarkers(t *testing.T) {
	f := mount(t, bucket())
	f.mkdir("d")
	f.put("d/x", "1")
	f.mem.Tamper("d/", func(o *mem.Object) { o.Body = []byte("x") })
	if got := f.stat("d"); got.Mode != unix.S_IFDIR|0o755 {
		t.Errorf("%+v", got.Attr)
	}
	f.lists("d", "x")
	f.must(errOf(f.SetAttr(f.ctx, "d", Change{Mode: ptr[uint32](0o700)})))
	if got := mount(t, f.mem).stat("d"); got.Mode != unix.S_IFDIR|0o700 {
		t.Errorf("%+v", got.Attr)
	}
	f.failing(objstore.ErrThrottled, false, faulty.Head)
	wants(t, errOf(f.Stat(f.ctx, "d")), ErrThrottled)
}
