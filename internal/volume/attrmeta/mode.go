package attrmeta

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	permBits    = 0o7777
	specialBits = 0o7000 // setuid, setgid, sticky
)

// formatMode writes octal with a zero before it: s3fs would read decimal too,
// but rclone --metadata takes every mode for octal.
func formatMode(mode uint32) string { return "0" + strconv.FormatUint(uint64(mode), 8) }

// parseMode reads a mode: decimal as s3fs has it, or octal as rclone and those
// who write by hand. Digits alone do not tell which, but of the two readings
// one makes sense as a rule; where neither is better, s3fs tells whether s3fs
// was the writer. 0 is no mode.
func parseMode(s string, s3fs bool) (mode uint32, octal bool) {
	dec, oct := reading(s, 10), reading(s, 8)
	switch d, o := sense(dec), sense(oct); {
	case strings.HasPrefix(s, "0"): // strtoll(3), which s3fs uses, says so too
		octal = true
	case d != o:
		octal = o > d
	default:
		octal = d == untyped && !s3fs
	}
	if mode = dec; octal {
		mode = oct
	}
	if sense(mode) <= nonsense {
		mode &= permBits
	}
	return mode, octal
}

// reading gives a mode of 16 bits, 0 where s is none.
func reading(s string, base int) uint32 {
	n, err := strconv.ParseUint(s, base, 16)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// How much sense a mode makes, in rising order.
const (
	none     = iota
	nonsense // type bits that no file has
	odd      // bits that files of its type do not have
	untyped  // permissions alone
	typed
)

func sense(mode uint32) int {
	perm := mode & permBits
	switch typ := mode & unix.S_IFMT; {
	case mode == 0:
		return none
	case typ == 0:
		return untyped
	case typ == unix.S_IFREG, typ == unix.S_IFDIR:
		return typed
	case typ == unix.S_IFLNK && perm == 0o777: // Linux has no others
		return typed
	case typ == unix.S_IFIFO, typ == unix.S_IFSOCK, typ == unix.S_IFCHR, typ == unix.S_IFBLK:
		if perm&specialBits == 0 {
			return typed
		}
		return odd
	case typ == unix.S_IFLNK:
		return odd
	}
	return nonsense
}
