package disk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const plenty = 1 << 40

// options are of a cache of 64 MiB on a disk that is never full.
func options() disk.Options {
	return disk.Options{Key: [disk.KeySize]byte{1, 2, 3}, Size: 64 << 20}.WithFree(func() int64 { return plenty })
}

// mounted is a cache and the directory that it is in.
type mounted struct {
	*disk.Cache
	t   *testing.T
	dir *disk.Dir

	mu       sync.Mutex // guards troubles
	troubles []error
}

func mount(t *testing.T, path string, opt disk.Options) *mounted {
	t.Helper()
	dir, err := disk.Claim(t.Context(), path, "a test", 0)
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{t: t, dir: dir}
	opt.Report = func(err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.troubles = append(m.troubles, err)
	}
	if m.Cache, err = disk.Open(dir, opt); err != nil {
		_ = dir.Close()
		t.Fatal(err)
	}
	t.Cleanup(m.end)
	return m
}

// end closes both; twice is no error.
func (m *mounted) end() {
	if m.dir == nil {
		return
	}
	if err := errors.Join(m.Close(), m.dir.Close()); err != nil {
		m.t.Error(err)
	}
	m.dir = nil
}

func (m *mounted) reports() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.troubles
}

// again ends the mount and begins the next.
func (m *mounted) again(opt disk.Options) *mounted {
	m.t.Helper()
	path := m.dir.Path()
	m.end()
	return mount(m.t, path, opt)
}

func sealed(name string, size int64) cache.Body {
	return cache.Body{ID: cache.ID{Body: name, KeyID: "epoch-1"}, Size: size, Block: cache.MaxBlock}
}

func inClear(name string, size int64) cache.Body {
	return cache.Body{ID: cache.ID{Body: name, KeyID: "arn:aws:kms:key/1"}, Size: size, Block: 64 << 10, Clear: true}
}

// content is what block index of b holds: made of its name, so that the same
// body always has the same.
func content(b cache.Body, index int64) []byte {
	p := make([]byte, min(b.Block, b.Size-index*b.Block))
	seed := sha256.Sum256(fmt.Appendf(nil, "%d %+v", index, b))
	_, _ = rand.NewChaCha8(seed).Read(p)
	return p
}

func blocksOf(b cache.Body) int64 { return (b.Size + b.Block - 1) / b.Block }

// put puts blocks [from, to) of b and waits until they are written.
func (m *mounted) put(b cache.Body, from, to int64) {
	for i := from; i < to; i++ {
		m.Put(b, i, content(b, i))
		if i%16 == 15 {
			m.Flush()
		}
	}
	m.Flush()
}

// has tells how many of blocks [from, to) are there; a wrong byte is an error.
func (m *mounted) has(b cache.Body, from, to int64) (n int) {
	m.t.Helper()
	for i := from; i < to; i++ {
		want := content(b, i)
		p := make([]byte, len(want))
		if m.Get(b, i, p) {
			n++
			if !bytes.Equal(p, want) {
				m.t.Errorf("block %d of %s has other bytes", i, b.ID.Body)
			}
		}
	}
	return n
}

func TestRestart(t *testing.T) {
	bodies := []cache.Body{
		sealed("large", 40*cache.MaxBlock+100), inClear("large, in the clear", 33*64<<10+1),
		sealed("one byte", 1), inClear("one byte, in the clear", 1), inClear("a block", 64<<10),
		{ID: cache.ID{Body: "small blocks"}, Size: 1000, Block: 10},
	}
	path := filepath.Join(t.TempDir(), "made", "here")
	m := mount(t, path, options())
	for _, b := range bodies {
		if n := m.has(b, 0, blocksOf(b)); n != 0 {
			t.Errorf("%s: %d blocks before any was put", b.ID.Body, n)
		}
		m.put(b, 0, blocksOf(b))
	}
	for round := range 3 {
		for _, b := range bodies {
			if n := m.has(b, 0, blocksOf(b)); n != int(blocksOf(b)) {
				t.Errorf("round %d: %s: %d of %d blocks", round, b.ID.Body, n, blocksOf(b))
			}
		}
		m = m.again(options())
	}
	if len(m.reports()) > 0 {
		t.Error(m.reports())
	}
}

// A body is all that is said of it: what differs in anything is another one.
func TestOtherBodies(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	b := inClear("body", 3*64<<10)
	m.put(b, 0, 3)
	for _, change := range []func(*cache.Body){
		func(b *cache.Body) { b.ID.Body = "bodz" },
		func(b *cache.Body) { b.ID.Body, b.ID.KeyID = "bodya", b.ID.KeyID[1:] },
		func(b *cache.Body) { b.ID.KeyID = "" },
		func(b *cache.Body) { b.Size += 64 << 10 },
		func(b *cache.Body) { b.Clear = false },
		func(b *cache.Body) { b.Block, b.Size = 64<<10+1, 3*(64<<10+1) },
	} {
		other := b
		change(&other)
		if m.Get(other, 0, make([]byte, other.Block)) {
			t.Errorf("%+v gives a block of %+v", other, b)
		}
	}
	for _, tt := range []struct {
		index int64
		n     int
	}{{-1, 64 << 10}, {3, 64 << 10}, {1 << 60, 64 << 10}, {0, 100}, {0, 64<<10 + 1}, {0, 0}} {
		m.Put(b, tt.index, make([]byte, tt.n))
		if m.Get(b, tt.index, make([]byte, tt.n)) {
			t.Errorf("block %d of %d bytes is there", tt.index, tt.n)
		}
	}
	for _, odd := range []cache.Body{{}, {Size: 1}, {Block: 1}, {Size: 1, Block: -1}, {Size: -1, Block: 1}, {Size: 1 << 62, Block: 1 << 40}, {Size: 1 << 62, Block: 1}} {
		m.Put(odd, 1<<61, []byte{1})
		m.Drop(odd)
	}
	m.Flush()
	if n := m.has(b, 0, 3); n != 3 {
		t.Errorf("%d blocks are left", n)
	}
}

// Nothing of what is in the clear, and no name, is in the files. That what is
// searched for is found where it is, a control shows.
func TestNothingReadable(t *testing.T) {
	path := t.TempDir()
	m := mount(t, path, options())
	secret := []byte("the-plaintext-that-nobody-may-find")
	b := cache.Body{ID: cache.ID{Body: "name-of-the-file", KeyID: "id-of-the-key"}, Size: 64 << 10, Block: 64 << 10, Clear: true}
	m.Put(b, 0, bytes.Repeat(secret, 3000)[:64<<10])
	control := []byte("ciphertext that arrived as such")
	open := cache.Body{ID: cache.ID{Body: "name-of-the-file", KeyID: "id-of-the-key"}, Size: int64(len(control)), Block: cache.MaxBlock}
	m.Put(open, 0, control)
	m.Flush()
	if m.has(b, 1, 1) != 0 || !m.Get(b, 0, make([]byte, 64<<10)) {
		t.Fatal("the block is not there")
	}
	m.end()
	key := options().Key
	all := everything(t, path)
	if !bytes.Contains(all, control) {
		t.Error("the control is not found: the search is wrong")
	}
	for _, s := range [][]byte{secret, secret[:12], []byte("name-of-the-file"), []byte("id-of-the-key"), key[:], make([]byte, 0)} {
		for _, form := range []string{string(s), hex.EncodeToString(s), base64.StdEncoding.EncodeToString(s)} {
			if form != "" && bytes.Contains(all, []byte(form)) {
				t.Errorf("%q is in the files", form)
			}
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", m.Cache, m.Cache, m.Cache, m.Cache); strings.Contains(text, string(key[:8])) || len(text) > 1000 {
		t.Errorf("it prints as %.200q", text)
	}
}

// everything is what lies in a directory, names too.
func everything(t *testing.T, path string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 && p != path {
			t.Errorf("%s: mode %v, %v", p, info.Mode(), err)
		}
		all = append(all, p...)
		if e.Type().IsRegular() {
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			all = append(all, content...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Equal plaintext is not equal on disk: neither in two bodies nor the same
// block put again.
func TestSealedAnew(t *testing.T) {
	path := t.TempDir()
	m := mount(t, path, options())
	b, zeros := inClear("a", 64<<10), make([]byte, 64<<10)
	m.Put(b, 0, zeros)
	m.Put(inClear("b", 64<<10), 0, zeros)
	m.Flush()
	first, second := stored(t, path, 0), stored(t, path, 1)
	if bytes.Equal(first[12:], second[12:]) {
		t.Error("two bodies are sealed alike")
	}
	m.Drop(b)
	m.Put(b, 0, zeros)
	m.Flush()
	if bytes.Equal(first[12:], stored(t, path, 0)[12:]) {
		t.Error("the block is sealed as before")
	}
}

func stored(t *testing.T, path string, slot int64) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(path, "sigilfs.blocks"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 64<<10)
	if _, err := f.ReadAt(p, slot*disk.Stride); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDrop(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	a, b := sealed("a", 40*cache.MaxBlock), sealed("b", cache.MaxBlock)
	huge := sealed("huge", 1<<50) // has more extents than there are slots
	other := inClear("c", 64<<10)
	fill := func() {
		m.put(a, 0, 40)
		m.put(b, 0, 1)
		m.put(huge, 1<<30, 1<<30+1)
		m.put(other, 0, 1)
	}
	count := func() string {
		return fmt.Sprint(m.has(a, 0, 40), m.has(b, 0, 1), m.has(huge, 1<<30, 1<<30+1), m.has(other, 0, 1))
	}
	fill()
	if got := count(); got != "40 1 1 1" {
		t.Fatal(got)
	}
	m.Drop(a)
	if got := count(); got != "0 1 1 1" {
		t.Error("after Drop:", got)
	}
	m.Drop(huge)
	if got := count(); got != "0 1 0 1" {
		t.Error("after Drop of a huge body:", got)
	}
	fill()
	m.DropKey("epoch-1")
	if got := count(); got != "0 0 0 1" {
		t.Error("after DropKey:", got)
	}
	m = m.again(options())
	if s := m.Stats(); s.Extents != 1 || s.Bytes != 68<<10 {
		t.Errorf("after DropKey and a restart: %+v", s)
	}
	if got := count(); got != "0 0 0 1" {
		t.Error("after DropKey and a restart:", got)
	}
	fill()
	if got := count(); got != "40 1 1 1" {
		t.Error("filled again:", got)
	}
}

// What was queued when its key was dropped is not kept.
func TestDropKeyQueued(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	for round := range 50 {
		b := inClear(fmt.Sprint(round), 64<<10)
		m.Put(b, 0, content(b, 0))
		m.DropKey(b.ID.KeyID)
		m.Flush()
		if m.has(b, 0, 1) != 0 {
			t.Fatal("it was kept")
		}
	}
}

// A directory serves volumes in turn. None sees the other's blocks; those stay
// until the space is needed, and go first.
func TestOtherKey(t *testing.T) {
	mine, theirs := options(), options()
	theirs.Key[0]++
	a, b := inClear("a", 16*64<<10), inClear("b", 16*64<<10)
	m := mount(t, t.TempDir(), mine)
	m.put(a, 0, 16)
	m = m.again(theirs)
	if n := m.has(a, 0, 16); n != 0 {
		t.Errorf("%d blocks under another key", n)
	}
	m.DropKey(a.ID.KeyID) // of this volume: says nothing about the other's
	m.put(b, 0, 16)
	m = m.again(mine)
	if n := m.has(a, 0, 16); n != 16 {
		t.Errorf("%d of 16 blocks are left", n)
	}
	for i := range 62 {
		m.put(inClear(fmt.Sprint(i), 16*64<<10), 0, 16)
	}
	if n := m.has(a, 0, 16); n != 16 {
		t.Errorf("%d of 16 blocks are left where the other's could go", n)
	}
	m = m.again(theirs)
	if n := m.has(b, 0, 16); n != 0 {
		t.Errorf("%d blocks of the other key are left, and should have gone first", n)
	}
}

func TestClosed(t *testing.T) {
	m := mount(t, t.TempDir(), options())
	b := sealed("a", cache.MaxBlock)
	m.Put(b, 0, content(b, 0))
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		m.Put(b, 0, content(b, 0))
	}
	m.Drop(b)
	m.DropKey("epoch-1")
	if m.has(b, 0, 1) != 0 {
		t.Error("a closed cache gives a block")
	}
	m = m.again(options())
	if m.has(b, 0, 1) != 1 {
		t.Error("what was queued was not written at Close")
	}
}

func TestLocked(t *testing.T) {
	path := t.TempDir()
	first, err := disk.Claim(t.Context(), path, "process 7,\x1b[31m on /mnt\nand more", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = disk.Claim(t.Context(), path, "another", 0)
	var locked *disk.LockedError
	if !errors.Is(err, disk.ErrLocked) || !errors.As(err, &locked) || locked.Holder != "process 7,?[31m on /mnt" || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.Claim(ctx, path, "another", time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		second, err := disk.Claim(context.WithoutCancel(ctx), path, "another", time.Hour)
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("a lock that came free: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(path, "sigilfs.lock")); len(text) != 0 || err != nil {
		t.Errorf("nobody holds it, and it says %q (%v)", text, err)
	}
}

// A lock that was removed while somebody waited for it is nobody's: the
// directory that was made anew has its own, and one holder.
func TestLockRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	first, err := disk.Claim(t.Context(), path, "the first", 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	var released atomic.Bool
	go func() {
		second, err := disk.Claim(t.Context(), path, "the second", time.Hour)
		if err == nil && !released.Load() {
			err = errors.New("two hold the directory")
		}
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	opened(t, path, 2, got)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	third, err := disk.Claim(t.Context(), path, "the third", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	opened(t, path, 2, got) // the second is at the new one
	released.Store(true)
	if err := errors.Join(third.Close(), <-got); err != nil {
		t.Error(err)
	}
}

// opened waits until this process has the lock of a directory open n times, or
// who should have it open gives up.
func opened(t *testing.T, dir string, n int, end <-chan error) {
	t.Helper()
	for count := 0; count != n; {
		select {
		case err := <-end:
			t.Fatalf("ended early: %v", err)
		default:
		}
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		count = 0
		for _, fd := range fds {
			if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == filepath.Join(dir, "sigilfs.lock") {
				count++
			}
		}
		runtime.Gosched()
	}
}

func TestUnsafe(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes files of others")
	}
	for _, tt := range []struct {
		name string
		make func(dir string) error
	}{
		{"others may write to it", func(dir string) error { return os.Chmod(dir, 0o770) }},
		{"anybody may", func(dir string) error { return os.Chmod(dir, 0o1777) }},
		{"of somebody else", func(dir string) error { return os.Chown(dir, 12345, 0) }},
		{"a file", func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) }},
		{"the lock is a link", func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "sigilfs.lock")) }},
		{"the index is a link", func(dir string) error { return os.Symlink(dir+"/x", filepath.Join(dir, "sigilfs.index")) }},
		{"the blocks are a fifo", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "sigilfs.blocks"), 0o600) }},
		{"the index can be read by all", func(dir string) error { return os.WriteFile(filepath.Join(dir, "sigilfs.index"), nil, 0o644) }},
		{"the blocks have a second name", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/x", nil, 0o600), os.Link(dir+"/x", dir+"/sigilfs.blocks"))
		}},
		{"the index is of somebody else", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/sigilfs.index", nil, 0o600), os.Chown(dir+"/sigilfs.index", 12345, 0))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cache")
			if err := errors.Join(os.Mkdir(path, 0o700), tt.make(path)); err != nil {
				t.Fatal(err)
			}
			dir, err := disk.Claim(t.Context(), path, "a test", 0)
			if err == nil {
				defer dir.Close()
				_, err = disk.Open(dir, options())
			}
			if err == nil || !errors.Is(err, disk.ErrUnsafe) && tt.name != "a file" {
				t.Errorf("gave %v", err)
			}
		})
	}
	t.Run("a link to a directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(t.TempDir(), path); err != nil {
			t.Fatal(err)
		}
		mount(t, path, options())
	})
}

// A volume finds its own record again, whole, and nobody finds too many.
func TestKeyRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "of [a host")
	dir, err := disk.Claim(t.Context(), path, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if got, err := dir.KeyRecord("a"); got != nil || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, want := range []string{"first", "second"} {
		if err := dir.SetKeyRecord("a", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := dir.KeyRecord("a"); string(got) != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, ".sigilfs.new-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1, 0)
	all := named(t, path, "sigilfs.key-")
	if len(all) != 1 || os.Chtimes(all[0], old, old) != nil {
		t.Fatal(all)
	}
	for i := range 64 {
		if err := dir.SetKeyRecord(fmt.Sprint(i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := dir.KeyRecord("a"); got != nil || err != nil {
		t.Errorf("the oldest is still there: %q, %v", got, err)
	}
	if left := named(t, path, "."); len(left) != 0 {
		t.Errorf("%v", left)
	}
	if err := dir.SetKeyRecord("b", make([]byte, 65<<10)); err == nil {
		t.Error("a record of 65 KiB was kept")
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(path, "link")); err == nil {
		err = os.Rename(filepath.Join(path, "link"), all[0])
		if got, rerr := dir.KeyRecord("a"); err != nil || rerr == nil {
			t.Errorf("a link was followed: %q, %v", got, err)
		}
	}
}

// named is what lies in a directory under names that begin so.
func named(t *testing.T, path, begin string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), begin) {
			all = append(all, filepath.Join(path, e.Name()))
		}
	}
	return all
}

func TestRoom(t *testing.T) {
	path := tmpfs(t, "64m")
	m := mount(t, path, options())
	before, err := m.dir.Room()
	if err != nil || before.Total != 64<<20 || before.Free <= 0 || before.Free > before.Total {
		t.Fatalf("%+v, %v", before, err)
	}
	m.put(sealed("a", 16*cache.MaxBlock), 0, 16)
	after, err := m.dir.Room()
	if err != nil || after.Taken-before.Taken < 1<<20 || before.Free-after.Free < 1<<20 {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
}
