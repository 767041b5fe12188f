// Package daemon drives a built sigilfs binary from outside, as an operator
// would: it starts `sigilfs mount -f`, waits for the line that says mounted,
// unmounts, kills, and reads what /proc tells of it. It knows command lines and
// exit codes, nothing of what is inside.
//
// Lifecycle: Start → (End | Unmount | Kill → Detach). A Daemon owns its process
// and the goroutine that copies its output; both have ended when End or Kill
// returns, or Unmount without an error.
package daemon

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Exit codes of mount(8), which sigilfs keeps to.
const (
	ExitUsage  = 1
	ExitSystem = 2
	ExitMount  = 32
)

// ErrExited is wrapped by Start when the process ended before it mounted.
var ErrExited = errors.New("sigilfs ended before it mounted")

// Config is one mount. Bin, Target and Dir are required.
type Config struct {
	Bin    string    // the binary
	Args   []string  // flags of mount, without -f
	Target string    // s3://bucket/prefix, or a configuration file
	Bucket string    // s3://bucket/prefix that the file names; without a file ""
	Dir    string    // mountpoint
	Env    []string  // the whole environment
	Log    io.Writer // gets every line too; may be nil

	// As runs the binary by way of another command, setpriv for example,
	// which must exec it.
	As []string
}

// A Daemon is one running `sigilfs mount -f`. Methods are not safe for
// concurrent use, but Log is.
type Daemon struct {
	cfg    Config
	cmd    *exec.Cmd
	log    lockedBuffer
	ready  chan struct{} // closed at the line "mounted …"
	exited chan struct{} // closed when the process is reaped; err is set then
	err    error
}

// Start runs the binary and returns when the mount answers, or when ctx ends
// (the process is then killed). A process that ends first gives an error that
// wraps ErrExited and *exec.ExitError; its output is in the text.
func Start(ctx context.Context, cfg Config) (*Daemon, error) {
	argv := slices.Concat(cfg.As, []string{cfg.Bin, "mount", "-f"}, cfg.Args, []string{cfg.Target, cfg.Dir})
	d := &Daemon{
		cfg:    cfg,
		cmd:    exec.Command(argv[0], argv[1:]...), //nolint:noctx // it outlives ctx, which bounds the start only
		ready:  make(chan struct{}),
		exited: make(chan struct{}),
	}
	d.cmd.Env = cfg.Env
	// Its own group: a Ctrl-C on the terminal is the caller's to pass on.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for the log: %w", err)
	}
	d.cmd.Stdout, d.cmd.Stderr = w, w
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.Bin, err), r.Close(), w.Close())
	}
	_ = w.Close() // the child has its own
	go d.watch(r)

	select {
	case <-d.ready:
		return d, nil
	case <-d.exited:
		return nil, fmt.Errorf("%w: %w: %s", ErrExited, d.err, strings.TrimSpace(d.Log()))
	case <-ctx.Done():
		d.Kill()
		return nil, fmt.Errorf("waiting for the mount: %w; its log:\n%s", ctx.Err(), d.Log())
	}
}

// watch copies the output line by line until the process closed it, then
// reaps the process.
func (d *Daemon) watch(r io.ReadCloser) {
	defer close(d.exited)
	mounted := "mounted " + cmp.Or(d.cfg.Bucket, d.cfg.Target)
	seen := false
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		d.log.add(line)
		if d.cfg.Log != nil {
			_, _ = io.WriteString(d.cfg.Log, line)
		}
		if !seen && strings.Contains(line, mounted) {
			seen = true
			close(d.ready)
		}
		if err != nil {
			break
		}
	}
	_ = r.Close()
	d.err = d.cmd.Wait()
	if d.err == nil && !seen {
		d.err = errors.New("exit status 0")
	}
}

// PID is the process's id.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Dir is the mountpoint.
func (d *Daemon) Dir() string { return d.cfg.Dir }

// Log is everything the process has printed so far.
func (d *Daemon) Log() string { return d.log.String() }

// Exited is closed once the process is gone.
func (d *Daemon) Exited() <-chan struct{} { return d.exited }

// AwaitLog returns when the log holds every text, or an error when ctx or the
// process ends first: a line is written about the time of the answer that it
// is about, not before it.
func (d *Daemon) AwaitLog(ctx context.Context, texts ...string) error {
	for {
		log, grown := d.log.current()
		missing := slices.IndexFunc(texts, func(text string) bool { return !strings.Contains(log, text) })
		if missing < 0 {
			return nil
		}
		select {
		case <-grown:
		case <-d.exited:
			return fmt.Errorf("the log does not say %q:\n%s", texts[missing], d.Log())
		case <-ctx.Done():
			return fmt.Errorf("the log does not say %q: %w:\n%s", texts[missing], ctx.Err(), log)
		}
	}
}

// lockedBuffer is a log that is read while it grows.
type lockedBuffer struct {
	mu    sync.Mutex // guards what follows
	b     strings.Builder
	grown chan struct{} // closed at the next growth; nil while nobody waits
}

func (l *lockedBuffer) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.WriteString(s)
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// current is the log, and a channel that is closed when it grows.
func (l *lockedBuffer) current() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	return l.b.String(), l.grown
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
