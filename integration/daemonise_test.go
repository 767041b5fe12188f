package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// idle is a mount that is unmounted, for tests that mount it in the background.
// What is left at the end is taken away.
func idle(t *testing.T, opt mountOptions) *mount {
	t.Helper()
	m := newMount(t, opt)
	m.Unmount(t)
	t.Cleanup(func() {
		if pid := served(t, m.dir); pid != 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
			awaitEnd(t, pid)
		}
		_ = daemon.Detach(m.dir)
	})
	return m
}

// behind mounts in the background, with more flags, and gives the process that
// serves it.
func (m *mount) behind(t *testing.T, more ...string) int {
	t.Helper()
	out, code := m.tryBehind(t, m.config(t), more...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	pid := served(t, m.dir)
	if pid == 0 {
		t.Fatalf("nothing serves %s; the mount said: %s", m.dir, out)
	}
	return pid
}

// tryBehind runs sigilfs mount without -f to its end.
func (m *mount) tryBehind(t *testing.T, cfg daemon.Config, more ...string) (out string, code int) {
	t.Helper()
	args := append(slices.Concat([]string{"mount"}, cfg.Args, more), cfg.Target, cfg.Dir)
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	return ended(t)(daemon.Run(ctx, cfg.Bin, cfg.Env, args...))
}

// ended takes the exit code out of an error.
func ended(t *testing.T) func(out string, err error) (string, int) {
	t.Helper()
	return func(out string, err error) (string, int) {
		t.Helper()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return out, 0
		case errors.As(err, &exit):
			return out, exit.ExitCode()
		}
		t.Fatalf("%v: %s", err, out)
		return "", 0
	}
}

// served gives the process of sigilfs whose command line ends in dir, or has it
// as mount(8) puts it; 0 for none.
func served(t *testing.T, dir string) int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, name := range lines {
		text, err := os.ReadFile(name)
		argv := strings.Split(string(text), "\x00")
		if err != nil || !strings.Contains(argv[0], "sigilfs") || !slices.Contains(argv, dir) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		must(t, err)
		if link, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && link != "" {
			return pid
		}
	}
	return 0
}

// awaitEnd returns when the process has ended.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(daemonTime.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		must(t, err)
		if n == 0 {
			t.Fatalf("process %d still runs", pid)
		}
		return
	}
}

// stop has a process stand still: every thread of it does when this returns.
func stop(t *testing.T, pid int) {
	t.Helper()
	must(t, unix.Kill(pid, unix.SIGSTOP))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(daemonTime); !stopped(t, pid); <-tick.C {
		if time.Now().After(until) {
			t.Fatalf("process %d does not stop", pid)
		}
	}
}

// stopped tells whether all threads of a process are (proc(5), state T).
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	must(t, err)
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		if _, state, _ := bytes.Cut(stat, []byte(") ")); !bytes.HasPrefix(state, []byte("T")) {
			return false
		}
	}
	return len(threads) > 0
}

// awaitText returns when the file comes to hold text.
func awaitText(t *testing.T, name, text string) {
	t.Helper()
	in, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	must(t, err)
	defer func() { _ = unix.Close(in) }()
	_, err = unix.InotifyAddWatch(in, filepath.Dir(name), unix.IN_MODIFY|unix.IN_CREATE)
	must(t, err)
	for {
		b, err := os.ReadFile(name)
		if err == nil && bytes.Contains(b, []byte(text)) {
			return
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(in), Events: unix.POLLIN}}, int(daemonTime.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		must(t, err)
		if n == 0 {
			t.Fatalf("%s does not come to say %q:\n%s", name, text, b)
		}
		_, _ = unix.Read(in, make([]byte, 4096))
	}
}

// The command returns when the mount answers; the process behind it has nothing
// of the terminal, and ends with the mount.
func TestMountInTheBackground(t *testing.T) {
	m := idle(t, mountOptions{})
	log := filepath.Join(t.TempDir(), "log")
	pid := m.behind(t, "--log-file", log)
	writeFile(t, m.Path("file"), []byte("kept"))
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d of process %d, %v", sid, pid, err)
	}
	for name, want := range map[string]string{"cwd": "/", "fd/0": "/dev/null", "fd/1": "/dev/null", "fd/2": "/dev/null"} {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name)); err != nil || got != want {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	if comm := readFile(t, fmt.Sprintf("/proc/%d/comm", pid)); string(comm) != filepath.Base(binary(t))+"\n" {
		t.Errorf("ps(1) calls it %q", comm)
	}
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || bytes.Contains(argv, []byte(m.s3.SecretKey)) {
		t.Errorf("argv %q, %v", argv, err)
	}
	awaitText(t, log, "mounted s3://"+m.bucket)
	m.sigilfs(t, "umount", m.dir)
	awaitEnd(t, pid)
	awaitText(t, log, "unmounted s3://"+m.bucket)
	pid = m.behind(t)
	wantFile(t, m.Path("file"), []byte("kept"))
	must(t, unix.Kill(pid, unix.SIGTERM))
	awaitEnd(t, pid)
	if daemon.Mounted(m.dir) {
		t.Error("it is still mounted")
	}
}

// Relative paths are those of where the command was given.
func TestRelativePathsInTheBackground(t *testing.T) {
	m := idle(t, mountOptions{})
	base := filepath.Dir(m.dir)
	cfg := m.config(t)
	cmd := exec.CommandContext(t.Context(), cfg.Bin, "mount", "--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile,
		"--state-dir", "rel-state", "--log-file", "rel-log", "--cache", "rel-cache", "--encryption", "client", "--key", "file:main.key", cfg.Target, "mnt")
	cmd.Dir, cmd.Env = base, cfg.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writeFile(t, m.Path("file"), bytes.Repeat([]byte("x"), 1<<20))
	wantFile(t, m.Path("file"), bytes.Repeat([]byte("x"), 1<<20))
	m.sigilfs(t, "umount", m.dir)
	for _, name := range []string{"rel-state", "rel-log", "rel-cache"} {
		if _, err := os.Stat(filepath.Join(base, name)); err != nil {
			t.Error(err)
		}
	}
}

// The parent says what the process behind it found, and ends as it did.
func TestWhatMountRefusesInTheBackground(t *testing.T) {
	m := idle(t, mountOptions{})
	causes := slices.Clone(refusals)
	if len(causes) < 20 {
		t.Errorf("%d causes", len(causes))
	}
	for _, tt := range causes {
		t.Run(tt.name, func(t *testing.T) {
			cfg := m.config(t)
			tt.change(t, &cfg)
			text, code := m.tryBehind(t, cfg)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, word := range tt.says {
				if !strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
					t.Errorf("it does not say %q:\n%s", word, text)
				}
			}
			if n := strings.Count(text, "sigilfs: "); n != 1 {
				t.Errorf("the reason is said %d times:\n%s", n, text)
			}
			if daemon.Mounted(cfg.Dir) || served(t, cfg.Dir) != 0 {
				t.Error("something is left")
			}
		})
	}
}

// What is mounted, or in use, is not mounted once more.
func TestMountTwiceInTheBackground(t *testing.T) {
	m := idle(t, mountOptions{})
	pid := m.behind(t)
	cfg := m.config(t)
	if out, code := m.tryBehind(t, cfg); code != daemon.ExitMount || !strings.Contains(out, "already mounted") {
		t.Errorf("the same mountpoint: %d, %s", code, out)
	}
	cfg.Dir = t.TempDir()
	if out, code := m.tryBehind(t, cfg); code != daemon.ExitMount || !strings.Contains(out, fmt.Sprintf("process %d serves", pid)) {
		t.Errorf("another mountpoint: %d, %s", code, out)
	}
	m.sigilfs(t, "umount", m.dir)
}

// Two at once do not come to lie one above the other, though nothing is mounted
// while both look: read-only ones share no state that would keep them apart.
func TestMountTwiceAtOnce(t *testing.T) {
	m := idle(t, mountOptions{Proxy: true})
	gate := faultproxy.NewGate(func(r *http.Request) bool { return r.URL.Query().Has("list-type") }, 0, faultproxy.Before)
	m.proxy.Set(gate.Fault)
	t.Cleanup(gate.Drop)
	cfg := m.config(t)
	first := exec.CommandContext(t.Context(), cfg.Bin, slices.Concat([]string{"mount", "--read-only"}, cfg.Args, []string{cfg.Target, cfg.Dir})...)
	first.Env = cfg.Env
	must(t, first.Start())
	arrives(t, gate)
	m.proxy.Set(faultproxy.Pass)
	if out, code := m.tryBehind(t, cfg, "--read-only"); code != daemon.ExitMount || !strings.Contains(out, "another process is mounting on it") {
		t.Errorf("%d: %s", code, out)
	}
	gate.Open()
	must(t, first.Wait())
	m.sigilfs(t, "umount", m.dir)
	if daemon.Mounted(m.dir) {
		t.Error("another one lay beneath")
	}
}

// A mount whose process hangs is told of, and holds up nobody for long.
func TestMountOverOneThatHangs(t *testing.T) {
	m := idle(t, mountOptions{})
	pid := m.behind(t)
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGCONT) })
	stop(t, pid)
	if out, code := m.tryBehind(t, m.config(t)); code != daemon.ExitMount || !strings.Contains(out, "does not answer; end that process") {
		t.Errorf("%d: %s", code, out)
	}
	must(t, unix.Kill(pid, unix.SIGCONT))
	m.sigilfs(t, "umount", m.dir)
}

// Whoever is killed: the next mount comes about at once.
func TestMountAtOnceAfterKillInTheBackground(t *testing.T) {
	m := idle(t, mountOptions{})
	umount := newTool(t, "/", "umount")
	for round, how := range []string{"umount -l", "nothing", "umount -l first"} {
		pid := m.behind(t)
		want := fmt.Appendf(nil, "round %d", round)
		writeFile(t, m.Path("file"), want)
		if how == "umount -l first" { // which lets it end
			umount.run("umount", "-l", m.dir)
			must(t, unix.Kill(pid, unix.SIGKILL))
		} else {
			must(t, unix.Kill(pid, unix.SIGKILL))
			awaitEnd(t, pid)
		}
		if how == "umount -l" {
			umount.run("umount", "-l", m.dir)
		}
		out, code := m.tryBehind(t, m.config(t))
		if code != 0 {
			t.Fatalf("after %s: %d, %s", how, code, out)
		}
		if strings.Contains(out, "level=info") {
			t.Errorf("who mounts hears more than warnings: %s", out)
		}
		if told := strings.Contains(out, "had died"); told != (how == "nothing") {
			t.Errorf("after %s: %s", how, out)
		}
		wantFile(t, m.Path("file"), want)
		m.sigilfs(t, "umount", m.dir)
	}
}

// starting begins a mount whose key comes from a pipe that gives none, and
// returns when it waits for that.
func (m *mount) starting(t *testing.T) (*exec.Cmd, func() string) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(pipe, 0o600))
	cfg := m.config(t)
	set("--key", "command:cat "+pipe)(t, &cfg)
	cmd := exec.CommandContext(t.Context(), cfg.Bin, append(append([]string{"mount"}, cfg.Args...), cfg.Target, cfg.Dir)...)
	cmd.Env = cfg.Env
	// A file: a pipe would be waited for until cat ends, too.
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	t.Cleanup(func() { _ = out.Close() })
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when cat reads
	must(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return cmd, func() string { return string(readFile(t, out.Name())) }
}

// A mount that nobody waits for any more does not come about.
func TestTheParentEndsEarly(t *testing.T) {
	m := idle(t, mountOptions{})
	for name, sig := range map[string]unix.Signal{"SIGTERM": unix.SIGTERM, "SIGINT": unix.SIGINT, "SIGKILL": unix.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			cmd, out := m.starting(t)
			must(t, cmd.Process.Signal(sig))
			err := cmd.Wait()
			if sig != unix.SIGKILL {
				if _, code := ended(t)(out(), err); code != daemon.ExitMount || !strings.Contains(out(), "interrupted before it was mounted") {
					t.Errorf("%v: %s", err, out())
				}
			}
			if pid := served(t, m.dir); pid != 0 {
				awaitEnd(t, pid)
			}
			if daemon.Mounted(m.dir) {
				t.Error("it is mounted")
			}
		})
	}
}

// A child that is killed has said nothing; the parent does.
func TestTheChildIsKilled(t *testing.T) {
	m := idle(t, mountOptions{})
	cmd, out := m.starting(t)
	child := 0
	tasks, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	must(t, err)
	if _, err := fmt.Sscan(string(tasks), &child); err != nil { // of another thread of it
		all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
		must(t, err)
		for _, name := range all {
			if _, err := fmt.Sscan(string(readFile(t, name)), &child); err == nil {
				break
			}
		}
	}
	if child == 0 {
		t.Fatal("there is no child")
	}
	must(t, unix.Kill(child, unix.SIGKILL))
	if _, code := ended(t)(out(), cmd.Wait()); code != daemon.ExitSystem || !strings.Contains(out(), "ended without a word (signal: killed)") {
		t.Errorf("%d: %s", code, out())
	}
}

// SIGHUP, SIGUSR1 and SIGUSR2.
func TestSignalsToTheDaemon(t *testing.T) {
	m := idle(t, mountOptions{YAML: func(bucket string) string {
		return "bucket: s3://" + bucket + "\nencryption: [{mode: client, key: main}]\nkeys: {main: {aes: 'env:THE_KEY'}}\n"
	}, Env: []string{"THE_KEY=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}})
	log := filepath.Join(t.TempDir(), "log")
	shared := filepath.Join(t.TempDir(), "credentials")
	credentials := func(id, secret string) {
		t.Helper()
		writeFile(t, shared, []byte("[default]\naws_access_key_id = "+id+"\naws_secret_access_key = "+secret+"\n"))
	}
	credentials(m.s3.AccessKey, m.s3.SecretKey)
	cfg := m.config(t)
	cfg.Env = append(slices.DeleteFunc(cfg.Env, func(e string) bool {
		return strings.HasPrefix(e, "AWS_ACCESS") || strings.HasPrefix(e, "AWS_SECRET")
	}), "AWS_SHARED_CREDENTIALS_FILE="+shared)
	if out, code := m.tryBehind(t, cfg, "--log-file", log); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	pid := served(t, m.dir)
	send := func(sig unix.Signal, says ...string) {
		t.Helper()
		must(t, unix.Kill(pid, sig))
		for _, text := range says {
			awaitText(t, log, text)
		}
	}
	text := string(readFile(t, m.yaml))
	send(unix.SIGUSR1, "serving s3://")
	send(unix.SIGUSR2, "log level is debug now")
	send(unix.SIGHUP, "credentials were read again", "says what it said")

	must(t, os.Rename(log, log+".1")) // as logrotate does
	writeFile(t, m.yaml, []byte("# a line more\n"+text+"stop-timeout: 7s\nkey-recheck: 11s\nread-only: true\n"))
	send(unix.SIGHUP, "stop-timeout is changed", "key-recheck is changed", "read-only is changed in", "it holds from the next mount on")
	if b := readFile(t, log); bytes.Contains(b, []byte("encryption is changed")) || bytes.Contains(b, []byte("says what it said")) {
		t.Errorf("%s", b)
	}
	writeFile(t, m.Path("file"), []byte("still writing"))

	must(t, os.Rename(log, log+".2"))
	writeFile(t, m.yaml, []byte("bucket: [\n"))
	credentials("", "")
	send(unix.SIGHUP, "credentials stay as they were", "the configuration stays as it was")
	writeFile(t, m.Path("file2"), []byte("still writing"))
	if b := readFile(t, log); bytes.Contains(b, []byte(m.s3.SecretKey)) {
		t.Error("the log has the secret key")
	}
	m.sigilfs(t, "umount", m.dir)
	awaitEnd(t, pid)
}
