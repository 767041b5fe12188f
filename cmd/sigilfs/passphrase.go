package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxPassphrase is the longest line that a terminal gives (termios(3)).
const maxPassphrase = 4096

// askPassphrase asks on the terminal of this process for the passphrase of the
// key named what.
func askPassphrase(ctx context.Context, what string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, errors.New("there is no terminal to ask on")
	}
	defer func() { _ = tty.Close() }()
	return ask(ctx, tty, fmt.Sprintf("Passphrase of %s: ", what))
}

// ask shows prompt and reads a line that the terminal does not show. The end of
// ctx is that of the question; the terminal is left as it was.
func ask(ctx context.Context, tty *os.File, prompt string) ([]byte, error) {
	restore, err := silence(tty)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	defer restore()
	if _, err := io.WriteString(tty, prompt); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	in := bufio.NewReaderSize(tty, maxPassphrase)
	line, err := in.ReadSlice('\n')
	_, _ = io.WriteString(tty, "\n") // the one that was typed does not show either
	defer clear(line)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return bytes.Clone(bytes.TrimRight(line, "\r\n")), nil
}

// confirm asks a question on the terminal of this process, which y or yes affirms.
func confirm(ctx context.Context, question string) (bool, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false, errors.New("there is no terminal to ask on")
	}
	defer func() { _ = tty.Close() }()
	if _, err := io.WriteString(tty, question); err != nil {
		return false, fmt.Errorf("terminal: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReaderSize(tty, maxPassphrase).ReadSlice('\n')
	switch answer := string(bytes.ToLower(bytes.TrimSpace(line))); {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err != nil:
		return false, fmt.Errorf("terminal: %w", err)
	default:
		return answer == "y" || answer == "yes", nil
	}
}

// silence turns the echo of a terminal off; restore turns it on again.
func silence(tty *os.File) (restore func(), err error) {
	var before unix.Termios
	err = onDescriptor(tty, func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		before = *now
		now.Lflag &^= unix.ECHO
		return unix.IoctlSetTermios(fd, unix.TCSETS, now)
	})
	return func() {
		_ = onDescriptor(tty, func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, &before) })
	}, err
}

// onDescriptor runs do on the descriptor of f, which stays in the poller: deadlines
// go on working.
func onDescriptor(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := conn.Control(func(fd uintptr) { done = do(int(fd)) }); err != nil {
		return err
	}
	return done
}
