package attrmeta

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const second = int64(time.Second)

// formatTime writes ns since 1970 as seconds and nine digits. Before 1970 the
// sign is of the whole number, as rclone has it; s3fs takes such times for none.
func formatTime(ns int64) string {
	sign, n := "", uint64(ns)
	if ns < 0 {
		sign, n = "-", -n // of the least int64 too
	}
	return fmt.Sprintf("%s%d.%09d", sign, n/uint64(second), n%uint64(second))
}

// parseTime reads decimal seconds with or without a fraction, of which nine
// digits count, or RFC 3339. Nil is what is neither, or beyond an int64 of ns
// (1677 to 2262).
func parseTime(s string) *int64 {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return inRange(t.Unix(), int64(t.Nanosecond()))
	}
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	if !isDigits(whole) || whole == "" || !isDigits(fraction) {
		return nil
	}
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return nil
	}
	ns, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64) // digits, as checked
	if negative {
		sec, ns = -sec, -ns
	}
	return inRange(sec, ns)
}

// inRange gives sec seconds and ns, less than one second of either sign, as ns.
func inRange(sec, ns int64) *int64 {
	if sec > math.MaxInt64/second || sec < math.MinInt64/second-1 {
		return nil
	}
	if sec < 0 && ns > 0 { // towards zero, so that the product cannot overflow
		sec, ns = sec+1, ns-second
	}
	sum := sec * second
	if sec < math.MinInt64/second || ns > 0 && sum > math.MaxInt64-ns || ns < 0 && sum < math.MinInt64-ns {
		return nil
	}
	sum += ns
	return &sum
}

func isDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}
