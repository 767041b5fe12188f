package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openPTY gives the two ends of a pseudo terminal (pty(7)).
func openPTY(t *testing.T) (person, program *os.File) {
	t.Helper()
	open := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Skipf("no pseudo terminals here: %v", err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	person = open("/dev/ptmx")
	n := 0
	err := onDescriptor(person, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	return person, open(fmt.Sprintf("/dev/pts/%d", n))
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	on := false
	err := onDescriptor(tty, func(fd int) error {
		state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			on = state.Lflag&unix.ECHO != 0
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return on
}

const question = "Passphrase of file k: "

// readPrompt waits until the question stands on the terminal.
func readPrompt(person *os.File) error {
	buf := make([]byte, len(question))
	if _, err := io.ReadFull(person, buf); err != nil {
		return err
	}
	if string(buf) != question {
		return fmt.Errorf("the terminal shows %q", buf)
	}
	return nil
}

func TestAsk(t *testing.T) {
	person, program := openPTY(t)
	shown := make(chan error, 1)
	go func() {
		err := readPrompt(person)
		if err == nil {
			_, err = io.WriteString(person, "correct horse\n")
		}
		shown <- err
	}()
	got, err := ask(t.Context(), program, question)
	if err != nil || string(got) != "correct horse" {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-shown; err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(person).ReadString('\n'); err != nil || line != "\r\n" {
		t.Errorf("the terminal shows %q, %v", line, err)
	}
	if !echoes(t, program) {
		t.Error("the terminal stays silent")
	}
}

func TestAskIsInterrupted(t *testing.T) {
	person, program := openPTY(t)
	ctx, cancel := context.WithCancel(t.Context())
	shown := make(chan error, 1)
	go func() {
		shown <- readPrompt(person)
		cancel()
	}()
	if _, err := ask(ctx, program, question); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := <-shown; err != nil {
		t.Error(err)
	}
	if !echoes(t, program) {
		t.Error("the terminal stays silent")
	}
}
