package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func links(t *testing.T, path string) (ino uint64, nlink int) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Ino, int(st.Nlink) //nolint:unconvert // its type differs by architecture
}

// oneFile checks that all paths are names of one file, which has no other.
func oneFile(t *testing.T, paths ...string) {
	t.Helper()
	first, _ := links(t, paths[0])
	for _, p := range paths {
		if ino, n := links(t, p); ino != first || n != len(paths) {
			t.Errorf("%s: inode %d with %d links, want %d with %d", p, ino, n, first, len(paths))
		}
	}
}

func TestHardLinks(t *testing.T) {
	d := newDisk(t)
	path := func(name string) string { return filepath.Join(d.Dir(), name) }
	must(t, os.Mkdir(path("d"), 0o755))
	writeFile(t, path("a"), []byte("one"))
	must(t, os.Link(path("a"), path("b")))
	must(t, os.Link(path("b"), path("d/c")))
	oneFile(t, path("a"), path("b"), path("d/c"))

	f, err := os.OpenFile(path("a"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteString("two!")
	must(t, err)
	hasContent(t, path("d/c"), "two!") // through the page cache that they share
	must(t, f.Close())
	must(t, os.Chmod(path("b"), 0o600))
	d.Remount(t)
	oneFile(t, path("a"), path("b"), path("d/c"))
	hasContent(t, path("b"), "two!")
	if info, err := os.Stat(path("d/c")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	must(t, os.Remove(path("a")))
	oneFile(t, path("b"), path("d/c"))
	must(t, os.Rename(path("d"), path("D")))
	must(t, os.Rename(path("b"), path("e")))
	oneFile(t, path("e"), path("D/c"))
	d.Remount(t)
	hasContent(t, path("D/c"), "two!")
	must(t, os.Remove(path("e")))
	must(t, os.Remove(path("D/c")))
	must(t, os.Remove(path("D")))
	if all, err := os.ReadDir(d.Dir()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func hasContent(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s has %q, %v; want %q", path, got, err, want)
	}
}

// diskUse is what du says of the paths together, in KiB.
func diskUse(t *testing.T, sh tool, paths ...string) int {
	t.Helper()
	out := sh.run(append([]string{"du", "-sck"}, paths...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	total, _, _ := strings.Cut(lines[len(lines)-1], "\t")
	n, err := strconv.Atoi(total)
	must(t, err)
	return n
}

// TestCopyOfLinks: cp -al shares every file, and du counts it once.
func TestCopyOfLinks(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	sh := newTool(t, d.Dir(), "cp")
	sh.run("cp", "-a", src, "one")
	sh.run("cp", "-al", "one", "two")
	d.Remount(t)
	sameTree(t, filepath.Join(d.Dir(), "one"), filepath.Join(d.Dir(), "two"))
	oneFile(t, filepath.Join(d.Dir(), "one/d0/sub/a"), filepath.Join(d.Dir(), "two/d0/sub/a"))
	alone, both := diskUse(t, sh, "one"), diskUse(t, sh, "one", "two")
	if alone == 0 || both > alone+alone/10 {
		t.Errorf("%d KiB alone, %d KiB with a copy that shares all files", alone, both)
	}
	sh.run("rm", "-r", "one")
	d.Remount(t)
	sameTree(t, src, filepath.Join(d.Dir(), "two"))
}

// TestLinkDest: of a second backup only what changed takes space, and the first
// can go.
func TestLinkDest(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	rsync := newTool(t, d.Dir(), "rsync")
	rsync.run("rsync", "-aH", "--modify-window=-1", src+"/", "monday/")
	changed := filepath.Join(src, "d0", "sub", "a")
	writeFile(t, changed, []byte("changed on tuesday"))
	out := rsync.run("rsync", "-aH", "--modify-window=-1", "--itemize-changes", "--link-dest=../monday", src+"/", "tuesday/")
	if n := strings.Count(out, ">f"); n != 1 {
		t.Errorf("%d files sent:\n%s", n, out)
	}
	sameTree(t, src, filepath.Join(d.Dir(), "tuesday"))
	if _, n := links(t, filepath.Join(d.Dir(), "tuesday/d0/sub/a")); n != 1 {
		t.Errorf("the changed file has %d links", n)
	}
	rsync.run("rm", "-r", "monday")
	d.Remount(t)
	sameTree(t, src, filepath.Join(d.Dir(), "tuesday"))
}

// TestRsnapshot rotates three snapshots through two names.
func TestRsnapshot(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	rsnapshot := newTool(t, d.Dir(), "rsnapshot")
	root := filepath.Join(d.Dir(), "snapshots")
	conf := filepath.Join(t.TempDir(), "rsnapshot.conf")
	lines := []string{
		"config_version\t1.2", "snapshot_root\t" + root + "/", "no_create_root\t0", "cmd_cp\t/bin/cp", "cmd_rm\t/bin/rm",
		"cmd_rsync\t/usr/bin/rsync", "rsync_long_args\t--delete --numeric-ids --relative --delete-excluded --modify-window=-1",
		"retain\tnow\t3", "lockfile\t" + filepath.Join(t.TempDir(), "lock"), "backup\t" + src + "/\thost/", "",
	}
	writeFile(t, conf, []byte(strings.Join(lines, "\n")))
	file := filepath.Join(src, "d0", "sub", "a")
	for i := range 4 {
		writeFile(t, file, fmt.Appendf(nil, "run %d", i))
		rsnapshot.run("rsnapshot", "-c", conf, "now")
	}
	d.Remount(t)
	for i := range 3 {
		hasContent(t, filepath.Join(root, fmt.Sprintf("now.%d", i), "host", file), fmt.Sprintf("run %d", 3-i))
	}
	sameTree(t, src, filepath.Join(root, "now.0", "host", src))
	var shared []string
	for i := range 3 {
		shared = append(shared, filepath.Join(root, fmt.Sprintf("now.%d", i), "host", src, "d0", "sub", "per%cent"))
	}
	oneFile(t, shared...)
}
