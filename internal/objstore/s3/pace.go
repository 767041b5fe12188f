package s3

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of a piece, in bytes.
const (
	leastPiece = 1 << 10
	mostPiece  = 32 << 10
)

// MinLimit is the least UploadLimit and DownloadLimit, in bytes a second. All
// requests that may run at once then get their turn within the 20 seconds after
// which S3 gives up a connection on which nothing moves (RequestTimeout).
const MinLimit = 16 << 10

// pace holds all bodies of one direction to so many bytes a second: a token
// bucket that is handed out in pieces, first come, first served. A body waits
// for one piece at a time, so that they take turns and a short one is through
// after as many turns as it has pieces, however long the others are. In any t
// seconds no more than burst + limit·t bytes pass. A nil pace holds nothing up.
type pace struct {
	bucket *rate.Limiter
	piece  int
}

// newPace gives nil for 0.
func newPace(limit int64) *pace {
	if limit <= 0 {
		return nil
	}
	piece := pieceOf(limit)
	return &pace{rate.NewLimiter(rate.Limit(limit), burstOf(limit)), piece}
}

// pieceOf is what a body waits for at a time: 128 of them, one for each request
// that may run at once, take four seconds at most (eight at MinLimit).
func pieceOf(limit int64) int { return int(min(max(limit/32, leastPiece), mostPiece)) }

// burstOf is what may pass at once after a pause: a sixteenth of a second's, so
// that timers which are late cost nothing, and one piece at least.
func burstOf(limit int64) int { return int(max(limit/16, int64(pieceOf(limit)))) }

// cut gives the beginning of p that may be asked for at once.
func (l *pace) cut(p []byte) []byte {
	if l == nil {
		return p
	}
	return p[:min(len(p), l.piece)]
}

// pass waits until n bytes, a piece at most, may go for r. The time is not the
// server's: the watchdog of the attempt stands still. The error is why r ended.
func (l *pace) pass(r *http.Request, n int) error {
	if l == nil || n == 0 {
		return nil
	}
	a, _ := r.Context().Value(attemptKey{}).(*attempt)
	return a.unwatched(func() error { return l.wait(r.Context(), n) })
}

// wait is rate.Limiter's WaitN, which does not even begin what a deadline would
// cut short, and gives an error of its own for that.
func (l *pace) wait(ctx context.Context, n int) error {
	now := time.Now()
	turn := l.bucket.ReserveN(now, n)
	delay := turn.DelayFrom(now)
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return context.Cause(ctx)
	}
}

// unwatched runs wait while the watchdog stands still; it begins anew after it
// if it was running. A nil attempt has none.
func (a *attempt) unwatched(wait func() error) error {
	if a == nil || !a.timer.Stop() {
		return wait()
	}
	err := wait()
	if a.ctx.Err() == nil {
		a.timer.Reset(a.stall)
	}
	return err
}
