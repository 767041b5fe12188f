package integration

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
)

// daemonTime bounds a mount and an unmount.
const daemonTime = 2 * time.Minute

// mountOptions changes what newMount does; the zero value is a mount of
// s3://bucket/prefix straight on MinIO.
type mountOptions struct {
	Server *server.Server // another one
	Bucket string         // one that is there already
	Proxy  bool           // put a fault proxy between
	Args   []string       // more flags
	Env    []string       // more of the environment

	// YAML gives a configuration file for the bucket, in place of the flags for
	// encryption and keys; the volume is the whole bucket then.
	YAML func(bucket string) string
}

// A mount is one volume in a bucket of its own, with a key, a state directory
// and a mountpoint that stay the same through remounts.
type mount struct {
	s3     s3Server // as the daemon reaches it
	proxy  *faultproxy.Proxy
	bucket string
	prefix string
	key    string // key file; "" where args say all
	state  string
	dir    string
	args   []string
	envs   []string
	yaml   string         // configuration file; "" for none
	daemon *daemon.Daemon // nil while unmounted
}

func newMount(t *testing.T, opt mountOptions) *mount {
	t.Helper()
	onMount(t)
	if opt.Server == nil {
		opt.Server = shared(t)
	}
	base := t.TempDir()
	m := &mount{
		s3:     reached(opt.Server),
		bucket: opt.Bucket,
		prefix: "pre/fix",
		key:    filepath.Join(base, "main.key"),
		state:  filepath.Join(base, "state"),
		dir:    filepath.Join(base, "mnt"),
		args:   opt.Args,
		envs:   opt.Env,
	}
	if m.bucket == "" {
		m.bucket = server.Bucket(t, opt.Server)
	}
	must(t, os.Mkdir(m.dir, 0o755))
	must(t, os.Mkdir(m.state, 0o700))
	m.sigilfs(t, "keygen", "-o", m.key)
	if far := distance(t); opt.Proxy || far > 0 {
		m.proxy = newProxy(t, &m.s3)
		m.proxy.Far(far)
	}
	if opt.YAML != nil {
		m.prefix, m.yaml = "", filepath.Join(base, "mount.yaml")
		writeFile(t, m.yaml, []byte(opt.YAML(m.bucket)))
	}
	t.Cleanup(func() { m.cleanup(t) })
	m.Start(t)
	return m
}

// distance is how far away the servers of all mounts are to be: the package
// comment says more.
func distance(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SIGILFS_LATENCY")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}

// newProxy puts a fault proxy in front of s3 and changes s3 to reach it.
func newProxy(t *testing.T, s3 *s3Server) *faultproxy.Proxy {
	t.Helper()
	roots, err := os.ReadFile(s3.CAFile)
	must(t, err)
	p, err := faultproxy.Start(s3.URL, roots)
	must(t, err)
	t.Cleanup(p.Close)
	s3.URL, s3.CAFile = p.URL(), filepath.Join(t.TempDir(), "proxy.crt")
	must(t, os.WriteFile(s3.CAFile, p.CA(), 0o644))
	return p
}

// sigilfs runs another subcommand and fails the test when it fails.
func (m *mount) sigilfs(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	out, err := daemon.Run(ctx, binary(t), m.env(t), args...)
	if err != nil {
		t.Fatalf("sigilfs %v: %v\n%s", args, err, out)
	}
	return out
}

func (m *mount) env(t *testing.T) []string {
	t.Helper()
	return append(append(baseEnv(t), m.s3.env()...), m.envs...)
}

// target is what mount is given, volume where that is.
func (m *mount) target() string { return cmp.Or(m.yaml, m.volume()) }

func (m *mount) volume() string { return strings.TrimSuffix("s3://"+m.bucket+"/"+m.prefix, "/") }

// config is the command line of the mount.
func (m *mount) config(t *testing.T) daemon.Config {
	t.Helper()
	args := []string{"--endpoint-url", m.s3.URL, "--ca-bundle", m.s3.CAFile, "--state-dir", m.state}
	if m.yaml == "" {
		args = append(args, "--encryption", "client")
		if m.key != "" {
			args = append(args, "--key", "file:"+m.key)
		}
	}
	return daemon.Config{Bin: binary(t), Args: append(args, m.args...), Target: m.target(), Bucket: m.volume(), Dir: m.dir, Env: m.env(t)}
}

// Dir implements disk.
func (m *mount) Dir() string { return m.dir }

// Path is a file or directory below the mountpoint.
func (m *mount) Path(name string) string { return filepath.Join(m.dir, name) }

// Key is the object's key of a file.
func (m *mount) Key(name string) string { return strings.TrimPrefix(m.prefix+"/"+name, "/") }

// Start mounts.
func (m *mount) Start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	d, err := daemon.Start(ctx, m.config(t))
	if err != nil {
		t.Fatal(err)
	}
	m.daemon = d
}

// running is the daemon of a mount that there has to be.
func (m *mount) running(t *testing.T) *daemon.Daemon {
	t.Helper()
	if m.daemon == nil {
		t.Fatal("it is not mounted: an earlier mount failed")
	}
	return m.daemon
}

// WantLog fails the test unless the daemon's log comes to hold every text.
func (m *mount) WantLog(t *testing.T, texts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	if err := m.running(t).AwaitLog(ctx, texts...); err != nil {
		t.Error(err)
	}
}

// Unmount ends the daemon cleanly, and fails the test if anything is left of
// it.
func (m *mount) Unmount(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	if err := m.running(t).Unmount(ctx); err != nil {
		t.Fatal(err)
	}
	m.daemon = nil
}

// Interrupt is Ctrl-C. It gives the daemon's log and how it ended, nil for well.
func (m *mount) Interrupt(t *testing.T) (log string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	d := m.running(t)
	err = d.Interrupt(ctx)
	select {
	case <-d.Exited():
	default:
		t.Fatalf("the daemon still runs: %v", err)
	}
	m.daemon = nil
	return d.Log(), err
}

// Remount implements disk.
func (m *mount) Remount(t *testing.T) {
	t.Helper()
	m.Unmount(t)
	m.Start(t)
}

// Crash is kill -9 and `umount -l`. Start mounts again.
func (m *mount) Crash(t *testing.T) {
	t.Helper()
	m.running(t).Kill()
	must(t, daemon.Detach(m.dir))
	m.daemon = nil
}

// cleanup takes away whatever a test left, and shows the log of one that
// failed.
func (m *mount) cleanup(t *testing.T) {
	if m.daemon == nil {
		_ = daemon.Detach(m.dir)
		return
	}
	if t.Failed() {
		t.Logf("log of the daemon:\n%s", m.daemon.Log())
		m.daemon.Kill()
		_ = daemon.Detach(m.dir)
		return
	}
	// The test's own context has ended.
	ctx, cancel := context.WithTimeout(context.Background(), daemonTime)
	defer cancel()
	if err := m.daemon.End(ctx); err != nil {
		t.Error(err)
	}
}
