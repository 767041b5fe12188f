package main

import (
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
)

// A result is what one program did in one scenario. Where several did, those
// that are not the mount are the measure.
type result struct {
	who   string
	mount bool
	files int   // 0: one large one
	size  int64 // bytes of payload
	took  time.Duration
	tally faultproxy.Tally
	peak  int64 // memory of the daemon at its most, in bytes; 0: not looked at
}

var header = fmt.Sprintf("%-26s %-12s %10s %9s %12s %9s %14s %11s %11s %9s  %s",
	"what", "by", "size", "time", "rate", "ratio", "requests", "sent", "received", "peak RSS", "which")

// line is the result as a row. ratio is the rate beside that of the fastest
// other program, whose time is reference, 0 for none.
func (r result) line(what string, reference time.Duration) string {
	ratio, peak := "", ""
	if r.mount && reference > 0 {
		ratio = fmt.Sprintf("%.2f", reference.Seconds()/r.took.Seconds())
	}
	if r.peak > 0 {
		peak = bytes(r.peak)
	}
	return fmt.Sprintf("%-26s %-12s %10s %8.2fs %12s %9s %14s %11s %11s %9s  %v",
		what, r.who, r.amount(), r.took.Seconds(), r.rate(), ratio, r.requests(), bytes(r.tally.Sent), bytes(r.tally.Received), peak, r.tally)
}

func (r result) amount() string {
	if r.files > 0 {
		return fmt.Sprintf("%d files", r.files)
	}
	return bytes(r.size)
}

func (r result) rate() string {
	switch {
	case r.files > 0:
		return fmt.Sprintf("%.0f files/s", float64(r.files)/r.took.Seconds())
	case r.size < mib:
		return ""
	}
	return fmt.Sprintf("%.0f MiB/s", float64(r.size)/mib/r.took.Seconds())
}

func (r result) requests() string {
	n := r.tally.Requests()
	if r.files > 0 {
		return fmt.Sprintf("%d (%.2f)", n, float64(n)/float64(r.files))
	}
	return fmt.Sprint(n)
}

// reference is the time of the fastest program that is not the mount.
func reference(results []result) time.Duration {
	best := time.Duration(0)
	for _, r := range results {
		if !r.mount && (best == 0 || r.took < best) {
			best = r.took
		}
	}
	return best
}

func bytes(n int64) string {
	switch {
	case n >= gib:
		return fmt.Sprintf("%.2f GiB", float64(n)/gib)
	case n >= mib:
		return fmt.Sprintf("%.2f MiB", float64(n)/mib)
	case n >= kib:
		return fmt.Sprintf("%.2f KiB", float64(n)/kib)
	}
	return fmt.Sprintf("%d B", n)
}
