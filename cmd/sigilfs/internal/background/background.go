// Package background makes a daemon of a program that serves. Go cannot fork:
// a runtime of several threads does not survive it. The program is started
// again instead, by Run, with its own arguments, environment and descriptors,
// and a socket of which the environment tells the number. So nothing is handed
// over that would have to be kept from others: a key's source is opened, and a
// passphrase asked for, by the process that will use it.
//
//	parent (Run)                        child (Process)
//	waits                               checks, asks on the terminal, warns on stderr, mounts
//	exits 0           ◄─ one byte ──    Detach, Ready; serves
//	exits as it did   ◄── its end ──    says why on stderr, exits with its code
//	gets a signal     ── shutdown ──►   Gone: gives up, or was ready just now:
//	                  ── SIGTERM ───►   ends
//	dies              ── its end ───►   Gone: gives up
//
// Until it is ready the child belongs to the parent's session and process
// group, so that it may read from the terminal and Ctrl-C reaches it. Then it
// leaves: a session of its own (setsid(2)), /, umask 077, /dev/null in place of
// stdin, stdout and stderr, and no descriptor of whoever called the parent: a
// pipe or a lock of theirs is not kept for as long as the daemon lives.
package background

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// variable names the descriptor of the socket. It is taken out of the child's
// environment before anything else is started.
const variable = "SIGILFS_BACKGROUND"

// ErrSilent is that the child ended without having said why.
var ErrSilent = errors.New("the process that was to serve it ended without a word")

// ErrInterrupted is that a signal came, and the child, which was ready by then,
// has been ended.
var ErrInterrupted = errors.New("interrupted when it was ready, and ended again")

// ExitError is the end of a child that has said why.
type ExitError int

// Error gives the code; the reason is on stderr.
func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Inside tells the child, before Inherit.
func Inside() bool {
	_, ok := os.LookupEnv(variable)
	return ok
}

// Run starts this program again and returns when it is ready: nil. Errors: an
// ExitError of a child that said why, else ErrSilent, ErrInterrupted and those of
// the system. Each of signals asks the child to give up.
func Run(signals <-chan os.Signal) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "background")
	defer func() { _ = ours.Close() }()
	cmd, err := start(fds[1])
	_ = unix.Close(fds[1])
	if err != nil {
		return err
	}
	ready := make(chan bool, 1)
	go func() {
		n, _ := ours.Read(make([]byte, 1))
		ready <- n == 1
	}()
	for interrupted := false; ; interrupted = true {
		select {
		case ok := <-ready:
			switch {
			case !ok:
				return verdict(cmd)
			case interrupted:
				return takeBack(cmd)
			}
			return nil // it goes on by itself
		case <-signals:
			_ = unix.Shutdown(fds[0], unix.SHUT_WR)
		}
	}
}

// takeBack ends a child that is ready.
func takeBack(cmd *exec.Cmd) error {
	_ = cmd.Process.Signal(unix.SIGTERM) // one that has ended is waited for as well
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w (%w)", ErrInterrupted, err)
	}
	return ErrInterrupted
}

// start runs this program with theirs, which it inherits. Its path is the
// kernel's, so that a binary which was replaced meanwhile is not mixed with
// this one; its name stays, since it says which command it is.
func start(theirs int) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it outlives its parent
	cmd.Args = os.Args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), variable+"="+strconv.Itoa(theirs))
	if _, err := unix.FcntlInt(uintptr(theirs), unix.F_SETFD, 0); err != nil {
		return nil, fmt.Errorf("fcntl: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process for it: %w", err)
	}
	return cmd, nil
}

// verdict is how a child ended that was not ready.
func verdict(cmd *exec.Cmd) error {
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited(): // a panic prints too
		return ExitError(exit.ExitCode())
	case err == nil:
		return fmt.Errorf("%w (exit status 0)", ErrSilent)
	}
	return fmt.Errorf("%w (%w)", ErrSilent, err)
}
