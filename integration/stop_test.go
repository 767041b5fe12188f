package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// SIGTERM with a file open: what was closed is in the bucket, the open one is
// never half-written to its name; its data is kept, sealed.
func TestStopWithAnOpenFile(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--stop-timeout", "1s"}})
	writeFile(t, m.Path("closed"), []byte("closed"))
	f, err := os.Create(m.Path("open"))
	must(t, err)
	secret := []byte(strings.Repeat("half a file. ", 100))
	_, err = f.Write(secret)
	must(t, err)
	log, err := m.Interrupt(t)
	if err == nil {
		t.Error("the daemon says that all is well")
	}
	for _, want := range []string{"programs still had files open", "is kept, sealed, in " + m.state} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	_ = f.Close()
	c := newClient(t, m.bucket)
	if keys := c.keys(m.Key("open")); len(keys) != 0 {
		t.Errorf("the open file is in the bucket: %q", keys)
	}
	kept, err := filepath.Glob(m.state + "/*/spool/*/*.data")
	must(t, err)
	if len(kept) == 0 {
		t.Error("nothing is kept in the state directory")
	}
	if found := filesWith(t, m.state, secret[:20]); len(found) != 0 {
		t.Errorf("readable in the state directory: %v", found)
	}
	m.Start(t)
	wantFile(t, m.Path("closed"), []byte("closed"))
}

// What a mount in the background leaves is said in its log: nobody reads its
// stderr.
func TestTheLogTellsWhatIsLeft(t *testing.T) {
	m := idle(t, mountOptions{})
	log := filepath.Join(t.TempDir(), "log")
	pid := m.behind(t, "--log-file", log, "--stop-timeout", "1s")
	f, err := os.Create(m.Path("open"))
	must(t, err)
	defer func() { _ = f.Close() }()
	_, err = f.WriteString("half a file")
	must(t, err)
	must(t, unix.Kill(pid, unix.SIGTERM))
	awaitEnd(t, pid)
	if text := string(readFile(t, log)); !strings.Contains(text, "level=error") || !strings.Contains(text, "is kept, sealed, in "+m.state) {
		t.Errorf("%s", text)
	}
}

// umountHeld is a mount with a file that was closed and refused, and `sigilfs
// umount` waiting for the upload, which stands at the gate.
func umountHeld(t *testing.T, want []byte) (*mount, *faultproxy.Gate, <-chan outcome) {
	t.Helper()
	m := newMount(t, mountOptions{Proxy: true})
	failUploads(m, "file")
	if err := os.WriteFile(m.Path("file"), want, 0o644); !errors.Is(err, unix.EACCES) {
		t.Fatalf("close: %v, want EACCES", err)
	}
	gate := faultproxy.NewGate(faultproxy.Writing("/"+m.Key("file")), 0, faultproxy.Before)
	t.Cleanup(gate.Drop)
	m.proxy.Set(gate.Fault)
	ended := make(chan outcome, 1)
	go func() {
		out, err := tryBinary(t, m.env(t), "umount", m.dir)
		ended <- outcome{out, err}
	}()
	select {
	case <-gate.Arrived():
	case o := <-ended:
		t.Fatalf("sigilfs umount ended before the file was sent: %v: %s", o.err, o.out)
	case <-time.After(daemonTime):
		t.Fatal("the file is not sent")
	}
	select { // one that does not wait would be back by now
	case o := <-ended:
		t.Fatalf("sigilfs umount did not wait: %v: %s", o.err, o.out)
	case <-time.After(time.Second):
	}
	return m, gate, ended
}

// An outcome is how a command ended.
type outcome struct {
	out string
	err error
}

// `sigilfs umount` returns when what was closed is in the bucket and the daemon
// has ended, not before.
func TestUmountWaitsForWhatWasClosed(t *testing.T) {
	want := []byte("closed, and refused at first")
	m, gate, ended := umountHeld(t, want)
	gate.Open()
	if o := <-ended; o.err != nil {
		t.Errorf("sigilfs umount: %v: %s", o.err, o.out)
	}
	if keys := newClient(t, m.bucket).keys(m.Key("file")); len(keys) != 1 {
		t.Errorf("in the bucket: %q", keys)
	}
	select {
	case <-m.daemon.Exited(): // a parent sees it a moment after others
	case <-time.After(daemonTime):
		t.Fatal("the daemon still runs")
	}
	m.daemon = nil
	m.Start(t)
	wantFile(t, m.Path("file"), want)
}

// A daemon that dies meanwhile is not taken for one that has done its work; the
// next mount does it.
func TestUmountSaysThatTheDaemonDied(t *testing.T) {
	want := []byte("closed, and not committed yet")
	m, gate, ended := umountHeld(t, want)
	m.running(t).Kill()
	o := <-ended
	var exit *exec.ExitError
	if !errors.As(o.err, &exit) || exit.ExitCode() != daemon.ExitMount || !strings.Contains(o.out, "not committed") {
		t.Errorf("%v: %s", o.err, o.out)
	}
	gate.Drop()
	m.proxy.Set(faultproxy.Pass)
	m.daemon = nil
	m.Start(t)
	wantFile(t, m.Path("file"), want)
}
