package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// helperEnv makes this test binary a helper process: what maps memory of the
// mount, or must not be root, cannot run in the process that serves it (go-fuse
// fs, "Deadlocks").
const helperEnv = "SIGILFS_FS_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		helpers[name](os.Args[1])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// help runs a helper on path as uid.
func help(t *testing.T, name, path string, uid uint32) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	check(t, err)
	bin := filepath.Join(publicDir(t), "helper")
	check(t, os.WriteFile(bin, self, 0o755))
	cmd := exec.Command(bin, path)
	cmd.Env = []string{helperEnv + "=" + name}
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("helper %s: %v\n%s", name, err, out)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: other users' files, device nodes, umount(2)")
	}
}

// publicDir is a temporary directory that every user can enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sigilfs-fs-test-")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	return dir
}

// mount mounts v until the test ends.
func mount(t *testing.T, v Volume, opt Options) (dir string, s *Server) {
	t.Helper()
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("no mount without the FUSE device: %v", err)
	}
	check(t, err)
	check(t, dev.Close())
	opt.Dir = publicDir(t)
	if opt.Log == nil {
		log := logrus.New()
		log.SetOutput(t.Output())
		opt.Log = log
	}
	s, err = Mount(t.Context(), v, opt)
	check(t, err)
	t.Cleanup(func() {
		if err := s.Unmount(); err != nil {
			t.Error(err)
			_ = unix.Unmount(opt.Dir, unix.MNT_DETACH)
			s.Wait()
		}
	})
	return opt.Dir, s
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// check fails the test with the error of a system call.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want asserts an errno.
func want(t *testing.T, err error, errno syscall.Errno) {
	t.Helper()
	if err != errno { //nolint:errorlint // system calls give bare errnos
		if !strings.HasSuffix(errString(err), errno.Error()) {
			t.Fatalf("got %v, want %v", err, errno)
		}
	}
}

func errString(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// skipped are the cases of posixtest that do not apply, and why.
var skipped = map[string]string{
	"FcntlFlockLocksFile": "wants locks of one process to conflict, against fcntl(2): go-fuse skips it too (TestLocks)",
}

func TestPosix(t *testing.T) {
	for name, test := range posixtest.All {
		if skipped[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			v := newFake()
			dir, _ := mount(t, v, Options{})
			test(t, dir)
		})
	}
}
