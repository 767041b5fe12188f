// Package mountpoint knows the kernel's table of mounts: what is mounted where,
// whether a directory can be mounted on, and how a mount is taken away, a dead
// one too. It knows neither buckets nor the FUSE protocol.
package mountpoint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Type is what the kernel shows as the type of our mounts.
const Type = "fuse.sigilfs"

// Mount is one line of the table.
type Mount struct {
	Dir    string
	Type   string
	Source string
	UID    int // of the user who mounted, for FUSE; else -1
}

// Ours tells a mount of sigilfs.
func (m Mount) Ours() bool { return m.Type == Type }

// errLine: a line is not as proc_pid_mountinfo(5) has it.
var errLine = errors.New("malformed line")

// Find gives what is mounted on dir, an absolute path without symbolic links;
// the topmost where several mounts are. Nothing of the mount itself is
// touched, so that one whose daemon hangs does no harm.
func Find(dir string) (Mount, bool, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Mount{}, false, fmt.Errorf("table of mounts: %w", err)
	}
	defer f.Close()
	all, err := parse(f)
	if err != nil {
		return Mount{}, false, fmt.Errorf("table of mounts: %w", err)
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Dir == dir {
			return all[i], true, nil
		}
	}
	return Mount{}, false, nil
}

func parse(r io.Reader) ([]Mount, error) {
	var all []Mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m, err := parseLine(lines.Text())
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, lines.Err()
}

// parseLine reads a line of proc_pid_mountinfo(5):
//
//	36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/sda rw,errors=continue
func parseLine(line string) (Mount, error) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(left) < 6 || len(right) < 3 {
		return Mount{}, errLine
	}
	m := Mount{Dir: unescape(left[4]), Type: unescape(right[0]), Source: unescape(right[1]), UID: -1}
	for o := range strings.SplitSeq(right[2], ",") {
		if v, ok := strings.CutPrefix(o, "user_id="); ok {
			if uid, err := strconv.Atoi(v); err == nil {
				m.UID = uid
			}
		}
	}
	return m, nil
}

// unescape takes back \040 and its like, which stand for blanks, line breaks
// and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
