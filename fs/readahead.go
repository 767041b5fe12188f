package fs

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readAhead lets the kernel read size bytes ahead on the mount at dir. A FUSE
// server can only lower its 128 KiB, which is a request of a store for every
// segment of a chunk; root can raise it (Documentation/ABI/testing/
// sysfs-class-bdi). The device number is read from the mount table: a stat(2)
// here would be a request to ourselves.
func readAhead(dir string, size int) error {
	dev, err := device(dir)
	if err != nil {
		return err
	}
	kib := strconv.Itoa(size >> 10)
	return os.WriteFile(filepath.Join("/sys/class/bdi", dev, "read_ahead_kb"), []byte(kib), 0)
}

// device gives the major:minor of the topmost mount at dir (proc_pid_mountinfo(5)).
func device(dir string) (string, error) {
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer func() { _ = table.Close() }() // only read
	dev := ""
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) > 4 && unescape(f[4]) == dir {
			dev = f[2]
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if dev == "" {
		return "", fmt.Errorf("no mount at %s", dir)
	}
	return dev, nil
}

// unescape undoes the octal escapes of the mount table.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
