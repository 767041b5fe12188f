// Package machine boots a Debian of package debian: systemd is its first
// process, in a container that systemd-nspawn makes. It has processes, mounts
// and cgroups of its own, /dev/fuse, and the network of the host, so that servers
// on 127.0.0.1 are there for it too.
//
// Lifecycle: Boot → PowerOff | Kill. What is changed in it stays in its root
// directory, and may be looked at and booted again afterwards.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/integration/debian"
	"golang.org/x/sys/unix"
)

// ErrUnavailable is that no container can be booted here; the text says why.
var ErrUnavailable = errors.New("no container can be booted here")

// A Machine is booted. Its methods may be called from several goroutines, but
// for PowerOff and Kill, which end it.
type Machine struct {
	nspawn *exec.Cmd
	first  int           // process of the host that is its first one
	exited chan struct{} // closed when nspawn is reaped; err is set then
	err    error
}

// Boot boots root, and returns when all units that are to be started were: of
// those that failed nothing is said. What its console says is added to the file
// console.
func Boot(ctx context.Context, root *debian.Root, console string) (*Machine, error) {
	if err := possible(); err != nil {
		return nil, err
	}
	m, err := start(root, console)
	if err != nil {
		return nil, err
	}
	if err := m.await(ctx); err != nil {
		m.Kill()
		text, _ := os.ReadFile(console)
		return nil, fmt.Errorf("%w; its console:\n%s", err, text)
	}
	return m, nil
}

func possible() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: only root can do that", ErrUnavailable)
	}
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		return fmt.Errorf("%w: there is no systemd-nspawn: run integration/setup", ErrUnavailable)
	}
	for _, needed := range []string{"/dev/fuse", "/sys/fs/cgroup"} {
		if _, err := os.Stat(needed); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return nil
}

func start(root *debian.Root, console string) (*Machine, error) {
	out, err := os.OpenFile(console, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	name := "sigilfs-" + strconv.Itoa(os.Getpid())
	m := &Machine{exited: make(chan struct{})}
	// The host may run no systemd that it could be registered with.
	args := []string{
		"--quiet", "--boot", "--register=no", "--keep-unit", "--directory=" + root.Dir, "--machine=" + name,
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe",
	}
	for _, device := range []string{"/dev/fuse", "/dev/autofs"} { // containers have neither by themselves
		if _, err := os.Stat(device); err == nil {
			args = append(args, "--bind="+device)
		}
	}
	m.nspawn = exec.Command("systemd-nspawn", args...) //nolint:noctx // it outlives ctx, which bounds the start
	m.nspawn.Stdout, m.nspawn.Stderr = out, out
	// One hierarchy of cgroups, as systems have it today, whatever the host has.
	m.nspawn.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	if err := m.nspawn.Start(); err != nil {
		return nil, fmt.Errorf("systemd-nspawn: %w", err)
	}
	go func() {
		defer close(m.exited)
		m.err = m.nspawn.Wait()
		_ = os.Remove("/run/systemd/nspawn/propagate/" + name) // left where /run is no tmpfs
	}()
	return m, nil
}

// look is how often it is looked whether a machine is there.
const look = 100 * time.Millisecond

// await returns when it is booted.
func (m *Machine) await(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if m.first == 0 {
			m.first = firstOf(m.nspawn.Process.Pid)
		}
		if m.first != 0 {
			out, err := m.Run(ctx, "systemctl", "is-system-running", "--wait")
			if state := strings.TrimSpace(out); err == nil || state == "degraded" {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-m.exited:
			return fmt.Errorf("%w: systemd-nspawn ended: %w", ErrUnavailable, m.err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for the machine to boot: %w", ctx.Err())
		}
	}
}

// firstOf gives the process that is the first one of the PID namespace below
// nspawn, 0 for none yet: NSpid of proc_pid_status(5) ends in 1.
func firstOf(nspawn int) int {
	names, _ := filepath.Glob("/proc/[0-9]*/status") // the pattern is well-formed
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(text, fmt.Appendf(nil, "\nPPid:\t%d\n", nspawn)) {
			continue
		}
		_, after, _ := strings.Cut(string(text), "\nNSpid:\t")
		ids, _, _ := strings.Cut(after, "\n")
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && strings.HasSuffix(ids, "\t1") {
			return pid
		}
	}
	return 0
}

// Command is one in the machine, as root who logs in.
func (m *Machine) Command(ctx context.Context, argv ...string) *exec.Cmd {
	args := []string{"--target", strconv.Itoa(m.first), "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--wd=/", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", slices.Concat(args, argv)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"}
	return cmd
}

// Run gives what a command printed, stderr included; an error has it too.
func (m *Machine) Run(ctx context.Context, argv ...string) (string, error) {
	out, err := m.Command(ctx, argv...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}

// PowerOff ends it as an operator does, in order, and returns when it has.
func (m *Machine) PowerOff(ctx context.Context) error {
	if _, err := m.Run(ctx, "systemctl", "poweroff", "--no-block"); err != nil {
		return err
	}
	select {
	case <-m.exited:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the machine to power off: %w", ctx.Err())
	}
}

// Kill pulls its plug. Of one that has ended already nothing is left to do.
func (m *Machine) Kill() {
	if m.first != 0 {
		select {
		case <-m.exited:
		default:
			_ = unix.Kill(m.first, unix.SIGKILL) // and all its processes with it
		}
	}
	_ = m.nspawn.Process.Kill()
	<-m.exited
}
