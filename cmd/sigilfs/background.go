package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/background"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/logging"
	"github.com/sirupsen/logrus"
)

// errTold is that of a process that has said everything itself.
var errTold = errors.New("")

// inBackground has this program started again to serve the mount, and returns
// when it answers, or was refused.
func inBackground() error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	err := background.Run(signals)
	var exit background.ExitError
	switch {
	case errors.As(err, &exit):
		return &exitError{int(exit), errTold}
	case errors.Is(err, background.ErrInterrupted):
		return mountError("the mount was %w", err)
	case err != nil:
		return systemError("nothing is mounted: %w; its last words may be in the host's log", err)
	}
	return nil
}

// openLog makes the log: of a mount in the foreground on stderr, unless
// --log-file is given; of one in the background there, or in the host's log,
// and until it is mounted what warns on stderr too (with --debug all). The sink
// is nil where there is none.
func openLog(s *settings, child bool, stderr *os.File) (*logrus.Logger, logging.Sink, error) {
	log := newLog(stderr, s.logFormat, s.debug)
	if child && !s.debug {
		log.SetFormatter(warnings{log.Formatter})
	}
	sink, err := openSink(s, child)
	if sink == nil {
		if err != nil && s.logFile != "" {
			return nil, nil, systemError("--log-file: %w", err)
		}
		return log, nil, nil // goBehind says so
	}
	log.AddHook(&logging.Hook{Sink: sink, Format: lineFormat(s.logFormat, s.logFile != "")})
	if !child {
		log.SetOutput(nowhere{})
	}
	return log, sink, nil
}

func openSink(s *settings, child bool) (logging.Sink, error) {
	switch {
	case s.logFile != "":
		f, err := logging.OpenFile(s.logFile)
		if err != nil {
			return nil, err
		}
		return f, nil
	case child:
		h, err := logging.OpenHost("sigilfs")
		if err != nil {
			return nil, err
		}
		return h, nil
	}
	return nil, nil
}

// warnings drops all lines but those that warn, or are worse.
type warnings struct{ logrus.Formatter }

// Format is logrus.Formatter's.
func (w warnings) Format(e *logrus.Entry) ([]byte, error) {
	if e.Level > logrus.WarnLevel {
		return nil, nil
	}
	return w.Formatter.Format(e)
}

// nowhere is written to when a log has its sink.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// goBehind leaves the terminal and tells the parent that it is mounted. False:
// the parent has gone, and the mount is nobody's.
func (m *mounting) goBehind(child *background.Process) bool {
	if m.sink == nil {
		m.log.Warn("nobody takes the log of this mount, as nothing listens on /dev/log: name a file with --log-file")
	}
	if err := child.Detach(); err != nil {
		m.log.WithError(err).Warn("going to the background")
	}
	m.log.SetOutput(nowhere{})
	m.stderr = nowhere{}
	if err := child.Ready(); err != nil {
		m.log.WithError(err).Warn("the mount is taken away again")
		return false
	}
	return true
}

// untilGone ends ctx, with the process that waits for child, if there is one.
func untilGone(ctx context.Context, child *background.Process) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if child == nil {
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-child.Gone():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-done
	}
}
