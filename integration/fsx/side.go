package fsx

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// side is one of the two directories; what there is on both sides is an array
// that it indexes.
type side int

const (
	tested side = iota
	local
)

// outcome is what a system call gave.
type outcome struct {
	n    int64
	data []byte // what was read
	err  error
}

// both does the same on both sides. A difference is an error; an error that
// both gave is not. It returns the outcome.
func (t *tester) both(do func(side) outcome) (outcome, error) {
	want := do(local)
	got := do(tested)
	return want, got.compare(want)
}

func (o outcome) compare(want outcome) error {
	switch {
	case !errors.Is(o.err, want.err):
		return fmt.Errorf("gave error %w, want error %w", orNone(o.err), orNone(want.err))
	case o.n != want.n:
		return fmt.Errorf("gave %d, want %d", o.n, want.n)
	}
	return sameBytes(o.data, want.data, 0)
}

var errNone = errors.New("none")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// sameBytes compares what stands at off of a file.
func sameBytes(got, want []byte, off int64) error {
	if bytes.Equal(got, want) {
		return nil
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d bytes at %d, want %d", len(got), off, len(want))
	}
	first, last, wrong := -1, 0, 0
	for i := range got {
		if got[i] != want[i] {
			if first < 0 {
				first = i
			}
			last = i
			wrong++
		}
	}
	return fmt.Errorf("%d bytes from %d to %d differ: first is %#x, want %#x", wrong, off+int64(first), off+int64(last), got[first], want[first])
}

// again repeats a call that a signal interrupted: the Go runtime sends some.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func again0(call func() error) error {
	_, err := again(func() (int, error) { return 0, call() })
	return err
}

// readAt reads until n bytes are there or the file ends.
func readAt(fd int, n int, off int64) ([]byte, error) {
	b := make([]byte, n)
	have := 0
	for have < n {
		m, err := again(func() (int, error) { return unix.Pread(fd, b[have:], off+int64(have)) })
		if err != nil || m == 0 {
			return b[:have], err
		}
		have += m
	}
	return b, nil
}

// sizeOf is fstat(2)'s.
func sizeOf(fd int) (int64, error) {
	var st unix.Stat_t
	err := again0(func() error { return unix.Fstat(fd, &st) })
	return st.Size, err
}
