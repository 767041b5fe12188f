package integration

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/debian"
)

// buildTime bounds what is built: the first time with a compiler's cache that is
// empty, nfpm included.
const buildTime = 20 * time.Minute

// A sources is the repository as it is, committed to a repository of its own:
// wherever it is made, and whenever, the commit is the same.
type sources struct{ dir string }

// copySources takes what git knows of or would, so nothing that was built.
func copySources(t *testing.T, dir string) sources {
	t.Helper()
	git := newTool(t, "..", "git", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	list, err := git.try("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	if err != nil {
		t.Skipf("not a checkout of git: %s", list)
	}
	s := sources{dir}
	for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		s.add(t, name)
	}
	return s
}

func (s sources) add(t *testing.T, name string) {
	t.Helper()
	info, err := os.Lstat(filepath.Join("..", name))
	if errors.Is(err, fs.ErrNotExist) { // removed, and not yet from the index
		return
	}
	must(t, err)
	to := filepath.Join(s.dir, name)
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	must(t, os.WriteFile(to, readFile(t, filepath.Join("..", name)), info.Mode().Perm()))
}

// commit makes the repository.
func (s sources) commit(t *testing.T) sources {
	t.Helper()
	who := []string{
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a", "GIT_AUTHOR_DATE=2001-02-03T04:05:06Z",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a", "GIT_COMMITTER_DATE=2001-02-03T04:05:06Z",
	}
	git := newTool(t, s.dir, "git", who...)
	git.run("git", "init", "-q", "--initial-branch=main")
	git.run("git", "add", "--all")
	git.run("git", "commit", "-q", "-m", "all")
	return s
}

// make runs make, with a umask and environment of its own.
func (s sources) make(t *testing.T, umask string, env []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	defer cancel()
	argv := append([]string{"-c", `umask "$0"; exec make --no-print-directory "$@"`, umask}, args...)
	cmd := exec.CommandContext(ctx, "sh", argv...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), env...)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { // of the make that runs this
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") || strings.HasPrefix(v, "SOURCE_DATE_EPOCH=") || strings.HasPrefix(v, "GIT_")
	})
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %v: %v\n%s", args, err, out)
	}
}

// deb is the package in it.
func (s sources) deb(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "bin", "sigilfs_*.deb"))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("packages %q", found)
	}
	return found[0]
}

// built is the package of the sources as they are, made once for all tests. The
// directory goes with world's.
var built struct {
	sync.Once
	sources
}

func builtSources(t *testing.T) sources {
	t.Helper()
	built.Do(func() {
		s := copySources(t, filepath.Join(world.dir, "sources")).commit(t)
		s.make(t, "022", nil, "deb")
		built.sources = s
	})
	if built.dir == "" {
		t.Skip("there is no package; see the test before")
	}
	return built.sources
}

// The same sources make the same bytes: elsewhere, at another time, by another
// person.
func TestReproducible(t *testing.T) {
	t.Parallel()
	first := builtSources(t)
	other := copySources(t, filepath.Join(t.TempDir(), "quite", "some-where else")).commit(t)
	other.make(t, "077", []string{"TZ=Asia/Kathmandu", "LANG=tr_TR.UTF-8", "USER=somebody", "HOME=" + cmp.Or(os.Getenv("HOME"), "/")}, "deb")
	if a, b := filepath.Base(first.deb(t)), filepath.Base(other.deb(t)); a != b {
		t.Errorf("packages are called %s and %s", a, b)
	}
	for _, pair := range [][2]string{
		{filepath.Join(first.dir, "bin/sigilfs"), filepath.Join(other.dir, "bin/sigilfs")},
		{first.deb(t), other.deb(t)},
	} {
		a, b := sha256.Sum256(readFile(t, pair[0])), sha256.Sum256(readFile(t, pair[1]))
		if a != b {
			t.Errorf("%s differs: %x and %x", filepath.Base(pair[0]), a, b)
		}
	}
	if bytes.Contains(readFile(t, filepath.Join(first.dir, "bin/sigilfs")), []byte(first.dir)) {
		t.Error("the binary knows where it was built")
	}
}

// make install puts everything below DESTDIR, and make uninstall takes it away.
func TestMakeInstall(t *testing.T) {
	t.Parallel()
	s := builtSources(t)
	dir := t.TempDir()
	s.make(t, "077", nil, "install", "DESTDIR="+dir, "PREFIX=/opt/sigilfs")
	want := []string{
		"/opt/sigilfs/bin/sigilfs",
		"/opt/sigilfs/lib/systemd/system/sigilfs@.service",
		"/opt/sigilfs/lib/systemd/user/sigilfs@.service",
		"/opt/sigilfs/share/bash-completion/completions/sigilfs",
		"/opt/sigilfs/share/doc/sigilfs/LICENSE",
		"/opt/sigilfs/share/doc/sigilfs/OPERATIONS.md",
		"/opt/sigilfs/share/doc/sigilfs/examples/restic/restic-backup.service",
		"/opt/sigilfs/share/fish/vendor_completions.d/sigilfs.fish",
		"/opt/sigilfs/share/man/man1/sigilfs.1.gz",
		"/opt/sigilfs/share/man/man5/sigilfs.yaml.5.gz",
		"/opt/sigilfs/share/man/man8/mount.sigilfs.8.gz",
		"/opt/sigilfs/share/man/man8/umount.fuse.sigilfs.8.gz",
		"/opt/sigilfs/share/zsh/site-functions/_sigilfs",
	}
	for _, name := range want {
		info, err := os.Stat(dir + name)
		if err != nil {
			t.Error(err)
		} else if info.Mode()&0o444 != 0o444 {
			t.Errorf("%s has mode %v: a umask made it so", name, info.Mode())
		}
	}
	for _, helper := range []string{"mount.sigilfs", "mount.fuse.sigilfs", "umount.sigilfs", "umount.fuse.sigilfs"} {
		if to, err := os.Readlink(dir + "/sbin/" + helper); err != nil || to != "/opt/sigilfs/bin/sigilfs" {
			t.Errorf("/sbin/%s is a link to %s, %v", helper, to, err)
		}
	}
	if unit := readFile(t, dir+want[1]); !bytes.Contains(unit, []byte("\nExecStart=/opt/sigilfs/bin/sigilfs ")) {
		t.Error("the unit starts another program")
	}
	s.make(t, "022", nil, "uninstall", "DESTDIR="+dir, "PREFIX=/opt/sigilfs")
	if left := filesBelow(t, dir); len(left) > 0 {
		t.Errorf("make uninstall left %q", left)
	}
}

// filesBelow are all but directories.
func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, dir))
		}
		return err
	}))
	return found
}

// unpacked is a Debian of its own.
func unpacked(t *testing.T) *debian.Root {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	defer cancel()
	root, err := debian.Unpack(ctx, filepath.Join(t.TempDir(), "root"))
	if errors.Is(err, debian.ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	must(t, err)
	return root
}
