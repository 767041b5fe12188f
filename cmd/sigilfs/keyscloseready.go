package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// unheard is how long a host may go on with what it began before it noticed that
// its epoch is retired: the requests that end a commit, each tried again for
// commitRetry.
const unheard = 3 * commitRetry

func (f closeFlags) retired(s *settings) time.Duration {
	if f.retiredFor > 0 {
		return f.retiredFor
	}
	return s.keyRecheck + unheard
}

// ready gives the epochs that have been retired for long enough, by the clock of
// the server and the last change of their objects. Others are noted. An upload
// that was begun since then carries none of them.
func (c *closing) ready(ctx context.Context, held []keyring.Held) (ready []keyring.Held, since time.Time, err error) {
	for _, h := range held {
		switch {
		case h.State == keyring.Closed:
			c.doc.Unchanged++
			continue
		case h.State == keyring.Live:
			if c.given {
				c.keep(h, "it is open, and hosts seal under it: sigilfs keys rotate retires it")
			}
			continue
		case !h.Newest():
			c.keep(h, "the bucket does not show what this host knows of it, and other hosts may seal under what they see: sigilfs keys rotate puts the newest revision back")
			continue
		}
		// After h was read, so that it has not been changed since without our seeing.
		info, err := c.objects.Head(ctx, objstore.ID{Key: h.Path()})
		if err != nil {
			return nil, since, err
		}
		now := info.Answered
		if now.IsZero() {
			now = time.Now()
		}
		wait := info.Modified.Add(c.retiredFor + time.Second).Sub(now) // their clocks have whole seconds
		if wait > 0 {
			c.keep(h, fmt.Sprintf("it was retired, or last changed, %s ago, and hosts may seal under it for another %s (--retired-for)", max(0, now.Sub(info.Modified)).Round(time.Second), wait.Round(time.Second)))
			continue
		}
		ready = append(ready, h)
		if left := info.Modified.Add(c.retiredFor); left.After(since) {
			since = left
		}
	}
	return ready, since, nil
}
