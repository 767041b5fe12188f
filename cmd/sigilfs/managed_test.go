package main

import (
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/systemd"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

// serviceManager is one that listens, with a watchdog of 20 ms.
func serviceManager(t *testing.T) (*systemd.Manager, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	m, err := systemd.Inherit()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m, func() string {
		t.Helper()
		buf := make([]byte, 4096)
		_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := l.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// until reads messages until it is want, as one of the next hundred must be.
func until(t *testing.T, next func() string, want string) {
	t.Helper()
	for range 100 {
		if next() == want {
			return
		}
	}
	t.Fatalf("it is not told %q", want)
}

// changing is a line that is another one each time.
func changing() func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprint("line ", n.Add(1)) }
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// A mount that answers is alive; one that does not is not, though its process
// tells how it is.
func TestOnlyAMountThatAnswersIsAlive(t *testing.T) {
	defer goleak.VerifyNone(t)
	to, next := serviceManager(t)
	hang, hanging := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	tells := startTelling(to, logrus.New(), changing(), func() {
		if asked.Add(1) == 3 {
			close(hanging)
			<-hang
		}
	})
	until(t, next, "WATCHDOG=1")
	until(t, next, "WATCHDOG=1")
	alive := 2
	<-hanging
	for range 8 { // as long as the watchdog would wait, twice over
		if got := next(); got == "WATCHDOG=1" {
			alive++
		}
	}
	if alive > 2 {
		t.Errorf("it was alive %d times, and answered twice", alive)
	}
	close(hang)
	until(t, next, "WATCHDOG=1")
	tells.end(closed())
}

// What is the same is told once; the end asks for time, and not for ever.
func TestTheEndAsksForTime(t *testing.T) {
	defer goleak.VerifyNone(t)
	to, next := serviceManager(t)
	g := &managed{to: to, log: logrus.New()}
	g.telling = startTelling(to, logrus.New(), func() string { return "as ever" }, func() {})
	told := 0
	for alive := 0; alive < 3; {
		switch next() {
		case "WATCHDOG=1":
			alive++
		case "STATUS=as ever":
			told++
		}
	}
	if told != 1 {
		t.Errorf("it was told %d times", told)
	}
	g.ending(time.Hour)
	want := []string{"STOPPING=1\nSTATUS=ending: as ever", "EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=30000000"}
	for _, w := range want {
		until(t, next, w)
	}
	g.stop(closed())
	upTo(t, to, next) // what was on its way
	past := time.Now().Add(-time.Second)
	g.telling.deadline.Store(&past)
	g.telling.tell("something else")
	if told := upTo(t, to, next); len(told) > 0 {
		t.Errorf("it asks for more: %q", told)
	}
}

// upTo gives what has been told, up to a mark that it tells itself. It reads
// meanwhile: the queue is short, and holds up who tells when it is full.
func upTo(t *testing.T, to *systemd.Manager, next func() string) (told []string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- to.Status("the mark") }()
	for got := next(); got != "STATUS=the mark"; got = next() {
		told = append(told, got)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return told
}

// Without a manager nothing happens, and nothing is waited for.
func TestWithoutAManager(t *testing.T) {
	var g managed
	g.reloading()
	g.reloaded()
	g.ending(time.Second)
	g.failed(errTold)
	g.stop(nil)
}

func TestTellingEvery(t *testing.T) {
	for watchdog, want := range map[time.Duration]time.Duration{
		0: tellManagerEvery, time.Minute: tellManagerEvery, 8 * time.Second: 2 * time.Second, time.Microsecond: time.Millisecond,
	} {
		if got := tellingEvery(watchdog); got != want {
			t.Errorf("watchdog %v: every %v, want %v", watchdog, got, want)
		}
	}
}
