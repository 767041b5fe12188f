package integration

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRenameOfADirectoryWithContent(t *testing.T) {
	d, src := newDisk(t), sourceTree(t)
	newTool(t, d.Dir(), "cp").run("cp", "-a", src, filepath.Join(d.Dir(), "one"))
	must(t, os.Rename(filepath.Join(d.Dir(), "one"), filepath.Join(d.Dir(), "two")))
	sameTree(t, src, filepath.Join(d.Dir(), "two"))
	must(t, os.Mkdir(filepath.Join(d.Dir(), "empty"), 0o700))
	must(t, unix.Rename(filepath.Join(d.Dir(), "two"), filepath.Join(d.Dir(), "empty"))) // os.Rename would not try
	d.Remount(t)
	sameTree(t, src, filepath.Join(d.Dir(), "empty"))
	for _, gone := range []string{"one", "two"} {
		if _, err := os.Lstat(filepath.Join(d.Dir(), gone)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", gone, err)
		}
	}
}

func TestWhatRenameRefuses(t *testing.T) {
	d := newDisk(t)
	in := func(name string) string { return filepath.Join(d.Dir(), name) }
	must(t, os.MkdirAll(in("full/sub"), 0o755))
	must(t, os.MkdirAll(in("other"), 0o755))
	writeFile(t, in("full/file"), []byte("full"))
	writeFile(t, in("file"), []byte("file"))
	tests := []struct {
		from, to string
		flags    uint
		want     error
	}{
		{"other", "full", 0, unix.ENOTEMPTY},
		{"file", "full", 0, unix.EISDIR},
		{"full", "file", 0, unix.ENOTDIR},
		{"full", "full/sub/inside", 0, unix.EINVAL},
		{"absent", "new", 0, unix.ENOENT},
		{"file", "absent/new", 0, unix.ENOENT},
		{"file", "file/new", 0, unix.ENOTDIR},
		{"file", "full/file", unix.RENAME_NOREPLACE, unix.EEXIST},
		{"full", "other", unix.RENAME_NOREPLACE, unix.EEXIST},
		{"file", "free", unix.RENAME_NOREPLACE, nil},
		{"free", "file", 0, nil},
		{"file", "file", 0, nil},
	}
	for _, tt := range tests {
		if err := unix.Renameat2(unix.AT_FDCWD, in(tt.from), unix.AT_FDCWD, in(tt.to), tt.flags); !errors.Is(err, tt.want) {
			t.Errorf("rename %s to %s (flags %d): %v, want %v", tt.from, tt.to, tt.flags, err, tt.want)
		}
	}
	if err := unix.Rmdir(in("full")); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("rmdir of a full directory: %v", err)
	}
	if err := os.Mkdir(in("full"), 0o755); !errors.Is(err, os.ErrExist) {
		t.Errorf("mkdir of what is there: %v", err)
	}
	d.Remount(t)
	wantFile(t, in("full/file"), []byte("full"))
	wantFile(t, in("file"), []byte("file"))
}

func TestNamesThatAreRefused(t *testing.T) {
	d := newDisk(t)
	long := string(slices.Repeat([]byte("n"), 256))
	if err := os.WriteFile(filepath.Join(d.Dir(), long), nil, 0o644); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("256 bytes: %v", err)
	}
	onMount(t)
	// The volume's own corner of the bucket is no part of the tree.
	for _, call := range []struct {
		name string
		err  error
	}{
		{"mkdir", os.Mkdir(filepath.Join(d.Dir(), ".sigil"), 0o755)},
		{"create", os.WriteFile(filepath.Join(d.Dir(), ".sigil"), nil, 0o644)},
		{"symlink", os.Symlink("x", filepath.Join(d.Dir(), ".sigil"))},
	} {
		if call.err == nil || errors.Is(call.err, os.ErrExist) {
			t.Errorf("%s .sigil: %v, want a refusal", call.name, call.err)
		}
	}
	if _, err := os.Stat(filepath.Join(d.Dir(), ".sigil", "epochs")); !os.IsNotExist(err) {
		t.Errorf("stat .sigil/epochs: %v", err)
	}
	entries, err := os.ReadDir(d.Dir())
	if err != nil || len(entries) != 0 {
		t.Errorf("the root shows %v, %v", entries, err)
	}
}

// The whole of a large directory is listed, before and after a remount, by one
// call and by many small ones, and goes with rm -r, which lists while it
// removes.
func TestTenThousandFiles(t *testing.T) {
	d := newDisk(t)
	const n = 10_000
	dir := filepath.Join(d.Dir(), "many")
	must(t, os.Mkdir(dir, 0o755))
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf("file-%05d", i)
	}
	errs := make(chan error, 16)
	for w := range cap(errs) {
		go func() {
			var err error
			for i := w; i < n && err == nil; i += cap(errs) {
				err = os.WriteFile(filepath.Join(dir, want[i]), fmt.Append(nil, i), 0o644)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		must(t, <-errs)
	}
	listed := func(batch int) {
		t.Helper()
		f, err := os.Open(dir)
		must(t, err)
		defer f.Close()
		var got []string
		for {
			names, err := f.Readdirnames(batch)
			got = append(got, names...)
			if errors.Is(err, io.EOF) || err == nil && batch <= 0 {
				break
			}
			must(t, err)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d names listed in batches of %d, want %d", len(got), batch, n)
		}
	}
	listed(-1)
	d.Remount(t)
	listed(-1)
	listed(7)
	ls := newTool(t, dir, "ls")
	if out := ls.run("bash", "-c", "ls -l | awk '$5 > 0' | wc -l"); out != fmt.Sprintln(n) {
		t.Errorf("ls -l counts %s", out)
	}
	ls.dir = d.Dir()
	ls.run("rm", "-r", dir)
	if entries, err := os.ReadDir(d.Dir()); err != nil || len(entries) != 0 {
		t.Errorf("after rm -r: %v, %v", entries, err)
	}
}
