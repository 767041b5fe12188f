package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
)

// patience bounds the mount and the unmount of another program.
const patience = 5 * time.Minute

// A process is a filesystem in the foreground, that of another project.
type process struct {
	cmd    *exec.Cmd
	dir    string
	log    string
	exited chan struct{} // closed when it is reaped; err is set then
	err    error
}

// spawn runs argv, which mounts at dir, and returns when it did. Its output goes
// to a log in local, whose last line is in the text of errors.
func spawn(ctx context.Context, env []string, local, dir string, argv ...string) (*process, error) {
	p := &process{
		cmd: exec.Command(argv[0], argv[1:]...), //nolint:noctx // it outlives ctx, which bounds the start only
		dir: dir, log: filepath.Join(local, filepath.Base(argv[0])+".log"), exited: make(chan struct{}),
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // unmount and kill wait for it
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := p.await(ctx, func() bool { return daemon.Mounted(dir) }); err != nil {
		p.kill()
		return nil, fmt.Errorf("mount by %s: %w: %s", argv[0], err, p.tail())
	}
	return p, nil
}

// await returns when done says so.
func (p *process) await(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return poll(ctx, func(context.Context) (bool, error) {
		select {
		case <-p.exited:
			return false, fmt.Errorf("it ended: %v", p.err) //nolint:errorlint // nil too
		default:
			return done(), nil
		}
	})
}

// poll asks every few milliseconds until done says so, or fails.
func poll(ctx context.Context, done func(ctx context.Context) (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (p *process) pids() []int                  { return []int{p.cmd.Process.Pid} }
func (p *process) settle(context.Context) error { return nil }

// unmount takes the mount away, which may be busy for a moment still, and waits
// for the end of the process.
func (p *process) unmount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		return exec.CommandContext(ctx, "fusermount3", "-u", p.dir).Run() == nil || !daemon.Mounted(p.dir), nil
	})
	if err != nil {
		return fmt.Errorf("unmount %s: %w: %s", p.dir, err, p.tail())
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s still runs after its unmount: %w", p.cmd.Path, ctx.Err())
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	_ = daemon.Detach(p.dir) // what is not mounted is no error
}

// tail is the last line of the log.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// firstLine is what a program says of itself.
func firstLine(ctx context.Context, argv ...string) string {
	out, _ := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// tool runs a program to its end. What it prints is in the text of its error.
func (b *bed) tool(ctx context.Context, argv ...string) error {
	out, err := daemon.Run(ctx, argv[0], b.env(), argv[1:]...)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), errors.Join(err, ctx.Err()), out)
	}
	return nil
}
