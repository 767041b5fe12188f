package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sigilfs/sigilfs/integration/bench/report"
)

// tick is the kernel's unit of processor time in proc_pid_stat(5), in seconds:
// USER_HZ, the same on all machines that Go runs on.
const tick = 0.01

// processor is the processor time that processes have taken so far, in seconds.
func processor(pids []int) (float64, error) {
	sum := 0.0
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		n, err := ticks(string(text))
		if err != nil {
			return 0, err
		}
		sum += float64(n) * tick
	}
	return sum, nil
}

// ticks reads user and system time, fields 14 and 15: the second is a name in
// brackets, which may contain anything.
func ticks(stat string) (int64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("too few fields in the stat of a process")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return user + system, err
}

// memory is what processes have held at their most since forget, together, in
// bytes.
func memory(pids []int) (int64, error) {
	sum := int64(0)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		n, err := field(string(text), "VmHWM:")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// forget has the kernel begin anew with what processes hold at their most: 5
// into clear_refs, proc_pid_clear_refs(5). Where it cannot, memory is that since
// the mount.
func forget(pids []int) {
	for _, pid := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

// field is a line of a table in /proc, "name: 123 kB", in bytes.
func field(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 10, 64)
			return n * kib, err
		}
	}
	return 0, fmt.Errorf("no %s in a table of the kernel", name)
}

// load is how many processes ran or waited on average in the last minute, 0
// where the kernel does not tell (proc_loadavg(5)).
func load() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

// machine is this one.
func machine(store string) (report.Machine, error) {
	m := report.Machine{Cores: runtime.NumCPU(), CPU: runtime.GOARCH, Store: store}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m, err
	}
	if m.Memory, err = field(string(text), "MemTotal:"); err != nil {
		return m, err
	}
	if text, err = os.ReadFile("/proc/cpuinfo"); err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(v)
		}
	}
	var u unix.Utsname
	err = unix.Uname(&u)
	m.Kernel = unix.ByteSliceToString(u.Release[:])
	return m, err
}
