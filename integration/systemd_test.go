package integration

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// unitFiles are units as they are shipped, but for the path of the binary, in a
// directory of their own.
func unitFiles(t *testing.T, patterns ...string) (dir string, names []string) {
	t.Helper()
	dir = t.TempDir()
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		must(t, err)
		for _, path := range paths {
			text := strings.ReplaceAll(string(readFile(t, path)), "/usr/bin/sigilfs", binary(t))
			name := strings.Replace(filepath.Base(path), "@.service", "@backup.service", 1)
			writeFile(t, filepath.Join(dir, name), []byte(text))
			names = append(names, name)
		}
	}
	if len(names) < len(patterns) {
		t.Fatalf("units: %q", names)
	}
	return dir, names
}

// systemd-analyze has nothing to say about the units.
func TestUnitsAreValid(t *testing.T) {
	for manager, patterns := range map[string][]string{
		"system": {"../systemd/*.service", "../systemd/examples/*"},
		"user":   {"../systemd/user/*"},
	} {
		dir, names := unitFiles(t, patterns...)
		c := newTool(t, dir, "systemd-analyze", "XDG_RUNTIME_DIR="+dir, "SYSTEMD_UNIT_PATH="+dir+":/usr/lib/systemd/"+manager+":/lib/systemd/"+manager)
		if out := c.run(append([]string{"systemd-analyze", "--" + manager, "verify", "--man=no"}, names...)...); strings.TrimSpace(out) != "" {
			t.Errorf("%s", out)
		}
	}
}

// exposure is what systemd-analyze security may at most say of the service,
// times ten. What gives a service a mount namespace of its own would be the
// better part of it, and would hide the mount.
const exposure = "49"

func TestTheServiceIsHardened(t *testing.T) {
	dir, _ := unitFiles(t, "../systemd/*.service")
	c := newTool(t, dir, "systemd-analyze")
	c.run("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+exposure, filepath.Join(dir, "sigilfs@backup.service"))
}

// notified gives a daemon's environment a service manager, whose messages next
// gives one by one.
func notified(t *testing.T, m *mount, more ...string) (cfg daemon.Config, next func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	cfg = m.config(t)
	cfg.Env = append(cfg.Env, append(more, "NOTIFY_SOCKET="+path)...)
	return cfg, func() string {
		t.Helper()
		must(t, l.SetReadDeadline(time.Now().Add(daemonTime)))
		buf := make([]byte, 4096)
		n, err := l.Read(buf)
		must(t, err)
		return string(buf[:n])
	}
}

// until reads messages until one has the line.
func until(t *testing.T, next func() string, line string) string {
	t.Helper()
	for range 1000 {
		message := next()
		if slices.Contains(strings.Split(message, "\n"), line) {
			return message
		}
	}
	t.Fatalf("it is not told %q", line)
	return ""
}

// What a service manager is told of a mount: that it is ready when it answers,
// that it is alive, reloads and ends, and while an upload is waited for that it
// needs time.
func TestTheServiceManagerIsTold(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	m.Unmount(t)
	cfg, next := notified(t, m, "WATCHDOG_USEC=400000")
	d, err := daemon.Start(t.Context(), cfg)
	must(t, err)
	m.daemon = d
	ready := until(t, next, "READY=1")
	if !strings.Contains(ready, "STATUS=serving "+m.volume()+" on "+m.dir) {
		t.Errorf("%q", ready)
	}
	writeFile(t, m.Path("before"), []byte("x"))
	until(t, next, "WATCHDOG=1")
	until(t, next, "WATCHDOG=1")

	must(t, unix.Kill(d.PID(), unix.SIGHUP))
	if message := until(t, next, "RELOADING=1"); !strings.Contains(message, "\nMONOTONIC_USEC=") {
		t.Errorf("%q", message)
	}
	until(t, next, "READY=1")

	// A file that is being committed when the end comes.
	gate := faultproxy.NewGate(faultproxy.Writing("/"+m.Key("file")), 0, faultproxy.Before)
	t.Cleanup(gate.Drop)
	m.proxy.Set(gate.Fault)
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(m.Path("file"), []byte("wanted"), 0o600) }()
	<-gate.Arrived()
	must(t, unix.Kill(d.PID(), unix.SIGTERM))
	until(t, next, "STOPPING=1")
	until(t, next, "EXTEND_TIMEOUT_USEC=30000000")
	until(t, next, "WATCHDOG=1")
	until(t, next, "EXTEND_TIMEOUT_USEC=30000000")
	gate.Open()
	must(t, <-written)
	<-d.Exited()
	m.daemon = nil
	if log := d.Log(); !strings.Contains(log, "unmounted "+m.volume()) {
		t.Errorf("%s", log)
	}
	if keys := newClient(t, m.bucket).keys(m.Key("file")); len(keys) != 1 {
		t.Errorf("keys %q", keys)
	}
}

// A mount that is refused says why, too.
func TestTheServiceManagerIsToldWhyNot(t *testing.T) {
	m := newMount(t, mountOptions{})
	m.Unmount(t)
	cfg, next := notified(t, m)
	cfg.Target = "s3://no-such-bucket-here/x"
	if _, err := daemon.Start(t.Context(), cfg); err == nil {
		t.Fatal("it is mounted")
	}
	for {
		message := next()
		if strings.HasPrefix(message, "READY") {
			t.Fatal(message)
		}
		if strings.HasPrefix(message, "STATUS=") && strings.Contains(message, "does not exist") {
			return
		}
	}
}

func TestTheWatchdogOfAnotherProcess(t *testing.T) {
	m := newMount(t, mountOptions{})
	m.Unmount(t)
	cfg, next := notified(t, m, "WATCHDOG_USEC=400000", "WATCHDOG_PID=1")
	d, err := daemon.Start(t.Context(), cfg)
	must(t, err)
	m.daemon = d
	until(t, next, "READY=1")
	m.Unmount(t)
	for message := ""; !strings.HasPrefix(message, "STOPPING=1"); message = next() {
		if message == "WATCHDOG=1" {
			t.Error("it answers another's watchdog")
		}
	}
}
