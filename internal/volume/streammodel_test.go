package volume

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestStreamModel holds long files, written mostly in order through a small
// spool and changed anywhere, against a copy in memory.
func TestStreamModel(t *testing.T) {
	for seed := range uint64(2) {
		for _, name := range []string{"client", "none"} {
			t.Run(fmt.Sprintf("%s %d", name, seed), func(t *testing.T) {
				s := setupOf(name)
				f := mount(t, s.store(), s.on, spoolOf(t, 40))
				m := &streamModel{fixture: f, rnd: rand.New(rand.NewPCG(seed, 1))}
				m.run()
				mount(t, f.mem, s.on, host("there")).has("a", string(m.want))
				f.noLeftovers()
			})
		}
	}
}

type streamModel struct {
	*fixture
	rnd  *rand.Rand
	file *File
	want []byte
}

func (m *streamModel) run() {
	m.t.Helper()
	file, err := m.Create(m.ctx, "a", Attr{Mode: 0o644}, false)
	m.must(err)
	m.file = file
	for range 60 {
		m.step()
	}
	m.reads(file, string(m.want))
	m.must(file.Commit(m.ctx))
	file.Release()
	m.settle()
}

func (m *streamModel) step() {
	m.t.Helper()
	size := len(m.want)
	switch p := m.rnd.IntN(100); {
	case p < 70:
		m.put(size, 1+m.rnd.IntN(6*mib))
	case p < 80 && size > 0:
		m.put(m.rnd.IntN(size), 1+m.rnd.IntN(200<<10))
	case p < 86 && size > 0:
		off := m.rnd.IntN(size)
		got := make([]byte, min(size-off, 100<<10))
		n, err := m.file.ReadAt(m.ctx, got, int64(off))
		m.must(err)
		if !bytes.Equal(got[:n], m.want[off:off+len(got)]) {
			m.t.Fatalf("%d bytes at %d are not what was written", len(got), off)
		}
	case p < 90 && size > 0:
		off := m.rnd.IntN(size)
		n := min(size-off, 1+m.rnd.IntN(3*mib))
		m.must(m.file.Allocate(m.ctx, int64(off), int64(n), AllocOptions{KeepSize: true, PunchHole: true}))
		clear(m.want[off : off+n])
	case p < 94:
		n := size - m.rnd.IntN(1+size/3)
		if m.rnd.IntN(6) == 0 {
			n = 0
		}
		m.must(m.file.Truncate(m.ctx, int64(n)))
		m.want = m.want[:n]
	case p < 96:
		m.must(m.file.Commit(m.ctx))
	default:
		m.put(size+m.rnd.IntN(4*mib), 1+m.rnd.IntN(mib))
	}
}

// put writes noise at off.
func (m *streamModel) put(off, n int) {
	m.t.Helper()
	text := noise(n, byte(m.rnd.Uint32()))
	for len(m.want) < off+n {
		m.want = append(m.want, make([]byte, off+n-len(m.want))...)
	}
	copy(m.want[off:], text)
	m.writeOn(m.file, text, off)
}
