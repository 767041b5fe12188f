package integration

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"golang.org/x/sys/unix"
)

// What `mount`, `df -T` and findmnt show.
func TestTheKernelsTableReadsWell(t *testing.T) {
	m := newMount(t, mountOptions{})
	findmnt := newTool(t, "/", "findmnt")
	got := findmnt.run("findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", m.Dir())
	if fields := strings.Fields(got); len(fields) != 2 || fields[0] != "fuse.sigilfs" || fields[1] != m.target() {
		t.Errorf("findmnt: %q", got)
	}
	options := strings.TrimSpace(findmnt.run("findmnt", "--noheadings", "--output", "OPTIONS", m.Dir()))
	for _, want := range []string{"nosuid", "nodev", "default_permissions"} {
		if !strings.Contains(","+options+",", ","+want+",") {
			t.Errorf("mount options %q lack %s", options, want)
		}
	}
}

func TestInterruptEndsTheMount(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("file"), []byte("kept"))
	if log, err := m.Interrupt(t); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, log)
	}
	if daemon.Mounted(m.Dir()) {
		t.Error("it is still mounted")
	}
	m.Start(t)
	wantFile(t, m.Path("file"), []byte("kept"))
}

// Neither a dead mount nor the lock of a dead owner stands in the way.
func TestMountAfterKill(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("file"), []byte("kept"))
	m.daemon.Kill()
	if _, err := os.Stat(m.Path("file")); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("stat on a dead mount: %v", err)
	}
	m.Start(t) // no umount -l before
	wantFile(t, m.Path("file"), []byte("kept"))
}

func TestUmountOfWhatIsNotMounted(t *testing.T) {
	onMount(t)
	m := &mount{s3: minioServer(t)}
	out, err := tryBinary(t, m.env(t), "umount", t.TempDir())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != daemon.ExitMount || !strings.Contains(out, "mounted") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestVersionSaysWhatItIs(t *testing.T) {
	onMount(t)
	out, err := tryBinary(t, nil, "version")
	if err != nil || !strings.HasPrefix(out, "sigilfs ") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
}

// A user who is not root mounts by fusermount3 and owns what he makes; others,
// root too, are kept out.
func TestMountAsAnOrdinaryUser(t *testing.T) {
	onMount(t)
	if os.Geteuid() != 0 {
		t.Skip("the tests run as an ordinary user: every other test shows it")
	}
	const user = "65534"
	as := []string{"setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "--"}
	base, err := os.MkdirTemp("", "sigilfs-user-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	m := &mount{s3: minioServer(t), bucket: newBucket(t), prefix: "p", key: base + "/main.key", state: base + "/state", dir: base + "/mnt"}
	m.sigilfs(t, "keygen", "-o", m.key)
	must(t, os.Mkdir(m.dir, 0o755))
	must(t, os.Mkdir(m.state, 0o700))
	// Copies that he can reach.
	for from, to := range map[string]string{binary(t): base + "/sigilfs", m.s3.CAFile: base + "/ca.crt"} {
		b, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(to, b, 0o755))
	}
	m.s3.CAFile = base + "/ca.crt"
	for _, p := range []string{base, m.key, m.dir, m.state} {
		must(t, os.Chown(p, 65534, 65534))
	}
	cfg := m.config(t)
	cfg.Bin, cfg.As = base+"/sigilfs", as
	cfg.Env = append(cfg.Env, "HOME="+base)
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	t.Cleanup(func() { m.cleanup(t) })
	d, err := daemon.Start(ctx, cfg)
	must(t, err)
	m.daemon = d

	he := newTool(t, base, "setpriv")
	script := `set -e; cd "$0"; echo text >file; ln -s file link; mkdir dir; mv file dir/; cat dir/file; stat -c %u:%a dir/file`
	if out := he.run(append(as, "bash", "-c", "umask 027; "+script, m.dir)...); out != "text\n65534:640\n" {
		t.Errorf("he sees %q", out)
	}
	if _, err := os.ReadDir(m.dir); !errors.Is(err, unix.EACCES) {
		t.Errorf("root looks into it: %v", err)
	}
	must(t, d.Unmount(ctx))
	m.daemon = nil
	if left, _ := filepath.Glob(m.dir + "/*"); len(left) != 0 {
		t.Errorf("left in the mountpoint: %v", left)
	}
}
