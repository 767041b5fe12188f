package integration

import (
	"errors"
	"os"
	"os/exec"
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
	// Who goes on working in it writes nothing to the directory beneath, for as
	// long as no new mount is there.
	refused := m.config(t)
	refused.Target = "s3://no-such-bucket-here/x"
	if _, err := daemon.Start(t.Context(), refused); err == nil {
		t.Fatal("a bucket that does not exist was mounted")
	}
	if err := os.WriteFile(m.Path("beneath"), nil, 0o600); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("a write after a mount that was refused: %v", err)
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

// A mount whose process has died is taken away, and not said to be committed.
func TestUmountAfterKill(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("file"), []byte("kept"))
	m.running(t).Kill()
	out, code := ended(t)(tryBinary(t, m.env(t), "umount", m.dir))
	if code != daemon.ExitMount || !strings.Contains(out, "is unmounted, but its process had died, or cannot be found") {
		t.Errorf("%d: %s", code, out)
	}
	if daemon.Mounted(m.Dir()) {
		t.Error("it is still mounted")
	}
	m.daemon = nil
	m.Start(t)
	wantFile(t, m.Path("file"), []byte("kept"))
}

func TestVersionSaysWhatItIs(t *testing.T) {
	onMount(t)
	out, err := tryBinary(t, nil, "version")
	if err != nil || !strings.HasPrefix(out, "sigilfs ") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
}
