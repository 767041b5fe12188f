package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
	"github.com/sirupsen/logrus/hooks/test"
)

// What is waited for is said once; a damaged record too, but not one that is
// only being written.
func TestStateWait(t *testing.T) {
	for _, tt := range []struct {
		name   string
		locked state.LockedError
		tries  int
		lines  int
		says   string
	}{
		{"ending process", state.LockedError{Owner: state.Owner{PID: 7, Mountpoint: t.TempDir()}}, 30, 1, "an earlier mount"},
		{"recover", state.LockedError{Owner: state.Owner{PID: 7}}, 30, 1, "another command"},
		{"half written", state.LockedError{Record: errors.New("damaged")}, patience - 1, 0, ""},
		{"damaged", state.LockedError{Record: errors.New("damaged")}, 30, 1, "does not tell"},
	} {
		log, lines := test.NewNullLogger()
		w := &stateWait{log: log}
		for range tt.tries {
			if !w.worth(&tt.locked) {
				t.Errorf("%s: not waited for", tt.name)
			}
		}
		if n := len(lines.AllEntries()); n != tt.lines {
			t.Errorf("%s: %d lines", tt.name, n)
		} else if n > 0 && !strings.Contains(lines.LastEntry().Message, tt.says) {
			t.Errorf("%s: %s", tt.name, lines.LastEntry().Message)
		}
	}
}
