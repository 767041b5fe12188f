package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestGitWorksOnTheMount(t *testing.T) {
	d := newDisk(t)
	local := t.TempDir()
	git := newTool(t, local, "git",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=init.defaultBranch", "GIT_CONFIG_VALUE_0=main")
	for i := range 20 {
		writeFile(t, filepath.Join(local, fmt.Sprintf("file%d", i)), content(uint64(i), int64(i*7919)))
	}
	git.run("git", "init", "-q")
	git.run("git", "add", ".")
	git.run("git", "commit", "-q", "-m", "first")

	work := filepath.Join(d.Dir(), "work")
	git.run("git", "clone", "-q", "file://"+local, work)
	git.dir = work
	writeFile(t, filepath.Join(work, "new"), []byte("new\n"))
	git.run("git", "add", "new")
	git.run("git", "commit", "-q", "-m", "second")
	git.run("git", "fsck", "--strict")
	d.Remount(t)
	clean := func() {
		t.Helper()
		if out := git.run("git", "status", "--porcelain"); out != "" {
			t.Errorf("git status:\n%s", out)
		}
		git.run("git", "fsck", "--strict")
	}
	clean()
	git.run("git", "checkout", "-q", "-b", "side", "HEAD~1")
	git.run("git", "mv", "file1", "moved")
	git.run("git", "commit", "-q", "-m", "third")
	git.run("git", "merge", "-q", "-m", "merged", "main")
	git.run("git", "gc", "-q", "--prune=now")
	d.Remount(t)
	clean()
	if out := git.run("git", "log", "--oneline"); strings.Count(out, "\n") != 4 {
		t.Errorf("git log:\n%s", out)
	}
	git.run("git", "push", "-q", "origin", "side")
}

func TestGitInitOnTheMount(t *testing.T) {
	d := newDisk(t)
	git := newTool(t, d.Dir(), "git", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
	git.run("git", "init", "-q", "repo")
	git.dir = filepath.Join(d.Dir(), "repo")
	writeFile(t, filepath.Join(git.dir, "file"), []byte("line\n"))
	git.run("git", "add", ".")
	git.run("git", "commit", "-q", "-m", "first")
	git.run("git", "fsck", "--strict")
	d.Remount(t)
	git.run("git", "fsck", "--strict")
}
