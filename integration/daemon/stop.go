package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Unmount runs `sigilfs umount` and waits until the daemon has ended. An exit
// code other than 0 of either is an error, and so is a mount that is left.
func (d *Daemon) Unmount(ctx context.Context) error {
	if err := d.umount(ctx); err != nil {
		return err
	}
	select {
	case <-d.exited:
	case <-ctx.Done():
		return fmt.Errorf("daemon %d still runs after sigilfs umount: %w", d.PID(), ctx.Err())
	}
	if d.err != nil {
		return fmt.Errorf("daemon ended badly: %w; its log:\n%s", d.err, d.Log())
	}
	if Mounted(d.cfg.Dir) {
		return fmt.Errorf("%s is still mounted", d.cfg.Dir)
	}
	return nil
}

// busyTime is how long a mount may seem in use that the tests have closed.
const busyTime = 10 * time.Second

// umount runs `sigilfs umount`. What another goroutine of the tests forks has
// our open files until exec has closed them, which flushes each: so long the
// mount is in use.
func (d *Daemon) umount(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	argv := append(slices.Clone(d.cfg.As), d.cfg.Bin, "umount", d.cfg.Dir)
	for until := time.Now().Add(busyTime); ; {
		out, err := Run(ctx, argv[0], d.cfg.Env, argv[1:]...)
		if err == nil {
			return nil
		}
		if !strings.Contains(out, "mount is in use") || time.Now().After(until) {
			return fmt.Errorf("sigilfs umount: %w: %s", err, out)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("sigilfs umount: %w: %s", ctx.Err(), out)
		}
	}
}

// End is Unmount. Of a daemon that does not end well nothing is left either: it
// is killed, and its mount taken away.
func (d *Daemon) End(ctx context.Context) error {
	if err := d.Unmount(ctx); err != nil {
		d.Kill()
		return errors.Join(err, Detach(d.cfg.Dir))
	}
	return nil
}

// Interrupt sends SIGINT, as Ctrl-C does, and waits for a clean end.
func (d *Daemon) Interrupt(ctx context.Context) error {
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("interrupt: %w", err)
	}
	select {
	case <-d.exited:
		return d.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill is kill -9; the dead mount stays. It returns when the process is
// reaped, and does nothing to one that has ended.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill()
	<-d.exited
}

// Detach takes a dead mount away, as `umount -l` does. What is not mounted is
// no error.
func Detach(dir string) error {
	const noFollow = 8 // UMOUNT_NOFOLLOW
	err := syscall.Unmount(dir, syscall.MNT_DETACH|noFollow)
	if err == nil || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	if out, err := exec.Command("fusermount3", "-u", "-z", dir).CombinedOutput(); err != nil { //nolint:noctx // ends by itself
		return fmt.Errorf("fusermount3 -u -z %s: %w: %s", dir, err, out)
	}
	return nil
}

// WorkDir makes a directory in which mnt may be mounted, and what removes it:
// not while something is mounted there, whose files would go too.
func WorkDir(pattern string) (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp("", pattern)
	return dir, func() error {
		if Mounted(dir + "/mnt") {
			return nil
		}
		return os.RemoveAll(dir)
	}, err
}

// Mounted tells whether dir is a mountpoint, without touching what is mounted
// there: a dead mount counts.
func Mounted(dir string) bool {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	escaped := strings.ReplaceAll(dir, " ", `\040`)
	for line := range strings.Lines(string(table)) {
		// proc_pid_mountinfo(5): the fifth field is the mountpoint.
		if f := strings.Fields(line); len(f) > 4 && f[4] == escaped {
			return true
		}
	}
	return false
}

// Run runs one other subcommand to its end and gives stdout and stderr together.
func Run(ctx context.Context, bin string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}
