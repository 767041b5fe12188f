package fs

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Lstat(path, &st))
	return st
}

func TestSetattr(t *testing.T) {
	needRoot(t)
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	for _, how := range []string{"closed", "open"} {
		t.Run(how, func(t *testing.T) {
			write(t, path, "content")
			if how == "open" {
				open(t, path, os.O_RDONLY)
			}
			check(t, os.Chmod(path, 0))
			if st := stat(t, path); st.Mode != unix.S_IFREG {
				t.Errorf("mode 0 became %o", st.Mode)
			}
			check(t, os.Chmod(path, 0o640|os.ModeSticky))
			check(t, os.Chown(path, 12, 34))
			check(t, os.Truncate(path, 3))
			before := time.Unix(-5, 300)
			check(t, os.Chtimes(path, time.Now(), before))
			st := stat(t, path)
			if st.Mode != unix.S_IFREG|unix.S_ISVTX|0o640 || st.Uid != 12 || st.Gid != 34 || st.Size != 3 {
				t.Errorf("got mode %o, %d:%d, size %d", st.Mode, st.Uid, st.Gid, st.Size)
			}
			if st.Mtim != unix.NsecToTimespec(before.UnixNano()) {
				t.Errorf("got mtime %v", st.Mtim)
			}
			check(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0))
			if st := stat(t, path); time.Since(time.Unix(st.Mtim.Unix())) > time.Minute {
				t.Errorf("UTIME_NOW gave %v", st.Mtim)
			}
			if got := read(t, path); got != "con" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestAccessTimeIsNotWritten(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 5}, {Nsec: unix.UTIME_OMIT}}, 0))
	if got := v.count("setattr"); got != 0 {
		t.Fatalf("%d requests for an access time", got)
	}
}

func TestNanos(t *testing.T) {
	for _, ns := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1e18 + 7} {
		sec, nsec := split(ns)
		if got := nanos(time.Unix(int64(sec), int64(nsec))); got != ns {
			t.Errorf("%d came back as %d", ns, got)
		}
	}
	if nanos(time.Unix(1<<40, 0)) != math.MaxInt64 || nanos(time.Unix(-1<<40, 0)) != math.MinInt64 {
		t.Error("times out of range do not stay at its ends")
	}
}

func TestPrivileges(t *testing.T) {
	needRoot(t)
	for _, c := range []struct{ mode, want uint32 }{
		{0o6777, 0o777}, {0o4755, 0o755}, {0o2755, 0o755}, {0o2745, 0o2745}, {0o6745, 0o2745}, {0o1755, 0o1755}, {0, 0},
	} {
		got := withoutPrivileges(unix.S_IFREG | c.mode)
		if (got == nil) != (c.mode == c.want) || got != nil && *got != c.want {
			t.Errorf("%o: got %v, want %o", c.mode, got, c.want)
		}
	}
	v := newFake()
	dir, _ := mount(t, v, Options{AllowOther: true, Suid: true})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	steps := []struct {
		name string
		do   func()
		want uint32
	}{
		{"write by root", func() { write(t, path, "r") }, 0o6777},
		{"write by another", func() { help(t, "write", path, 65534) }, 0o777},
		{"chown by root", func() { check(t, os.Chown(path, 5, 5)) }, 0o777},
	}
	for _, s := range steps {
		check(t, unix.Chmod(path, 0o6777))
		s.do()
		if got := v.mode("f") & 0o7777; got != s.want {
			t.Errorf("after a %s: mode %o, want %o", s.name, got, s.want)
		}
		if got := stat(t, path).Mode & 0o7777; got != s.want {
			t.Errorf("after a %s: the kernel shows %o, want %o", s.name, got, s.want)
		}
	}
}

func TestPermissionsAreChecked(t *testing.T) {
	needRoot(t)
	v := newFake()
	dir, _ := mount(t, v, Options{AllowOther: true})
	check(t, os.Mkdir(filepath.Join(dir, "private"), 0o700))
	write(t, filepath.Join(dir, "private/f"), "x")
	help(t, "enter", filepath.Join(dir, "private/f"), 65534)
}

func TestSetgidDirectoryHandsDown(t *testing.T) {
	needRoot(t)
	v := newFake()
	dir, _ := mount(t, v, Options{})
	d := filepath.Join(dir, "d")
	check(t, os.Mkdir(d, 0o755))
	check(t, os.Chown(d, -1, 77))
	check(t, unix.Chmod(d, 0o2775))
	check(t, os.Mkdir(filepath.Join(d, "sub"), 0o750))
	write(t, filepath.Join(d, "f"), "")
	if st := stat(t, filepath.Join(d, "sub")); st.Gid != 77 || st.Mode&0o7777 != 0o2750 {
		t.Errorf("directory: gid %d, mode %o", st.Gid, st.Mode)
	}
	if st := stat(t, filepath.Join(d, "f")); st.Gid != 77 || st.Mode&0o7777 != 0o644 {
		t.Errorf("file: gid %d, mode %o", st.Gid, st.Mode)
	}
}

func TestUmask(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	defer unix.Umask(unix.Umask(0o027))
	check(t, os.Mkdir(filepath.Join(dir, "d"), 0o777))
	f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_WRONLY, 0o666)
	check(t, err)
	check(t, f.Close())
	check(t, unix.Mkfifo(filepath.Join(dir, "p"), 0o666))
	for name, want := range map[string]uint32{"d": 0o750, "f": 0o640, "p": 0o640} {
		if got := v.mode(name) & 0o7777; got != want {
			t.Errorf("%s: mode %o, want %o", name, got, want)
		}
	}
}

func TestXattr(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	check(t, unix.Setxattr(path, "user.a", []byte("1"), unix.XATTR_CREATE))
	want(t, unix.Setxattr(path, "user.a", []byte("2"), unix.XATTR_CREATE), unix.EEXIST)
	check(t, unix.Setxattr(path, "user.a", nil, unix.XATTR_REPLACE)) // empty, not removed
	want(t, unix.Setxattr(path, "user.b", []byte("2"), unix.XATTR_REPLACE), unix.ENODATA)
	check(t, unix.Setxattr(path, "user.b", []byte("22"), 0))
	buf := make([]byte, 100)
	if n, err := unix.Listxattr(path, buf); err != nil || string(buf[:n]) != "user.a\x00user.b\x00" {
		t.Errorf("list: %q, %v", buf[:n], err)
	}
	if n, err := unix.Getxattr(path, "user.a", buf); err != nil || n != 0 {
		t.Errorf("empty value: %d, %v", n, err)
	}
	_, err := unix.Getxattr(path, "user.b", buf[:1])
	want(t, err, unix.ERANGE)
	want(t, unix.Removexattr(path, "user.c"), unix.ENODATA)
	check(t, unix.Removexattr(path, "user.b"))
	_, err = unix.Getxattr(path, "user.b", buf)
	want(t, err, unix.ENODATA)
	want(t, unix.Setxattr(path, "user.big", make([]byte, 40<<10), 0), unix.ENOSPC)
}

func TestSigilXattrs(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	check(t, unix.Setxattr(path, "user.a", []byte("1"), 0))
	v.edit("f", func(n *inode) {
		n.xattrs["user.sigil.mode"] = []byte("a lie from the bucket")
		n.xattrs["user.sigil.commitment"] = []byte("another")
		n.sigil = map[string]string{"mode": "sse-kms", "key-id": "alias/x", "epoch": ""}
	})
	buf := make([]byte, 100)
	n, err := unix.Listxattr(path, buf)
	if names := "user.a\x00user.sigil.epoch\x00user.sigil.key-id\x00user.sigil.mode\x00"; err != nil || string(buf[:n]) != names {
		t.Errorf("list: %q, %v", buf[:n], err)
	}
	if size, err := unix.Listxattr(path, nil); err != nil || size != n {
		t.Errorf("size of the list: %d, %v, want %d", size, err, n)
	}
	for name, value := range map[string]string{"mode": "sse-kms", "key-id": "alias/x", "epoch": ""} {
		n, err := unix.Getxattr(path, "user.sigil."+name, buf)
		if err != nil || string(buf[:n]) != value {
			t.Errorf("%s: %q, %v", name, buf[:n], err)
		}
	}
	if n, err := unix.Getxattr(path, "user.sigil.mode", nil); err != nil || n != len("sse-kms") {
		t.Errorf("size of a value: %d, %v", n, err)
	}
	_, err = unix.Getxattr(path, "user.sigil.mode", buf[:3])
	want(t, err, unix.ERANGE)
	for _, name := range []string{"user.sigil.commitment", "user.sigil.version-id", "user.sigil."} {
		_, err = unix.Getxattr(path, name, buf)
		want(t, err, unix.ENODATA)
	}
}

func TestSigilXattrsAreNotForSetting(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	v.edit("f", func(n *inode) { n.sigil = map[string]string{"mode": "client"} })
	before := v.count("setattr")
	for _, name := range []string{"user.sigil.mode", "user.sigil.key-id", "user.sigil.anything", "user.sigil."} {
		for _, flags := range []int{0, unix.XATTR_CREATE, unix.XATTR_REPLACE} {
			check(t, unix.Setxattr(path, name, []byte("x"), flags))
		}
		check(t, unix.Removexattr(path, name))
	}
	buf := make([]byte, 100)
	if n, err := unix.Getxattr(path, "user.sigil.mode", buf); err != nil || string(buf[:n]) != "client" {
		t.Errorf("mode is %q: %v", buf[:max(0, n)], err)
	}
	if got := v.count("setattr"); got != before {
		t.Errorf("%d changes reached the volume", got-before)
	}
	for _, name := range []string{"user.sigil", "user.sigils.x"} { // the application's
		check(t, unix.Setxattr(path, name, []byte("x"), 0))
	}
}

func TestForeignXattrsCostNothing(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{EntryTimeout: time.Hour, AttrTimeout: time.Hour})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	stat(t, path) // the path is known
	before := v.count("stat")
	for _, name := range []string{"security.capability", "system.posix_acl_access", "trusted.x", "security.selinux"} {
		_, err := unix.Getxattr(path, name, make([]byte, 100))
		if !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("get %s: %v", name, err)
		}
		// The kernel itself looks at the form of the first two.
		if err := unix.Setxattr(path, name, []byte("x"), 0); !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("set %s: %v", name, err)
		}
	}
	if got := v.count("stat"); got != before {
		t.Errorf("%d requests", got-before)
	}
}

func TestStatfs(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	var st unix.Statfs_t
	check(t, unix.Statfs(dir, &st))
	if total := st.Blocks * uint64(st.Bsize); total != 1<<50 || st.Bavail != st.Blocks || st.Namelen != 255 || st.Ffree == 0 {
		t.Errorf("got %+v", st)
	}
	if st.Flags&(unix.ST_NOSUID|unix.ST_NODEV) != unix.ST_NOSUID|unix.ST_NODEV {
		t.Errorf("flags %#x: neither nosuid nor nodev", st.Flags)
	}
}

func TestUnsupported(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "x")
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "link" {
			return volume.ErrNoLinks
		}
		return nil
	})
	want(t, unix.Link(path, path+"2"), unix.EPERM)
	_, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	want(t, err, unix.EOPNOTSUPP)
	f := open(t, path, os.O_RDWR)
	_, err = unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	want(t, err, unix.ENOTTY)
	_, err = os.Stat(filepath.Join(dir, ".sigil"))
	want(t, err, unix.ENOENT)
	want(t, os.Mkdir(filepath.Join(dir, ".sigil"), 0o755), unix.EPERM)
	_, err = os.Create(filepath.Join(dir, ".sigil"))
	want(t, err, unix.EPERM)
	want(t, os.Rename(path, filepath.Join(dir, ".sigil")), unix.EPERM)
	_, err = os.Stat(filepath.Join(dir, strings.Repeat("n", 256)))
	want(t, err, unix.ENAMETOOLONG)
}

func TestNodes(t *testing.T) {
	needRoot(t)
	v := newFake()
	dir, _ := mount(t, v, Options{})
	for name, mode := range map[string]uint32{
		"fifo": unix.S_IFIFO, "sock": unix.S_IFSOCK, "chr": unix.S_IFCHR, "blk": unix.S_IFBLK, "reg": unix.S_IFREG,
	} {
		path := filepath.Join(dir, name)
		dev := unix.Mkdev(259, 70000)
		check(t, unix.Mknod(path, mode|0o600, int(dev)))
		st := stat(t, path)
		if st.Mode != mode|0o600 {
			t.Errorf("%s: mode %o", name, st.Mode)
		}
		if (mode == unix.S_IFCHR || mode == unix.S_IFBLK) && st.Rdev != dev {
			t.Errorf("%s: device %#x, want %#x", name, st.Rdev, dev)
		}
	}
	_, err := os.Open(filepath.Join(dir, "chr"))
	if !errors.Is(err, syscall.EACCES) {
		t.Errorf("a device can be opened: %v", err)
	}
}
