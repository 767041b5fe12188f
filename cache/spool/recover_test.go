package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// leave makes a spool with one file of n blocks, block i being all i+1, and
// abandons it as a clean unmount would.
func leave(t testing.TB, dir string, key *[32]byte, n int) (id string) {
	t.Helper()
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, 0)
	must(t, f.SetMeta([]byte("secret-name")))
	for i := range n {
		must(t, f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, BlockSize), int64(i)*BlockSize, nil))
	}
	must(t, s.Close())
	return f.ID()
}

func TestRecoverAfterClose(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, 10)
	must(t, f.WriteAt([]byte("hello"), 5, fromBytes([]byte("0123456789"))))
	must(t, f.SetMeta([]byte("what it is")))
	if _, err := Recover(dir, key); !errors.Is(err, ErrBusy) {
		t.Fatalf("recover of a living spool: %v", err)
	}
	must(t, s.Close())
	if _, err := Open(dir, Options{Key: newKey()}); !errors.Is(err, ErrLeftover) {
		t.Fatalf("open of a spool with data: %v", err)
	}
	if rec, err := ReadKeyRecord(dir); err != nil || string(rec) != "wrapped" {
		t.Fatalf("key record %q, %v", rec, err)
	}
	r, err := Recover(dir, key)
	must(t, err)
	l, err := r.Open(f.ID())
	must(t, err)
	if got, err := readAll(l, nil); err != nil || string(got) != "01234hello" {
		t.Fatalf("content %q, %v", got, err)
	}
	if meta, err := l.Meta(); err != nil || string(meta) != "what it is" {
		t.Fatalf("meta %q, %v", meta, err)
	}
	if len(l.Damage()) > 0 {
		t.Fatalf("damage: %v", l.Damage())
	}
	must(t, l.Close())
	must(t, r.Remove(f.ID()))
	must(t, r.Close())
	s, err = Open(dir, Options{Key: newKey()})
	must(t, err)
	must(t, s.Close())
}

func TestWrongKeyReadsNothing(t *testing.T) {
	dir := t.TempDir() + "/s"
	id := leave(t, dir, newKey(), 2)
	l := openLeft(t, dir, newKey(), id)
	defer l.Close()
	if _, err := l.Meta(); !errors.Is(err, ErrDamaged) {
		t.Errorf("meta: %v", err)
	}
	if len(l.Damage()) == 0 {
		t.Error("no damage reported")
	}
	if _, err := l.ReadAt(make([]byte, 1), 0, nil); err == nil {
		t.Error("something was read")
	}
}

// TestDamageIsNeverData changes what is on disk at random: every block reads
// as it was or not at all.
func TestDamageIsNeverData(t *testing.T) {
	const n = 4
	key := newKey()
	orig := t.TempDir() + "/s"
	id := leave(t, orig, key, n)
	rapid.Check(t, func(t *rapid.T) {
		tmp, err := os.MkdirTemp("", "spool")
		must2(t, err)
		defer os.RemoveAll(tmp)
		dir := filepath.Join(tmp, "s")
		must2(t, os.CopyFS(dir, os.DirFS(orig)))
		path := filepath.Join(dir, id+rapid.SampledFrom([]string{dataExt, dataExt, logExt, metaExt}).Draw(t, "file"))
		b, err := os.ReadFile(path)
		must2(t, err)
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		switch rapid.SampledFrom([]string{"flip", "cut", "zero", "garbage", "swap", "gone"}).Draw(t, "how") {
		case "flip":
			b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "cut":
			b = b[:at]
		case "zero":
			clear(b[at:min(len(b), at+rapid.IntRange(1, slotSize).Draw(t, "n"))])
		case "garbage":
			for i := at; i < min(len(b), at+100); i++ {
				b[i] ^= 0x55
			}
		case "swap":
			if len(b) > 2*slotSize {
				tmp := bytes.Clone(b[:slotSize])
				copy(b, b[slotSize:2*slotSize])
				copy(b[slotSize:], tmp)
			}
		case "gone":
			b = nil
		}
		must2(t, os.WriteFile(path, b, 0o600))

		l := openLeft(t, dir, key, id)
		defer l.Close()
		noBase := func(int64, []byte) error { return errors.New("no base was there") }
		for i := range int64(n) {
			p := make([]byte, BlockSize)
			_, err := l.ReadAt(p, i*BlockSize, noBase)
			if err == nil && !bytes.Equal(p, bytes.Repeat([]byte{byte(i + 1)}, BlockSize)) {
				t.Fatalf("block %d reads as %d...", i, p[0])
			}
			if err != nil && len(l.Damage()) == 0 {
				t.Fatalf("block %d: %v, and no damage told", i, err)
			}
		}
		if meta, err := l.Meta(); err == nil && meta != nil && string(meta) != "secret-name" {
			t.Fatalf("meta is %q", meta)
		}
	})
}

func must2(t rapid.TB, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// The live file refuses damage too, and names the place.
func TestLiveDamage(t *testing.T) {
	dir := t.TempDir() + "/s"
	s := mustOpen(t, dir, newKey(), 1<<30)
	defer s.Close()
	f := mustFile(t, s, 0)
	must(t, f.WriteAt(bytes.Repeat([]byte{1}, 2*BlockSize), 0, nil))
	path := filepath.Join(dir, f.ID()+dataExt)
	b, err := os.ReadFile(path)
	must(t, err)
	b[10] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	p := make([]byte, BlockSize)
	if _, err := f.ReadAt(p, 0, nil); !errors.Is(err, ErrDamaged) || !bytes.Equal(p, make([]byte, BlockSize)) {
		t.Fatalf("damaged block: %v, first byte %d", err, p[0])
	}
	if _, err := f.ReadAt(p, BlockSize, nil); err != nil {
		t.Fatalf("the other block: %v", err)
	}
	if err := f.WriteAt([]byte("x"), 3, nil); !errors.Is(err, ErrDamaged) {
		t.Fatalf("partial write into a damaged block: %v", err)
	}
	must(t, f.WriteAt(p, 0, nil))
	copy(b, b[slotSize:]) // a slot in the place of another
	must(t, os.WriteFile(path, b, 0o600))
	must(t, f.Truncate(0))
}

func TestNothingReadableOnDisk(t *testing.T) {
	dir := t.TempDir() + "/s"
	const marker = "PLAINTEXT-MARKER"
	key := newKey()
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, 0)
	must(t, f.SetMeta([]byte(marker)))
	must(t, f.WriteAt(bytes.Repeat([]byte(marker), 3*BlockSize/len(marker)+1), 100, nil))
	snap, err := f.Snapshot()
	must(t, err)
	must(t, f.WriteAt([]byte(marker), 5, nil))
	must(t, f.Truncate(2*BlockSize))
	snap.Release()
	for _, v := range []any{s, f, snap} {
		if out := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(out, fmt.Sprint(key[:])[1:]) || strings.Contains(out, marker) {
			t.Errorf("%T prints secrets", v)
		}
	}
	must(t, s.Close())
	files := 0
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		st, err := d.Info()
		must(t, err)
		if d.IsDir() {
			if st.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v", path, st.Mode())
			}
			return nil
		}
		files++
		b, err := os.ReadFile(path)
		must(t, err)
		if st.Mode().Perm() != 0o600 || bytes.Contains(b, []byte(marker[:8])) || bytes.Contains(b, key[:]) {
			t.Errorf("%s: mode %v, or something readable", path, st.Mode())
		}
		return nil
	}))
	if files != 4 {
		t.Errorf("%d files, want key, data, log and meta", files)
	}
}

func TestUnsafeDirectories(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, dir string)
	}{
		{"link", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"2", 0o700))
			must(t, os.Symlink(dir+"2", dir))
		}},
		{"file", func(t *testing.T, dir string) { must(t, os.WriteFile(dir, nil, 0o600)) }},
		{"readable", func(t *testing.T, dir string) { must(t, os.Mkdir(dir, 0o700)); must(t, os.Chmod(dir, 0o750)) }},
		{"foreign", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o700))
			if err := os.Chown(dir, 12345, 0); err != nil {
				t.Skip("needs root")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir() + "/s"
			tt.make(t, dir)
			if _, err := Open(dir, Options{Key: newKey()}); !errors.Is(err, ErrUnsafe) {
				t.Fatalf("open: %v", err)
			}
			if _, err := Recover(dir, newKey()); !errors.Is(err, ErrUnsafe) {
				t.Fatalf("recover: %v", err)
			}
		})
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	id := leave(t, dir, key, 1)
	victim := filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, []byte("keep"), 0o600))
	for _, name := range []string{id + dataExt, id + logExt, id + metaExt} {
		path := filepath.Join(dir, name)
		must(t, os.Rename(path, path+"~"))
		must(t, os.Symlink(victim, path))
		r, err := Recover(dir, key)
		must(t, err)
		if _, err := r.Open(id); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s as a link: %v", name, err)
		}
		must(t, r.Close())
		must(t, os.Rename(path+"~", path))
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "keep" {
		t.Errorf("victim: %q, %v", b, err)
	}
}

func TestReadOnlyOrRemovedDirectory(t *testing.T) {
	dir := t.TempDir() + "/s"
	s := mustOpen(t, dir, newKey(), 1<<30)
	defer s.Close()
	f := mustFile(t, s, 0)
	must(t, f.WriteAt([]byte("before"), 0, nil))
	must(t, os.RemoveAll(dir))
	if err := mustFile(t, s, 0).WriteAt([]byte("x"), 0, nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("new file in a removed directory: %v", err)
	}
	must(t, f.WriteAt(make([]byte, BlockSize), BlockSize, nil))
	if got, err := readAll(f, nil); err != nil || string(got[:6]) != "before" {
		t.Errorf("%q, %v", got[:6], err)
	}
}

func TestLogIsBounded(t *testing.T) {
	dir, key := t.TempDir()+"/s", newKey()
	s := mustOpen(t, dir, key, 1<<30)
	f := mustFile(t, s, 0)
	must(t, f.WriteAt(bytes.Repeat([]byte{7}, 3*BlockSize), 0, nil))
	for i := range 10 * journalMin {
		must(t, f.Truncate(int64(2*BlockSize+i)))
	}
	if n := f.log.records; n > 2*journalMin {
		t.Errorf("%d records", n)
	}
	want, err := readAll(f, nil)
	must(t, err)
	must(t, s.Close())
	l := openLeft(t, dir, key, f.ID())
	defer l.Close()
	if got, err := readAll(l, nil); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("recovered content differs (%v, %d of %d bytes)", err, len(got), len(want))
	}
}

func TestConcurrentUse(t *testing.T) {
	s := mustOpen(t, t.TempDir()+"/s", newKey(), 1<<30)
	f := mustFile(t, s, 8*BlockSize)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			p := bytes.Repeat([]byte{byte(w + 1)}, 5000)
			for i := range 60 {
				must(t, f.WriteAt(p, int64(w*2*BlockSize+i*1500), fromZero))
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			snap, err := f.Snapshot()
			must(t, err)
			_, err = readAll(snap, fromZero)
			must(t, err)
			must(t, f.MarkSent(snap, 0, snap.Size()))
			must(t, f.Settle(snap))
			_, err = readAll(snap, fromZero)
			must(t, err)
			snap.Release()
			must(t, f.Sync())
		}
	})
	wg.Go(func() {
		for range 50 {
			_, err := readAll(f, fromZero)
			must(t, err)
			f.Extent(0)
			f.Dirty()
		}
	})
	wg.Wait()
	consistent(t, f)
	must(t, f.Remove())
	must(t, s.Close())
	if err := f.WriteAt([]byte("x"), 0, nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// A commit during a slow fill: the write must not put old bytes over new.
func TestFillThatWasOvertaken(t *testing.T) {
	s := mustOpen(t, t.TempDir()+"/s", newKey(), 1<<30)
	defer s.Close()
	f := mustFile(t, s, BlockSize)
	calls := 0
	fill := func(_ int64, p []byte) error {
		if calls++; calls > 1 {
			copy(p, bytes.Repeat([]byte("n"), len(p)))
			return nil
		}
		copy(p, bytes.Repeat([]byte("o"), len(p)))
		must(t, f.WriteAt(bytes.Repeat([]byte("n"), BlockSize), 0, nil))
		snap, err := f.Snapshot()
		must(t, err)
		defer snap.Release()
		must(t, f.Settle(snap))
		return nil
	}
	must(t, f.WriteAt([]byte("x"), 1, fill))
	got := make([]byte, 3)
	if _, err := f.ReadAt(got, 0, nil); err != nil || string(got) != "nxn" || calls != 2 {
		t.Fatalf("%q after %d fills, %v", got, calls, err)
	}
}

func FuzzParse(f *testing.F) {
	key := newKey()
	seal, err := newSealer(key, fileID{1})
	must(f, err)
	slot := make([]byte, slotUsed)
	seal.block(slot, make([]byte, BlockSize), 3, 9, 1000)
	f.Add(slot[BlockSize+tagSize:])
	f.Add(seal.meta([]byte("meta"), 10, 5))
	f.Add(seal.event(event{op: opTruncate, a: 1, size: 5}, 11))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHeader(b); err == nil {
			out := make([]byte, headSize)
			h.put(out)
			if !bytes.Equal(out, b) {
				t.Fatalf("%x parses, and is written as %x", b, out)
			}
		}
		if _, h, err := seal.openMeta(b); err == nil && h.seq != 10 {
			t.Fatal("forged meta record")
		}
		if _, seq, err := seal.openEvent(b); err == nil && seq != 11 {
			t.Fatal("forged log record")
		}
		if id, ok := parseName(string(b)); ok && !strings.HasPrefix(string(b), id.String()+".") {
			t.Fatalf("%q names %s", b, id)
		}
	})
}

func FuzzSizes(f *testing.F) {
	f.Add(int64(0), int64(0))
	f.Add(int64(BlockSize-1), int64(BlockSize+2))
	f.Fuzz(func(t *testing.T, off, n int64) {
		if off < 0 || n < 0 || off > MaxSize-n {
			return
		}
		from, to := inner(off, n)
		if from > to || from < to && (from*BlockSize < off || to*BlockSize > off+n) {
			t.Fatalf("blocks [%d, %d) of %d bytes at %d", from, to, n, off)
		}
		if b := blocks(off); b*BlockSize < off || (b-1)*BlockSize >= off && b > 0 {
			t.Fatalf("%d bytes are %d blocks", off, b)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := mustOpen(b, b.TempDir()+"/s", newKey(), 1<<40)
			defer s.Close()
			f := mustFile(b, s, 0)
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				// Wrapping round keeps the test's disk use at 64 MiB.
				must(b, f.WriteAt(p, int64(i)*int64(size)%(64<<20), nil))
			}
			must(b, f.Remove())
		})
	}
}
