package fs

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

// waits has each call of op wait until it is let go or its context ends.
func waits(v *fake, op string) (entered <-chan struct{}, goOn chan struct{}) {
	in := make(chan struct{})
	goOn = make(chan struct{})
	v.setHook(func(ctx context.Context, o, _ string) error {
		if o != op {
			return nil
		}
		in <- struct{}{}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-goOn:
			return nil
		}
	})
	return in, goOn
}

// onThread runs op on a thread of its own, which ends with it.
func onThread(op func() error) (thread func() int, result <-chan error) {
	var tid atomic.Int64
	out := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		tid.Store(int64(unix.Gettid()))
		out <- op()
	}()
	return func() int { return int(tid.Load()) }, out
}

// TestInterrupt: a signal ends a read, whatever it is; a write that waits, an
// fsync and a close, if it is one that somebody sends to stop something, also
// after others; and nothing else.
func TestInterrupt(t *testing.T) {
	caught := make(chan os.Signal, 10)
	signal.Notify(caught, unix.SIGUSR1)
	t.Cleanup(func() { signal.Stop(caught) })
	for _, c := range []struct {
		name, op string
		do       func(f *os.File) error
		quiet    bool // SIGURG ends it too
		loud     bool // SIGUSR1 ends it
	}{
		{"read", "read", func(f *os.File) error {
			_, err := unix.Pread(int(f.Fd()), make([]byte, 10), 0)
			return err
		}, true, true},
		{"write", "write", func(f *os.File) error {
			_, err := unix.Pwrite(int(f.Fd()), make([]byte, 10), 0)
			return err
		}, false, true},
		{"fsync", "commit", func(f *os.File) error { return unix.Fsync(int(f.Fd())) }, false, true},
		{"close", "commit", func(f *os.File) error {
			fd, err := unix.Dup(int(f.Fd()))
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}, false, true},
		{"fsync of a directory", "syncdir", func(f *os.File) error {
			dir, err := os.Open(filepath.Dir(f.Name()))
			if err != nil {
				return err
			}
			defer dir.Close()
			return unix.Fsync(int(dir.Fd()))
		}, false, true},
		{"stat", "stat", func(f *os.File) error {
			var st unix.Stat_t
			return unix.Stat(f.Name()+"2", &st)
		}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newFake()
			dir, _ := mount(t, v, Options{})
			v.replace("f", "content")
			v.replace("f2", "content")
			f := open(t, filepath.Join(dir, "f"), os.O_RDWR|unix.O_DIRECT)
			entered, goOn := waits(v, c.op)
			defer v.setHook(nil)
			thread, result := onThread(func() error { return c.do(f) })
			<-entered
			check(t, unix.Tgkill(unix.Getpid(), thread(), unix.SIGURG))
			if c.quiet {
				want(t, <-result, unix.EINTR)
				return
			}
			check(t, unix.Tgkill(unix.Getpid(), thread(), unix.SIGUSR1))
			if c.loud {
				want(t, <-result, unix.EINTR)
				return
			}
			v.setHook(nil)
			close(goOn)
			check(t, <-result)
		})
	}
}

// TestQuietSignals: what runtimes send themselves ends nothing.
func TestQuietSignals(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	v.replace("f", "content")
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR)
	for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGCHLD, unix.SIGWINCH, unix.SIGPROF} {
		entered, goOn := waits(v, "commit")
		thread, result := onThread(func() error { return unix.Fsync(int(f.Fd())) })
		<-entered
		check(t, unix.Tgkill(unix.Getpid(), thread(), sig))
		v.setHook(nil)
		close(goOn)
		check(t, <-result)
	}
}

// TestKill: a process that waits in fsync(2) can be killed.
func TestKill(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	v.replace("f", "content")
	entered, _ := waits(v, "commit")
	cmd := exec.CommandContext(t.Context(), "sync", filepath.Join(dir, "f"))
	check(t, cmd.Start())
	<-entered
	check(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Error("not killed")
	}
	v.setHook(nil)
}

func TestStops(t *testing.T) {
	for status, stop := range map[string]bool{
		"": false,
		"Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n": false,
		"SigPnd:\t0000000000000100\nShdPnd:\t0\nSigBlk:\t0\n":                                         true,  // KILL
		"SigPnd:\t0\nShdPnd:\t0000000000000002\nSigBlk:\t0\n":                                         true,  // INT
		"SigPnd:\t0\nShdPnd:\t0000000000000002\nSigBlk:\t0000000000000002\n":                          false, // blocked
		"SigPnd:\t0000000000400000\nShdPnd:\t0000000000010000\nSigBlk:\t0\n":                          false, // URG, CHLD
		"SigPnd:\t0000000200000000\nShdPnd:\t0000000000002000\nSigBlk:\t0\n":                          false, // RTMIN, ALRM
		"SigPnd:\t0000000080000000\nShdPnd:\t0\nSigBlk:\t0\n":                                         false, // 32
		"SigPnd:\t0000000040000000\nShdPnd:\t0\nSigBlk:\t0\n":                                         true,  // SYS
		"SigPnd:\tnonsense\n": false,
	} {
		if got := stops([]byte(status)); got != stop {
			t.Errorf("%q: %v", status, got)
		}
	}
}

// TestFsyncOfADirectory asks the volume, also for one without a name.
func TestFsyncOfADirectory(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	check(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	d, err := os.Open(filepath.Join(dir, "d"))
	check(t, err)
	defer d.Close()
	check(t, d.Sync())
	if v.count("syncdir") != 1 {
		t.Error("nobody was asked")
	}
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "syncdir" {
			return volume.ErrQuota
		}
		return nil
	})
	want(t, d.Sync(), unix.EDQUOT)
	v.setHook(nil)
	check(t, os.Remove(filepath.Join(dir, "d")))
	check(t, d.Sync())
}

// TestShortWrite: of a write that was ended when some of it was taken, the
// caller learns how much.
func TestShortWrite(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "write" {
			return shortly(65536)
		}
		return nil
	})
	n, err := unix.Pwrite(int(f.Fd()), bytes.Repeat([]byte("x"), 200_000), 0)
	v.setHook(nil)
	if n != 65536 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := read(t, f.Name()); len(got) != 65536 {
		t.Errorf("%d bytes", len(got))
	}
}
