package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"golang.org/x/sys/unix"
)

// A refusal is a command line that must not mount. change starts from one that
// would.
type refusal struct {
	name   string
	change func(t *testing.T, cfg *daemon.Config)
	code   int
	says   []string // all of these, in any case
}

// set gives a flag another value, or takes it away.
func set(flag, value string) func(*testing.T, *daemon.Config) {
	return func(_ *testing.T, cfg *daemon.Config) {
		i := slices.Index(cfg.Args, flag)
		cfg.Args = slices.Clone(cfg.Args)
		if value == "" {
			cfg.Args = slices.Delete(cfg.Args, i, i+2)
		} else {
			cfg.Args[i+1] = value
		}
	}
}

func setenv(name, value string) func(*testing.T, *daemon.Config) {
	return func(_ *testing.T, cfg *daemon.Config) {
		cfg.Env = append(slices.Clone(cfg.Env), name+"="+value) // the last one counts
	}
}

func keyFile(b []byte, mode os.FileMode) func(*testing.T, *daemon.Config) {
	return func(t *testing.T, cfg *daemon.Config) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "the.key")
		must(t, os.WriteFile(name, b, mode))
		must(t, os.Chmod(name, mode))
		set("--key", "file:"+name)(t, cfg)
	}
}

var refusals = []refusal{
	{"bucket that does not exist", func(_ *testing.T, cfg *daemon.Config) { cfg.Target = "s3://no-such-bucket-here/x" }, daemon.ExitMount, []string{"no-such-bucket-here", "does not exist"}},
	{"unknown access key", setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN"), daemon.ExitMount, []string{"credentials"}},
	{"wrong secret key", setenv("AWS_SECRET_ACCESS_KEY", "not the secret key"), daemon.ExitMount, []string{"credentials"}},
	{"no credentials", func(_ *testing.T, cfg *daemon.Config) {
		cfg.Env = slices.DeleteFunc(slices.Clone(cfg.Env), func(e string) bool { return strings.HasPrefix(e, "AWS_ACCESS") || strings.HasPrefix(e, "AWS_SECRET") })
	}, daemon.ExitMount, []string{"credentials"}},
	{"unreachable endpoint", func(t *testing.T, cfg *daemon.Config) {
		t.Helper()
		set("--endpoint-url", "https://"+closedPort(t))(t, cfg)
	}, daemon.ExitMount, []string{"127.0.0.1", "reached"}},
	{"host without an address", set("--endpoint-url", "https://s3.invalid:9000"), daemon.ExitMount, []string{"s3.invalid"}},
	{"endpoint that is no URL", set("--endpoint-url", "127.0.0.1:9000"), daemon.ExitUsage, []string{"endpoint"}},
	{"mountpoint is a file", func(t *testing.T, cfg *daemon.Config) {
		t.Helper()
		cfg.Dir = filepath.Join(t.TempDir(), "file")
		writeFile(t, cfg.Dir, nil)
	}, daemon.ExitMount, []string{"not a directory"}},
	{"mountpoint is not there", func(t *testing.T, cfg *daemon.Config) {
		t.Helper()
		cfg.Dir = filepath.Join(t.TempDir(), "absent")
	}, daemon.ExitMount, []string{"absent", "no such"}},
	{"key file readable by others", keyFile(make([]byte, 32), 0o644), daemon.ExitMount, []string{"the.key", "0600"}},
	{"key file of 31 bytes", keyFile(make([]byte, 31), 0o600), daemon.ExitMount, []string{"the.key", "31", "32"}},
	{"key file that is not there", set("--key", "file:/nowhere/the.key"), daemon.ExitMount, []string{"/nowhere/the.key"}},
	{"key source of no known kind", set("--key", "carrier-pigeon:coop"), daemon.ExitUsage, []string{"carrier-pigeon"}},
	{"no key", set("--key", ""), daemon.ExitUsage, []string{"--key"}},
	{"unknown mode", set("--encryption", "rot13"), daemon.ExitUsage, []string{"rot13", "client"}},
	{"no mode", set("--encryption", ""), daemon.ExitUsage, []string{"--encryption client --key", "--encryption"}},
	{"wrong CA", func(t *testing.T, cfg *daemon.Config) {
		t.Helper()
		set("--ca-bundle", otherCA(t))(t, cfg)
	}, daemon.ExitMount, []string{"certificate"}},
	{"CA bundle that is not there", set("--ca-bundle", "/nowhere/ca.crt"), daemon.ExitMount, []string{"/nowhere/ca.crt"}},
	{"bad AWS_CA_BUNDLE", func(t *testing.T, cfg *daemon.Config) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "bad.crt")
		writeFile(t, name, []byte("no certificate\n"))
		set("--ca-bundle", "")(t, cfg)
		setenv("AWS_CA_BUNDLE", name)(t, cfg)
	}, daemon.ExitMount, []string{"AWS_CA_BUNDLE", "bad.crt"}},
	{"target without a bucket", func(_ *testing.T, cfg *daemon.Config) { cfg.Target = "s3://" }, daemon.ExitUsage, []string{"bucket"}},
	{"target of another kind", func(_ *testing.T, cfg *daemon.Config) { cfg.Target = "ftp://bucket/prefix" }, daemon.ExitUsage, []string{"s3://"}},
	{"unknown flag", func(_ *testing.T, cfg *daemon.Config) { cfg.Args = append(cfg.Args, "--no-such-flag") }, daemon.ExitUsage, []string{"--no-such-flag"}},
	{"target missing", func(_ *testing.T, cfg *daemon.Config) { cfg.Target = "--" }, daemon.ExitUsage, []string{"s3://"}},
}

// One clear sentence, the exit code of mount(8), and nothing mounted.
func TestWhatMountRefuses(t *testing.T) {
	m := newMount(t, mountOptions{})
	good := m.config(t)
	m.Unmount(t)
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(t, &cfg)
			text := mountRefused(t, cfg, tt.code)
			for _, word := range tt.says {
				if !strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
					t.Errorf("it does not say %q:\n%s", word, text)
				}
			}
			for _, word := range []string{"panic", "goroutine ", "%!", m.s3.SecretKey} {
				if strings.Contains(text, word) {
					t.Errorf("it says %q:\n%s", word, text)
				}
			}
		})
	}
}

// mountRefused starts a mount that must not come about, and gives what it says.
func mountRefused(t *testing.T, cfg daemon.Config, code int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	d, err := daemon.Start(ctx, cfg)
	if err == nil {
		d.Kill()
		_ = daemon.Detach(cfg.Dir)
		t.Fatalf("it mounted:\n%s", d.Log())
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("it did not end by itself: %v", err)
	}
	if exit.ExitCode() != code {
		t.Errorf("exit code %d, want %d", exit.ExitCode(), code)
	}
	if daemon.Mounted(cfg.Dir) {
		t.Error("it left a mount")
	}
	_, text, _ := strings.Cut(err.Error(), exit.Error()+": ")
	t.Log(text)
	return text
}

// closedPort is a loopback address where nobody listens: it is taken all the
// same, so that nobody else comes to.
func closedPort(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	must(t, err)
	at, err := unix.Getsockname(fd)
	must(t, err)
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}

// otherCA is a certificate that did not sign the server's.
func otherCA(t *testing.T) string {
	t.Helper()
	s3 := minioServer(t)
	newProxy(t, &s3)
	return s3.CAFile
}
