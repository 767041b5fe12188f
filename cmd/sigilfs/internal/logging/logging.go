// Package logging is where the log of a process without a terminal goes: to
// the host's log by syslog(3)'s socket, which systemd-journald and syslog
// daemons alike listen on, or to a file.
package logging

import (
	"errors"
	"fmt"
	"log/syslog"
	"os"
	"sync"

	"github.com/sirupsen/logrus"
)

// Sink takes lines. It is safe for concurrent use.
type Sink interface {
	// Write takes one line, with its line break.
	Write(level logrus.Level, line string) error

	// Reopen is for after the file was renamed, as logrotate does.
	Reopen() error

	Close() error
}

var (
	_ Sink = (*Host)(nil)
	_ Sink = (*File)(nil)
)

// Host is the host's log.
type Host struct{ w *syslog.Writer }

// OpenHost connects to the host's log, under name. It connects again when the
// one who listens has been restarted.
func OpenHost(name string) (*Host, error) {
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, name)
	if err != nil {
		return nil, fmt.Errorf("the host's log: %w", err)
	}
	return &Host{w}, nil
}

// Write implements Sink. Priorities are those of the same name.
func (h *Host) Write(level logrus.Level, line string) error {
	switch Priority(level) {
	case syslog.LOG_CRIT:
		return h.w.Crit(line)
	case syslog.LOG_ERR:
		return h.w.Err(line)
	case syslog.LOG_WARNING:
		return h.w.Warning(line)
	case syslog.LOG_INFO:
		return h.w.Info(line)
	}
	return h.w.Debug(line)
}

// Reopen implements Sink.
func (h *Host) Reopen() error { return nil }

// Close implements Sink.
func (h *Host) Close() error { return h.w.Close() }

// File is a file that is appended to.
type File struct {
	path string

	mu sync.Mutex // guards f
	f  *os.File
}

// OpenFile makes the file, with mode 0640 under the umask of now, or goes on
// with it.
func OpenFile(path string) (*File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	f, err := os.OpenFile(path, flags, 0o640) //nolint:gosec // those who read logs are often a group
	if err != nil {
		return nil, err
	}
	return &File{path: path, f: f}, nil
}

// again opens the file at path, or makes one with the permissions of old: by now
// the umask is that of a daemon.
func again(path string, old *os.File) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND
	f, err := os.OpenFile(path, flags, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	was, err := old.Stat()
	if err != nil {
		return nil, err
	}
	f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(was.Mode().Perm()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Write implements Sink.
func (l *File) Write(_ logrus.Level, line string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.f.WriteString(line)
	return err
}

// Reopen implements Sink. The old file stays in use if it fails.
func (l *File) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := again(l.path, l.f)
	if err != nil {
		return err
	}
	err = l.f.Close()
	l.f = f
	return err
}

// Close implements Sink.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}

// Hook hands what is logged to a sink.
type Hook struct {
	Sink   Sink
	Format logrus.Formatter
}

var _ logrus.Hook = (*Hook)(nil)

// Levels implements logrus.Hook.
func (h *Hook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook. What it cannot write is lost: there is nobody to
// tell, and whoever logs goes on.
func (h *Hook) Fire(e *logrus.Entry) error {
	line, err := h.Format.Format(e)
	return errors.Join(err, h.Sink.Write(e.Level, string(line)))
}
