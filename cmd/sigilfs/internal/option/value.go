package option

import (
	"errors"
	"fmt"
	"math"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the factors of units, in lower case. One letter is binary, as
// for dd(1) and qemu.
func sizeUnits(unit string) (float64, bool) {
	const ki = 1024
	switch strings.ToLower(unit) {
	case "b":
		return 1, true
	case "k", "kib":
		return ki, true
	case "m", "mib":
		return ki * ki, true
	case "g", "gib":
		return ki * ki * ki, true
	case "t", "tib":
		return ki * ki * ki * ki, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	}
	return 0, false
}

// Size reads a number of bytes: digits, perhaps with a fraction, and a unit,
// B, KiB, MiB, GiB, TiB, KB, MB, GB or TB in any case. A number alone is
// refused, since tools of the field differ on whether it counts bytes or MiB.
func Size(s string) (int64, error) {
	digits := strings.TrimRight(s, "bBiIkKmMgGtT ")
	unit := strings.TrimSpace(s[len(digits):])
	if digits == "" || strings.Trim(digits, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size such as 512MiB or 10GiB", s)
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 512MiB or 10GiB", s)
	}
	factor, ok := sizeUnits(unit)
	switch {
	case unit == "" && n == 0:
		return 0, nil
	case unit == "":
		return 0, fmt.Errorf("the size %q has no unit; write %sMiB or %sGiB", s, digits, digits)
	case !ok:
		return 0, fmt.Errorf("%q is not a unit of sizes; write KiB, MiB, GiB or TiB", unit)
	case n*factor >= math.MaxInt64:
		return 0, fmt.Errorf("the size %q is too large", s)
	}
	return int64(n * factor), nil
}

// Mode reads permission bits in octal, 0 to 0777.
func Mode(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%q is not a mode; write octal permissions such as 0755", s)
	}
	return uint32(n), nil
}

// forever stands for "indefinite": long enough for a mount, short enough to
// be added to any time.
const forever = 10 * 365 * 24 * time.Hour

// Duration reads a time: 90s, 4m, 1h30m; a number alone is seconds, and
// Mountpoint's words minimal and indefinite are 0 and ten years. Never negative.
func Duration(s string) (time.Duration, error) {
	switch s {
	case "minimal":
		return 0, nil
	case "indefinite":
		return forever, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		seconds, numErr := strconv.ParseUint(s, 10, 63)
		if numErr != nil || seconds > uint64(forever/time.Second) {
			return 0, fmt.Errorf("%q is not a time such as 60s or 4m", s)
		}
		d = time.Duration(seconds) * time.Second
	}
	if d < 0 || d > forever {
		return 0, fmt.Errorf("the time %q is not between 0 and ten years", s)
	}
	return d, nil
}

// Moment reads a time in the past: RFC 3339, or a date with or without a time of
// day, which are those of this host, or how long ago it is: 90m, 3h, 2d.
func Moment(s string, now time.Time) (time.Time, error) {
	at, err := moment(s, now)
	switch {
	case err != nil:
		return at, err
	case at.After(now):
		return at, fmt.Errorf("%s is in the future", at.Format(time.RFC3339))
	case at.Year() < 2006:
		return at, fmt.Errorf("%s is before S3 was", at.Format(time.RFC3339))
	}
	return at, nil
}

func moment(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return at, nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 15); err == nil {
			return now.AddDate(0, 0, -int(n)), nil //nolint:gosec // 15 bits
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2026-01-02T15:04:05Z, \"2026-01-02 15:04\" or 3h", s)
}

// UID reads a user's number or name.
func UID(s string) (uint32, error) {
	if id, err := owner(s); err == nil {
		return id, nil
	}
	u, err := user.Lookup(s)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q", s)
	}
	return owner(u.Uid)
}

// GID reads a group's number or name.
func GID(s string) (uint32, error) {
	if id, err := owner(s); err == nil {
		return id, nil
	}
	g, err := user.LookupGroup(s)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q", s)
	}
	return owner(g.Gid)
}

// owner reads a number of a user or group; all ones means "no change" to
// chown(2) and is nobody's.
func owner(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == math.MaxUint32 {
		return 0, errors.New("not a number of a user or group")
	}
	return uint32(n), nil
}
