package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sourceTree is a tree on a local disk, to be backed up.
func sourceTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "source")
	must(t, os.Mkdir(dir, 0o755))
	makeTree(t, dir)
	return dir
}

// --modify-window=-1 compares times to the nanosecond.
func TestRsyncSendsNothingTwice(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	rsync := newTool(t, d.Dir(), "rsync")
	dst := filepath.Join(d.Dir(), "copy")
	sync := func(flags ...string) string {
		t.Helper()
		return rsync.run(append(append([]string{"rsync", "-a", "--modify-window=-1", "--itemize-changes"}, flags...), src+"/", dst+"/")...)
	}
	nothing := func(when string, flags ...string) {
		t.Helper()
		if out := sync(flags...); out != "" {
			t.Errorf("rsync %v %s sent:\n%s", flags, when, out)
		}
	}

	if out := sync(); !strings.Contains(out, ">f+++++++++ d0/sub/a") {
		t.Fatalf("the first rsync sent:\n%s", out)
	}
	nothing("again")
	d.Remount(t)
	nothing("after a remount")
	nothing("by checksum", "--checksum")
	sameTree(t, src, dst)

	writeFile(t, filepath.Join(src, "d0", "sub", "a"), []byte("changed"))
	if out := sync(); !strings.Contains(out, "d0/sub/a") || strings.Count(out, ">f") != 1 {
		t.Errorf("one file changed, rsync sent:\n%s", out)
	}
	nothing("after the change")
	must(t, os.Remove(filepath.Join(src, "link")))
	if out := sync("--delete"); strings.TrimSpace(strings.ReplaceAll(out, ".d..t...... ./", "")) != "*deleting   link" {
		t.Errorf("one link removed, rsync --delete did:\n%s", out)
	}
	sameTree(t, src, dst)
}

// A partial transfer leaves its data under a temporary name that goes on being
// used: --inplace and --partial write into existing files.
func TestRsyncInPlace(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	rsync := newTool(t, d.Dir(), "rsync")
	dst := filepath.Join(d.Dir(), "copy")
	rsync.run("rsync", "-a", src+"/", dst+"/")
	big := filepath.Join(src, "changing")
	b := content(1, 9<<20)
	writeFile(t, big, b)
	rsync.run("rsync", "-a", "--modify-window=-1", "--inplace", "--no-whole-file", src+"/", dst+"/")
	copy(b[5<<20:], "in the middle")
	writeFile(t, big, b)
	rsync.run("rsync", "-a", "--modify-window=-1", "--inplace", "--no-whole-file", "--ignore-times", src+"/", dst+"/")
	d.Remount(t)
	sameTree(t, src, dst)
}

func TestTarOutAndDiff(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	tar := newTool(t, d.Dir(), "tar")
	archive := filepath.Join(d.Dir(), "archive.tar")
	out := filepath.Join(d.Dir(), "out")
	must(t, os.Mkdir(out, 0o755))
	tar.run("tar", "-C", src, "--format=posix", "-cf", archive, ".")
	tar.run("tar", "-C", out, "-xpf", archive)
	tar.run("diff", "-r", "--no-dereference", src, out)
	d.Remount(t)
	tar.run("diff", "-r", "--no-dereference", src, out)
	sameTree(t, src, out)
	tar.run("tar", "-C", src, "--compare", "-f", archive)
}

func TestCpArchive(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	cp := newTool(t, d.Dir(), "cp")
	one, two := filepath.Join(d.Dir(), "one"), filepath.Join(d.Dir(), "two")
	cp.run("cp", "-a", src, one)
	sameTree(t, src, one)
	cp.run("cp", "-a", one, two)
	sameTree(t, src, two)
	d.Remount(t)
	sameTree(t, src, one)
	sameTree(t, src, two)
	cp.run("rm", "-r", one)
	if _, err := os.Lstat(one); !os.IsNotExist(err) {
		t.Errorf("after rm -r: %v", err)
	}
	d.Remount(t)
	sameTree(t, src, two)
}

func TestResticRepository(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	restic := newTool(t, d.Dir(), "restic", "RESTIC_PASSWORD=only for this test", "RESTIC_REPOSITORY="+filepath.Join(d.Dir(), "repo"))
	restic.run("restic", "init")
	restic.run("restic", "backup", src)
	writeFile(t, filepath.Join(src, "d0", "sub", "a"), []byte("second snapshot"))
	setTimes(t, src)
	restic.run("restic", "backup", src)
	d.Remount(t)
	restic.run("restic", "check", "--read-data")
	restic.run("restic", "forget", "--keep-last", "1", "--prune")
	restic.run("restic", "check", "--read-data")
	out := t.TempDir()
	restic.run("restic", "restore", "latest", "--target", out)
	sameTree(t, src, filepath.Join(out, src))
	// And onto the mount: restore sets modes, owners and times.
	restic.run("restic", "restore", "latest", "--target", filepath.Join(d.Dir(), "restored"))
	d.Remount(t)
	sameTree(t, src, filepath.Join(d.Dir(), "restored", src))
}

func TestBorgRepository(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	borg := newTool(t, d.Dir(), "borg", "BORG_PASSPHRASE=only for this test", "BORG_REPO="+filepath.Join(d.Dir(), "repo"), "BORG_BASE_DIR="+t.TempDir())
	borg.run("borg", "init", "--encryption=repokey-blake2")
	borg.run("borg", "create", "::one", src)
	writeFile(t, filepath.Join(src, "d0", "sub", "a"), []byte("second archive"))
	setTimes(t, src)
	borg.run("borg", "create", "::two", src)
	d.Remount(t)
	borg.run("borg", "check", "--verify-data")
	borg.run("borg", "delete", "::one")
	borg.run("borg", "compact")
	d.Remount(t)
	borg.run("borg", "check", "--verify-data")
	out := filepath.Join(d.Dir(), "out")
	must(t, os.Mkdir(out, 0o755))
	borg.dir = out
	borg.run("borg", "extract", "::two")
	sameTree(t, src, filepath.Join(out, src))
}
