package volume

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"pgregory.net/rapid"
)

// actions are the operations that the machine draws from.
func (m *machine) actions() map[string]func(*rapid.T) {
	do := func(op func()) func(*rapid.T) {
		return func(t *rapid.T) {
			m.t = t
			m.f.t = failer{m.tb, t}
			op()
		}
	}
	return map[string]func(*rapid.T){
		"":         do(m.check),
		"put":      do(m.put),
		"put2":     do(m.put),
		"copy":     do(m.copy),
		"range":    do(m.copyRange),
		"mkdir":    do(m.mkdir),
		"rmdir":    do(m.rmdir),
		"remove":   do(m.remove),
		"rename":   do(m.rename),
		"rename2":  do(m.rename),
		"chmod":    do(m.chmod),
		"open":     do(m.open),
		"write":    do(m.write),
		"truncate": do(m.truncate),
		"commit":   do(m.commit),
		"release":  do(m.release),
		"remount":  do(m.remount),
	}
}

// arm makes one of the next requests, or all from it on, fail before or after
// it is done. False: not this time.
// An operation that takes names from open files and fails half way may take
// their bodies too: then there are none.
func (m *machine) arm(takes bool) bool {
	if takes && len(m.handles) > 0 {
		return false
	}
	kind := rapid.SampledFrom([]string{"none", "none", "fail", "lose", "down", "down after"}).Draw(m.t, "fault")
	if kind == "none" {
		return false
	}
	err := rapid.SampledFrom([]error{objstore.ErrThrottled, objstore.ErrAccess, objstore.ErrUnreachable}).Draw(m.t, "error")
	at := rapid.IntRange(1, 12).Draw(m.t, "request")
	m.f.s.Reset()
	m.f.s.SetScript(func(op faulty.Op) faulty.Fault {
		hit := op.N == at
		switch {
		case kind == "lose" && hit && op.Verb.Writes():
			return faulty.Fault{Lost: true}
		case kind == "fail" && hit, kind == "down" && op.N >= at, kind == "down after" && op.N > at:
			return faulty.Fault{Err: err}
		case kind == "down after" && hit && op.Verb.Writes():
			return faulty.Fault{Lost: true}
		}
		return faulty.Fault{}
	})
	return true
}

func (m *machine) put() {
	p, text := m.path("path"), m.text()
	m.run(fmt.Sprintf("put %s %s", p, brief(text)), func(r ref) error { return r.put(p, text) }, func() error { return m.f.tryPut(p, text) },
		func(r ref) { _ = r.put(p, "") }) // opened and truncated, not yet written
}

// file is a path that holds a file.
func (m *machine) file() string {
	var fit []string
	for p, n := range m.ref.nodes {
		if !n.dir {
			fit = append(fit, p)
		}
	}
	if len(fit) == 0 {
		m.t.Skip("no file to copy")
	}
	slices.Sort(fit)
	return rapid.SampledFrom(fit).Draw(m.t, "file")
}

// copy is cp of a file, or of as much of it as it gets.
func (m *machine) copy() {
	from, to := m.file(), m.path("path")
	if from == to {
		return // cp refuses it
	}
	text := m.ref.nodes[from].text
	part := func(n int) func(ref) { return func(r ref) { _ = r.put(to, text[:min(n, len(text))]) } }
	m.run(fmt.Sprintf("copy %s %s", from, to), func(r ref) error { return r.put(to, text) },
		func() error { return m.f.cp(from, to) }, part(0), part(64<<10), part(128<<10), part(192<<10))
}

// copyRange copies between two files, one of them open.
func (m *machine) copyRange() {
	h, from := m.handle(), m.file()
	if rapid.Bool().Draw(m.t, "anew") {
		m.change(h, "truncate", "", h.file.Truncate(m.f.ctx, 0))
	}
	place := rapid.SampledFrom([]int64{0, 0, 0, 1, 64 << 10, 128 << 10})
	in := place.Draw(m.t, "in")
	off, n := in, rapid.SampledFrom([]int64{1, 64 << 10, 100 << 10, 1 << 20}).Draw(m.t, "n")
	if rapid.IntRange(0, 3).Draw(m.t, "elsewhere") == 0 {
		off = place.Draw(m.t, "off")
	}
	src, err := m.f.Open(m.f.ctx, from, OpenOptions{})
	m.f.must(err)
	defer src.Release()
	text := m.ref.nodes[from].text
	done, err := h.file.CopyRange(m.f.ctx, src, in, off, n)
	if src == h.file && in < off+n && off < in+n {
		wants(m.f.t, err, ErrInvalid)
		return
	}
	if left := max(0, int64(len(text))-in); done > min(n, left) || done == 0 && left > 0 {
		m.t.Fatalf("%d bytes copied of %d, %d are there", done, n, left)
	}
	got := []byte(h.n.text)
	if more := off + done - int64(len(got)); more > 0 && done > 0 {
		got = append(got, make([]byte, more)...)
	}
	if done > 0 {
		copy(got[off:], text[in:in+done])
	}
	m.change(h, fmt.Sprintf("copy %d bytes of %s at %d to %d of", done, from, in, off), string(got), err)
}

func (m *machine) mkdir() {
	p := m.path("path")
	if n := m.ref.nodes[p]; n != nil && !n.dir {
		return // the kernel says EEXIST: no request is made
	}
	m.run("mkdir "+p, func(r ref) error { return r.mkdir(p) }, func() error { return errOf(m.f.Mkdir(m.f.ctx, p, Attr{Mode: 0o755})) })
}

func (m *machine) rmdir() {
	p := m.path("path")
	m.run("rmdir "+p, func(r ref) error { return r.rmdir(p) }, func() error { return m.f.Rmdir(m.f.ctx, p) })
}

func (m *machine) remove() {
	p := m.path("path")
	m.run("remove "+p, func(r ref) error { return r.remove(p) }, func() error { return m.f.Remove(m.f.ctx, p) })
}

func (m *machine) rename() {
	from, to := m.path("from"), m.path("to")
	noReplace := rapid.Bool().Draw(m.t, "noreplace")
	copied := func(r ref) { // a file copied, whose old name could not be removed
		if n := r.nodes[from]; n != nil && !n.dir {
			twin := *n
			r.nodes[to] = &twin
		}
	}
	emptied := func(r ref) { // the empty target of a directory went first
		if r.isDir(from) && r.isDir(to) {
			_ = r.rmdir(to)
		}
	}
	m.run(fmt.Sprintf("rename %s %s %v", from, to, noReplace), func(r ref) error { return r.rename(from, to, noReplace) },
		func() error { return m.f.Rename(m.f.ctx, from, to, noReplace) }, copied, emptied)
}

func (m *machine) chmod() {
	p := m.path("path")
	want := func(r ref) error {
		if r.nodes[p] == nil {
			return ErrNotExist
		}
		return nil
	}
	mode := rapid.Uint32Range(0, 0o7777).Draw(m.t, "mode")
	m.run("chmod "+p, want, func() error {
		_, err := m.f.SetAttr(m.f.ctx, p, Change{Mode: &mode})
		if err == nil {
			m.f.healed()
			if got := m.f.stat(p).Mode & 0o7777; got != mode {
				m.t.Fatalf("mode %o, want %o", got, mode)
			}
		}
		return err
	})
}

func (m *machine) open() {
	p := m.path("path")
	n := m.ref.nodes[p]
	if n == nil || n.dir || len(m.handles) >= 6 {
		return
	}
	file, err := m.f.Open(m.f.ctx, p, OpenOptions{Write: true})
	m.f.must(err)
	m.handles = append(m.handles, &handle{file: file, n: n})
	m.t.Logf("open %s", p)
}

func (m *machine) handle() *handle {
	if len(m.handles) == 0 {
		m.t.Skip("no handle to work on") // rapid draws another operation
	}
	return rapid.SampledFrom(m.handles).Draw(m.t, "handle")
}

// change applies a change of the content.
func (m *machine) change(h *handle, what string, text string, err error) {
	m.t.Logf("%s %s: %v", what, h.file.Path(), err)
	if err == nil {
		h.n.text = text
	} else {
		m.t.Fatalf("%s: %v", what, err)
	}
}

func (m *machine) write() {
	h := m.handle()
	off := rapid.IntRange(0, 140<<10).Draw(m.t, "offset")
	data := noise(rapid.IntRange(1, 70<<10).Draw(m.t, "n"), 3)
	text := []byte(h.n.text)
	if end := off + len(data); end > len(text) {
		text = append(text, make([]byte, end-len(text))...)
	}
	copy(text[off:], data)
	_, err := h.file.WriteAt(m.f.ctx, []byte(data), int64(off))
	m.change(h, "write", string(text), err)
}

func (m *machine) truncate() {
	h := m.handle()
	size := rapid.IntRange(0, 200<<10).Draw(m.t, "size")
	text := append([]byte(h.n.text), make([]byte, max(0, size-len(h.n.text)))...)[:size]
	m.change(h, "truncate", string(text), h.file.Truncate(m.f.ctx, int64(size)))
}

func (m *machine) commit() {
	h := m.handle()
	m.run("commit "+h.file.Path(), func(ref) error { return nil }, func() error { return h.file.Commit(m.f.ctx) })
}

func (m *machine) release() {
	h := m.handle()
	m.t.Logf("release %s", h.file.Path())
	m.handles = slices.DeleteFunc(m.handles, func(x *handle) bool { return x == h })
	h.file.Release()
}

// pin is an open file that is only read. It shows what its own host has made
// of it, or says that another's version is there.
type pin struct {
	file *File
	n    *node
	had  []string // every content of the file since
}

func (p *pin) check(m *machine) {
	p.follow(m)
	p.had = append(p.had, p.n.text)
	got, err := textOf(m.f.ctx, p.file)
	if err != nil && !errors.Is(err, ErrChanged) || err == nil && !slices.Contains(p.had, got) {
		m.t.Fatalf("pinned file reads %s, %v", brief(got), err)
	}
}

// follow takes what another host has put in the file's place for the file,
// where nothing tells the two apart: without versions, a body that does not name
// itself is its key and its ETag, and the same bytes have the same.
func (p *pin) follow(m *machine) {
	path := p.file.Path()
	n := m.ref.nodes[path]
	if o, ok := m.f.mem.Object(path); ok && n != nil && o.Info.VersionID == "" && o.Info.ETag == p.file.Info().Sigil["etag"] {
		p.n = n
	}
}

// TestModelOfTwo: two hosts take turns, and each sees what the other closed.
func TestModelOfTwo(t *testing.T) {
	models(t, func(t *testing.T, s *setup) {
		few(t, "20", func() { rapid.Check(t, func(rt *rapid.T) { modelOfTwo(t, rt, s) }) })
	})
}

func modelOfTwo(t *testing.T, rt *rapid.T, s *setup) {
	m := &machine{t: rt, tb: t, setup: s, ref: newRef()}
	store := s.store()
	hosts := []*fixture{lending(mountIdle(t, store, s.on)), lending(mountIdle(t, store, s.on, host("there")))}
	m.f = hosts[0]
	turn := func(op func()) func(*rapid.T) {
		return func(rt *rapid.T) {
			m.t, m.f = rt, hosts[rapid.IntRange(0, 1).Draw(rt, "host")]
			m.f.t = failer{t, rt}
			op()
		}
	}
	var pinned []pin
	rt.Repeat(map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			m.t = rt
			if s.tick != nil {
				s.tick()
			}
			for _, m.f = range hosts {
				m.f.t = failer{t, rt}
				m.check()
			}
			for i := range pinned {
				pinned[i].check(m)
			}
		},
		"put": turn(m.put), "put2": turn(m.put), "copy": turn(m.copy), "mkdir": turn(m.mkdir), "rmdir": turn(m.rmdir), "remove": turn(m.remove),
		"rename": turn(m.rename), "rename2": turn(m.rename), "chmod": turn(m.chmod),
		"pin": turn(func() {
			p := m.path("path")
			n := m.ref.nodes[p]
			if n == nil || n.dir || len(pinned) > 5 {
				return
			}
			file, err := m.f.Open(m.f.ctx, p, OpenOptions{})
			m.f.must(err)
			pinned = append(pinned, pin{file: file, n: n})
		}),
	})
	for _, h := range pinned {
		h.file.Release()
	}
	for _, f := range hosts {
		f.must(f.Close(f.ctx))
	}
	hosts[0].noLeftovers()
	for _, f := range hosts {
		f.end()
	}
}
