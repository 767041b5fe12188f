package integration

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Every kind of file with every kind of attribute comes back as it was.
func TestAttributesSurviveARemount(t *testing.T) {
	d := newDisk(t)
	dir := filepath.Join(d.Dir(), "all")
	must(t, os.Mkdir(dir, 0o750))
	file := filepath.Join(dir, "file")
	writeFile(t, file, []byte("content"))
	must(t, os.Symlink("file", filepath.Join(dir, "link")))
	must(t, os.Symlink(strings.Repeat("x", 4095), filepath.Join(dir, "longest link")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o622))
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "socket"))
	must(t, err)
	socket.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, socket.Close())
	must(t, unix.Chmod(file, 0o6754))
	must(t, unix.Setxattr(file, "user.text", []byte("value"), 0))
	must(t, unix.Setxattr(file, "user.empty", nil, 0))
	must(t, unix.Setxattr(dir, "user.binary", []byte{0, 1, 0xff, '\n'}, 0))
	if os.Geteuid() == 0 {
		must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, unix.Lchown(filepath.Join(dir, "link"), 4321, 1234))
		must(t, os.Chown(dir, 4321, 1234))
	}
	setTimes(t, dir)
	before := readTree(t, dir)
	var ino [2]unix.Stat_t
	must(t, unix.Stat(file, &ino[0]))
	d.Remount(t)
	after := readTree(t, dir)
	for name, want := range before {
		if got := after[name]; !reflect.DeepEqual(want, got) {
			t.Errorf("%q is\n%+v, want\n%+v", name, got, want)
		}
	}
	must(t, unix.Stat(file, &ino[1]))
	if ino[0].Ino != ino[1].Ino {
		t.Errorf("inode number %d became %d", ino[0].Ino, ino[1].Ino)
	}
	if os.Geteuid() == 0 {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, "null"), &st))
		if st.Rdev != unix.Mkdev(1, 3) {
			t.Errorf("device %#x", st.Rdev)
		}
	}
}

func TestExtendedAttributes(t *testing.T) {
	d := newDisk(t)
	file := filepath.Join(d.Dir(), "file")
	writeFile(t, file, nil)
	must(t, unix.Setxattr(file, "user.a", []byte("1"), unix.XATTR_CREATE))
	tests := []struct {
		name string
		call func() error
		want error
	}{
		{"create what is there", func() error { return unix.Setxattr(file, "user.a", []byte("2"), unix.XATTR_CREATE) }, unix.EEXIST},
		{"replace what is not there", func() error { return unix.Setxattr(file, "user.b", []byte("2"), unix.XATTR_REPLACE) }, unix.ENODATA},
		{"replace", func() error { return unix.Setxattr(file, "user.a", []byte("22"), unix.XATTR_REPLACE) }, nil},
		{"buffer too small", func() error { _, err := unix.Getxattr(file, "user.a", make([]byte, 1)); return err }, unix.ERANGE},
		{"list buffer too small", func() error { _, err := unix.Listxattr(file, make([]byte, 1)); return err }, unix.ERANGE},
		{"not there", func() error { _, err := unix.Getxattr(file, "user.none", nil); return err }, unix.ENODATA},
		{"remove what is not there", func() error { return unix.Removexattr(file, "user.none") }, unix.ENODATA},
	}
	for _, tt := range tests {
		if err := tt.call(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	buf := make([]byte, 16)
	if n, err := unix.Getxattr(file, "user.a", buf); err != nil || !bytes.Equal(buf[:n], []byte("22")) {
		t.Errorf("value %q, %v", buf[:n], err)
	}
	d.Remount(t)
	if n, err := unix.Getxattr(file, "user.a", buf); err != nil || !bytes.Equal(buf[:n], []byte("22")) {
		t.Errorf("after a remount: value %q, %v", buf[:n], err)
	}
	must(t, unix.Removexattr(file, "user.a"))
	d.Remount(t)
	if _, err := unix.Getxattr(file, "user.a", buf); !errors.Is(err, unix.ENODATA) {
		t.Errorf("removed, and after a remount: %v", err)
	}
}

// The record that holds the attributes has 1,024 bytes for these; other
// namespaces are the kernel's business and are refused.
func TestExtendedAttributesThatAreRefused(t *testing.T) {
	onMount(t)
	d := newDisk(t)
	file := filepath.Join(d.Dir(), "file")
	writeFile(t, file, nil)
	if err := unix.Setxattr(file, "user.big", make([]byte, 1025), 0); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("1,025 bytes: %v, want ENOSPC", err)
	}
	for _, name := range []string{"security.selinux", "system.posix_acl_access", "trusted.x"} {
		if err := unix.Setxattr(file, name, []byte("value"), 0); !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("%s: %v, want EOPNOTSUPP", name, err)
		}
	}
}

func TestTimesAndModes(t *testing.T) {
	d := newDisk(t)
	file := filepath.Join(d.Dir(), "file")
	writeFile(t, file, []byte("x"))
	stat := func() (st unix.Stat_t) {
		t.Helper()
		must(t, unix.Stat(file, &st))
		return st
	}
	old := stat()
	must(t, os.Chmod(file, 0o600))
	if st := stat(); st.Mode&0o7777 != 0o600 || st.Mtim != old.Mtim || st.Ctim.Nano() <= old.Ctim.Nano() {
		t.Errorf("chmod: %+v, before %+v", st, old)
	}
	old = stat()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("y")
	must(t, err)
	must(t, f.Close())
	if st := stat(); st.Mtim.Nano() <= old.Mtim.Nano() {
		t.Errorf("write did not move mtime: %+v, before %+v", st.Mtim, old.Mtim)
	}
	var parent [2]unix.Stat_t
	must(t, unix.Stat(d.Dir(), &parent[0]))
	writeFile(t, filepath.Join(d.Dir(), "another"), nil)
	must(t, unix.Stat(d.Dir(), &parent[1]))
	if parent[1].Mtim.Nano() <= parent[0].Mtim.Nano() {
		t.Error("a new entry did not move the directory's mtime")
	}
	// A writer loses setuid, as everywhere (the kernel asks for it).
	if os.Geteuid() == 0 {
		must(t, unix.Chmod(file, 0o4755))
		must(t, unix.Chown(file, 1000, 1000))
		if st := stat(); st.Mode&syscall.S_ISUID != 0 {
			t.Errorf("chown left setuid: %o", st.Mode)
		}
	}
}

func TestStatfs(t *testing.T) {
	d := newDisk(t)
	var fs unix.Statfs_t
	must(t, unix.Statfs(d.Dir(), &fs))
	if fs.Bsize <= 0 || fs.Blocks == 0 || fs.Bavail == 0 || fs.Namelen != 255 {
		t.Errorf("statfs: %+v", fs)
	}
}
