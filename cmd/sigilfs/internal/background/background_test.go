package background

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const role = "BACKGROUND_TEST_ROLE"

// TestMain is also the parent and the child of the tests.
func TestMain(m *testing.M) {
	switch what := os.Getenv(role); {
	case what == "":
		goleak.VerifyTestMain(m)
	case Inside():
		os.Exit(child(what))
	default:
		os.Exit(parent())
	}
}

func parent() int {
	signals := make(chan os.Signal, 1)
	if what := os.Getenv(role); what == "signalled" || what == "late" {
		signals <- syscall.SIGTERM
	}
	err := Run(signals)
	var exit ExitError
	switch {
	case errors.As(err, &exit):
		return int(exit)
	case err != nil:
		_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
		return 2
	}
	return 0
}

func child(what string) int {
	p, err := Inherit()
	if err != nil || p == nil || Inside() {
		return 99
	}
	switch what {
	case "refuses":
		_, _ = io.WriteString(os.Stderr, "no such bucket\n")
		return 32
	case "dies":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "silent":
		return 0
	case "late": // it is ready in the moment in which it is to give up
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		<-p.Gone()
		if err := p.Ready(); err != nil {
			return 98
		}
		<-end
		_, _ = io.WriteString(os.Stderr, "ended\n")
		return 0
	case "signalled", "orphaned":
		if what == "orphaned" {
			_, _ = io.WriteString(os.Stdout, "waiting\n")
		}
		<-p.Gone()
		_, _ = io.WriteString(os.Stderr, "gave up\n")
		return 33
	}
	report := os.NewFile(99, "report")
	if what != "serves" {
		return 99
	}
	// What is to be seen afterwards goes to a file that is opened here.
	out, err := os.OpenFile(os.Getenv("REPORT"), os.O_WRONLY, 0)
	if err != nil {
		return 98
	}
	if err := p.Detach(); err != nil {
		return 97
	}
	_, statErr := report.Stat()
	sid, _ := unix.Getsid(0)
	dir, _ := os.Getwd()
	null, _ := os.Readlink("/proc/self/fd/2")
	comm, _ := os.ReadFile("/proc/self/comm")
	if err := p.Ready(); err != nil {
		return 96
	}
	_, _ = io.WriteString(out, strings.Join([]string{
		strconv.FormatBool(sid == os.Getpid()), dir, null, strconv.FormatBool(statErr != nil), strconv.Itoa(unix.Umask(0)), strings.TrimSpace(string(comm)),
	}, " ")+"\n")
	return 0
}

// run makes a parent of this test, whose child has the role.
func run(t *testing.T, what string, env ...string) (code int, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args[0] = "/sbin/mount.test"
	cmd.Env = append(append(os.Environ(), role+"="+what), env...)
	var text strings.Builder
	cmd.Stderr = &text
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

func TestTheParentEndsAsTheChildDoes(t *testing.T) {
	for what, want := range map[string]struct {
		code   int
		stderr string
	}{
		"refuses":   {32, "no such bucket\n"},
		"dies":      {2, ErrSilent.Error() + " (signal: killed)\n"},
		"silent":    {2, ErrSilent.Error() + " (exit status 0)\n"},
		"signalled": {33, "gave up\n"},
		"late":      {2, "ended\n" + ErrInterrupted.Error() + "\n"},
	} {
		if code, stderr := run(t, what); code != want.code || stderr != want.stderr {
			t.Errorf("%s: exit code %d, %q", what, code, stderr)
		}
	}
}

// The report comes through a pipe by name, which the daemon can open by itself.
func TestDetachLeavesNothingOfTheParent(t *testing.T) {
	name := t.TempDir() + "/report"
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := unix.Dup3(int(r.Fd()), 99, 0); err != nil { // as a shell's 99<file
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(99) }()
	if code, stderr := run(t, "serves", "REPORT="+name); code != 0 {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if want := "true / /dev/null true 63 mount.test\n"; err != nil || line != want {
		t.Errorf("session of its own, directory, stderr, inherited is closed, umask, name: %q, %v, want %q", line, err, want)
	}
}

// A parent that is killed takes with it a child that is not ready.
func TestTheChildOfADeadParentGivesUp(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=orphaned")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "waiting\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_ = cmd.Process.Kill()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "gave up\n" {
		t.Errorf("%q, %v", line, err)
	}
	_ = cmd.Wait()
}

func TestInheritTakesNothingElse(t *testing.T) {
	if p, err := Inherit(); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
	for _, text := range []string{"", "x", "-1", "0", "2", "99999"} {
		t.Setenv(variable, text)
		if _, err := Inherit(); err == nil {
			t.Errorf("%q was taken", text)
		}
		if Inside() {
			t.Errorf("%q is left to others", text)
		}
	}
}
