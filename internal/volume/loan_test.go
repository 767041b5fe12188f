package volume

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// TestOriginGoes: whatever becomes of a file after it was copied, and before
// the copy is committed, by this host or another, the copy is what it was; or
// it is refused, where nobody has the body any more. It is never anything else.
func TestOriginGoes(t *testing.T) {
	t.Parallel()
	text, other := noise(18*mib, 1), noise(19*mib, 2)
	byOther := func(do func(g *fixture)) func(*fixture, *File) {
		return func(f *fixture, _ *File) {
			do(mount(f.t, f.mem, host("there"), func(o *Options) { o.Rules, o.Keys = f.opt.Rules, f.opt.Keys }))
		}
	}
	for _, tc := range []struct {
		name string
		do   func(f *fixture, dst *File)
		gone bool // where there are no versions
	}{
		{"unlink", func(f *fixture, _ *File) { f.must(f.Remove(f.ctx, "a")) }, false},
		{"overwrite", func(f *fixture, _ *File) { f.put("a", other) }, false},
		{"change", func(f *fixture, _ *File) {
			a := f.open("a")
			f.write(a, "changed", 10*mib)
			f.must(a.Commit(f.ctx))
			a.Release()
		}, false},
		{"change twice", func(f *fixture, _ *File) {
			for _, s := range []string{"changed", "again"} {
				a := f.open("a")
				f.write(a, s, 10*mib)
				f.must(a.Commit(f.ctx))
				a.Release()
			}
			f.must(f.Remove(f.ctx, "a"))
		}, false},
		{"rename", func(f *fixture, _ *File) { f.must(f.Rename(f.ctx, "a", "c", false)) }, false},
		{"rename and unlink", func(f *fixture, _ *File) {
			f.must(f.Rename(f.ctx, "a", "c", false))
			f.must(f.Remove(f.ctx, "c"))
		}, false},
		{"rename onto it", func(f *fixture, _ *File) {
			f.put("c", other)
			f.must(f.Rename(f.ctx, "c", "a", false))
		}, false},
		{"link", func(f *fixture, _ *File) {
			if _, err := f.Link(f.ctx, "a", "c"); !errors.Is(err, ErrNoLinks) {
				f.must(err)
			}
		}, false},
		{"link and unlink", func(f *fixture, _ *File) {
			if _, err := f.Link(f.ctx, "a", "c"); !errors.Is(err, ErrNoLinks) {
				f.must(err)
				f.must(f.Remove(f.ctx, "c"))
			}
			f.must(f.Remove(f.ctx, "a"))
		}, false},
		{"rename of the directory", func(f *fixture, _ *File) {
			f.mkdir("d")
			f.must(f.Rename(f.ctx, "a", "d/a", false))
			f.must(f.Rename(f.ctx, "d", "e", false))
		}, false},
		{"failed change", func(f *fixture, _ *File) { // which nobody has open, but the copy
			f.failing(objstore.ErrUnreachable, false, faulty.Put, faulty.Upload, faulty.Copy)
			if f.tryPut("a", other) == nil {
				f.t.Error("done without a store")
			}
			f.healed()
			f.must(f.commitAll(f.ctx))
			mount(f.t, f.mem, host("there"), f.alike).has("a", other)
		}, false},
		{"rename over the copy", func(f *fixture, _ *File) { f.must(f.Rename(f.ctx, "b", "c", false)) }, false},
		{"chmod", func(f *fixture, _ *File) {
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
		}, false},
		{"copy over it", func(f *fixture, dst *File) {
			f.put("c", other)
			f.must(f.cp("c", "a"))
			f.has("a", other)
		}, false},
		{"other chmod", byOther(func(g *fixture) {
			g.must(errOf(g.SetAttr(g.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
		}), false},
		{"other unlinks", byOther(func(g *fixture) { g.must(g.Remove(g.ctx, "a")) }), true},
		{"other overwrites", byOther(func(g *fixture) { g.put("a", other) }), true},
	} {
		for _, name := range []string{"client", "none", "sse-kms silent", "s3ec"} {
			for _, versioned := range []bool{false, true} {
				s := setupOf(name)
				t.Run(fmt.Sprintf("%s %s versioned=%v", tc.name, s.name, versioned), func(t *testing.T) {
					m := kmsBucket(mem.Options{Versioned: versioned})
					f := mount(t, m, s.on, func(o *Options) { o.Capabilities.CopyConditions = versioned })
					f.put("a", text)
					dst, err := f.copyTo("a", "b")
					f.must(err)
					tc.do(f, dst)
					err = dst.Flush(f.ctx)
					gone := tc.gone && !versioned
					if tc.name == "other chmod" && name != "client" { // nothing but the ETag names the body
						gone = !versioned && errors.Is(err, ErrOriginGone)
					}
					if gone {
						wants(t, err, ErrOriginGone)
						wants(t, dst.Flush(f.ctx), ErrOriginGone)
						dst.Release()
						f.must(f.Remove(f.ctx, "b"))
						return
					}
					f.must(err)
					f.reads(dst, text)
					dst.Release()
					f.settle()
					if tc.name != "link" { // which stays
						f.noLeftovers()
					}
					p := dst.Path()
					mount(t, f.mem, s.on, host("fresh")).has(p, text)
				})
			}
		}
	}
}

// TestMovedOriginHoldsOn: where a body that is to be copied cannot be kept, a
// rename of its directory is completed later; what is open is there all the time.
func TestMovedOriginHoldsOn(t *testing.T) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	on := func(o *Options) {
		o.Keys, o.Rules = k, []Rule{{Mode: "client", Keys: k}, {Prefix: "plain/", Mode: "none"}}
	}
	f := mount(t, bucket(), on)
	f.mkdir("plain")
	f.mkdir("d")
	text := map[string]string{}
	for _, p := range strings.Fields("a b c") {
		text[p] = noise(18*mib, 1)
		f.put("d/"+p, text[p])
	}
	var copies, opened []*File
	for _, p := range strings.Fields("a b c") {
		opened = append(opened, f.open("d/"+p))
		dst, err := f.copyTo("d/"+p, "copy-"+p)
		f.must(err)
		copies = append(copies, dst)
	}
	parks := 0
	f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
		if op.Verb == faulty.Copy && strings.Contains(op.Key, "/inodes/open/") {
			if parks++; parks == 2 {
				x.Err = objstore.ErrAccess
			}
		}
		return x
	})
	wants(t, f.Rename(f.ctx, "d", "plain/d", false), ErrAccess)
	f.healed()
	for i, p := range strings.Fields("a b c") {
		f.reads(opened[i], text[p])
	}
	f.must(f.doChores(f.ctx))
	for i, p := range strings.Fields("a b c") {
		f.must(copies[i].Flush(f.ctx))
		f.reads(copies[i], text[p])
		copies[i].Release()
		f.reads(opened[i], text[p])
		opened[i].Release()
		f.has("plain/d/"+p, text[p])
	}
	f.settle()
	f.noLeftovers()
}

// TestOriginOfAnotherRule: what has to be read for the copy, or goes to another
// rule before that, is what it was, or is refused.
func TestOriginOfAnotherRule(t *testing.T) {
	text := noise(18*mib, 1)
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	on := func(o *Options) {
		o.Keys, o.Rules = k, []Rule{{Mode: "client", Keys: k}, {Prefix: "plain/", Mode: "none"}}
	}
	for name, tc := range map[string]struct {
		to   string
		do   func(f *fixture)
		want error
	}{
		"replaced": {"plain/b", func(f *fixture) { mount(t, f.mem, on, host("there")).put("a", "theirs") }, ErrOriginGone},
		"crossed":  {"b", func(f *fixture) { f.must(f.Rename(f.ctx, "a", "plain/a", false)) }, nil},
		"crossed and read": {"plain/b", func(f *fixture) {
			f.must(f.Rename(f.ctx, "a", "plain/a", false))
			f.must(f.Remove(f.ctx, "plain/a"))
		}, nil},
		"moved in a directory": {"b", func(f *fixture) { f.must(f.Rename(f.ctx, "d", "plain/d", false)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := mount(t, bucket(), on)
			f.mkdir("plain")
			f.mkdir("d")
			f.put("a", text)
			f.put("d/a", text)
			from := "a"
			if strings.HasPrefix(name, "moved") {
				from = "d/a"
			}
			dst, err := f.copyTo(from, tc.to)
			f.must(err)
			tc.do(f)
			wants(t, dst.Flush(f.ctx), tc.want)
			if tc.want == nil {
				f.reads(dst, text)
				dst.Release()
				f.settle()
				f.noLeftovers()
				mount(t, f.mem, on, host("fresh")).has(tc.to, text)
				return
			}
			dst.Release()
		})
	}
}

// TestParkedOnce: a commit that is tried again and again puts aside what was
// copied once, and all of that goes in the end.
func TestParkedOnce(t *testing.T) {
	text, other := noise(300<<10, 1), noise(400<<10, 2)
	f := lending(mount(t, bucket()))
	f.put("a", text)
	dst, err := f.copyTo("a", "b")
	f.must(err)
	a := f.open("a")
	f.write(a, other, 0)
	f.unwritable("a")
	f.s.Reset()
	for range 3 {
		wants(t, a.Commit(f.ctx), objstore.ErrUnreachable)
	}
	if n := f.s.Counts().Requests[faulty.Copy]; n != 1 {
		t.Errorf("%d copies", n)
	}
	f.healed()
	f.must(a.Commit(f.ctx))
	a.Release()
	f.lentWell(dst, text, other)
}

// lentWell ends dst, the copy at b of text that a had when it was lent, and sees
// that other is at a now and that nothing else is left.
func (f *fixture) lentWell(dst *File, text, other string) {
	f.t.Helper()
	f.must(dst.Flush(f.ctx))
	dst.Release()
	f.has("a", other)
	f.has("b", text)
	f.settle()
	f.noLeftovers()
}

// unwritable has every write of key fail.
func (f *fixture) unwritable(key string) {
	f.s.SetScript(func(op faulty.Op) faulty.Fault {
		if op.Verb.Writes() && op.Key == key {
			return faulty.Fault{Err: objstore.ErrUnreachable}
		}
		return faulty.Fault{}
	})
}

// TestStreamOverWhatIsLent: a commit that could not put aside what was copied
// leaves the upload of what comes in its place to the next one.
func TestStreamOverWhatIsLent(t *testing.T) {
	text, other := noise(18*mib, 1), noise(50*mib, 2)
	f := mount(t, bucket())
	f.put("a", text)
	dst, err := f.copyTo("a", "b")
	f.must(err)
	a := f.open("a")
	f.must(a.Truncate(f.ctx, 0))
	for off := 0; off < 40*mib; off += mib {
		f.write(a, other[off:off+mib], int64(off))
	}
	if a.streamOf() == nil {
		t.Fatal("nothing goes up")
	}
	f.failing(objstore.ErrUnreachable, false, faulty.Copy)
	wants(t, a.Commit(f.ctx), objstore.ErrUnreachable)
	if st := a.streamOf(); st != nil {
		st.mu.Lock()
		state := st.state
		st.mu.Unlock()
		if state == closing {
			t.Error("nothing goes up any more")
		}
	}
	f.healed()
	f.write(a, other[40*mib:], 40*mib)
	f.must(a.Commit(f.ctx))
	a.Release()
	f.lentWell(dst, text, other)
}
