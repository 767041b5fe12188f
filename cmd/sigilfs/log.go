package main

import (
	"io"
	"os"
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/logging"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/systemd"
	"github.com/sirupsen/logrus"
)

// newLog makes the log: lines for people, or JSON for machines. What goes
// straight to journald has priorities, and is stamped there.
func newLog(out io.Writer, format string, debug bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(out)
	if debug {
		log.SetLevel(logrus.DebugLevel)
	}
	journal := isJournal(out)
	var lines logrus.Formatter = &logrus.TextFormatter{
		DisableColors: !progress.IsTerminal(out), FullTimestamp: true, DisableTimestamp: journal,
		TimestampFormat: time.RFC3339,
	}
	if format == "json" {
		lines = &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}
	}
	if journal {
		lines = logging.Prioritized{Lines: lines}
	}
	log.SetFormatter(lines)
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

// isJournal tells whether journald reads what is written to w.
func isJournal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && systemd.Journal(f)
}
