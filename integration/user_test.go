package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"golang.org/x/sys/unix"
)

// The users that tests become where they need one who is not root. The first is
// on every machine, and has neither a home nor a session; nobody has the second.
const (
	nobody   = 65534
	stranger = 54321
)

// as has a command run by a user.
func as(uid int) []string {
	id := strconv.Itoa(uid)
	return []string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "--"}
}

// A userMount is that of a user who is not root, with a home that others may
// look into.
type userMount struct {
	*mount
	home string
	tool tool // for any user
}

// newUserMount does not mount yet.
func newUserMount(t *testing.T) *userMount {
	t.Helper()
	onMount(t)
	if os.Geteuid() != 0 {
		t.Skip("the tests run as an ordinary user: it takes root to become another one")
	}
	home, err := os.MkdirTemp("", "sigilfs-user-")
	must(t, err)
	t.Cleanup(func() {
		if !daemon.Mounted(home + "/mnt") {
			_ = os.RemoveAll(home)
		}
	})
	must(t, os.Chmod(home, 0o755))
	m := &userMount{
		mount: &mount{s3: minioServer(t), bucket: newBucket(t), prefix: "p", key: home + "/main.key", state: home + "/state", dir: home + "/mnt"},
		home:  home, tool: newTool(t, "/", "setpriv"),
	}
	m.sigilfs(t, "keygen", "-o", m.key)
	must(t, os.Mkdir(m.dir, 0o755))
	must(t, os.Mkdir(m.state, 0o700))
	// Copies that he can reach.
	for from, to := range map[string]string{binary(t): home + "/sigilfs", m.s3.CAFile: home + "/ca.crt"} {
		b, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(to, b, 0o755))
	}
	m.s3.CAFile = home + "/ca.crt"
	for _, p := range []string{home, m.key, m.dir, m.state} {
		must(t, os.Chown(p, nobody, nobody))
	}
	t.Cleanup(func() { m.cleanup(t) })
	t.Cleanup(func() { tidy(t) })
	return m
}

// tidy removes where the mounts of a user without a session said that they are
// there, if none says so any more.
func tidy(t *testing.T) {
	t.Helper()
	place := fmt.Sprintf("/tmp/sigilfs-%d", nobody)
	if said, _ := filepath.Glob(place + "/*.*"); len(said) == 0 {
		_ = os.RemoveAll(place)
	}
}

// config is the command line of his mount, by way of more commands before it.
func (m *userMount) config(t *testing.T, by ...string) daemon.Config {
	t.Helper()
	cfg := m.mount.config(t)
	cfg.Bin, cfg.As = m.home+"/sigilfs", slices.Concat(by, as(nobody))
	cfg.Env = append(cfg.Env, "HOME="+m.home, "TMPDIR="+m.home)
	return cfg
}

// mounts starts it.
func (m *userMount) mounts(t *testing.T, cfg daemon.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	d, err := daemon.Start(ctx, cfg)
	must(t, err)
	m.daemon = d
}

// by runs a line of the shell in the mount, as a user.
func (m *userMount) by(uid int, line string, in ...string) (string, error) {
	return m.tool.try(slices.Concat(in, as(uid), []string{"sh", "-c", `cd "$0" && ` + line, m.dir})...)
}

// A user who is not root mounts by fusermount3 and owns what he makes; others,
// root too, are kept out, and neither told how the mount is nor let take it away.
func TestMountAsAnOrdinaryUser(t *testing.T) {
	m := newUserMount(t)
	m.mounts(t, m.config(t))
	line := `set -e; umask 027; echo text >file; ln -s file link; mkdir dir; mv file dir/; cat dir/file; stat -c %u:%a dir/file`
	if out, err := m.by(nobody, line); err != nil || out != "text\n65534:640\n" {
		t.Errorf("he sees %q, %v", out, err)
	}
	if _, err := os.ReadDir(m.dir); !errors.Is(err, unix.EACCES) {
		t.Errorf("root looks into it: %v", err)
	}
	if out, err := m.tool.try(append(as(stranger), "ls", m.dir)...); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("another user looks into it: %q, %v", out, err)
	}
	bin := m.home + "/sigilfs"
	if out, err := m.tool.try(append(as(nobody), bin, "status", m.dir)...); err != nil || !strings.Contains(out, ": ok\n") {
		t.Errorf("he is told %q, %v", out, err)
	}
	if out, _ := m.tool.try(bin, "status"); !strings.Contains(out, m.dir+": ") { // others may be there, and ill
		t.Errorf("root is told of all mounts %q", out)
	}
	for _, command := range []string{"status", "umount"} {
		out, code := ended(t)(m.tool.try(append(as(stranger), bin, command, m.dir)...))
		if code != daemon.ExitMount || !strings.Contains(out, "is a mount of user 65534, and only they and root") {
			t.Errorf("%s by another user: exit code %d, %q", command, code, out)
		}
	}
	m.Unmount(t)
	if left, _ := filepath.Glob(m.dir + "/*"); len(left) != 0 {
		t.Errorf("left in the mountpoint: %v", left)
	}
}

// Without more than a key and a bucket: in the background, with what it keeps in
// his own home, and taken away by fusermount3.
func TestOrdinaryUserWithItsDefaults(t *testing.T) {
	m := newUserMount(t)
	cfg := m.config(t)
	i := slices.Index(cfg.Args, "--state-dir")
	cfg.Args = slices.Delete(cfg.Args, i, i+2)
	cfg.Args = append(cfg.Args, "--log-file", m.home+"/log")
	mounted := func() int {
		t.Helper()
		user := m.tool
		user.env = cfg.Env
		argv := slices.Concat(as(nobody), []string{cfg.Bin, "mount"}, cfg.Args, []string{cfg.Target, cfg.Dir})
		if out := user.run(argv...); strings.Contains(out, "will not be able to") {
			t.Errorf("it warns: %s", out)
		}
		pid := served(t, m.dir)
		if pid == 0 {
			t.Fatal("nothing serves it")
		}
		t.Cleanup(func() {
			if served(t, m.dir) == pid {
				_ = unix.Kill(pid, unix.SIGKILL)
				awaitEnd(t, pid)
			}
		})
		return pid
	}
	pid := mounted()
	if out, err := m.by(nobody, "echo text >file"); err != nil {
		t.Error(out, err)
	}
	m.tool.run(append(as(nobody), "fusermount3", "-u", m.dir)...)
	awaitEnd(t, pid)
	var st unix.Stat_t
	if err := unix.Stat(m.home+"/.local/state/sigilfs", &st); err != nil || st.Mode&0o777 != 0o700 || st.Uid != nobody {
		t.Errorf("its state: mode %o, user %d, %v", st.Mode, st.Uid, err)
	}
	pid = mounted()
	if out, err := m.by(nobody, "cat file"); err != nil || out != "text\n" {
		t.Errorf("after another mount: %q, %v", out, err)
	}
	m.tool.run(append(as(nobody), "umount", m.dir)...) // umount(8), which lets him
	awaitEnd(t, pid)
}

// within has a command run where a line of the shell, by root, has changed the
// mounts that it alone sees: nothing of the machine is changed.
func within(t *testing.T, line string) []string {
	t.Helper()
	by := []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", line + ` && exec "$@"`, "sh"}
	if out, err := newTool(t, "/", "unshare").try(append(by, "true")...); err != nil {
		t.Skipf("mounts of its own cannot be had here: %v: %s", err, out)
	}
	return by
}

// withFuseConf has it find this in /etc/fuse.conf.
func withFuseConf(t *testing.T, m *userMount, text string) []string {
	t.Helper()
	conf := filepath.Join(m.home, "fuse.conf")
	must(t, os.WriteFile(conf, []byte(text), 0o644))
	return within(t, "mount --bind "+conf+" /etc/fuse.conf")
}

// allow_other takes a line that root has written; then others may do what modes
// and owners let them.
func TestAllowOtherOfAnOrdinaryUser(t *testing.T) {
	m := newUserMount(t)
	m.args = []string{"--allow-other"}
	text := mountRefused(t, m.config(t, withFuseConf(t, m, "#user_allow_other\n")...), daemon.ExitSystem)
	if !strings.Contains(text, "allow_other is for root unless /etc/fuse.conf has a line user_allow_other") {
		t.Errorf("it says %s", text)
	}
	m.mounts(t, m.config(t, withFuseConf(t, m, "user_allow_other\n")...))
	in := []string{"nsenter", "--mount", "--target", strconv.Itoa(m.running(t).PID()), "--"}
	if out, err := m.by(nobody, `umask 022; echo text >open; mkdir -m 1777 shared; umask 077; echo text >closed`, in...); err != nil {
		t.Fatal(out, err)
	}
	for _, tt := range []struct {
		uid        int
		line, says string
		fails      bool
	}{
		{stranger, "cat open", "text\n", false},
		{stranger, "cat closed", "Permission denied", true},
		{stranger, "echo more >>open", "Permission denied", true},
		{stranger, "touch new", "Permission denied", true},
		{stranger, "rm -f open", "Permission denied", true},
		{stranger, "echo his >shared/his && stat -c %u shared/his", strconv.Itoa(stranger) + "\n", false},
		{nobody, "cat shared/his", "his\n", false},
		{0, "cat closed", "text\n", false},
		{nobody, "chmod 700 .", "", false}, // in place of allow_root
		{stranger, "true", "", true},       // cannot come in
		{0, "cat open", "text\n", false},
	} {
		if out, err := m.by(tt.uid, tt.line, in...); (err != nil) != tt.fails || !strings.Contains(out, tt.says) {
			t.Errorf("user %d: %s: %q, %v", tt.uid, tt.line, out, err)
		}
	}
	if log, err := m.Interrupt(t); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

// What only root may do, or root has to see to, is one sentence.
func TestWhatAnOrdinaryUserIsRefused(t *testing.T) {
	m := newUserMount(t)
	for _, tt := range []struct {
		name   string
		change func(*daemon.Config)
		by     string // a line of root's before
		code   int
		says   string
	}{
		{"a directory of root's", func(cfg *daemon.Config) { cfg.Dir = m.home + "/roots" }, "", daemon.ExitMount, "it belongs to user 0, and may not be written to; name a directory of your own, or mount as root"},
		{"one like /tmp", func(cfg *daemon.Config) { cfg.Dir = m.home + "/everybodys" }, "", daemon.ExitMount, "it belongs to user 0; name a directory of your own"},
		{"no fusermount3", nil, "for f in /usr/bin/fusermount*; do mount --bind /dev/null $f; done", daemon.ExitSystem, "there is no fusermount3: install the package fuse3"},
		{"the device", nil, "test -e $0.fuse || mknod $0.fuse c 10 229; chmod 600 $0.fuse; mount --bind $0.fuse /dev/fuse", daemon.ExitSystem, "/dev/fuse: permission denied; users may mount where it has mode 0666"},
		{"no_new_privs", nil, "exec setpriv --no-new-privs -- \"$@\"", daemon.ExitMount, "fusermount3 did not mount (fusermount exited with code 256): NoNewPrivileges= (no_new_privs) keeps it from becoming root"},
		{"allow_root", func(cfg *daemon.Config) { cfg.Args = append(cfg.Args, "-o", "allow_root") }, "", daemon.ExitUsage, "use allow_other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var by []string
			if tt.by != "" {
				by = within(t, strings.ReplaceAll(tt.by, "$0", m.home+"/dev"))
			}
			cfg := m.config(t, by...)
			for dir, mode := range map[string]os.FileMode{"/roots": 0o755, "/everybodys": os.ModeSticky | 0o777} {
				if err := os.Mkdir(m.home+dir, 0o755); err == nil {
					must(t, os.Chmod(m.home+dir, mode))
				}
			}
			if tt.change != nil {
				tt.change(&cfg)
			}
			if text := mountRefused(t, cfg, tt.code); !strings.Contains(text, tt.says) {
				t.Errorf("it says %s", text)
			}
		})
	}
}
