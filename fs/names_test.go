package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

// A kernel that believes names and attributes for an hour still never shows one
// version's pages under another.
func TestForeignVersionIsAnotherInode(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{EntryTimeout: time.Hour, AttrTimeout: time.Hour})
	path := filepath.Join(dir, "f")
	write(t, path, "old version")
	old := open(t, path, os.O_RDONLY)
	buf := make([]byte, 100)
	_, err := old.ReadAt(buf[:3], 0)
	check(t, err)
	before := stat(t, path)

	v.replace("f", "new")
	if got := read(t, path); got != "new" {
		t.Fatalf("a new open reads %q", got)
	}
	if after := stat(t, path); after.Ino != before.Ino {
		t.Errorf("st_ino went from %d to %d", before.Ino, after.Ino)
	}
	if n, _ := old.ReadAt(buf, 0); string(buf[:n]) != "old version" {
		t.Errorf("the old handle reads %q", buf[:n])
	}
}

func TestForeignVersionMeetsStat(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{EntryTimeout: time.Hour, AttrTimeout: -1})
	path := filepath.Join(dir, "f")
	write(t, path, "old version")
	for v.opened() > 0 { // RELEASE comes after close(2) has returned
		runtime.Gosched()
	}
	v.replace("f", "new")
	if st := stat(t, path); st.Size != 3 {
		t.Fatalf("size %d", st.Size)
	}
}

// While another host moves a directory it is under both names. They are two:
// what is removed in one stays in the other.
func TestDirectoryThatIsBeingMovedByAnotherHost(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{EntryTimeout: -1, AttrTimeout: -1})
	check(t, os.Mkdir(filepath.Join(dir, "from"), 0o755))
	write(t, filepath.Join(dir, "from", "x"), "x")
	from := open(t, filepath.Join(dir, "from"), os.O_RDONLY|unix.O_DIRECTORY)
	v.double("from", "to", "x")
	for range 3 {
		stat(t, filepath.Join(dir, "to"))
		stat(t, filepath.Join(dir, "from"))
		stat(t, filepath.Join(dir, "to"))
	}
	check(t, unix.Unlinkat(int(from.Fd()), "x", 0))
	stat(t, filepath.Join(dir, "to", "x"))
	if err := unix.Access(filepath.Join(dir, "from", "x"), unix.F_OK); err != unix.ENOENT {
		t.Errorf("what was removed: %v", err)
	}
}

func TestRenameOfDirectoryWithOpenFiles(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	check(t, os.MkdirAll(filepath.Join(dir, "d1/sub"), 0o755))
	f := open(t, filepath.Join(dir, "d1/sub/f"), os.O_RDWR|os.O_CREATE)
	sub := open(t, filepath.Join(dir, "d1/sub"), os.O_RDONLY)
	_, err := f.WriteString("before ")
	check(t, err)
	check(t, os.Rename(filepath.Join(dir, "d1"), filepath.Join(dir, "d2")))
	_, err = f.WriteString("after")
	check(t, err)
	check(t, f.Chmod(0o600))
	st, err := f.Stat()
	check(t, err)
	if st.Size() != 12 || st.Mode() != 0o600 {
		t.Errorf("size %d, mode %o", st.Size(), st.Mode())
	}
	check(t, f.Close())
	if got := read(t, filepath.Join(dir, "d2/sub/f")); got != "before after" {
		t.Errorf("got %q", got)
	}
	fd, err := unix.Openat(int(sub.Fd()), "g", unix.O_CREAT|unix.O_WRONLY, 0o644)
	check(t, err)
	check(t, unix.Close(fd))
	if v.mode("d2/sub/g") == 0 {
		t.Error("a file made below a moved directory is elsewhere")
	}
}

// Requests below a directory never fail because it is being renamed.
func TestRenameRace(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{EntryTimeout: -1, AttrTimeout: -1})
	check(t, os.MkdirAll(filepath.Join(dir, "a/sub"), 0o755))
	write(t, filepath.Join(dir, "a/sub/f"), "x")
	sub := open(t, filepath.Join(dir, "a/sub"), os.O_RDONLY)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop.Store(true)
		from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		for range 500 {
			if err := os.Rename(from, to); err != nil {
				t.Error(err)
				return
			}
			from, to = to, from
		}
	})
	for i := 0; !stop.Load() && !t.Failed(); i++ {
		var st unix.Stat_t
		if err := unix.Fstatat(int(sub.Fd()), "f", &st, 0); err != nil {
			t.Error("stat:", err)
		}
		fd, err := unix.Openat(int(sub.Fd()), fmt.Sprint("new", i), unix.O_CREAT|unix.O_WRONLY, 0o644)
		if err != nil {
			t.Error("create:", err)
			continue
		}
		_ = unix.Close(fd)
		if err := unix.Unlinkat(int(sub.Fd()), fmt.Sprint("new", i), 0); err != nil {
			t.Error("unlink:", err)
		}
	}
	wg.Wait()
}

// A long rename of one directory keeps nobody out of another.
func TestRenameBlocksOnlyItsOwn(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{EntryTimeout: -1, AttrTimeout: -1})
	check(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	write(t, filepath.Join(dir, "other"), "x")
	began, goOn := make(chan struct{}), make(chan struct{})
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "rename" {
			close(began)
			<-goOn
		}
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
			t.Error(err)
		}
	})
	<-began
	if got := read(t, filepath.Join(dir, "other")); got != "x" {
		t.Errorf("got %q", got)
	}
	close(goOn)
	wg.Wait()
}

func TestUnlinkedOpenFile(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	f := open(t, path, os.O_RDWR|os.O_CREATE)
	_, err := f.WriteString("content")
	check(t, err)
	check(t, os.Remove(path))
	st := &unix.Stat_t{}
	check(t, unix.Fstat(int(f.Fd()), st))
	if st.Nlink != 0 || st.Size != 7 {
		t.Errorf("nlink %d, size %d", st.Nlink, st.Size)
	}
	check(t, f.Chmod(0o600))
	check(t, f.Truncate(3))
	check(t, unix.Fsetxattr(int(f.Fd()), "user.a", []byte("1"), 0))
	again := open(t, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY)
	buf := make([]byte, 10)
	if n, _ := again.ReadAt(buf, 0); string(buf[:n]) != "con" {
		t.Errorf("reopened: %q", buf[:n])
	}
	write(t, path, "another")
	check(t, unix.Fstat(int(f.Fd()), st))
	if st.Size != 3 || st.Mode != unix.S_IFREG|0o600 {
		t.Errorf("size %d, mode %o", st.Size, st.Mode)
	}
	check(t, f.Close())
	check(t, again.Close())
}

func TestRemovedDirectory(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{AttrTimeout: -1})
	path := filepath.Join(dir, "d")
	check(t, os.Mkdir(path, 0o750))
	d := open(t, path, os.O_RDONLY)
	check(t, os.Remove(path))
	st := &unix.Stat_t{}
	check(t, unix.Fstat(int(d.Fd()), st))
	if st.Mode != unix.S_IFDIR|0o750 || st.Nlink != 0 {
		t.Errorf("mode %o, nlink %d", st.Mode, st.Nlink)
	}
	if _, err := unix.Openat(int(d.Fd()), "f", unix.O_CREAT|unix.O_WRONLY, 0o644); !errors.Is(err, unix.ENOENT) {
		t.Errorf("create in it: %v", err)
	}
	// The kernel itself answers ENOENT, which os makes an error of.
	if names, err := d.Readdirnames(-1); len(names) != 0 || err != nil && !errors.Is(err, unix.ENOENT) {
		t.Errorf("list: %q, %v", names, err)
	}
}

func TestRenameFlags(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "a")
	write(t, b, "b")
	cwd := unix.AT_FDCWD
	want(t, unix.Renameat2(cwd, a, cwd, b, unix.RENAME_NOREPLACE), unix.EEXIST)
	want(t, unix.Renameat2(cwd, a, cwd, b, unix.RENAME_EXCHANGE), unix.EINVAL)
	want(t, unix.Renameat2(cwd, a, cwd, b, unix.RENAME_WHITEOUT), unix.EINVAL)
	check(t, unix.Renameat2(cwd, a, cwd, b+"2", unix.RENAME_NOREPLACE))
	check(t, os.Rename(b+"2", b))
	if got := read(t, b); got != "a" {
		t.Errorf("got %q", got)
	}
}

func TestNamespaceErrors(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	check(t, os.MkdirAll(filepath.Join(dir, "d/e"), 0o755))
	want(t, unix.Rmdir(filepath.Join(dir, "d")), unix.ENOTEMPTY)
	v.setHook(func(_ context.Context, op, _ string) error {
		switch op {
		case "rename":
			return volume.ErrCrossing
		case "mkdir":
			return volume.ErrAccess
		}
		return nil
	})
	want(t, os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "x")), unix.EXDEV)
	want(t, os.Mkdir(filepath.Join(dir, "y"), 0o755), unix.EACCES)
}

// The name came after the kernel had looked: the create becomes an open.
func TestCreateMeetsAForeignFile(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	var once sync.Once
	v.setHook(func(_ context.Context, op, p string) error {
		if op == "create" {
			once.Do(func() { v.replace(p, "theirs") })
		}
		return nil
	})
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	buf := make([]byte, 10)
	if n, _ := f.ReadAt(buf, 0); string(buf[:n]) != "theirs" {
		t.Errorf("got %q", buf[:n])
	}
	_, err := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	want(t, err, unix.EEXIST)
}

func TestLocks(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	check(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lk))
	check(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	help(t, "lock-refused", f.Name(), 0)
}
