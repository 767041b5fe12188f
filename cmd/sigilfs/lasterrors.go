package main

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/status"
	"github.com/sirupsen/logrus"
)

// mostErrors bounds what is remembered of the log.
const mostErrors = 32

// lastErrors are the last warnings and errors that were logged. Each failure is
// logged once, at the edge, so that they are all there is to tell.
type lastErrors struct {
	mu   sync.Mutex // guards what follows
	ring []status.Event
}

var _ logrus.Hook = (*lastErrors)(nil)

// Levels is logrus.Hook's.
func (l *lastErrors) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel, logrus.WarnLevel}
}

// Fire is logrus.Hook's. What repeats is counted.
func (l *lastErrors) Fire(e *logrus.Entry) error {
	event := status.Event{
		Time: e.Time, Level: e.Level.String(), Text: e.Message,
		Path: field(e, "path"), Op: field(e, "op"), Error: field(e, logrus.ErrorKey), More: otherFields(e),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.ring); n > 0 && sameEvent(l.ring[n-1], event) {
		l.ring[n-1].Again++
		return nil
	}
	if len(l.ring) == mostErrors {
		l.ring = append(l.ring[:0], l.ring[1:]...)
	}
	l.ring = append(l.ring, event)
	return nil
}

// sameEvent compares all but when it was, and how often.
func sameEvent(a, b status.Event) bool {
	a.Time, a.Again = b.Time, b.Again
	return reflect.DeepEqual(a, b)
}

// otherFields are those that have no place of their own. A stack is for the log.
func otherFields(e *logrus.Entry) map[string]string {
	more := map[string]string{}
	for name := range e.Data {
		switch name {
		case "path", "op", logrus.ErrorKey, "stack":
		default:
			more[name] = field(e, name)
		}
	}
	if len(more) == 0 {
		return nil
	}
	return more
}

func field(e *logrus.Entry, name string) string {
	switch v := e.Data[name].(type) {
	case nil:
		return ""
	case error:
		return v.Error()
	default:
		return fmt.Sprint(v)
	}
}

// all gives a copy, the oldest first.
func (l *lastErrors) all() []status.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]status.Event(nil), l.ring...)
}
