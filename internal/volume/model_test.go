package volume

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"pgregory.net/rapid"
)

// ref is the reference filesystem: what POSIX says of paths and contents.
type ref struct{ nodes map[string]*node }

type node struct {
	dir  bool
	text string
}

func newRef() ref { return ref{nodes: map[string]*node{"": {dir: true}}} }

// tree gives what treeOf gives of a volume.
func (r ref) tree() map[string]string {
	out := map[string]string{}
	for p, n := range r.nodes {
		if p == "" {
			continue
		}
		if out[p] = n.text; n.dir {
			out[p] = "/"
		}
	}
	return out
}

func (r ref) clone() ref { return ref{nodes: maps.Clone(r.nodes)} }

func (r ref) isDir(p string) bool { return r.nodes[p] != nil && r.nodes[p].dir }

func (r ref) children(p string) (n int) {
	for q := range r.nodes {
		if below(q, p) {
			n++
		}
	}
	return n
}

func (r ref) mkdir(p string) error {
	if r.nodes[p] != nil {
		return ErrExist
	}
	r.nodes[p] = &node{dir: true}
	return nil
}

func (r ref) rmdir(p string) error {
	switch {
	case r.nodes[p] == nil:
		return ErrNotExist
	case !r.isDir(p):
		return ErrNotDir
	case r.children(p) > 0:
		return ErrNotEmpty
	}
	delete(r.nodes, p)
	return nil
}

func (r ref) remove(p string) error {
	switch {
	case r.nodes[p] == nil:
		return ErrNotExist
	case r.isDir(p):
		return ErrIsDir
	}
	delete(r.nodes, p)
	return nil
}

func (r ref) rename(from, to string, noReplace bool) error {
	src, dst := r.nodes[from], r.nodes[to]
	switch {
	case below(to, from):
		return ErrInvalid
	case src == nil:
		return ErrNotExist
	case from == to:
		return nil
	case dst != nil && noReplace:
		return ErrExist
	case dst != nil && src.dir && !dst.dir:
		return ErrNotDir
	case dst != nil && !src.dir && dst.dir:
		return ErrIsDir
	case dst != nil && dst.dir && r.children(to) > 0:
		return ErrNotEmpty
	}
	for p, n := range maps.Clone(r.nodes) {
		if p == from || below(p, from) {
			delete(r.nodes, p)
			r.nodes[to+p[len(from):]] = n
		}
	}
	return nil
}

func (r ref) put(p, text string) error {
	if r.isDir(p) {
		return ErrIsDir
	}
	if r.nodes[p] == nil {
		r.nodes[p] = &node{}
	}
	r.nodes[p].text = text
	return nil
}

// handle is an open file and what it must read as.
type handle struct {
	file *File
	n    *node
}

// machine drives a volume and the reference side by side.
type machine struct {
	t       *rapid.T
	tb      testing.TB
	f       *fixture
	setup   *setup
	ref     ref
	handles []*handle
	faults  bool
	unknown bool // the outcome of something is
}

var paths = strings.Fields("a b c d/a d/b d/c d/d d/d/a e e/a e/b")

func (m *machine) path(label string) string {
	var fit []string
	for _, p := range paths {
		if m.ref.isDir(parent(p)) {
			fit = append(fit, p)
		}
	}
	return rapid.SampledFrom(fit).Draw(m.t, label)
}

func (m *machine) text() string {
	n := rapid.SampledFrom([]int{0, 1, 10, 1000, 70 << 10, 130 << 10}).Draw(m.t, "length")
	return noise(n, rapid.Byte().Draw(m.t, "seed"))
}

// run does op on both sides. Where faults are injected the volume may fail:
// then it is as before, as after, or as one of also.
func (m *machine) run(what string, want func(ref) error, op func() error, also ...func(ref)) {
	m.t.Logf("%s", what)
	after := m.ref.clone()
	texts := m.texts()
	expect := want(after)
	faulted := m.faults && m.arm(strings.HasPrefix(what, "re"))
	err := op()
	m.f.healed()
	m.settleMoves()
	switch {
	case err == nil && expect == nil:
		m.ref = after
	case !faulted && m.unknown && expect == nil && m.yielded(after, err):
	case !faulted || expect == nil && err == nil:
		if !errors.Is(err, expect) {
			m.t.Fatalf("%s: got %v, want %v", what, err, expect)
		}
	case err == nil:
		m.t.Fatalf("%s: done, want %v", what, expect)
	default:
		m.unknown = m.unknown || errors.Is(err, objstore.ErrUnknown)
		m.resolve(what, texts, append(also, func(r ref) { _ = want(r) }), err)
	}
}

// yielded tells whether a commit met what a rename of unknown outcome had put
// there meanwhile, and saved its data beside that: nothing is lost, and the error
// says so.
func (m *machine) yielded(after ref, err error) bool {
	if !errors.Is(err, ErrChanged) {
		return false
	}
	now := treeOf(m.f)
	for q, text := range now {
		p, _, conflict := strings.Cut(q, ".conflict-")
		mine := after.nodes[p]
		if !conflict || after.nodes[q] != nil || mine == nil || mine.text != text {
			continue
		}
		after.nodes[q], after.nodes[p] = mine, &node{text: now[p]}
		m.ref = after
		return maps.Equal(after.tree(), now)
	}
	return false
}

// texts remembers the contents, which want may change in place.
func (m *machine) texts() map[*node]string {
	out := map[*node]string{}
	for _, n := range m.ref.nodes {
		out[n] = n.text
	}
	return out
}

// resolve takes over whichever of the possible states the volume shows.
func (m *machine) resolve(what string, texts map[*node]string, changes []func(ref), err error) {
	m.t.Logf("failed: %v", err)
	now := treeOf(m.f)
	for _, change := range append(changes, func(ref) {}) {
		for n, text := range texts {
			n.text = text
		}
		r := m.ref.clone()
		if change(r); maps.Equal(r.tree(), now) {
			m.ref = r
			return
		}
	}
	m.t.Fatalf("%s failed (%v) and left\n%s\nbefore\n%s", what, err, show(now), show(m.ref.tree()))
}

func show(t map[string]string) string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&b, "  %s: %s\n", p, brief(t[p]))
	}
	return b.String()
}

// settleMoves completes what a failed rename left, as the background does.
func (m *machine) settleMoves() { m.f.must(m.f.doChores(m.f.ctx)) }

func (m *machine) check() {
	if now := treeOf(m.f); !maps.Equal(now, m.ref.tree()) {
		m.t.Fatalf("shows\n%s\nwant\n%s", show(now), show(m.ref.tree()))
	}
	for _, h := range m.handles {
		got, err := textOf(m.f.ctx, h.file)
		if err != nil || got != h.n.text {
			m.t.Fatalf("handle of %q reads %s, %v; want %s", h.file.Path(), brief(got), err, brief(h.n.text))
		}
	}
}

// remount closes the volume, which commits all, and looks at the bucket with
// a new one.
func (m *machine) remount() {
	m.t.Logf("remount")
	store := m.f.mem
	for _, h := range m.handles {
		h.file.Release()
	}
	m.handles = nil
	m.f.must(m.f.Close(m.f.ctx))
	if m.f.Dirty() != 0 || m.f.opt.Spool.Used() != 0 {
		m.t.Fatalf("%d dirty, spool holds %d", m.f.Dirty(), m.f.opt.Spool.Used())
	}
	m.f.noLeftovers()
	m.f.end()
	m.f = m.mount(store)
	m.check()
}

// mount gives a volume without a background: what it would do is done when the
// machine says so.
func (m *machine) mount(store *mem.Store) *fixture {
	f := lending(mountIdle(m.tb, store, m.setup.on))
	m.f0(f)
	return f
}

// lending has small files copied as large ones are.
func lending(f *fixture) *fixture {
	f.leastLoan, f.loanUnit = 1, spool.BlockSize
	return f
}

func (m *machine) f0(f *fixture) {
	f.t = failer{m.tb, m.t}
	f.must(f.resumeMoves(f.ctx))
	f.must(f.sweep(f.ctx))
}

// failer gives failures to rapid and cleaning up to the test.
type failer struct {
	testing.TB
	t *rapid.T
}

func (f failer) Helper()                   {}
func (f failer) Fatal(args ...any)         { f.t.Fatal(args...) }
func (f failer) Fatalf(s string, a ...any) { f.t.Fatalf(s, a...) }
func (f failer) Errorf(s string, a ...any) { f.t.Errorf(s, a...) }

// models are inSetups, and what only chance finds enough ways through: versions,
// and rules that begin below each other.
func models(t *testing.T, test func(*testing.T, *setup)) {
	t.Helper()
	inSetups(t, test)
	versioned := setupOf("none")
	versioned.bucket = func() *mem.Store { return mem.New(mem.Options{Versioned: true}) }
	t.Run("versioned", func(t *testing.T) { test(t, &versioned) })
	t.Run("nested", func(t *testing.T) { test(t, &setup{bucket: awsBucket, tweak: nested}) })
	packed := setupOf("client-zstd")
	t.Run(packed.name, func(t *testing.T) { test(t, &packed) })
	for _, of := range []string{"client", "client-zstd"} {
		hiding := setupOf(of)
		before := hiding.tweak
		hiding.tweak = func(o *Options) {
			if before != nil {
				before(o)
			}
			hiddenNames(o)
		}
		t.Run(of+"-names", func(t *testing.T) { test(t, &hiding) })
	}
}

// nested is a policy of a rule in a rule in a rule, over the machine's paths.
func nested(o *Options) {
	k := &fakeKeys{epochs: []sigil.Epoch{epoch(1)}}
	o.Keys, o.S3ECKeys = k, s3ec.Keyring{aesKey(1)}
	o.Rules = []Rule{
		{Mode: "none"},
		{Prefix: "d/", Mode: "client", Keys: k},
		{Prefix: "d/d/", Mode: "s3ec", S3EC: &S3EC{Key: aesKey(1)}},
		{Prefix: "e/", Mode: "sse-c", Server: ssecMode('a')},
	}
}

// few runs fewer checks of a property than the default, where it is tested
// under several setups: rapid has the number in a flag only.
func few(t *testing.T, checks string, test func()) {
	t.Helper()
	number := flag.Lookup("rapid.checks")
	if number.Value.String() != number.DefValue { // asked for by hand
		test()
		return
	}
	if err := number.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = number.Value.Set(number.DefValue) }()
	test()
}

func TestModel(t *testing.T) {
	models(t, func(t *testing.T, s *setup) {
		for _, faults := range []bool{false, true} {
			t.Run(fmt.Sprintf("Faults=%v", faults), func(t *testing.T) {
				few(t, "20", func() {
					rapid.Check(t, func(rt *rapid.T) {
						m := &machine{t: rt, tb: t, setup: s, ref: newRef(), faults: faults}
						m.f = m.mount(s.store())
						rt.Repeat(m.actions())
						m.remount()
						m.f.end()
					})
				})
			})
		}
	})
}
