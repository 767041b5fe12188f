package spool

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newKey() *[32]byte {
	var k [32]byte
	_, _ = rand.Read(k[:])
	return &k
}

func mustOpen(t testing.TB, dir string, key *[32]byte, limit int64) *Spool {
	t.Helper()
	s, err := Open(dir, Options{Limit: limit, Reserve: -1, Key: key, KeyRecord: []byte("wrapped")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustFile(t testing.TB, s *Spool, size int64) *File {
	t.Helper()
	f, err := s.NewFile(size)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fromBytes(b []byte) Fill {
	return func(off int64, p []byte) error {
		if off+int64(len(p)) > int64(len(b)) {
			return fmt.Errorf("fill of [%d, %d) in a base of %d bytes", off, off+int64(len(p)), len(b))
		}
		copy(p, b[off:])
		return nil
	}
}

type reader interface {
	ReadAt(p []byte, off int64, base Fill) (int, error)
	Size() int64
}

func readAll(r reader, base Fill) ([]byte, error) {
	b := make([]byte, r.Size())
	n, err := r.ReadAt(b, 0, base)
	if errors.Is(err, io.EOF) && len(b) == 0 {
		err = nil
	}
	return b[:n], err
}

// onceAEAD fails the test when a nonce is used twice.
type onceAEAD struct {
	cipher.AEAD
	t    rapid.TB
	seen map[string]bool
}

func (o *onceAEAD) Seal(dst, nonce, plain, aad []byte) []byte {
	if o.seen[string(nonce)] {
		o.t.Fatalf("nonce %x used twice", nonce)
	}
	o.seen[string(nonce)] = true
	return o.AEAD.Seal(dst, nonce, plain, aad)
}

// consistent checks the counts of slots against the tables.
func consistent(t rapid.TB, f *File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	want := make([]uint32, len(f.slots.refs))
	pages := map[*page]int{}
	count := func(tab *table) {
		for _, s := range tab.spans {
			pages[s.page]++
		}
	}
	count(&f.table)
	for s := range f.snaps {
		count(&s.table)
	}
	for p, n := range pages {
		if p.refs != n {
			t.Fatalf("page with %d references counts %d", n, p.refs)
		}
		for _, e := range p.entries {
			if slot, ok := e.slot(); ok {
				want[slot]++
			}
		}
	}
	if f.hot != nil {
		want[f.hot.slot]++
	}
	for i := range want {
		if want[i] != f.slots.refs[i] {
			t.Fatalf("slot %d: %d references, counted %d", i, want[i], f.slots.refs[i])
		}
	}
	if got, want := f.spool.Used(), int64(f.slots.onDisk()*slotSize); got != want {
		t.Fatalf("used %d, %d on disk", got, want)
	}
	if f.slots.f != nil {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.slots.f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		// Extent metadata may take some more blocks on some file systems.
		if st.Blocks*512 > f.spool.Used()+64<<10 {
			t.Fatalf("%d bytes on disk, %d accounted for", st.Blocks*512, f.spool.Used())
		}
	}
}

type frozen struct {
	snap    *Snapshot
	content []byte
	base    []byte
}

// model is a file as a plain byte slice.
type model struct {
	t       *rapid.T
	dir     string
	key     *[32]byte
	f       *File
	content []byte
	base    []byte
	sent    map[int64][]byte
	snaps   []frozen
}

func (m *model) fill(off int64, p []byte) error {
	if kind, _ := m.f.Extent(off); kind == Sent {
		for len(p) > 0 {
			n := copy(p, m.sent[off/BlockSize][off%BlockSize:])
			p, off = p[n:], off+int64(n)
		}
		return nil
	}
	return fromBytes(m.base)(off, p)
}

const modelMax = 70 * BlockSize

// offset favours the neighbourhood of block boundaries.
func offset(t *rapid.T, name string) int64 {
	block := rapid.SampledFrom([]int64{0, 0, 0, 1, 1, 2, 2, 3, 64}).Draw(t, name+"Block")
	in := rapid.SampledFrom([]int64{0, 1, 100, 4096, BlockSize / 2, BlockSize - 1}).Draw(t, name+"In")
	return block*BlockSize + in
}

func (m *model) write(t *rapid.T) {
	off := offset(t, "off")
	n := rapid.SampledFrom([]int{1, 4096, BlockSize - 1, BlockSize, BlockSize + 1, 3 * BlockSize}).Draw(t, "n")
	p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "b")}, n)
	if err := m.f.WriteAt(p, off, m.fill); err != nil {
		t.Fatal(err)
	}
	if end := off + int64(n); end > int64(len(m.content)) {
		m.content = append(m.content, make([]byte, end-int64(len(m.content)))...)
	}
	copy(m.content[off:], p)
}

func (m *model) truncate(t *rapid.T) {
	size := min(offset(t, "size"), modelMax)
	err := m.f.Truncate(size)
	if errors.Is(err, ErrSent) {
		if kind, _ := m.f.Extent(size); kind != Sent {
			t.Fatal("ErrSent where nothing was sent")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if size <= int64(len(m.content)) {
		m.content = append([]byte(nil), m.content[:size]...)
	} else {
		m.content = append(m.content, make([]byte, size-int64(len(m.content)))...)
	}
}

func (m *model) zero(t *rapid.T) {
	off, n := offset(t, "off"), offset(t, "n")
	if err := m.f.Zero(off, n, m.fill); err != nil {
		t.Fatal(err)
	}
	if size := int64(len(m.content)); off < size {
		clear(m.content[off:min(off+n, size)])
	}
}

func (m *model) snapshot(t *rapid.T) {
	if len(m.snaps) >= 3 {
		t.Skip()
	}
	s, err := m.f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	// A commit reads what was sent from what it uploaded.
	m.snaps = append(m.snaps, frozen{s, bytes.Clone(m.content), bytes.Clone(m.base)})
}

// settle commits the oldest snapshot, or a later one, which makes the older
// ones void.
func (m *model) settle(t *rapid.T) {
	if len(m.snaps) == 0 {
		t.Skip()
	}
	m.checkSnaps(t)
	i := rapid.IntRange(0, len(m.snaps)-1).Draw(t, "snap")
	s := m.snaps[i]
	m.base = s.content
	if err := m.f.Settle(s.snap); err != nil {
		t.Fatal(err)
	}
	for _, old := range m.snaps[:i+1] {
		old.snap.Release()
	}
	m.snaps = m.snaps[i+1:]
}

func (m *model) release(t *rapid.T) {
	if len(m.snaps) == 0 {
		t.Skip()
	}
	m.checkSnaps(t)
	m.snaps[0].snap.Release()
	m.snaps = m.snaps[1:]
}

func (m *model) markSent(t *rapid.T) {
	if len(m.snaps) == 0 {
		t.Skip()
	}
	s := m.snaps[len(m.snaps)-1]
	off, n := offset(t, "off"), offset(t, "n")
	before := map[int64]bool{}
	for b := range blocks(m.f.Size()) {
		kind, _ := m.f.Extent(b * BlockSize)
		before[b] = kind == Sent
	}
	if err := m.f.MarkSent(s.snap, off, n); err != nil {
		t.Fatal(err)
	}
	for b := range blocks(m.f.Size()) {
		if kind, _ := m.f.Extent(b * BlockSize); kind == Sent && !before[b] {
			if b*BlockSize < off || (b+1)*BlockSize > off+n {
				t.Fatalf("block %d sent, asked for %d bytes at %d", b, n, off)
			}
			m.sent[b] = bytes.Clone(s.content[b*BlockSize : (b+1)*BlockSize])
		}
	}
}

// refer gives the file a base that reaches further, which its holes do not show.
func (m *model) refer(t *rapid.T) {
	off, n := offset(t, "off"), offset(t, "n")
	if !rapid.Bool().Draw(t, "odd") {
		off, n = blocks(off)*BlockSize, blocks(n)*BlockSize
	}
	if n == 0 {
		t.Skip()
	}
	base := bytes.Clone(m.base)
	if more := off + n - int64(len(base)); more > 0 {
		base = append(base, bytes.Repeat([]byte{rapid.Byte().Draw(t, "b")}, int(more))...)
	}
	done, err := m.f.Refer(off, n)
	if err != nil {
		t.Fatal(err)
	}
	if !done {
		return
	}
	if len(m.snaps) > 0 {
		t.Fatal("referred under a snapshot")
	}
	m.base = base
	if more := off + n - int64(len(m.content)); more > 0 {
		m.content = append(m.content, make([]byte, more)...)
	}
	copy(m.content[off:off+n], base[off:])
}

func (m *model) compact(t *rapid.T) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if len(m.f.snaps) > 0 || !m.f.onDisk {
		t.Skip()
	}
	if err := m.f.compact(false); err != nil {
		t.Fatal(err)
	}
}

// check reads everything back: live, frozen, and as a crash would leave it.
func (m *model) check(t *rapid.T) {
	same(t, "file", m.f, m.fill, m.content)
	consistent(t, m.f)
}

// checkSnaps reads the snapshots, before one of them goes.
func (m *model) checkSnaps(t *rapid.T) {
	for i, s := range m.snaps {
		fill := func(off int64, p []byte) error {
			if kind, _ := s.snap.Extent(off); kind == Sent {
				copy(p, s.content[off:])
				return nil
			}
			return fromBytes(s.base)(off, p)
		}
		same(t, fmt.Sprintf("snapshot %d", i), s.snap, fill, s.content)
	}
}

func same(t *rapid.T, name string, r reader, fill Fill, want []byte) {
	got, err := readAll(r, fill)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(got) != len(want) {
		t.Fatalf("%s: size %d, want %d", name, len(got), len(want))
	}
	if !bytes.Equal(got, want) {
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: byte %d (block %d) is %d, want %d", name, i, i/BlockSize, got[i], want[i])
			}
		}
	}
}

// crash looks at the files as a killed process would leave them. What was
// not sealed yet is lost, so it is sealed first.
func (m *model) crash(t *rapid.T) {
	m.f.mu.Lock()
	err := m.f.cool()
	m.f.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	l := recovered(t, m.dir, m.key, m.f.ID())
	if l == nil {
		return
	}
	defer l.Close()
	if d := l.Damage(); len(d) > 0 {
		t.Fatalf("damage: %v", d)
	}
	fill := func(off int64, p []byte) error {
		k1, _ := l.Extent(off)
		k2, _ := m.f.Extent(off)
		switch {
		case k1 == k2:
			return m.fill(off, p)
		case k1 == Base && k2 == Zero: // known zeros in the one, base's in the other
			return fromBytes(m.base)(off, p)
		}
		return fmt.Errorf("kind %d at %d was recovered as %d", k2, off, k1)
	}
	same(t, "recovered", l, fill, m.content)
}

// recovered copies the directory and opens one file of it; nil if it is not
// there.
func recovered(t rapid.TB, dir string, key *[32]byte, id string) *Left {
	copied, err := os.MkdirTemp("", "spool")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(copied) // what is open stays readable
	if err := os.CopyFS(filepath.Join(copied, "d"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return openLeft(t, filepath.Join(copied, "d"), key, id)
}

func openLeft(t rapid.TB, dir string, key *[32]byte, id string) *Left {
	private(t, dir)
	r, err := Recover(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return nil
	}
	l, err := r.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// private undoes what a copy does to modes.
func private(t rapid.TB, dir string) {
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chmod(filepath.Join(dir, e.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileIsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &model{t: t, dir: filepath.Join(dir, "s"), key: newKey(), sent: map[int64][]byte{}}
		s, err := Open(m.dir, Options{Limit: 1 << 30, Reserve: -1, Key: m.key})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		m.base = bytes.Repeat([]byte{0xba}, int(offset(t, "base")))
		m.content = bytes.Clone(m.base)
		if m.f, err = s.NewFile(int64(len(m.base))); err != nil {
			t.Fatal(err)
		}
		m.f.seal.aead = &onceAEAD{m.f.seal.aead, t, map[string]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"write":    m.write,
			"write2":   m.write,
			"truncate": m.truncate,
			"zero":     m.zero,
			"snapshot": m.snapshot,
			"settle":   m.settle,
			"release":  m.release,
			"sent":     m.markSent,
			"refer":    m.refer,
			"compact":  m.compact,
			"crash":    m.crash,
			"sync": func(t *rapid.T) {
				if err := m.f.Sync(); err != nil {
					t.Fatal(err)
				}
			},
		})
		for _, s := range m.snaps {
			s.snap.Release()
		}
		if err := m.f.Remove(); err != nil {
			t.Fatal(err)
		}
		if s.Used() != 0 {
			t.Fatalf("%d bytes used after Remove", s.Used())
		}
	})
}
