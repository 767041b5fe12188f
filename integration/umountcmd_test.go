package integration

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"golang.org/x/sys/unix"
)

// helped is a line of fstab, and the binary where umount(8) looks for its helper.
func helped(t *testing.T) *table {
	t.Helper()
	f := fstab(t, "")
	const name = "/sbin/umount.fuse.sigilfs"
	err := os.Symlink(binary(t), name)
	if errors.Is(err, os.ErrExist) {
		t.Skipf("%s is there already, and not this test's", name)
	}
	must(t, err)
	t.Cleanup(func() { _ = os.Remove(name) })
	return f
}

// umount(8) returns when everything is committed and the process has ended.
func TestUmountWaits(t *testing.T) {
	f := helped(t)
	f.run("mount", f.dir)
	writeFile(t, f.Path("file"), []byte("kept"))
	must(t, os.Chmod(f.Path("file"), 0o640)) // in the bucket later
	out := f.run("umount", "-v", f.dir)
	if pid := served(t, f.dir); pid != 0 {
		t.Errorf("process %d runs when umount has returned", pid)
	}
	if !strings.Contains(out, f.dir+" unmounted") {
		t.Errorf("umount -v: %q", out)
	}
	f.run("mount", f.dir)
	info, err := os.Stat(f.Path("file"))
	must(t, err)
	if info.Mode() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	f.gone("umount")
}

// Lazy and by force: who waits for a process that hangs is let go. What is in
// use and may be read only is said to be that, not unmounted.
func TestUmountOfWhatHangsOrIsMadeReadOnly(t *testing.T) {
	f := helped(t)
	f.run("mount", f.dir)
	in, err := os.Open(f.dir)
	must(t, err)
	if out := f.run("umount", "-r", "-v", f.dir); !strings.Contains(out, "in use, and made read-only") || strings.Contains(out, "unmounted") {
		t.Errorf("umount -r: %s", out)
	}
	if err := os.WriteFile(f.Path("file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a write: %v", err)
	}
	pid := served(t, f.dir)
	t.Cleanup(func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		awaitEnd(t, pid)
	})
	stop(t, pid)
	waits := make(chan error, 1)
	go func() { waits <- unix.Fstatfs(int(in.Fd()), new(unix.Statfs_t)) }()
	if out, code := ended(t)(f.tool.try("/sbin/umount.fuse.sigilfs", f.dir, "-l", "-f")); code != 0 {
		t.Fatalf("umount -lf: %d, %s", code, out)
	}
	if err := <-waits; err == nil {
		t.Error("a stopped process has answered")
	}
	must(t, in.Close())
}

// What is in use stays, unless somebody is lazy.
func TestUmountHelperBusyAndLazy(t *testing.T) {
	f := helped(t)
	f.run("mount", f.dir)
	file, err := os.Create(f.Path("file"))
	must(t, err)
	defer func() { _ = file.Close() }()
	if out, code := f.try("umount", f.dir); code != daemon.ExitMount || !strings.Contains(out, "in use: close the programs") {
		t.Errorf("umount of what is in use: %d, %s", code, out)
	}
	pid := served(t, f.dir)
	f.run("umount", "-l", f.dir)
	if daemon.Mounted(f.dir) || served(t, f.dir) != pid {
		t.Error("umount -l left it in the table, or waited")
	}
	_, err = file.WriteString("kept")
	must(t, err)
	must(t, file.Close())
	awaitEnd(t, pid)
	f.run("mount", f.dir)
	wantFile(t, f.Path("file"), []byte("kept"))
	f.gone("umount", "-f")
}
