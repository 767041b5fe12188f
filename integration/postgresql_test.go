package integration

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A cluster is a PostgreSQL of its own, with its archive on a mount: that of
// examples/postgresql.
type cluster struct {
	tool          // as the user postgres
	bin, dir, log string
	scripts       string
}

// newCluster makes one that is not started. What it needs is Debian's
// postgresql; root, to be the user that it runs as.
func newCluster(t *testing.T, m *mount) *cluster {
	t.Helper()
	versions, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_basebackup")
	must(t, err)
	who, err := user.Lookup("postgres")
	if len(versions) == 0 || err != nil {
		t.Skip("there is no PostgreSQL: run integration/setup")
	}
	base := t.TempDir()
	reachable(t, m.Dir(), base)
	c := &cluster{bin: filepath.Dir(slices.Max(versions)), dir: filepath.Join(base, "data"), log: filepath.Join(base, "log"), scripts: filepath.Join(base, "bin")}
	must(t, os.Mkdir(c.scripts, 0o755))
	for _, name := range []string{"archive-wal", "restore-wal", "pg-base-backup"} {
		must(t, os.WriteFile(filepath.Join(c.scripts, name), readFile(t, filepath.Join(examples, "postgresql", name)), 0o755))
	}
	uid, err := strconv.Atoi(who.Uid)
	must(t, err)
	gid, err := strconv.Atoi(who.Gid)
	must(t, err)
	must(t, os.Chown(base, uid, gid))
	c.tool = newTool(t, base, "setpriv", "HOME="+base, "TMPDIR="+base, "PGHOST="+base, "PGDATABASE=postgres", "MOUNT="+m.Dir(), "PATH="+c.bin+":/usr/bin:/bin")
	c.do("initdb", "--pgdata", c.dir, "--auth", "trust", "--no-sync", "--no-instructions")
	c.configure(
		"listen_addresses = ''", "unix_socket_directories = '"+base+"'", "fsync = off",
		fmt.Sprintf("archive_command = 'MOUNT=%s %s/archive-wal %%p %%f'", m.Dir(), c.scripts),
		fmt.Sprintf("restore_command = 'MOUNT=%s %s/restore-wal %%f %%p'", m.Dir(), c.scripts))
	for line := range strings.Lines(string(readFile(t, filepath.Join(examples, "postgresql", "archive.conf")))) {
		if !strings.HasPrefix(line, "archive_command") {
			c.configure(strings.TrimSpace(line))
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(c.log)
			t.Logf("log of the server:\n%s", text)
		}
	})
	return c
}

// reachable lets other users into the directories of a test.
func reachable(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		for p = filepath.Dir(p); strings.HasPrefix(p, os.TempDir()+"/"); p = filepath.Dir(p) {
			must(t, os.Chmod(p, 0o755))
		}
	}
}

// do runs a command as the user postgres.
func (c *cluster) do(argv ...string) string {
	c.t.Helper()
	return c.run(append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"}, argv...)...)
}

func (c *cluster) configure(lines ...string) {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	must(c.t, err)
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	must(c.t, err)
	must(c.t, f.Close())
}

func (c *cluster) start() {
	c.t.Helper()
	c.do("pg_ctl", "--pgdata", c.dir, "--log", c.log, "--wait", "start")
	c.t.Cleanup(func() { // of a test that failed
		if pid, err := os.ReadFile(filepath.Join(c.dir, "postmaster.pid")); err == nil && len(pid) > 0 {
			_ = exec.Command("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", //nolint:noctx // the test's own has ended
				filepath.Join(c.bin, "pg_ctl"), "--pgdata", c.dir, "--mode", "immediate", "--wait", "stop").Run()
		}
	})
}

// stop returns when the log is archived to its end.
func (c *cluster) stop() {
	c.t.Helper()
	c.do("pg_ctl", "--pgdata", c.dir, "--wait", "--mode", "fast", "stop")
}

func (c *cluster) sql(text string) string {
	c.t.Helper()
	return strings.TrimSpace(c.do("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--command", text))
}

// TestExamplePostgreSQL: a base backup and the log that followed it, on a mount,
// make a new cluster with all that was committed.
func TestExamplePostgreSQL(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be the user postgres")
	}
	if _, err := user.Lookup("postgres"); err != nil {
		t.Skip("there is no PostgreSQL: run integration/setup")
	}
	m := newMount(t, mountOptions{Args: []string{"--allow-other", "--uid", "postgres", "--gid", "postgres"}})
	c := newCluster(t, m)
	c.start()
	c.sql("create table t as select n from generate_series(1, 1000) n")
	for _, old := range []string{"20200101T000000Z", "20200102T000000Z", ".20200103T000000Z.new", "another's"} {
		must(t, os.MkdirAll(m.Path("base/"+old), 0o777))
	}
	c.tool.run("chown", "-R", "postgres:", m.Path("base"))
	c.do("env", "KEEP=2", filepath.Join(c.scripts, "pg-base-backup"))
	c.sql("insert into t select n from generate_series(1001, 2000) n")
	c.stop()
	m.Remount(t)

	segments, err := filepath.Glob(m.Path("wal/0*"))
	must(t, err)
	if len(segments) < 2 {
		t.Fatalf("the archive has %q", segments)
	}
	c.archived(t, m, segments[0])

	old := c.dir
	c.dir = old + "-restored"
	must(t, os.Remove(m.Path("base/another's"))) // it is there still
	backups, err := filepath.Glob(m.Path("base/*"))
	must(t, err)
	dead, err := filepath.Glob(m.Path("base/.*"))
	must(t, err)
	if len(backups) != 2 || filepath.Base(backups[0]) != "20200102T000000Z" || len(dead) != 0 {
		t.Fatalf("of two to be kept there are %q and %q", backups, dead)
	}
	c.do("mkdir", "-m", "700", c.dir)
	c.do("tar", "xzf", filepath.Join(backups[1], "base.tar.gz"), "-C", c.dir)
	c.do("tar", "xzf", filepath.Join(backups[1], "pg_wal.tar.gz"), "-C", filepath.Join(c.dir, "pg_wal"))
	c.do("touch", filepath.Join(c.dir, "recovery.signal"))
	c.start()
	c.do("pg_ctl", "--pgdata", c.dir, "--wait", "promote")
	if got := c.sql("select count(*), max(n) from t"); got != "2000|2000" {
		t.Errorf("after the restore: %s", got)
	}
	c.stop()
}

// archived holds the script to what PostgreSQL asks of archive_command.
func (c *cluster) archived(t *testing.T, m *mount, segment string) {
	t.Helper()
	script, name := filepath.Join(c.scripts, "archive-wal"), filepath.Base(segment)
	c.do(script, segment, name) // as it is: done already
	other := filepath.Join(c.tool.dir, "other")
	c.do("sh", "-c", "echo other >"+other)
	if out, err := c.try(script, other, name); err == nil || !strings.Contains(out, "another one") {
		t.Errorf("another segment of the same name: %v: %s", err, out)
	}
	c.env = append(c.env, "MOUNT="+t.TempDir())
	if out, err := c.try(script, other, "new"); err == nil || !strings.Contains(out, "nothing is mounted") {
		t.Errorf("without a mount: %v: %s", err, out)
	}
	c.env = c.env[:len(c.env)-1]
	if left, _ := filepath.Glob(m.Path("wal/.*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
