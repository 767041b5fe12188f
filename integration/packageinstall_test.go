package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/debian"
)

// An installed is a Debian with the package.
type installed struct {
	t    *testing.T
	root *debian.Root
}

func (i installed) run(argv ...string) string {
	i.t.Helper()
	out, err := i.root.Run(i.t.Context(), argv...)
	must(i.t, err)
	return out
}

// The package is installed, used, and purged.
func TestPackage(t *testing.T) {
	s := builtSources(t)
	i := installed{t, unpacked(t)}
	const deb, updatedb = "/sigilfs.deb", "/etc/updatedb.conf"
	must(t, i.root.Add(s.deb(t), deb, 0o644))
	before := readFile(t, i.root.Path(updatedb))

	i.run("dpkg", "--install", deb)
	i.version(s)
	i.manual()
	i.completes()
	i.mounts()
	i.documented()
	i.pruned(1)
	i.run("dpkg", "--install", deb) // again
	i.pruned(1)

	// Who installs plocate later has it too.
	writeFile(t, i.root.Path(updatedb), before)
	i.run("dpkg-trigger", "--by-package=plocate", updatedb)
	i.run("dpkg", "--triggers-only", "--pending")
	i.pruned(1)

	if enabled := i.run("find", "/etc/systemd", "-name", "sigilfs*"); enabled != "" {
		t.Errorf("the package has enabled %q", enabled)
	}
	if conf := i.run("dpkg-query", "--show", "--showformat=${Conffiles}", "sigilfs"); !strings.Contains(conf, " /etc/sigilfs/example.yaml ") || strings.Count(conf, "/") != 3 {
		t.Errorf("conffiles %q", conf)
	}
	i.goes(deb, before)
}

// goes takes it away: keys stay, and all else is as it was.
func (i installed) goes(deb string, updatedb []byte) {
	i.t.Helper()
	key := i.root.Path("/etc/sigilfs/main.key")
	writeFile(i.t, key, []byte("precious"))
	must(i.t, os.MkdirAll(i.root.Path("/var/cache/sigilfs/b"), 0o700))
	i.run("dpkg", "--remove", "sigilfs")
	i.pruned(1)
	i.run("dpkg", "--purge", "sigilfs")
	wantFile(i.t, key, []byte("precious"))
	must(i.t, os.RemoveAll(filepath.Dir(key)))
	must(i.t, os.Remove(i.root.Path(deb)))
	// What man(1) has formatted is its own.
	if left := i.run("find", "/", "-xdev", "-name", "*sigilfs*", "-not", "-path", "/var/cache/man/*"); left != "" {
		i.t.Errorf("purge left %q", left)
	}
	if got := readFile(i.t, i.root.Path("/etc/updatedb.conf")); !bytes.Equal(got, updatedb) {
		i.t.Errorf("updatedb.conf is not what it was:\n%s\nbut\n%s", updatedb, got)
	}
}

func (i installed) version(s sources) {
	i.t.Helper()
	commit := strings.TrimSpace(newTool(i.t, s.dir, "git").run("git", "rev-parse", "HEAD"))
	if out := i.run("sigilfs", "--version"); !strings.Contains(out, ", commit "+commit+", go1.") {
		i.t.Errorf("--version: %q, want commit %s", out, commit)
	}
}

// manual pages are found by name, and roff has no complaint.
func (i installed) manual() {
	i.t.Helper()
	for page, says := range map[string]string{
		"1 sigilfs":             "--also-key SOURCE",
		"8 mount.sigilfs":       "use_cache",
		"8 umount.fuse.sigilfs": "umount(8) calls umount.sigilfs",
		"5 sigilfs.yaml":        "bucket-key: true|false",
	} {
		chapter, name, _ := strings.Cut(page, " ")
		out := i.run("man", "--warnings=w", chapter, name)
		if !strings.Contains(out, says) {
			i.t.Errorf("man %s does not say %q", page, says)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, "warning:") || strings.HasPrefix(line, "troff") || strings.HasPrefix(line, "man:") {
				i.t.Errorf("man %s: %s", page, line)
			}
		}
	}
}

// completes tries the script in bash, as a tab does.
func (i installed) completes() {
	i.t.Helper()
	const script = `. /usr/share/bash-completion/bash_completion
_completion_loader sigilfs
COMP_WORDS=(sigilfs mount --encry); COMP_CWORD=2; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
$(complete -p sigilfs | sed 's/.* -F \([^ ]*\) .*/\1/') sigilfs --encry mount
printf '%s\n' "${COMPREPLY[@]}"`
	if got := strings.Fields(i.run("bash", "-c", script)); !slices.Contains(got, "--encryption") {
		i.t.Errorf("bash completes --encry by %q", got)
	}
}

// mounts finds the helpers of mount(8); -f mounts nothing.
func (i installed) mounts() {
	i.t.Helper()
	i.run("mkdir", "-p", "/mnt/b")
	out := i.run("mount", "-f", "-v", "-t", "sigilfs", "s3://bucket/prefix", "/mnt/b", "-o", "encrypt=client,key=file:/k")
	if !strings.Contains(out, "s3://bucket/prefix would be mounted on /mnt/b") {
		i.t.Errorf("mount -t sigilfs: %q", out)
	}
	for _, helper := range []string{"/sbin/mount.fuse.sigilfs", "/sbin/umount.fuse.sigilfs", "/sbin/umount.sigilfs"} {
		if out := i.run(helper, "-V"); !strings.HasPrefix(out, "sigilfs ") {
			i.t.Errorf("%s: %q", helper, out)
		}
	}
}

// documented is what must lie beside a program, and is read by zcat.
func (i installed) documented() {
	i.t.Helper()
	const doc = "/usr/share/doc/sigilfs/"
	for name, says := range map[string]string{
		"copyright": "License: Apache-2.0", "changelog.Debian.gz": "sigilfs (", "changelog.gz": "# Changelog",
		"third-party-licenses.gz": "==== github.com/hanwen/go-fuse/v2 ", "OPERATIONS.md": "# Operations",
		"examples/restic/restic-backup.service": "RequiresMountsFor=",
	} {
		if out := i.run("zcat", "--force", doc+name); !strings.Contains(out, says) {
			i.t.Errorf("%s does not say %q", name, says)
		}
	}
}

// pruned counts the word in PRUNEFS.
func (i installed) pruned(want int) {
	i.t.Helper()
	for line := range strings.Lines(string(readFile(i.t, i.root.Path("/etc/updatedb.conf")))) {
		name, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(name) != "PRUNEFS" {
			continue
		}
		all := strings.Fields(strings.ReplaceAll(value, `"`, " "))
		if n := len(slices.DeleteFunc(all, func(w string) bool { return w != "fuse.sigilfs" })); n != want {
			i.t.Errorf("fuse.sigilfs is %d times in %s", n, line)
		}
		return
	}
	i.t.Error("updatedb.conf has no PRUNEFS")
}
