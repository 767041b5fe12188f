package awsclient

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is how long to wait after attempt n, counted from 1: exponential with
// full jitter, so that clients which failed together do not come back together.
// The server's plea to slow down makes it longer. It is at most most and the
// half of the shortest wait.
func Backoff(n int, slowDown bool, most time.Duration) time.Duration {
	base := 50 * time.Millisecond
	if slowDown {
		base = 250 * time.Millisecond
	}
	return base/2 + rand.N(min(base<<min(n, 10), most)) //nolint:gosec // jitter
}

// Wait lets d pass; the error is the cause for which ctx ended before.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
