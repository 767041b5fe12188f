package main

import (
	"io"
	"os"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// newLog makes the log: lines for people, or JSON for machines.
func newLog(out io.Writer, format string, debug bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(out)
	if debug {
		log.SetLevel(logrus.DebugLevel)
	}
	if format == "json" {
		log.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
		return log
	}
	_, journal := os.LookupEnv("JOURNAL_STREAM") // systemd stamps lines itself
	log.SetFormatter(&logrus.TextFormatter{
		DisableColors: !isTerminal(out), FullTimestamp: true, DisableTimestamp: journal,
		TimestampFormat: time.RFC3339,
	})
	return log
}

// lineFormat is how lines look that nobody reads on a terminal; the host's log
// stamps them itself.
func lineFormat(format string, stamp bool) logrus.Formatter {
	if format == "json" {
		return &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}
	}
	return &logrus.TextFormatter{DisableColors: true, FullTimestamp: true, DisableTimestamp: !stamp, TimestampFormat: time.RFC3339}
}

// cycleLevel goes on to the next of info, debug, trace and info again.
func cycleLevel(log *logrus.Logger) {
	levels := []logrus.Level{logrus.InfoLevel, logrus.DebugLevel, logrus.TraceLevel}
	next := levels[(slices.Index(levels, log.GetLevel())+1)%len(levels)]
	log.SetLevel(next)
	log.Infof("log level is %s now", next)
}

// isTerminal tells whether a person looks at what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
