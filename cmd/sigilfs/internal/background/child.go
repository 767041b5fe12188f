package background

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is the child. It belongs to one goroutine.
type Process struct {
	conn      *os.File
	inherited []int         // descriptors of whoever called the parent
	gone      chan struct{} // closed when the parent is, or gives up
}

// Inherit gives what Run handed over; nil in a process that Run did not start.
// It is called once, before other descriptors are opened or processes started.
func Inherit() (*Process, error) {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(variable); err != nil {
		return nil, err
	}
	fd, err := strconv.Atoi(text)
	if err != nil || !isSocket(fd) {
		return nil, fmt.Errorf("%s is for sigilfs itself: unset it", variable)
	}
	// The kernel took the name for ps(1) and pgrep(1) from /proc/self/exe.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	inherited, err := inherits()
	if err != nil {
		return nil, err
	}
	p := &Process{conn: os.NewFile(uintptr(fd), "background"), inherited: inherited, gone: make(chan struct{})}
	go p.watch()
	return p, nil
}

func isSocket(fd int) bool {
	if fd < 3 {
		return false
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_UNIX
}

// inherits lists the descriptors above stderr that are not closed at exec: all
// that this program opens itself are.
func inherits() ([]int, error) {
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, name := range names {
		fd, err := strconv.Atoi(filepath.Base(name))
		if err != nil || fd < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// watch ends with the parent, or with Ready or Close. Who asks for Gone tells
// these apart by asking before.
func (p *Process) watch() {
	defer close(p.gone)
	_, _ = p.conn.Read(make([]byte, 1))
}

// Gone is closed when nobody waits for the child any more.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Detach leaves the session, the directory and the descriptors of the parent.
// Whatever fails, the rest is done: nothing of it is needed to serve.
func (p *Process) Detach() error {
	_, err := unix.Setsid()
	errs := []error{named("setsid", err), named("chdir", os.Chdir("/"))}
	unix.Umask(0o077)
	errs = append(errs, named("/dev/null", silence()))
	for _, fd := range p.inherited {
		_ = unix.Close(fd)
	}
	p.inherited = nil
	return errors.Join(errs...)
}

func named(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// silence puts /dev/null in place of stdin, stdout and stderr.
func silence() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var errs []error
	for fd := range 3 {
		errs = append(errs, unix.Dup3(int(null.Fd()), fd, 0))
	}
	return errors.Join(append(errs, null.Close())...)
}

// Ready tells the parent to end well. An error: it has gone, and nobody knows
// of this process.
func (p *Process) Ready() error {
	_, err := p.conn.Write([]byte{1})
	if errors.Is(err, syscall.EPIPE) {
		err = errors.New("the process that asked for the mount has gone")
	}
	return errors.Join(err, p.Close())
}

// Close lets go of the parent, and waits for its own goroutine.
func (p *Process) Close() error {
	err := p.conn.Close()
	<-p.gone
	return err
}
