// Package systemd is what there is for systemd: the units (sigilfs@.service,
// and under examples/ what goes with it), and the words by which a process tells
// its service manager how it is. It knows what sd_notify(3) says, and nothing of
// what is served.
//
// A message is a datagram of lines NAME=VALUE to the socket that $NOTIFY_SOCKET
// names: an absolute path, or @NAME in the abstract namespace (unix(7)).
// Inherit → Ready → (Reloading → Ready)… → Stopping; between these Status, Alive
// and Extend at any time.
package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// ErrAddress is that $NOTIFY_SOCKET names no socket that can be spoken to.
var ErrAddress = errors.New("NOTIFY_SOCKET is neither an absolute path nor @NAME")

const (
	// patience is how long a message may take: a manager that hangs holds
	// nobody up for longer.
	patience = time.Second

	// maxText is the most bytes of a status line. A message over 4096 bytes is
	// not read at all.
	maxText = 1024
)

// Manager is the service manager that waits to hear of this process. The nil
// Manager is nobody, who is told nothing. Its methods are safe for concurrent
// use; an error of theirs is that the manager did not hear it.
type Manager struct {
	fd       int
	address  string
	watchdog time.Duration
}

// Inherit gives the manager of this process, nil where it has none. It takes it
// out of the environment: what this process starts is not to speak for it.
func Inherit() (*Manager, error) {
	address, usec, pid := take("NOTIFY_SOCKET"), take("WATCHDOG_USEC"), take("WATCHDOG_PID")
	switch {
	case address == "":
		return nil, nil
	case len(address) < 2 || address[0] != '/' && address[0] != '@':
		return nil, ErrAddress
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket for the service manager: %w", err)
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return nil, errors.Join(fmt.Errorf("socket for the service manager: %w", err), unix.Close(fd))
	}
	return &Manager{fd: fd, address: address, watchdog: watchdog(usec, pid, os.Getpid())}, nil
}

func take(name string) string {
	value := os.Getenv(name)
	_ = os.Unsetenv(name) // fails for names that are none
	return value
}

// watchdog is the time of $WATCHDOG_USEC, 0 where there is none or it is meant
// for another process (sd_watchdog_enabled(3)).
func watchdog(usec, pid string, self int) time.Duration {
	if pid != "" && pid != strconv.Itoa(self) {
		return 0
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(maxWatchdog/time.Microsecond) {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// maxWatchdog is that of which systemd says "infinity", and a little less.
const maxWatchdog = 10 * 365 * 24 * time.Hour

// Watchdog is how long the manager believes without having heard Alive; 0 is
// for ever.
func (m *Manager) Watchdog() time.Duration {
	if m == nil {
		return 0
	}
	return m.watchdog
}

// Ready says that the start, or a reload, is over.
func (m *Manager) Ready(text string) error { return m.send("READY=1", status(text)) }

// Status says in one line how it is, for a person.
func (m *Manager) Status(text string) error { return m.send(status(text)) }

// Reloading says that a reload has begun; Ready ends it.
func (m *Manager) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("monotonic clock: %w", err)
	}
	return m.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
}

// Stopping says that the end has begun.
func (m *Manager) Stopping(text string) error { return m.send("STOPPING=1", status(text)) }

// Extend asks for time: the start or the end may last longer than the unit says,
// as long as it is asked for again within d.
func (m *Manager) Extend(d time.Duration) error {
	return m.send("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10))
}

// Alive is for the watchdog.
func (m *Manager) Alive() error { return m.send("WATCHDOG=1") }

// status is a line of its own whatever is in text, and UTF-8, as the manager
// wants it.
func status(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxText {
		text = text[:maxText]
	}
	return "STATUS=" + strings.ToValidUTF8(text, "")
}

func (m *Manager) send(lines ...string) error {
	if m == nil {
		return nil
	}
	message := []byte(strings.Join(lines, "\n"))
	for {
		// One address for each message: the call writes to it.
		err := unix.Sendto(m.fd, message, unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: m.address})
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("tell the service manager: %w", err)
		}
	}
}

// Close lets go of the socket; nothing is told after it.
func (m *Manager) Close() error {
	if m == nil {
		return nil
	}
	return unix.Close(m.fd)
}
