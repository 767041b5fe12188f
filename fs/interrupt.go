package fs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The kernel tells that the caller of a request has a signal pending
// (FUSE_INTERRUPT), once and not which. Go programs send themselves SIGURG all
// the time, shells get SIGCHLD, and close(2) and fsync(2) that fail with EINTR
// for such are taken for lost data. So what waits long looks up the signal.

// signalled is how often that is done from the first one on, as the kernel does
// not tell of others.
const signalled = 100 * time.Millisecond

// heed gives a context for an operation that its caller may leave: it ends when
// a signal comes by which somebody wants the caller to stop. ended is to be
// called after the operation.
func heed(ctx context.Context) (op context.Context, ended func()) {
	op, cancel := context.WithCancel(detach(ctx))
	caller, ok := fuse.FromContext(ctx)
	if !ok || caller.Pid == 0 { // in a PID namespace that is not below ours
		return op, cancel
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		watch(op, caller.Pid, cancel)
	})
	return op, func() {
		cancel()
		if !stop() {
			<-done
		}
	}
}

// watch calls cancel when thread has a signal that ends its wait, unless ctx
// ends before.
func watch(ctx context.Context, thread uint32, cancel func()) {
	tick := time.NewTicker(signalled)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
		if err != nil { // it is hidden
			return
		}
		if stops(status) {
			cancel()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// realTime are the signals 32 to 64, of which the C library keeps some.
const realTime = uint64(1<<64 - 1<<31)

// quiet are the signals by which nobody wants a system call to end: what the
// runtimes of languages, terminals, and timers of profilers and progress lines
// (git's) send, and job control.
var quiet = realTime | mask(
	unix.SIGURG, unix.SIGCHLD, unix.SIGWINCH, unix.SIGPROF, unix.SIGVTALRM, unix.SIGALRM, unix.SIGIO,
	unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGSTOP,
)

func mask(signals ...unix.Signal) (m uint64) {
	for _, s := range signals {
		m |= 1 << (s - 1)
	}
	return m
}

// stops reads a status of proc_pid_status(5): is any signal pending, and not
// blocked, that is not quiet. A fatal one shows as SIGKILL.
func stops(status []byte) bool {
	var pending, blocked uint64
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		switch {
		case err != nil:
		case name == "SigPnd", name == "ShdPnd":
			pending |= bits
		case name == "SigBlk":
			blocked = bits
		}
	}
	return pending&^blocked&^quiet != 0
}
