package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"golang.org/x/sys/unix"
)

// helpers puts the binary where mount(8) looks for its helpers, for as long as
// the test runs.
func helpers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root installs /sbin/mount.sigilfs")
	}
	for _, name := range []string{"/sbin/mount.sigilfs", "/sbin/mount.fuse.sigilfs"} {
		err := os.Symlink(binary(t), name)
		if errors.Is(err, os.ErrExist) {
			t.Skipf("%s is there already, and not this test's", name)
		}
		must(t, err)
		t.Cleanup(func() { _ = os.Remove(name) })
	}
}

// A table is a mount by a line of fstab. Nothing but credentials is in the
// environment: no PATH, no HOME.
type table struct {
	*mount
	file string
	tool tool
}

// fstab writes the line, with spec for the bucket where it is not "".
func fstab(t *testing.T, spec string, options ...string) *table {
	t.Helper()
	helpers(t)
	m := idle(t, mountOptions{})
	all := append([]string{
		"_netdev", "nofail", "x-systemd.requires=network-online.target", "comment=hello", "encrypt=client", "key=file:" + m.key,
		"url=" + m.s3.URL, "ca_bundle=" + m.s3.CAFile, "state_dir=" + m.state,
	}, options...)
	file := filepath.Join(filepath.Dir(m.dir), "fstab")
	if spec == "" {
		spec = m.target()
	}
	spec = strings.ReplaceAll(spec, "BUCKET", m.bucket)
	writeFile(t, file, fmt.Appendf(nil, "%s %s sigilfs %s 0 0\n", spec, m.dir, strings.Join(all, ",")))
	return &table{mount: m, file: file, tool: tool{t: t, dir: "/", env: m.s3.env()}}
}

// try runs mount(8), or umount(8), with the table.
func (f *table) try(argv ...string) (string, int) {
	f.tool.t.Helper()
	if argv[0] == "mount" {
		argv = append([]string{"/usr/bin/mount", "--fstab", f.file}, argv[1:]...)
	} else {
		argv[0] = "/usr/bin/" + argv[0]
	}
	return ended(f.tool.t)(f.tool.try(argv...))
}

// run must succeed.
func (f *table) run(argv ...string) string {
	f.tool.t.Helper()
	out, code := f.try(argv...)
	if code != 0 {
		f.tool.t.Fatalf("%v: exit code %d: %s", argv, code, out)
	}
	return out
}

// gone unmounts by umount(8) and waits for the process.
func (f *table) gone(argv ...string) {
	f.tool.t.Helper()
	pid := served(f.tool.t, f.dir)
	f.run(append(argv, f.dir)...)
	awaitEnd(f.tool.t, pid)
}

func TestFstab(t *testing.T) {
	f := fstab(t, "")
	f.run("mount", "-a")
	writeFile(t, f.Path("file"), []byte("kept"))
	out := newTool(t, "/", "findmnt").run("findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", f.dir)
	if fields := strings.Fields(out); !slices.Equal(fields, []string{"fuse.sigilfs", f.target()}) {
		t.Errorf("findmnt: %q", out)
	}
	if out := newTool(t, "/", "df").run("df", "--output=fstype,source", f.dir); !strings.Contains(out, "fuse.sigilfs") || !strings.Contains(out, f.target()) {
		t.Errorf("df: %s", out)
	}
	pid := served(t, f.dir)
	f.run("mount", "-a") // is mounted
	if again := served(t, f.dir); again != pid {
		t.Errorf("mount -a again: process %d, then %d", pid, again)
	}
	if out, code := f.try("mount", f.dir); code != daemon.ExitMount || !strings.Contains(out, "mounted") {
		t.Errorf("mount again: %d, %s", code, out)
	}
	f.gone("umount")
	f.run("mount", f.dir)
	wantFile(t, f.Path("file"), []byte("kept"))
	f.gone("umount")
}

// What mount(8) says and gives is ours.
func TestMountByNameIsRefused(t *testing.T) {
	f := fstab(t, "s3://no-such-bucket-here/x")
	out, code := f.try("mount", f.dir)
	if code != daemon.ExitMount || !strings.Contains(out, "bucket does not exist; create it") {
		t.Errorf("%d: %s", code, out)
	}
	f = fstabMore(f, "encrypton=client")
	if out, code := f.try("mount", f.dir); code != daemon.ExitUsage || !strings.Contains(out, "did you mean encryption?") {
		t.Errorf("%d: %s", code, out)
	}
}

// fstabMore adds an option to the line.
func fstabMore(f *table, option string) *table {
	f.tool.t.Helper()
	text := string(readFile(f.tool.t, f.file))
	writeFile(f.tool.t, f.file, []byte(strings.Replace(text, " _netdev", " "+option+",_netdev", 1)))
	return f
}

// bucket:/prefix, and `mount -t sigilfs SPEC DIR -o …`.
func TestMountByHostForm(t *testing.T) {
	f := fstab(t, "BUCKET:/pre/fix")
	f.run("mount", f.dir)
	writeFile(t, f.Path("file"), []byte("kept"))
	f.gone("umount")
	f.run("mount", "-v", "-t", "sigilfs", f.target(), f.dir, "-o", "ro,encrypt=client,key=file:"+f.key+",url="+f.s3.URL+",ca_bundle="+f.s3.CAFile+",state_dir="+f.state)
	wantFile(t, f.Path("file"), []byte("kept"))
	if err := os.WriteFile(f.Path("other"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write to a read-only mount: %v", err)
	}
	if out, code := f.try("mount", "-o", "remount,rw", f.dir); code != daemon.ExitMount || !strings.Contains(out, "was mounted read-only") {
		t.Errorf("remount,rw: %d, %s", code, out)
	}
	f.gone("umount")
}

// A line of fstab that was s3fs's, with how it is encrypted added.
func TestMountByS3fsOptions(t *testing.T) {
	f := fstab(t, "")
	passwd := filepath.Join(filepath.Dir(f.dir), "passwd-s3fs")
	writeFile(t, passwd, fmt.Appendf(nil, "other-bucket:A:B\n%s:%s:%s\n", f.bucket, f.s3.AccessKey, f.s3.SecretKey))
	must(t, os.Chmod(passwd, 0o640))
	f.tool.env = slices.DeleteFunc(f.tool.env, func(e string) bool {
		return strings.HasPrefix(e, "AWS_ACCESS") || strings.HasPrefix(e, "AWS_SECRET")
	})
	mount := func(free string) {
		t.Helper()
		f.run("mount", "-t", "sigilfs", f.bucket+":/pre/fix", f.dir, "-o", strings.Join([]string{
			"passwd_file=" + passwd, "url=" + f.s3.URL, "use_path_request_style", "endpoint=us-east-1", "allow_other", "umask=022", "nonempty", "dbglevel=warn",
			"use_cache=" + filepath.Join(filepath.Dir(f.dir), "cache"), "ensure_diskfree=" + free, "multipart_size=10", "ca_bundle=" + f.s3.CAFile, "state_dir=" + f.state, "encrypt=client", "key=file:" + f.key,
		}, ","))
	}
	mount("10")
	writeFile(t, f.Path("file"), content(1, 1<<20))
	f.gone("umount")
	mount("999999999999")
	wantFile(t, f.Path("file"), content(1, 1<<20))
	if err := os.WriteFile(f.Path("other"), content(2, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write to a disk that is to be left free: %v", err)
	}
	f.gone("umount")
}

func TestUmountBusyAndLazy(t *testing.T) {
	f := fstab(t, "")
	f.run("mount", f.dir)
	file, err := os.Create(f.Path("file"))
	must(t, err)
	defer func() { _ = file.Close() }()
	_, err = file.WriteString("kept")
	must(t, err)
	if out, code := f.try("umount", f.dir); code == 0 || !strings.Contains(out, "busy") {
		t.Errorf("umount of what is in use: %d, %s", code, out)
	}
	pid := served(t, f.dir)
	f.run("umount", "-l", f.dir)
	if daemon.Mounted(f.dir) {
		t.Error("umount -l left it in the table")
	}
	must(t, file.Close())
	awaitEnd(t, pid)
	f.run("mount", f.dir)
	wantFile(t, f.Path("file"), []byte("kept"))
	f.gone("umount")
}

// A dead mount is cleaned first, by mount(8) too.
func TestFstabAfterKill(t *testing.T) {
	f := fstab(t, "")
	f.run("mount", f.dir)
	writeFile(t, f.Path("file"), []byte("kept"))
	pid := served(t, f.dir)
	must(t, unix.Kill(pid, unix.SIGKILL))
	awaitEnd(t, pid)
	if out, code := f.try("mount", f.dir); code != 0 || !strings.Contains(out, "had died") {
		t.Fatalf("%d: %s", code, out)
	}
	wantFile(t, f.Path("file"), []byte("kept"))
	f.gone("umount")
}

func TestRemount(t *testing.T) {
	f := fstab(t, "")
	f.run("mount", f.dir)
	file, err := os.Create(f.Path("file"))
	must(t, err)
	if out, code := f.try("mount", "-o", "remount,ro", f.dir); code != daemon.ExitMount || !strings.Contains(out, "open for writing") {
		t.Errorf("remount,ro with a file open: %d, %s", code, out)
	}
	must(t, file.Close())
	f.run("mount", "-o", "remount,ro", f.dir)
	if err := os.WriteFile(f.Path("file"), []byte("x"), 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write after remount,ro: %v", err)
	}
	wantFile(t, f.Path("file"), nil)
	f.run("mount", "-o", "remount,rw", f.dir)
	writeFile(t, f.Path("file"), []byte("kept"))
	wantFile(t, f.Path("file"), []byte("kept"))
	options := newTool(t, "/", "findmnt").run("findmnt", "--noheadings", "--output", "OPTIONS", f.dir)
	for _, want := range []string{"rw", "nosuid", "nodev"} {
		if !slices.Contains(strings.Split(strings.TrimSpace(options), ","), want) {
			t.Errorf("after remount: %s", options)
		}
	}
	f.gone("umount")
}
