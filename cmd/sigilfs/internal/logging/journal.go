package logging

import (
	"fmt"
	"log/syslog"

	"github.com/sirupsen/logrus"
)

// Prioritized puts before each line its priority, as journald takes it from the
// stderr of a service: <N>, in the numbers of syslog(3) (sd-daemon(3)).
type Prioritized struct{ Lines logrus.Formatter }

var _ logrus.Formatter = Prioritized{}

// Format implements logrus.Formatter.
func (p Prioritized) Format(e *logrus.Entry) ([]byte, error) {
	line, err := p.Lines.Format(e)
	return append(fmt.Appendf(nil, "<%d>", Priority(e.Level)), line...), err
}

// Priority is that of the same name.
func Priority(level logrus.Level) syslog.Priority {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return syslog.LOG_CRIT
	case logrus.ErrorLevel:
		return syslog.LOG_ERR
	case logrus.WarnLevel:
		return syslog.LOG_WARNING
	case logrus.InfoLevel:
		return syslog.LOG_INFO
	}
	return syslog.LOG_DEBUG
}
