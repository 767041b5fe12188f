package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What stands in examples/ is what people install: the scripts run here as they
// are, and the units are what systemd makes of them.

const examples = "../examples"

// scripts are all of the examples.
func scripts(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*/*-backup", "*/*-wal"} {
		found, err := filepath.Glob(filepath.Join(examples, pattern))
		must(t, err)
		all = append(all, found...)
	}
	if len(all) < 6 {
		t.Fatalf("there are %q", all)
	}
	return all
}

func TestExampleScriptsAreShell(t *testing.T) {
	sh := newTool(t, ".", "sh")
	for _, name := range scripts(t) {
		sh.run("sh", "-n", name)
		sh.run("bash", "-n", name)
		if info, err := os.Stat(name); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be executed: %v", name, err)
		}
		if _, err := exec.LookPath("shellcheck"); err == nil {
			sh.run("shellcheck", name)
		}
	}
}

// systemd understands the units, with the script in its place.
func TestExampleUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze")
	}
	units, err := filepath.Glob(filepath.Join(examples, "*", "*.service"))
	must(t, err)
	if len(units) < 4 {
		t.Fatalf("there are %q", units)
	}
	for _, service := range units {
		t.Run(filepath.Base(service), func(t *testing.T) {
			timer := strings.TrimSuffix(service, ".service") + ".timer"
			script, err := filepath.Abs(strings.TrimSuffix(service, ".service"))
			must(t, err)
			text := string(readFile(t, service))
			for _, want := range []string{"RequiresMountsFor=/mnt/", "Type=oneshot", "ExecStart=/usr/local/"} {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %s", want)
				}
			}
			dir := t.TempDir()
			lines := strings.Split(text, "\n")
			for i, line := range lines {
				switch {
				case strings.HasPrefix(line, "ExecStart="):
					lines[i] = "ExecStart=" + script
				case strings.HasPrefix(line, "Requisite="): // may not be installed here
					lines[i] = ""
				}
			}
			copied := []string{filepath.Join(dir, filepath.Base(service)), filepath.Join(dir, filepath.Base(timer))}
			writeFile(t, copied[0], []byte(strings.Join(lines, "\n")))
			writeFile(t, copied[1], readFile(t, timer))
			if out := newTool(t, dir, "systemd-analyze").run(append([]string{"systemd-analyze", "verify", "--man=no"}, copied...)...); out != "" {
				t.Errorf("it says\n%s", out)
			}
		})
	}
}

// A job is one of the examples, on a mount and with a tree of its own.
type job struct {
	*mount
	tool
	script, source string
}

func newJob(t *testing.T, script string, env ...string) job {
	t.Helper()
	m, src := newMount(t, mountOptions{}), sourceTree(t)
	script, err := filepath.Abs(filepath.Join(examples, script))
	must(t, err)
	env = append(env, "MOUNT="+m.Dir(), "SOURCES="+src, "PATH="+filepath.Dir(binary(t))+":/usr/sbin:/usr/bin:/sbin:/bin")
	return job{m, newTool(t, "/", filepath.Base(filepath.Dir(script)), env...), script, src}
}

// once is what is done by hand before the first night; a job that finds no
// repository makes none.
func (j job) once(t *testing.T, repository string, argv ...string) {
	t.Helper()
	if out, err := j.try(j.script); err == nil || !strings.Contains(out, "there is no repository in "+repository) {
		t.Errorf("without a repository: %v: %s", err, out)
	}
	if _, err := os.Stat(repository); !os.IsNotExist(err) {
		t.Errorf("the job has made %s: %v", repository, err)
	}
	j.run(argv...)
}

// nights are two runs with a change between; then one that finds no mount.
func (j job) nights(t *testing.T) {
	t.Helper()
	j.run(j.script)
	writeFile(t, filepath.Join(j.source, "d0", "sub", "a"), []byte("the second night"))
	must(t, os.Remove(filepath.Join(j.source, "link")))
	setTimes(t, j.source)
	j.run(j.script)
	j.Unmount(t)
	if out, err := j.try(j.script); err == nil || !strings.Contains(out, "nothing is mounted on "+j.Dir()) {
		t.Errorf("without a mount: %v: %s", err, out)
	}
	if left, err := os.ReadDir(j.Dir()); err != nil || len(left) != 0 {
		t.Errorf("the directory below has %v, %v", left, err)
	}
	j.Start(t)
}

// The jobs are run for two nights, and what they have written is restored.
func TestExampleJobs(t *testing.T) {
	for name, job := range map[string]func(*testing.T){"restic": resticJob, "borg": borgJob, "rsync": rsyncJob} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job(t)
		})
	}
}

func resticJob(t *testing.T) {
	t.Helper()
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, []byte("only for this test\n"))
	j := newJob(t, "restic/restic-backup", "RESTIC_PASSWORD_FILE="+password, "RESTIC_CACHE_DIR="+t.TempDir())
	repository := j.Path("restic")
	j.once(t, repository, "restic", "-r", repository, "-p", password, "init")
	j.nights(t)
	out := t.TempDir()
	j.run("restic", "-r", repository, "check", "--read-data")
	j.run("restic", "-r", repository, "restore", "latest", "--target", out)
	sameTree(t, j.source, filepath.Join(out, j.source))
}

func borgJob(t *testing.T) {
	t.Helper()
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	writeFile(t, passphrase, []byte("only for this test\n"))
	j := newJob(t, "borg/borg-backup", "BORG_PASSCOMMAND=cat "+passphrase, "BORG_BASE_DIR="+t.TempDir())
	repository := j.Path("borg")
	j.once(t, repository, "borg", "init", "--encryption", "repokey-blake2", repository)
	j.nights(t)
	j.run("borg", "check", "--verify-data", repository)
	archives := strings.Fields(j.run("borg", "list", "--short", repository))
	if len(archives) == 0 {
		t.Fatal("there is no archive")
	}
	out := t.TempDir()
	j.tool.dir = out
	j.run("borg", "extract", repository+"::"+archives[len(archives)-1])
	sameTree(t, j.source, filepath.Join(out, j.source))
}

func rsyncJob(t *testing.T) {
	t.Helper()
	j := newJob(t, "rsync/rsync-backup")
	j.nights(t)
	host, err := os.Hostname()
	must(t, err)
	sameTree(t, j.source, filepath.Join(j.Path("hosts"), host, j.source))
}
