package daemon

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PeakRSS is the most memory the process has held so far, in bytes: VmHWM of
// proc_pid_status(5).
func (d *Daemon) PeakRSS() (int64, error) {
	name := fmt.Sprintf("/proc/%d/status", d.PID())
	status, err := os.ReadFile(name)
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("peak memory in %s: %w", name, err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("no VmHWM in " + name)
}
