package fs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

func TestAppendersDoNotOverwrite(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "log")
	var wg sync.WaitGroup
	for _, c := range "ab" {
		f := open(t, path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
		wg.Go(func() {
			for range 200 {
				if _, err := f.WriteString(strings.Repeat(string(c), 100)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := v.content("log")
	if a, b := strings.Count(got, "a"), strings.Count(got, "b"); len(got) != 40000 || a != 20000 || b != 20000 {
		t.Fatalf("%d bytes, %d of a, %d of b; want 40000, 20000, 20000", len(got), a, b)
	}
}

// Another host may have made the file longer than the kernel thinks.
func TestAppendGoesToTheVolumesEnd(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	write(t, filepath.Join(dir, "f"), "0123456789")
	f := open(t, filepath.Join(dir, "f"), os.O_WRONLY)
	v.edit("f", func(n *inode) { n.data = append(n.data, "more"...) })
	// O_APPEND set after the open: only the flags of the write tell.
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, unix.O_APPEND)
	check(t, err)
	_, err = f.WriteString("end")
	check(t, err)
	if got := v.content("f"); got != "0123456789moreend" {
		t.Fatalf("got %q", got)
	}
}

func TestMappedPagesOfAnAppendingHandle(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "0123456789")
	help(t, "mmap", path, 0)
	if got := v.content("f"); got != "012mapped9tail" {
		t.Fatalf("got %q", got)
	}
}

func TestMappedPagesAfterClose(t *testing.T) {
	v := newFake()
	v.freed = make(chan string, 1)
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "0123456789")
	help(t, "mmap-late", path, 0)
	if got := <-v.freed; got != "late456789" { // dirty at its last Release
		t.Fatalf("got %q", got)
	}
}

func TestDirectWritesReachTheCache(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	old, page := strings.Repeat("o", 8192), strings.Repeat("n", 4096)
	write(t, path, old)
	f := open(t, path, os.O_RDONLY)
	buf := make([]byte, 8192)
	_, err := f.ReadAt(buf, 0) // into the page cache
	check(t, err)
	d := open(t, path, os.O_WRONLY|unix.O_DIRECT)
	_, err = d.WriteAt([]byte(page), 4096)
	check(t, err)
	_, err = f.ReadAt(buf, 0)
	check(t, err)
	if want := old[:4096] + page; string(buf) != want {
		t.Fatal("a cached read does not see a direct write")
	}
}

func TestFlushCommits(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "x")
	if got := v.count("commit"); got != 1 {
		t.Fatalf("%d commits after a write and close, want 1", got)
	}
	read(t, path)
	if got := v.count("commit"); got != 1 {
		t.Fatalf("a reader's close commits")
	}
	f := open(t, path, os.O_RDONLY)
	check(t, f.Sync())
	if got := v.count("commit"); got != 2 {
		t.Fatalf("fsync of a handle that reads does not commit")
	}
}

// The close of the last handle that may write is told from those before it, and
// from fsync: after a crash it counts as the end of the writing.
func TestTheLastCloseIsTold(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	a, err := os.Create(path)
	check(t, err)
	b, err := os.OpenFile(path, os.O_WRONLY, 0)
	check(t, err)
	reader := open(t, path, os.O_RDONLY)
	for i, step := range []struct {
		do   func() error
		want int
	}{{a.Sync, 0}, {a.Close, 0}, {b.Sync, 0}, {b.Close, 1}, {reader.Sync, 1}} {
		check(t, step.do())
		// The kernel may send a RELEASE later than the close(2) that made it.
		if got := v.count("flush"); got != step.want {
			t.Fatalf("step %d: %d last closes, want %d", i, got, step.want)
		}
	}
}

func TestCommitErrorsReachCloseAndFsync(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	_, err := f.WriteString("x")
	check(t, err)
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "commit" {
			return errors.Join(errors.New("upload failed"), volume.ErrQuota)
		}
		return nil
	})
	want(t, f.Sync(), unix.EDQUOT)
	want(t, f.Close(), unix.EDQUOT)
}

func TestWriteErrors(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "write" {
			return volume.ErrSpoolFull
		}
		return nil
	})
	_, err := f.WriteString("x")
	want(t, err, unix.ENOSPC)
	_, err = unix.Pwrite(int(f.Fd()), []byte("x"), maxOffset)
	want(t, err, unix.EFBIG)
}

func TestTruncateOnOpen(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "long content")
	if got := v.count("setattr"); got != 0 {
		t.Fatalf("%d requests to truncate beside the open", got)
	}
	write(t, path, "short")
	if got := read(t, path); got != "short" {
		t.Fatalf("got %q", got)
	}
}

// What cannot be read can be overwritten.
func TestUnopenable(t *testing.T) {
	needRoot(t)
	v := newFake()
	dir, _ := mount(t, v, Options{AllowOther: true})
	check(t, os.Chmod(dir, 0o777))
	path := filepath.Join(dir, "f")
	v.replace("f", "sealed")
	v.edit("f", func(n *inode) { n.err = volume.ErrNoKey })
	_, err := os.ReadFile(path)
	want(t, err, unix.ENOKEY)
	help(t, "open-nokey", path, 65534)
	write(t, path, "mine")
	if got := v.content("f"); got != "mine" {
		t.Fatalf("got %q", got)
	}
}

func TestFallocate(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	_, err := f.WriteString("0123456789")
	check(t, err)
	fd := int(f.Fd())
	const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
	for _, c := range []struct {
		mode     uint32
		off, len int64
		want     string
	}{
		{keep, 5, 10, "0123456789"},
		{punch | keep, 2, 3, "01\x00\x00\x0056789"},
		{zero | keep, 8, 8, "01\x00\x00\x00567\x00\x00"},
		{zero, 9, 3, "01\x00\x00\x00567\x00\x00\x00\x00"},
		{0, 10, 4, "01\x00\x00\x00567\x00\x00\x00\x00\x00\x00"},
	} {
		check(t, unix.Fallocate(fd, c.mode, c.off, c.len))
		if got := v.content("f"); got != c.want {
			t.Fatalf("mode %#x: got %q, want %q", c.mode, got, c.want)
		}
		st, err := f.Stat()
		check(t, err)
		if st.Size() != int64(len(c.want)) {
			t.Fatalf("mode %#x: size %d, want %d", c.mode, st.Size(), len(c.want))
		}
		if got := read(t, f.Name()); got != c.want {
			t.Fatalf("mode %#x: the page cache has %q", c.mode, got)
		}
	}
	want(t, unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP)
	want(t, unix.Fallocate(fd, punch, 0, 1), unix.EOPNOTSUPP)
}

func TestAllocOptions(t *testing.T) {
	const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
	for mode := range uint32(1 << 8) {
		_, ok := allocOptions(mode)
		switch mode {
		case 0, keep, punch | keep, zero, zero | keep:
			if !ok {
				t.Errorf("mode %#x is refused", mode)
			}
		default:
			if ok {
				t.Errorf("mode %#x is taken", mode)
			}
		}
	}
}

// TestCopyFileRange: a copy is made below the kernel, and its pages and sizes
// are right afterwards.
func TestCopyFileRange(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	text := bytes.Repeat([]byte("data"), 1<<16)
	write(t, filepath.Join(dir, "a"), string(text))
	src := open(t, filepath.Join(dir, "a"), os.O_RDONLY)
	dst := open(t, filepath.Join(dir, "b"), os.O_RDWR|os.O_CREATE)
	_, err := dst.WriteAt(bytes.Repeat([]byte("x"), 100), 0)
	check(t, err)
	page := make([]byte, 100)
	_, err = dst.ReadAt(page, 0) // the kernel has it now
	check(t, err)
	before := v.count("write")
	n, err := unix.CopyFileRange(int(src.Fd()), new(int64(4)), int(dst.Fd()), new(int64(10)), 1<<20, 0)
	check(t, err)
	if n != len(text)-4 {
		t.Errorf("%d bytes copied of %d", n, len(text)-4)
	}
	n, err = unix.CopyFileRange(int(src.Fd()), new(int64(len(text))), int(dst.Fd()), new(int64(0)), 10, 0)
	if check(t, err); n != 0 {
		t.Errorf("%d bytes copied from behind the end", n)
	}
	want := append(bytes.Repeat([]byte("x"), 10), text[4:]...)
	got := make([]byte, len(want)+1)
	n, err = dst.ReadAt(got, 0)
	if !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want) {
		t.Errorf("reads %d bytes, %v, which differ", n, err)
	}
	info, err := dst.Stat()
	if check(t, err); info.Size() != int64(len(want)) {
		t.Errorf("size %d, want %d", info.Size(), len(want))
	}
	check(t, dst.Close())
	if v.content("b") != string(want) || v.count("copy") != 1 || v.count("write") != before {
		t.Errorf("%d copies, %d writes", v.count("copy"), v.count("write")-before)
	}
}

// TestCopyFileRangeRefusals are what the kernel or the mount refuses.
func TestCopyFileRangeRefusals(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	write(t, filepath.Join(dir, "a"), "some text")
	src := open(t, filepath.Join(dir, "a"), os.O_RDWR)
	appends := open(t, filepath.Join(dir, "b"), os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	_, err := unix.CopyFileRange(int(src.Fd()), nil, int(appends.Fd()), nil, 10, 0)
	want(t, err, unix.EBADF)
	_, err = unix.CopyFileRange(int(src.Fd()), new(int64(0)), int(src.Fd()), new(int64(2)), 5, 0)
	want(t, err, unix.EINVAL)
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "copy" {
			return volume.ErrOriginGone
		}
		return nil
	})
	dst := open(t, filepath.Join(dir, "c"), os.O_WRONLY|os.O_CREATE)
	_, err = unix.CopyFileRange(int(src.Fd()), nil, int(dst.Fd()), nil, 10, 0)
	want(t, err, unix.ESTALE)
}

func TestOffsetMarks(t *testing.T) {
	for _, off := range []int64{0, 1, 50 << 40, maxOffset - 1} {
		for _, marks := range []int64{0, writeAppend, writeKill, writeAppend | writeKill} {
			clean, atEnd, kill := splitOffset(off | marks)
			if clean != off || atEnd != (marks&writeAppend != 0) || kill != (marks&writeKill != 0) {
				t.Errorf("offset %#x, marks %#x: %#x, %v, %v", off, marks, clean, atEnd, kill)
			}
		}
	}
}
