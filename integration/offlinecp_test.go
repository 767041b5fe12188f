package integration

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// plantTree makes one of everything that a copy keeps.
func plantTree(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, "sub/empty"), 0o755))
	writeFile(t, filepath.Join(dir, "small"), content(1, 5_000))
	writeFile(t, filepath.Join(dir, "none"), nil)
	writeFile(t, filepath.Join(dir, "sub/large"), content(2, 17<<20))
	writeFile(t, filepath.Join(dir, "sub/line\nbreak"), []byte("x"))
	must(t, os.Link(filepath.Join(dir, "small"), filepath.Join(dir, "sub/linked")))
	must(t, os.Symlink("../small", filepath.Join(dir, "sub/symlink")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "away")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o640))
	must(t, unix.Setxattr(filepath.Join(dir, "small"), "user.note", []byte("kept"), 0))
	must(t, os.Chmod(filepath.Join(dir, "none"), 0o4711|os.ModeSetuid))
	must(t, os.Lchown(filepath.Join(dir, "none"), 12, 34))
	must(t, os.Chmod(filepath.Join(dir, "none"), os.ModeSetuid|0o711))
	old := time.Unix(1_000_000_000, 123_456_789)
	for _, name := range []string{"small", "none", "sub/large", "sub/empty", "sub", "."} {
		must(t, os.Chtimes(filepath.Join(dir, name), old, old))
	}
}

// asByRsync compares by rsync, which lists what it would change of b to be as a.
func asByRsync(t *testing.T, a, b string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "rsync", "-naciH", "--delete", a+"/", b+"/").CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%s and %s differ: %v\n%s", a, b, err, out)
	}
}

// A tree goes to the bucket, within it, and back, with all that -a keeps; the
// mount shows what was copied.
func TestCopyWithoutAMount(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--attr-timeout", "0"}})
	base := t.TempDir()
	src, back := filepath.Join(base, "src"), filepath.Join(base, "back")
	must(t, os.Mkdir(src, 0o755))
	plantTree(t, src)
	m.obey(t, nil, "cp", "-a", src, m.remote("there"))
	asByRsync(t, src, m.Path("there"))

	var sent atomic.Int64
	m.proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		sent.Add(r.ContentLength)
		next.ServeHTTP(w, r)
	})
	m.obey(t, nil, "cp", "-a", m.remote("there"), m.remote("again"))
	m.proxy.Set(faultproxy.Pass)
	if n := sent.Load(); n > 2<<20 {
		t.Errorf("a copy within the bucket sends %d bytes", n)
	}
	asByRsync(t, src, m.Path("again"))
	m.obey(t, nil, "cp", "-a", m.remote("again"), back)
	asByRsync(t, src, back)
	for _, dir := range []string{m.Path("there"), m.Path("again"), back} {
		note := make([]byte, 10)
		if n, err := unix.Getxattr(filepath.Join(dir, "sub/linked"), "user.note", note); err != nil || string(note[:n]) != "kept" {
			t.Errorf("%s: an extended attribute is %q, %v", dir, note, err)
		}
	}

	// What is there is passed over; what has changed is not.
	writeFile(t, filepath.Join(src, "sub/large"), []byte("changed"))
	m.obey(t, nil, "cp", "-au", src+"/.", m.remote("there"))
	asByRsync(t, src, m.Path("there"))
	m.refused(t, 32, nil, []string{"cp", m.remote("there"), base}, "-r copies it")
	m.refused(t, 32, nil, []string{"cp", "-r", m.remote("there"), m.remote("there/in")}, "into itself")
	m.refused(t, 1, nil, []string{"cp", src, base}, "for cp(1)")
}

// A dry run tells what would be copied, refuses what would be refused, and writes
// nothing, on either side.
func TestCopyDryRun(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--attr-timeout", "0"}})
	base := t.TempDir()
	src := filepath.Join(base, "src")
	must(t, os.MkdirAll(filepath.Join(src, "sub"), 0o755))
	writeFile(t, filepath.Join(src, "a"), []byte("text"))
	writeFile(t, filepath.Join(src, "sub/b\nc"), content(1, 5000))
	writeFile(t, m.Path("there"), []byte("old"))
	must(t, os.Mkdir(m.Path("dir"), 0o755))
	var written atomic.Int64
	m.proxy.Set(faultproxy.Count(faultproxy.Mutating, &written))
	says := func(want string, args ...string) {
		t.Helper()
		if out := m.obey(t, nil, args...); out != want {
			t.Errorf("sigilfs %q says %q, want %q", args, out, want)
		}
	}
	a, b := filepath.Join(src, "a"), filepath.Join(src, "sub/b\nc")
	out := m.obey(t, nil, "cp", "-r", "--dry-run", src, m.remote("new"))
	for _, line := range []string{"would copy " + a + " to " + m.remote("new/a"), "would copy " + strconv.Quote(b) + " to " + strconv.Quote(m.remote("new/sub/b\nc"))} {
		if !strings.Contains(out, line+"\n") {
			t.Errorf("%q lacks %q", out, line)
		}
	}
	out = m.obey(t, nil, "cp", "--json", "--dry-run", a, m.remote("there"))
	if line := `{"bytes":4,"event":"would-copy","from":"` + a + `","to":"` + m.remote("there") + `"}` + "\n"; !strings.HasPrefix(out, line) {
		t.Errorf("%q, want %q", out, line)
	}
	says("would copy "+m.remote("there")+" to "+filepath.Join(base, "back")+"\n", "cp", "--dry-run", m.remote("there"), filepath.Join(base, "back"))
	says("would copy "+m.remote("there")+" to "+m.remote("again")+"\n", "cp", "--dry-run", m.remote("there"), m.remote("again"))
	says("would replace "+m.remote("there")+"\n", "put", "--dry-run", a, m.remote("there"))
	says("would write "+m.remote("another")+"\n", "put", "--dry-run", a, m.remote("another"))
	m.refused(t, 32, nil, []string{"put", "--dry-run", "--if-absent", a, m.remote("there")}, "exists")
	m.refused(t, 32, nil, []string{"cp", "-r", "--dry-run", src, m.remote("there")}, "there")
	m.refused(t, 32, nil, []string{"cp", "--dry-run", m.remote("absent"), base}, "absent")
	if n := written.Load(); n != 0 {
		t.Errorf("%d requests could have changed something", n)
	}
	if all, err := os.ReadDir(base); err != nil || len(all) != 1 {
		t.Errorf("here is %v, %v", all, err)
	}
}

// A hostile bucket, or directory, leads nothing out of the destination; what
// fails is told of, and the rest is copied.
func TestCopyStaysInside(t *testing.T) {
	m := newMount(t, mountOptions{})
	base := t.TempDir()
	outside, dst := filepath.Join(base, "outside"), filepath.Join(base, "dst")
	must(t, os.MkdirAll(filepath.Join(dst, "tree"), 0o755))
	must(t, os.Mkdir(outside, 0o755))
	writeFile(t, filepath.Join(outside, "victim"), []byte("before"))
	must(t, os.Symlink(outside, filepath.Join(dst, "tree/dir")))
	must(t, os.Symlink(filepath.Join(outside, "victim"), filepath.Join(dst, "tree/file")))
	must(t, os.MkdirAll(m.Path("tree/dir"), 0o755))
	writeFile(t, m.Path("tree/dir/planted"), []byte("x"))
	writeFile(t, m.Path("tree/file"), []byte("new"))
	writeFile(t, m.Path("tree/suid"), []byte("x"))
	must(t, os.Chmod(m.Path("tree/suid"), os.ModeSetuid|0o755))
	m.refused(t, 32, nil, []string{"cp", "-r", m.remote("tree"), dst}, "tree/dir")
	if left, _ := os.ReadDir(outside); len(left) != 1 || string(readFile(t, filepath.Join(outside, "victim"))) != "before" {
		t.Errorf("outside: %v", left)
	}
	info, err := os.Lstat(filepath.Join(dst, "tree/file"))
	if err != nil || !info.Mode().IsRegular() || string(readFile(t, filepath.Join(dst, "tree/file"))) != "new" {
		t.Errorf("%v %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(dst, "tree/suid")); err != nil || info.Mode()&os.ModeSetuid != 0 {
		t.Errorf("a set-user-ID bit that nobody asked for: %v %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dst, "tree/.sigilfs-*")); len(left) != 0 {
		t.Errorf("%q", left)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dst, "tree/file"), &st))
	if st.Nlink != 1 {
		t.Errorf("%d links", st.Nlink)
	}
}

// A copy that was killed goes on with --update, and never was half there.
func TestCopyGoesOn(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--attr-timeout", "0"}})
	src := filepath.Join(t.TempDir(), "src")
	must(t, os.Mkdir(src, 0o755))
	for i, size := range []int{10, 1 << 20, 40 << 20, 3 << 20} {
		writeFile(t, filepath.Join(src, string(rune('a'+i))), content(uint64(i), int64(size)))
	}
	c := m.offline(t, "cp", "-a", "-j", "1", src, m.remote("copy"))
	must(t, c.Start())
	bucket := newClient(t, m.bucket)
	for len(bucket.keys(m.Key(".sigil/uploads/"))) == 0 {
		must(t, t.Context().Err())
	}
	must(t, c.Process.Signal(syscall.SIGKILL))
	_ = c.Wait()
	for _, e := range entries(t, m.obey(t, nil, "ls", "--json", m.remote("copy"))) {
		want, err := os.Stat(filepath.Join(src, e.Name))
		if err != nil || e.Size != want.Size() {
			t.Errorf("%+v, %v", e, err)
		}
	}
	m.obey(t, nil, "cp", "-a", "-u", src+"/.", m.remote("copy"))
	asByRsync(t, src, m.Path("copy"))
	if left := bucket.keys(m.Key(".sigil/uploads/")); len(left) != 0 {
		t.Errorf("%q", left)
	}
	if out := m.obey(t, nil, "cp", "--json", "-r", src, m.remote("events")); !strings.Contains(out, `"event":"done","what":"copying"`) {
		t.Errorf("%q", out)
	}
}

// What is no file makes way for a copy in the bucket when that is whole, and not
// before: whatever fails, it stays, and nothing is left beside it.
func TestCopyOverWhatIsNoFile(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--attr-timeout", "0"}})
	writeFile(t, m.Path("aim"), []byte("aim"))
	must(t, os.Symlink("aim", m.Path("link")))
	must(t, os.Symlink("nowhere", m.Path("dangling")))
	must(t, unix.Mkfifo(m.Path("fifo"), 0o600))
	names := []string{"dangling", "fifo", "link"}
	src := filepath.Join(t.TempDir(), "src")
	writeFile(t, src, content(1, 300_000))

	puts := func(r *http.Request) bool {
		return faultproxy.Writing("")(r) && strings.Contains(r.URL.Path, ".sigilfs-cp-")
	}
	renames := func(r *http.Request) bool {
		from, _ := url.PathUnescape(r.Header.Get("X-Amz-Copy-Source"))
		return strings.Contains(from, ".sigilfs-cp-")
	}
	for what, fault := range map[string]faultproxy.Match{"write": puts, "rename": renames} {
		m.proxy.Set(faultproxy.Reply(fault, http.StatusForbidden, "AccessDenied"))
		for _, name := range names {
			m.refused(t, 32, nil, []string{"cp", "--quiet", "-r", src, m.remote(name)}, "access denied")
			if info, err := os.Lstat(m.Path(name)); err != nil || info.Mode().IsRegular() {
				t.Errorf("after a %s that failed %s is %v, %v", what, name, info, err)
			}
		}
		m.proxy.Set(faultproxy.Pass)
	}
	for _, key := range newClient(t, m.bucket).keys("") {
		if strings.Contains(key, ".sigilfs-cp-") {
			t.Errorf("%s is left", key)
		}
	}
	for _, name := range names {
		m.obey(t, nil, "cp", "-r", src, m.remote(name))
		if info, err := os.Lstat(m.Path(name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s is %v, %v", name, info, err)
		}
		wantFile(t, m.Path(name), content(1, 300_000))
	}
	wantFile(t, m.Path("aim"), []byte("aim"))
}
