package freshness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// bed is a file and who uses it.
type bed struct {
	t    testing.TB
	path string
	log  *logrus.Logger
	said *test.Hook
	now  time.Time
	opt  Options
}

func newBed(t testing.TB) *bed {
	b := &bed{t: t, path: filepath.Join(t.TempDir(), "versions.db"), now: start}
	b.log, b.said = test.NewNullLogger()
	b.opt = Options{Path: b.path, Log: b.log, Now: func() time.Time { return b.now }, noSync: true}
	return b
}

func (b *bed) open(tweaks ...func(*Options)) *Memory {
	opt := b.opt
	for _, tw := range tweaks {
		tw(&opt)
	}
	m := Open(opt)
	b.t.Cleanup(func() { _ = m.Close() })
	return m
}

func (b *bed) knows(m *Memory, key string, want Record) {
	b.t.Helper()
	got, err := m.Get(key)
	if err != nil || got != want {
		b.t.Errorf("%s: %+v, %v; want %+v", key, got, err, want)
	}
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestModel: two processes on one file, opened, flushed and closed at any time,
// know together what a map knows; each by itself never more.
func TestModel(t *testing.T) {
	b := newBed(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b.opt.Path = filepath.Join(filepath.Dir(b.path), fmt.Sprint(n))
		b.now = start
		open := func() *Memory { return Open(b.opt) }
		both := [2]*Memory{open(), open()}
		defer func() { _, _ = both[0].Close(), both[1].Close() }()
		all := map[string]Record{} // what somebody was told
		seals := uint64(0)
		flush := func(m *Memory) { // and let the other have the file
			b.must(m.Flush())
			m.file.shut()
		}
		settle := func() { flush(both[0]); flush(both[1]) }
		rt.Repeat(map[string]func(*rapid.T){
			"learn": func(rt *rapid.T) {
				key, m := rapid.SampledFrom([]string{"a", "b", "c/d", ""}).Draw(rt, "key"), rapid.IntRange(0, 1).Draw(rt, "by")
				seals++
				r := Record{Version: 2 * race * uint64(rapid.IntRange(1, 20).Draw(rt, "version")), Seal: Seal{byte(seals), byte(seals >> 8)}}
				if rapid.Bool().Draw(rt, "gone") {
					settle() // what a tombstone says of the state before is what its writer knew
					r.Gone, r.Seal = true, Seal{}
				}
				// Of two with one version the first that is written counts.
				if all[key].Version == r.Version {
					return
				}
				both[m].Learn(key, r)
				all[key] = join(all[key], r, b.now)
				if r.Gone {
					settle()
				}
			},
			"accept": func(rt *rapid.T) {
				key, m := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key"), rapid.IntRange(0, 1).Draw(rt, "by")
				settle()
				r := Record{Version: 2 * race * uint64(rapid.IntRange(0, 20).Draw(rt, "version"))}
				both[m].Accept(key, r)
				flush(both[m])
				all[key] = r
			},
			"flush":   func(rt *rapid.T) { flush(both[rapid.IntRange(0, 1).Draw(rt, "who")]) },
			"the day": func(*rapid.T) { b.now = b.now.Add(24 * time.Hour) },
			"reopen": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "who")
				b.must(both[i].Close())
				both[i] = open()
			},
			"ask": func(rt *rapid.T) {
				for i, m := range both {
					for key, want := range all {
						if got, err := m.Get(key); err != nil || got.Version > want.Version {
							rt.Fatalf("%d knows %q as %+v, %v; it is %+v", i, key, got, err, want)
						}
					}
					m.file.shut()
				}
			},
		})
		settle()
		for i, m := range both {
			for key, want := range all {
				if got, err := m.Get(key); err != nil || got != want {
					rt.Fatalf("%d knows %q as %+v, %v; it is %+v", i, key, got, err, want)
				}
			}
			m.file.shut()
		}
	})
	if len(b.said.AllEntries()) > 0 {
		t.Errorf("said %q", b.said.LastEntry().Message)
	}
}

// TestSurvives: what was told is known to the next process, and to one that
// only looks; and to nobody who has the disk.
func TestSurvives(t *testing.T) {
	b := newBed(t)
	m := b.open()
	r := Record{Version: at(0), Seal: Seal{1, 2, 3}}
	m.Learn("payroll/salaries.ods", r)
	b.knows(m, "payroll/salaries.ods", r)
	b.must(m.Close())
	b.knows(b.open(), "payroll/salaries.ods", r)
	look := b.open(func(o *Options) { o.ReadOnly = true })
	b.knows(look, "payroll/salaries.ods", r)
	content, err := os.ReadFile(b.path)
	b.must(err)
	if bytes.Contains(content, []byte("payroll")) || bytes.Contains(content, []byte("salaries")) {
		t.Error("names stand in the file")
	}
	if info, err := os.Stat(b.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestReadOnly: it makes no file, changes none, and knows by itself what it has
// learned.
func TestReadOnly(t *testing.T) {
	b := newBed(t)
	look := func() *Memory { return b.open(func(o *Options) { o.ReadOnly = true }) }
	m := look()
	r := Record{Version: at(0), Seal: Seal{1}}
	m.Learn("a", r)
	b.knows(m, "a", r)
	b.must(m.Flush())
	b.must(m.Close())
	if all, err := os.ReadDir(filepath.Dir(b.path)); err != nil || len(all) != 0 {
		t.Fatalf("it made %v, %v", all, err)
	}
	w := b.open()
	w.Learn("b", r)
	b.must(w.Close())
	before, err := os.ReadFile(b.path)
	b.must(err)
	b.now = b.now.Add(48 * time.Hour)
	m = look()
	b.knows(m, "a", Record{})
	b.knows(m, "b", r)
	m.Learn("b", Record{Version: at(1)})
	b.must(m.Close())
	after, err := os.ReadFile(b.path)
	b.must(err)
	if !bytes.Equal(before, after) {
		t.Error("the file has changed")
	}
}

// TestInMemory: without a file all is known until it is closed, in bounded space.
func TestInMemory(t *testing.T) {
	b := newBed(t)
	m := b.open(func(o *Options) { o.Path = "" })
	for i := range most + 100 {
		m.Learn(fmt.Sprint(i), Record{Version: at(0)})
	}
	if s := m.Stats(); s.Records != most || s.Forgotten != 100 {
		t.Errorf("%+v", s)
	}
}

// TestBound: the file stays under what it may take, and what was used longest
// ago goes, tombstones like the rest.
func TestBound(t *testing.T) {
	b := newBed(t)
	m := b.open(func(o *Options) { o.Bytes = LeastBytes })
	limit := m.Stats().Limit
	fill := func(name string, n int) {
		for i := range n {
			m.Learn(fmt.Sprint(name, i), Record{Version: at(0), Gone: i%2 == 0})
			if i%batch == batch-1 {
				b.must(m.Flush())
			}
		}
		b.must(m.Flush())
	}
	known := func(name string, n int) (found int) {
		for i := range n {
			if r, err := m.Get(fmt.Sprint(name, i)); err != nil {
				t.Fatal(err)
			} else if r.Known() {
				found++
			}
		}
		return found
	}
	fill("old", limit/2)
	b.now = b.now.Add(24 * time.Hour)
	fill("used", limit/4)
	b.now = b.now.Add(24 * time.Hour)
	if n := known("old", limit/8); n != limit/8 { // which uses them
		t.Fatalf("%d of %d", n, limit/8)
	}
	b.must(m.Flush())
	fill("new", limit/2)
	if n := known("used", limit/4); n != limit/4 {
		t.Errorf("%d of %d that were used later", n, limit/4)
	}
	if n := known("old", limit/8); n != limit/8 {
		t.Errorf("%d of %d that were used today", n, limit/8)
	}
	if n := known("new", limit/2); n != limit/2 {
		t.Errorf("%d of %d new ones", n, limit/2)
	}
	fill("more", 2*limit)
	s := m.Stats()
	if s.Records > limit || s.Records < limit*9/10 || int(s.Forgotten) < 2*limit {
		t.Errorf("%+v", s)
	}
	info, err := os.Stat(b.path)
	b.must(err)
	if info.Size() > LeastBytes {
		t.Errorf("the file takes %d bytes of %d", info.Size(), LeastBytes)
	}
	if len(b.said.AllEntries()) > 0 {
		t.Errorf("said %q", b.said.LastEntry().Message)
	}
}

// TestDamage: a file that is cut, overwritten or none at all is set aside with
// one warning; the memory goes on, with nothing or with what it can prove.
func TestDamage(t *testing.T) {
	b := newBed(t)
	m := b.open()
	for i := range 2000 {
		m.Learn(fmt.Sprint(i), Record{Version: at(0), Seal: Seal{byte(i)}})
	}
	b.must(m.Close())
	good, err := os.ReadFile(b.path)
	b.must(err)
	damage := map[string]func() []byte{
		"none of ours": func() []byte { return bytes.Repeat([]byte("nothing of the kind\n"), 5000) },
		"a few bytes":  func() []byte { return good[:100] },
		"cut":          func() []byte { return good[:len(good)/2] },
		"cut short":    func() []byte { return good[:3*4096] },
	}
	for i := 0; i < 26; i += 2 {
		damage[fmt.Sprint("bits of page ", i)] = func() []byte {
			bad := bytes.Clone(good)
			for off := i * 4096; off < min(len(bad), (i+1)*4096); off += 7 {
				bad[off] ^= 0x55
			}
			return bad
		}
	}
	for name, make := range damage {
		t.Run(name, func(t *testing.T) {
			b.said.Reset()
			b.must(os.WriteFile(b.path, make(), 0o600))
			m := b.open()
			for i := range 2000 {
				want := Record{Version: at(0), Seal: Seal{byte(i)}}
				if r, err := m.Get(fmt.Sprint(i)); err != nil || r.Known() && r != want {
					t.Fatalf("%d: %+v, %v", i, r, err)
				}
			}
			r := Record{Version: at(1)}
			m.Learn("new", r)
			if err := m.Flush(); err != nil {
				t.Fatal(err)
			}
			b.must(m.Close())
			b.knows(b.open(), "new", r)
			if n := len(b.said.AllEntries()); n > 1 {
				t.Errorf("%d lines of the log: %s", n, b.said.LastEntry().Message)
			} else if n == 1 && !strings.Contains(b.said.LastEntry().Message, "set aside") {
				t.Errorf("said %q", b.said.LastEntry().Message)
			}
		})
	}
}

// TestDamagedRecord: a bit in a record is not taken for another version.
func TestDamagedRecord(t *testing.T) {
	b := newBed(t)
	m := b.open()
	seal := Seal{0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe}
	m.Learn("a", Record{Version: at(0), Seal: seal})
	b.must(m.Close())
	bad, err := os.ReadFile(b.path)
	b.must(err)
	for i := bytes.Index(bad, seal[:]); i >= 0; i = bytes.Index(bad, seal[:]) {
		bad[i] ^= 1
	}
	b.must(os.WriteFile(b.path, bad, 0o600))
	b.knows(b.open(), "a", Record{})
	if len(b.said.AllEntries()) != 1 {
		t.Errorf("%d lines of the log", len(b.said.AllEntries()))
	}
	if _, err := os.Stat(b.path + damagedSuffix); err != nil {
		t.Error(err)
	}
}

// TestTurns: processes that need the file all the time have it in turns.
func TestTurns(t *testing.T) {
	b := newBed(t)
	busy := b.open()
	busy.Learn("a", Record{Version: at(0)})
	b.must(busy.Flush())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := busy.Get("a"); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	began := time.Now()
	for i := range 3 {
		other := b.open()
		other.Learn(fmt.Sprint("other", i), Record{Version: at(0)})
		b.must(other.Close())
	}
	close(stop)
	wg.Wait()
	if took := time.Since(began); took > 3*lockTime {
		t.Errorf("three turns took %s", took)
	}
	b.knows(busy, "other2", Record{Version: at(0)})
}

// TestHeld: where another process is stopped with the file in its hands, one
// lookup waits for it and the others do not; it is used again once it is given.
func TestHeld(t *testing.T) {
	b := newBed(t)
	m := b.open(func(o *Options) { o.lockTime = 200 * time.Millisecond })
	r := Record{Version: at(0), Seal: Seal{1}}
	m.Learn("a", r)
	b.must(m.Flush())
	m.file.shut()
	stopped, err := os.Open(b.path)
	b.must(err)
	defer stopped.Close()
	b.must(unix.Flock(int(stopped.Fd()), unix.LOCK_EX))
	began := time.Now()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := m.Get("a"); err == nil {
				t.Error("it was asked")
			}
		})
	}
	wg.Wait()
	m.Learn("b", r)
	b.knowsAnyway(m, "b", r)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("51 lookups took %s", took)
	}
	if m.Stats().Err == nil {
		t.Error("no trouble is told of")
	}
	b.must(stopped.Close())
	for err = m.Flush(); err != nil && time.Since(began) < time.Minute; err = m.Flush() {
		<-time.After(time.Millisecond)
	}
	b.knows(m, "a", r)
	b.knows(m, "b", r)
	if n := len(b.said.AllEntries()); n != 1 {
		t.Errorf("%d lines of the log", n)
	}
}

// knowsAnyway: what this process was told, though the file cannot be asked.
func (b *bed) knowsAnyway(m *Memory, key string, want Record) {
	b.t.Helper()
	if got, err := m.Get(key); err == nil || got != want {
		b.t.Errorf("%s: %+v, %v; want %+v", key, got, err, want)
	}
}

// TestUnwritable: where the file cannot be, the memory works without, says so
// once, and forgets beyond its bound.
func TestUnwritable(t *testing.T) {
	b := newBed(t)
	m := b.open(func(o *Options) { o.Path = filepath.Join(filepath.Dir(b.path), "none", "file") })
	r := Record{Version: at(0)}
	for i := range most + 10 {
		m.Learn(fmt.Sprint(i), r)
	}
	if got, err := m.Get(fmt.Sprint(most + 9)); err == nil || got != r {
		t.Errorf("%+v, %v", got, err)
	}
	if err := m.Flush(); err == nil {
		t.Error("flushed to nowhere")
	}
	s := m.Stats()
	if s.Err == nil || s.Forgotten == 0 {
		t.Errorf("%+v", s)
	}
	if n := len(b.said.AllEntries()); n != 1 {
		t.Errorf("%d lines of the log", n)
	}
	if err := m.Close(); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("closed: %v", err)
	}
}

// TestFullDisk: a disk that is full costs no knowledge that is on it, and none that
// there is room for in memory; it is said once, Stats has it, and what had to be
// forgotten is counted. Once there is room again all is written.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a disk of its own: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	b := newBed(t)
	b.opt.Path, b.opt.noSync = filepath.Join(dir, "versions.db"), false
	filler := filepath.Join(dir, "filler")
	fill := func() { _ = os.WriteFile(filler, make([]byte, 4<<20), 0o600) } // as far as it goes

	fill()
	m := b.open()
	r := Record{Version: at(0)}
	m.Learn("before there was a file", r)
	if err := m.Flush(); err == nil || errors.Is(err, ErrDamaged) || m.Stats().Err == nil {
		t.Errorf("made on a full disk: %v, %+v", err, m.Stats())
	}
	b.must(os.Remove(filler))
	for i := range 2000 {
		m.Learn(fmt.Sprint("old-", i), r)
	}
	b.must(m.Flush())
	b.knows(m, "before there was a file", r)
	if s := m.Stats(); s.Err != nil {
		t.Errorf("%+v", s)
	}

	fill()
	for i := range most {
		m.Learn(fmt.Sprint("new-", i), r)
	}
	if err := m.Flush(); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("flushed: %v", err)
	}
	for i := range 10 {
		m.Learn(fmt.Sprint("newest-", i), r)
	}
	for i := range 2000 {
		b.knows(m, fmt.Sprint("old-", i), r)
	}
	b.knows(m, "newest-9", r)
	if s := m.Stats(); !errors.Is(s.Err, unix.ENOSPC) || s.Forgotten > 10 {
		t.Errorf("%+v", s)
	}
	b.must(os.Remove(filler))
	b.must(unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"))
	b.must(m.Flush())
	if s := m.Stats(); s.Err != nil || s.Records+int(s.Forgotten) != 2001+most+10 { // some are spared if a try is under way
		t.Errorf("%+v", s)
	}
	b.must(m.Close())
	m = b.open()
	b.knows(m, "old-1999", r)
	b.knows(m, "newest-9", r)
	b.must(m.Close())
	for _, e := range b.said.AllEntries() {
		if !strings.Contains(e.Message, "cannot be used now") {
			t.Errorf("said %q", e.Message)
		}
	}
	if n := len(b.said.AllEntries()); n != 2 {
		t.Errorf("%d lines of the log", n)
	}
}

// BenchmarkKnown: a lookup of a known object writes nothing.
func BenchmarkKnown(b *testing.B) {
	bd := newBed(b)
	m := bd.open()
	for i := range 100_000 {
		m.Learn(fmt.Sprint("dir/file-", i), Record{Version: at(0)})
	}
	bd.must(m.Flush())
	before, err := os.Stat(bd.path)
	bd.must(err)
	i := 0
	for b.Loop() {
		if r, err := m.Get(fmt.Sprint("dir/file-", i%100_000)); err != nil || !r.Known() {
			b.Fatal(r, err)
		}
		i++
	}
	after, err := os.Stat(bd.path)
	bd.must(err)
	if !after.ModTime().Equal(before.ModTime()) {
		b.Error("the file was written")
	}
}
