package integration

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"golang.org/x/sys/unix"
)

// A terminal is one at which the test sits (pty(7)).
type terminal struct {
	t       *testing.T
	person  *os.File
	program *os.File
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	open := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Skipf("no pseudo terminals here: %v", err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	person := open("/dev/ptmx")
	conn, err := person.SyscallConn()
	must(t, err)
	n := 0
	must(t, conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}))
	must(t, err)
	return &terminal{t: t, person: person, program: open(fmt.Sprintf("/dev/pts/%d", n))}
}

// start runs a command whose terminal it is.
func (tty *terminal) start(env []string, argv ...string) *exec.Cmd {
	tty.t.Helper()
	cmd := exec.CommandContext(tty.t.Context(), argv[0], argv[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.program, tty.program, tty.program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(tty.t, cmd.Start())
	return cmd
}

// answer waits for a question and types the answer to it.
func (tty *terminal) answer(question, line string) {
	tty.t.Helper()
	must(tty.t, tty.person.SetReadDeadline(time.Now().Add(daemonTime)))
	var seen []byte
	for buf := make([]byte, 256); !bytes.Contains(seen, []byte(question)); {
		n, err := tty.person.Read(buf)
		if err != nil {
			tty.t.Fatalf("no %q on the terminal but %q: %v", question, seen, err)
		}
		seen = append(seen, buf[:n]...)
	}
	_, err := tty.person.WriteString(line + "\n")
	must(tty.t, err)
}

// A passphrase is asked for on the terminal, and then the mount leaves it.
func TestPassphraseInTheBackground(t *testing.T) {
	m := idle(t, mountOptions{})
	c := newTool(t, "/", "age")
	plain, sealed := filepath.Join(t.TempDir(), "id.txt"), filepath.Join(t.TempDir(), "id.age")
	m.sigilfs(t, "keygen", "--kind", "age", "-o", plain)
	tty := newTerminal(t)
	age := tty.start(c.env, "age", "--passphrase", "--output", sealed, plain)
	tty.answer("Enter passphrase", "correct horse")
	tty.answer("Confirm passphrase", "correct horse")
	must(t, age.Wait())
	must(t, os.Chmod(sealed, 0o600))

	cfg := m.config(t)
	set("--key", "age:file:"+sealed)(t, &cfg)
	argv := append(slices.Concat([]string{cfg.Bin, "mount"}, cfg.Args), cfg.Target, cfg.Dir)
	tty = newTerminal(t)
	mount := tty.start(cfg.Env, argv...)
	tty.answer("Passphrase of", "wrong horse")
	if _, code := ended(t)("", mount.Wait()); code != daemon.ExitMount || served(t, m.dir) != 0 {
		t.Errorf("a wrong passphrase: exit code %d", code)
	}
	tty = newTerminal(t)
	mount = tty.start(cfg.Env, argv...)
	tty.answer("Passphrase of", "correct horse")
	if out, code := ended(t)("", mount.Wait()); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	must(t, tty.person.Close()) // the terminal goes
	must(t, tty.program.Close())
	writeFile(t, m.Path("file"), []byte("kept"))
	m.sigilfs(t, "umount", m.dir)
}

// hostLog listens where syslog(3) speaks to.
func hostLog(t *testing.T) (next func() string, stop func()) {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	must(t, err)
	must(t, os.Chmod("/dev/log", 0o666))
	stop = func() {
		_ = l.Close()
		_ = os.Remove("/dev/log")
	}
	t.Cleanup(stop)
	return func() string {
		t.Helper()
		must(t, l.SetReadDeadline(time.Now().Add(daemonTime)))
		buf := make([]byte, 64<<10)
		n, err := l.Read(buf)
		must(t, err)
		return string(buf[:n])
	}, stop
}

// A mount in the background logs to the host's log, also after that was
// restarted; where there is none it says so while somebody listens.
func TestTheHostsLog(t *testing.T) {
	for _, name := range []string{"/dev/log", "/var/run/syslog", "/var/run/log"} {
		if info, err := os.Stat(name); err == nil && info.Mode()&os.ModeSocket != 0 {
			t.Skipf("this machine has a log of its own at %s", name)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root makes /dev/log")
	}
	m := idle(t, mountOptions{})
	out, code := m.tryBehind(t, m.config(t))
	if code != 0 || !strings.Contains(out, "nothing listens on /dev/log") {
		t.Fatalf("%d: %s", code, out)
	}
	m.sigilfs(t, "umount", m.dir)

	next, stop := hostLog(t)
	pid := m.behind(t)
	logged := func(priority int, text string) {
		t.Helper()
		for line := ""; !strings.Contains(line, text); {
			line = next()
			if !strings.Contains(line, fmt.Sprintf(" sigilfs[%d]: level=", pid)) {
				continue // of another test
			}
			if strings.Contains(line, text) && !strings.HasPrefix(line, fmt.Sprintf("<%d>", priority)) {
				t.Errorf("not of priority %d: %s", priority, line)
			}
		}
	}
	const info = 3<<3 | 6 // facility daemon (syslog(3))
	logged(info, "mounted s3://"+m.bucket)
	must(t, unix.Kill(pid, unix.SIGUSR1))
	logged(info, "serving s3://"+m.bucket)
	stop()
	next, _ = hostLog(t)
	must(t, unix.Kill(pid, unix.SIGUSR1))
	logged(info, "serving s3://"+m.bucket)
	m.sigilfs(t, "umount", m.dir)
}
