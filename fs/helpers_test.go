package fs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// helpers run in a process of their own, on a path of the mount.
var helpers = map[string]func(path string){
	"mmap":         mmapWrite,
	"mmap-late":    mmapAfterClose,
	"write":        writeByte,
	"open-nokey":   openWithoutKey,
	"lock-refused": lockRefused,
	"enter":        enter,
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// mmapWrite writes the middle of a file through a shared mapping of a handle
// that appends.
func mmapWrite(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	must(err)
	mem, err := unix.Mmap(int(f.Fd()), 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	copy(mem[3:], "mapped")
	must(unix.Msync(mem, unix.MS_SYNC))
	_, err = f.WriteString("tail")
	must(err)
	must(unix.Munmap(mem))
	must(f.Close())
}

// mmapAfterClose writes through a mapping whose file is closed.
func mmapAfterClose(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	mem, err := unix.Mmap(int(f.Fd()), 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	must(f.Close())
	copy(mem, "late")
	must(unix.Munmap(mem))
}

func writeByte(path string) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(err)
	_, err = f.WriteString("x")
	must(err)
	must(f.Close())
	st, err := os.Stat(path)
	must(err)
	if st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		must(fmt.Errorf("the kernel still shows %v", st.Mode()))
	}
}

func openWithoutKey(path string) {
	_, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != unix.ENOKEY { //nolint:errorlint // a bare errno
		must(fmt.Errorf("open: got %w, want ENOKEY", err))
	}
}

func lockRefused(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lk); err != unix.EAGAIN { //nolint:errorlint // a bare errno
		must(fmt.Errorf("fcntl: got %w, want EAGAIN", err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EAGAIN { //nolint:errorlint // a bare errno
		must(fmt.Errorf("flock: got %w, want EAGAIN", err))
	}
}

func enter(path string) {
	_, err := os.Stat(path)
	if err == nil {
		must(fmt.Errorf("%s can be entered", path))
	}
	if !os.IsPermission(err) {
		must(err)
	}
}
