package volume

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// pins watches which bodies are asked for, and what of them.
type pins struct {
	*faulty.Store
	mu     sync.Mutex // guards all below
	ranges []objstore.Range
	loose  int // ranges of no certain body
}

func (p *pins) Get(ctx context.Context, id objstore.ID, r objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	p.mu.Lock()
	if r.Suffix == 0 {
		p.ranges = append(p.ranges, r)
		if id.ETag == "" {
			p.loose++
		}
	}
	p.mu.Unlock()
	return p.Store.Get(ctx, id, r)
}

// watched mounts with the cache as the program has it, and tells what is asked.
func watched(t *testing.T, m *mem.Store, tweaks ...tweak) (*fixture, *pins) {
	t.Helper()
	var p *pins
	f := mount(t, m, append(tweaks, asMounted(t), func(o *Options) {
		p = &pins{Store: o.Store.(*faulty.Store)}
		o.Store = p
	})...)
	return f, p
}

// TestEveryRangeIsPinned: a sequential read asks for ranges of one body, each
// byte once and whole segments at a time.
func TestEveryRangeIsPinned(t *testing.T) {
	for name, segment := range map[string]int64{"client": sealedSegment, "none": 8 * mib} {
		s := setupOf(name)
		m := s.store()
		text := noise(60*mib+1234, 3)
		mount(t, m, s.on).put("a", text)
		f, p := watched(t, m, s.on)
		file := f.open("a")
		for off := 0; off < len(text); off += mib {
			part := make([]byte, min(mib, len(text)-off))
			if _, err := file.ReadAt(f.ctx, part, int64(off)); err != nil || string(part) != text[off:off+len(part)] {
				t.Fatalf("%s: at %d: %v", name, off, err)
			}
		}
		file.Release()
		whole, sum := 0, int64(0)
		for _, r := range p.ranges {
			sum += r.Len
			if r.Len == segment && r.Off%segment == 0 {
				whole++
			}
		}
		if length := m.Snapshot()["a"].Info.Size; sum > length || whole < 4 || len(p.ranges) > 20 || p.loose > 0 {
			t.Errorf("%s: %d requests, %d for whole segments, %d of no body, %d bytes of %d", name, len(p.ranges), whole, p.loose, sum, length)
		}
	}
}

// TestRandomReadIsOneChunk: 4 KiB at random are one request for what they are
// in. What the lookup brought serves the tail.
func TestRandomReadIsOneChunk(t *testing.T) {
	m := bucket()
	text := noise(30*mib, 3)
	mount(t, m).put("a", text)
	f, p := watched(t, m)
	file := f.open("a")
	defer file.Release()
	part := make([]byte, 4096)
	for _, off := range []int64{20 * mib, 3*mib + 4096, 11 * mib, 20*mib + 8192, 29 * mib} {
		_, err := file.ReadAt(f.ctx, part, off)
		f.must(err)
		if string(part) != text[off:off+4096] {
			t.Fatalf("wrong data at %d", off)
		}
	}
	if len(p.ranges) != 4 {
		t.Errorf("requests %v", p.ranges)
	}
	for _, r := range p.ranges {
		if r.Len != cache.MaxBlock || r.Off%cache.MaxBlock != 0 {
			t.Errorf("%d bytes at %d", r.Len, r.Off)
		}
	}
}

// TestVersionsStay: where the bucket keeps versions, an open file reads the one
// that it opened, all of it, whatever comes after.
func TestVersionsStay(t *testing.T) {
	for _, name := range []string{"client", "none", "sse-c"} {
		s := setupOf(name)
		m := kmsBucket(mem.Options{Versioned: true})
		f, p := watched(t, m, s.on)
		text := noise(9*mib, 1)
		f.put("a", text)
		file := f.open("a")
		other := mount(t, m, s.on, host("there"))
		other.put("a", noise(9*mib, 2))
		f.reads(file, text)
		other.must(other.Remove(f.ctx, "a"))
		file.content().blob.Drop()
		f.reads(file, text)
		file.Release()
		if p.loose > 0 {
			t.Errorf("%s: %d ranges of no certain body", name, p.loose)
		}
	}
}

// breaking ends with ErrChanged, as an answer does that breaks off and cannot
// be taken up.
type breaking struct {
	io.Reader
	left int64
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, ErrChanged
	}
	n, err := b.Reader.Read(p[:min(b.left, int64(len(p)))])
	b.left -= int64(n)
	return n, err
}

// TestAnswerBreaksOff in the middle while another host changes attributes: the
// body is the same, and the read goes on. When it is another's, it is
// ErrChanged.
func TestAnswerBreaksOff(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		m := bucket()
		text := noise(500<<10, 1)
		f := mount(t, m)
		f.put("a", text)
		other := mount(t, m, host("there"))
		file := f.open("a")
		var once atomic.Bool
		f.s.SetScript(func(op faulty.Op) (fault faulty.Fault) {
			if op.Verb == faulty.Get && once.CompareAndSwap(false, true) {
				fault.Body = func(r io.Reader) io.Reader {
					if replaced {
						other.put("a", noise(500<<10, 2))
					} else if _, err := other.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)}); err != nil {
						t.Error(err)
					}
					return &breaking{r, 200 << 10}
				}
			}
			return fault
		})
		got, err := textOf(f.ctx, file)
		if replaced {
			wants(t, err, ErrChanged)
		} else if f.must(err); got != text {
			t.Error("read something else")
		}
		if !once.Load() {
			t.Error("nothing broke off")
		}
		f.healed()
		file.Release()
	}
}
