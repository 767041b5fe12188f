package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
)

// Who has taken a mount away does not wait for ever for a process that does not
// see it: it hangs, or another mount namespace has the mount. One that ends, or
// whose files are open, is waited for as long as it takes.
func TestUmountDoesNotWaitForEver(t *testing.T) {
	const patience = time.Hour
	for _, tt := range []struct {
		name   string
		taken  bool
		ending bool
		after  time.Duration
		says   string
	}{
		{"goes on", true, false, deafAfter, "process 42 goes on"},
		{"ends", true, true, patience, "still commits"},
		{"was lazily unmounted", false, false, patience, "still commits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, peer := serving(t, control.Record{PID: 42, Dir: "/mnt/a", Ending: tt.ending})
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				begin := time.Now()
				err := await(ctx, peer, "/mnt/a", tt.taken, io.Discard)
				if took := time.Since(begin); took < tt.after || took > tt.after+poll {
					t.Errorf("after %v", took)
				}
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("it says %v", err)
				}
			})
		})
	}
}
