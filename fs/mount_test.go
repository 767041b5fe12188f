package fs

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"
)

func TestMountpointIsNoDirectory(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for _, dir := range []string{file, filepath.Join(t.TempDir(), "missing")} {
		if s, err := Mount(t.Context(), newFake(), Options{Dir: dir, Log: log}); err == nil {
			t.Errorf("%s: mounted", dir)
			_ = s.Unmount()
		}
	}
}

func TestMountNeedsARoot(t *testing.T) {
	v := newFake()
	v.setHook(func(context.Context, string, string) error { return os.ErrPermission })
	log, _ := logtest.NewNullLogger()
	if s, err := Mount(t.Context(), v, Options{Dir: t.TempDir(), Log: log}); err == nil {
		t.Error("mounted")
		_ = s.Unmount()
	}
}

func TestUnmountOfABusyMount(t *testing.T) {
	v := newFake()
	dir, s := mount(t, v, Options{})
	f := open(t, dir, os.O_RDONLY)
	if err := s.Unmount(); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Fatalf("got %v", err)
	}
	write(t, filepath.Join(dir, "still"), "there")
	check(t, f.Close())
	check(t, s.Unmount())
	check(t, s.Unmount()) // gone already
	s.Wait()
}

func TestUnmountFromOutside(t *testing.T) {
	needRoot(t)
	v := newFake()
	dir, s := mount(t, v, Options{})
	check(t, unix.Unmount(dir, 0))
	s.Wait()
	check(t, s.Unmount())
}

// Files that the kernel never released are given back.
func TestAbort(t *testing.T) {
	needRoot(t)
	v := newFake()
	v.freed = make(chan string, 1)
	dir, s := mount(t, v, Options{})
	f := open(t, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	_, err := f.WriteString("dirty")
	check(t, err)
	_ = unix.Unmount(dir, unix.MNT_FORCE) // busy, but the connection is gone
	s.Wait()
	if got := <-v.freed; got != "dirty" {
		t.Errorf("got %q", got)
	}
	if v.opened() != 0 {
		t.Error("files are still open")
	}
	_ = f.Close()
	check(t, unix.Unmount(dir, unix.MNT_DETACH))
}

func TestMountOptions(t *testing.T) {
	needRoot(t)
	v := newFake()
	dir, _ := mount(t, v, Options{Source: "s3://bucket/pre,fix", ReadOnly: true, Suid: true, NoExec: true})
	table, err := os.ReadFile("/proc/self/mounts")
	check(t, err)
	found := false
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if f[1] != dir {
			continue
		}
		found = true
		opts := "," + f[3] + ","
		for _, o := range []string{"ro", "nodev", "noexec", "default_permissions"} {
			if !strings.Contains(opts, ","+o+",") {
				t.Errorf("%s is missing in %s", o, opts)
			}
		}
		if strings.Contains(opts, "nosuid") || f[0] != "s3://bucket/pre,fix" || f[2] != "fuse.sigilfs" {
			t.Errorf("got %s", line)
		}
	}
	if !found {
		t.Errorf("%s is not in\n%s", dir, table)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err == nil || !strings.HasSuffix(err.Error(), unix.EROFS.Error()) {
		t.Errorf("write: %v", err)
	}
}

func TestLargeRequests(t *testing.T) {
	v := newFake()
	dir, _ := mount(t, v, Options{})
	path := filepath.Join(dir, "f")
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	f := open(t, path, os.O_WRONLY|os.O_CREATE)
	_, err := f.Write(data)
	check(t, err)
	check(t, f.Close())
	if got := v.count("write"); got > 20 {
		t.Errorf("%d requests to write 16 MiB, want 16", got)
	}
	check(t, unix.Fadvise(int(open(t, path, os.O_RDONLY).Fd()), 0, 0, unix.FADV_DONTNEED))
	if got := read(t, path); got != string(data) {
		t.Error("read back differently")
	}
	// os.ReadFile asks for all of it at once, a stream for little at a time:
	// the kernel makes the same large requests of both by reading ahead.
	g := open(t, path, os.O_RDONLY)
	check(t, unix.Fadvise(int(g.Fd()), 0, 0, unix.FADV_DONTNEED))
	before := v.count("read")
	buf := make([]byte, 64<<10)
	for n := 1; n > 0; n, _ = g.Read(buf) {
	}
	if got := v.count("read") - before; os.Geteuid() == 0 && got > 40 {
		t.Errorf("%d requests to stream 16 MiB, want about 16", got)
	}
}

func TestPanicIsAnErrorOfOneRequest(t *testing.T) {
	v := newFake()
	log, lines := logtest.NewNullLogger()
	dir, _ := mount(t, v, Options{Log: log})
	write(t, filepath.Join(dir, "f"), "x")
	v.setHook(func(_ context.Context, op, _ string) error {
		if op == "mkdir" {
			panic("invariant")
		}
		return nil
	})
	want(t, os.Mkdir(filepath.Join(dir, "d"), 0o755), unix.EIO)
	if e := lines.LastEntry(); e == nil || e.Level != logrus.ErrorLevel || !strings.Contains(e.Data["stack"].(string), "Mkdir") {
		t.Errorf("logged %v", e)
	}
	if got := read(t, filepath.Join(dir, "f")); got != "x" {
		t.Errorf("got %q", got)
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/a\040b\134c\011`); got != "/a b\\c\t" {
		t.Errorf("got %q", got)
	}
}
