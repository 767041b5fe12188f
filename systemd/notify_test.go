package systemd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// A manager listens where NOTIFY_SOCKET says, and gives message by message.
func manager(t *testing.T, address string) func() string {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", address)
	return func() string {
		t.Helper()
		buf := make([]byte, 4097)
		_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := l.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// inherit is Inherit, with its end.
func inherit(t *testing.T) *Manager {
	t.Helper()
	m, err := Inherit()
	if err != nil || m == nil {
		t.Fatalf("%v, %v", m, err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestWhatIsTold(t *testing.T) {
	for name, address := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@sigilfs-test-%d", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			next := manager(t, address)
			m := inherit(t)
			for _, step := range []struct {
				tell func() error
				want string
			}{
				{func() error { return m.Status("looking at s3://b") }, "STATUS=looking at s3://b"},
				{func() error { return m.Ready("serving") }, "READY=1\nSTATUS=serving"},
				{m.Alive, "WATCHDOG=1"},
				{func() error { return m.Extend(90 * time.Second) }, "EXTEND_TIMEOUT_USEC=90000000"},
				{func() error { return m.Stopping("the end") }, "STOPPING=1\nSTATUS=the end"},
			} {
				if err := step.tell(); err != nil {
					t.Fatal(err)
				}
				if got := next(); got != step.want {
					t.Errorf("%q, want %q", got, step.want)
				}
			}
		})
	}
}

// A reload carries the time at which it began (sd_notify(3)).
func TestReloading(t *testing.T) {
	next := manager(t, filepath.Join(t.TempDir(), "notify"))
	m := inherit(t)
	if err := m.Reloading(); err != nil {
		t.Fatal(err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	usec, ok := strings.CutPrefix(next(), "RELOADING=1\nMONOTONIC_USEC=")
	at, err := strconv.ParseInt(usec, 10, 64)
	if age := now.Nano()/1000 - at; !ok || err != nil || age < 0 || age > 10e6 {
		t.Errorf("%q is %d µs ago, %v", usec, age, err)
	}
}

func TestNobodyIsToldNothing(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m, err := Inherit()
	if m != nil || err != nil {
		t.Fatalf("%v, %v", m, err)
	}
	if err := errors.Join(m.Ready(""), m.Status(""), m.Reloading(), m.Stopping(""), m.Extend(1), m.Alive(), m.Close()); err != nil || m.Watchdog() != 0 {
		t.Error(err)
	}
}

func TestWhatIsStartedDoesNotSpeak(t *testing.T) {
	manager(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	if m := inherit(t); m.Watchdog() != 3*time.Second {
		t.Error(m.Watchdog())
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if _, ok := os.LookupEnv(name); ok {
			t.Errorf("%s is left to others", name)
		}
	}
	if m, err := Inherit(); m != nil || err != nil {
		t.Errorf("%v, %v", m, err)
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"notify", "/", "@", "vsock:2:1234", "./notify"} {
		t.Setenv("NOTIFY_SOCKET", address)
		if _, err := Inherit(); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"/nowhere/notify", "@nobody-listens-here", "/" + strings.Repeat("x", 200)} {
		t.Setenv("NOTIFY_SOCKET", address)
		if err := inherit(t).Alive(); err == nil {
			t.Errorf("%q: it was told", address)
		}
	}
}

func TestWatchdog(t *testing.T) {
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0},
		{"20000000", "", 20 * time.Second},
		{"1500000", "7", 1500 * time.Millisecond},
		{"20000000", "8", 0},
		{"20000000", "x", 0},
		{"0", "7", 0},
		{"-1", "7", 0},
		{"1s", "7", 0},
		{"18446744073709551615", "7", 0}, // infinity
		{"9223372036854775807", "7", 0},
	} {
		if got := watchdog(tt.usec, tt.pid, 7); got != tt.want {
			t.Errorf("%q for %q: %v, want %v", tt.usec, tt.pid, got, tt.want)
		}
	}
}

// Whatever is in it, a status is one line of UTF-8 that the manager reads.
func TestStatusIsOneLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "text"))
		got := status(text)
		if strings.ContainsAny(got, "\n\x00") || !utf8.ValidString(got) || len(got) > len("STATUS=")+maxText {
			t.Fatalf("%q", got)
		}
	})
	if got := status("é\nREADY=1"); got != "STATUS=é READY=1" {
		t.Errorf("%q", got)
	}
}

// A manager that does not read holds nobody up.
func TestAManagerThatHangs(t *testing.T) {
	manager(t, filepath.Join(t.TempDir(), "notify"))
	m := inherit(t)
	begin := time.Now()
	for n := 0; ; n++ {
		if err := m.Alive(); err != nil {
			break
		}
		if n == 1<<16 {
			t.Fatal("the queue has no end")
		}
	}
	if took := time.Since(begin); took > 10*patience {
		t.Errorf("it took %v", took)
	}
}

// The variable alone says nothing: the stream has to be the one that it names.
func TestJournal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	other, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", "")
	if Journal(w) {
		t.Error("without the variable")
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	if !Journal(w) || Journal(other) {
		t.Errorf("the stream %v, another file %v", Journal(w), Journal(other))
	}
	for _, bad := range []string{"x", ":", fmt.Sprintf("%d:%d0", st.Dev, st.Ino), fmt.Sprintf("%d", st.Ino)} {
		t.Setenv("JOURNAL_STREAM", bad)
		if Journal(w) {
			t.Errorf("%q", bad)
		}
	}
	_ = w.Close()
	if _, err := io.WriteString(w, "x"); err == nil || Journal(w) {
		t.Error("a closed file")
	}
}
