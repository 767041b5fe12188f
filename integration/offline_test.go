package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A command is one run of sigilfs that mounts nothing.
type command struct {
	*exec.Cmd
	out, err bytes.Buffer
}

// offline prepares a command with the flags of the mount. args have TARGET in
// them already.
func (m *mount) offline(t *testing.T, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	t.Cleanup(cancel)
	c := &command{Cmd: exec.CommandContext(ctx, binary(t), append(args, m.config(t).Args...)...)}
	c.Env, c.Stdout, c.Stderr = m.env(t), &c.out, &c.err
	return c
}

// try runs it, with stdin.
func (m *mount) attempt(t *testing.T, stdin []byte, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	c := m.offline(t, args...)
	if stdin != nil {
		c.Stdin = bytes.NewReader(stdin)
	}
	err = c.Run()
	return c.out.String(), c.err.String(), err
}

func (m *mount) obey(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	if args[0] == "cp" || args[0] == "put" { // what takes long here tells how far it is
		args = append([]string{args[0], "--quiet"}, args[1:]...)
	}
	out, complaint, err := m.attempt(t, stdin, args...)
	if err != nil {
		t.Fatalf("sigilfs %q: %v\n%s", args, err, complaint)
	}
	if complaint != "" {
		t.Errorf("sigilfs %q says %s", args, complaint)
	}
	return out
}

// refused wants an exit code, and texts on stderr.
func (m *mount) refused(t *testing.T, code int, stdin []byte, args []string, texts ...string) {
	t.Helper()
	out, complaint, err := m.attempt(t, stdin, args...)
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != code { //nolint:errorlint // as Run gives it
		t.Errorf("sigilfs %q: %v, want exit code %d\n%s%s", args, err, code, out, complaint)
	}
	for _, text := range texts {
		if !strings.Contains(complaint, text) {
			t.Errorf("sigilfs %q says %q, want %q", args, complaint, text)
		}
	}
}

// remote is a file of a mount as a command names it.
func (m *mount) remote(name string) string {
	return strings.TrimSuffix("s3://"+m.bucket+"/"+m.Key(name), "/")
}

// entry is one of ls --json and stat --json.
type entry struct {
	Name, Path, Type, Mode, Target, Error string
	Size                                  int64
	UID, GID, Nlink                       uint32
	ID                                    uint64
	Mtime                                 time.Time
	Sigil                                 map[string]string
}

func entries(t *testing.T, text string) []entry {
	t.Helper()
	var all []entry
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return all
}

// What commands write a mount reads, and the other way round, in every way to
// encrypt: beside each other, as one host.
func TestWithoutAMount(t *testing.T) {
	modes := []mode{}
	for _, m := range allModes {
		switch m.name {
		case "client", "sse-c", "s3ec":
			modes = append(modes, m)
		}
	}
	keys := newKeys(t, nil)
	m := newMount(t, mountOptions{
		Args: []string{"--attr-timeout", "0"}, // it is to see at once what another process does
		YAML: func(bucket string) string { return keys.yaml(bucket, rules(modes)) },
	})
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) { bothWays(t, m, keys, mode) })
	}
}

func bothWays(t *testing.T, m *mount, keys keys, mode mode) {
	small, large := content(1, 70_000), content(2, 9<<20)
	dir := m.Path(mode.name)
	must(t, os.MkdirAll(dir, 0o755))
	for name, text := range map[string][]byte{"empty": {}, "small": small, "large": large} {
		// written by a command, read by the mount, by cat and by the other client
		key := mode.name + "/put-" + name
		m.obey(t, text, "put", "--mode", "640", "--mtime", "2001-02-03T04:05:06.000000007Z", m.yaml, key)
		if got := readFile(t, m.Path(key)); !bytes.Equal(got, text) {
			t.Errorf("%s: the mount reads %d bytes, or others", key, len(got))
		}
		if out := m.obey(t, nil, "cat", m.yaml, key); out != string(text) {
			t.Errorf("%s: cat gives %d bytes, or others", key, len(out))
		}
		info, err := os.Stat(m.Path(key))
		must(t, err)
		if info.Mode() != 0o640 || info.ModTime().UnixNano() != time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC).UnixNano() {
			t.Errorf("%s: %v %v", key, info.Mode(), info.ModTime())
		}
		newObserver(t, m.bucket, keys).check(mode, key, text)

		// written by the mount, read by the commands
		writeFile(t, filepath.Join(dir, name), text)
		if out := m.obey(t, nil, "cat", m.yaml, mode.name+"/"+name); out != string(text) {
			t.Errorf("%s: cat gives %d bytes, or others", name, len(out))
		}
	}
	if out := m.obey(t, nil, "cat", "--offset", "65530", "--length", "12", m.yaml, mode.name+"/small"); out != string(small[65530:65542]) {
		t.Errorf("a range is %q", out)
	}
	if out := m.obey(t, nil, "cat", "--offset", "8388600", m.yaml, mode.name+"/large", "/"+mode.name+"/put-empty"); out != string(large[8388600:]) {
		t.Errorf("a range to the end has %d bytes", len(out))
	}
	must(t, os.Symlink("small", filepath.Join(dir, "link")))
	if out := m.obey(t, nil, "cat", m.yaml, mode.name+"/link"); out != string(small) {
		t.Error("a symbolic link is not followed")
	}
	sameAsMount(t, m, mode.name, mode.format == sealed, entries(t, m.obey(t, nil, "ls", "--json", m.yaml, mode.name)))
	for _, e := range entries(t, m.obey(t, nil, "stat", "--json", m.yaml, mode.name+"/put-large")) {
		if e.Sigil["mode"] == "" || e.Size != int64(len(large)) || e.Mode != "0640" {
			t.Errorf("stat: %+v", e)
		}
	}
}

// sameAsMount holds what is listed of a directory to what the mount shows: file
// ids too where objects have them.
func sameAsMount(t *testing.T, m *mount, dir string, sealedID bool, listed []entry) {
	t.Helper()
	infos, err := os.ReadDir(m.Path(dir))
	must(t, err)
	if len(infos) != len(listed) {
		t.Fatalf("%d entries, the mount has %d", len(listed), len(infos))
	}
	byName := map[string]entry{}
	for _, e := range listed {
		byName[e.Name] = e
	}
	for _, i := range infos {
		var st unix.Stat_t
		must(t, unix.Lstat(m.Path(filepath.Join(dir, i.Name())), &st))
		e := byName[i.Name()]
		if e.Size != st.Size || e.Mode != fmt.Sprintf("%04o", st.Mode&0o7777) || e.UID != st.Uid || e.GID != st.Gid || e.Mtime.UnixNano() != st.Mtim.Nano() || sealedID && e.ID != st.Ino || uint64(e.Nlink) != st.Nlink {
			t.Errorf("%+v, the mount shows %+v", e, st)
		}
		if target, _ := os.Readlink(m.Path(filepath.Join(dir, i.Name()))); target != e.Target {
			t.Errorf("%s leads to %q, listed %q", e.Name, target, e.Target)
		}
	}
}

// A listing has a line for each entry, whatever its name; of what a prefix makes
// a directory it is one, and .sigil does not show.
func TestListWithoutAMount(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("two\nlines -rw"), []byte("x"))
	must(t, os.MkdirAll(m.Path("dir/deeper"), 0o700))
	writeFile(t, m.Path("dir/deeper/file"), []byte("yy"))
	newClient(t, m.bucket).put(m.Key("implicit/foreign"), object{Body: []byte("plain")})
	if got, want := m.obey(t, nil, "ls", m.remote("")), "dir/\nimplicit/\n\"two\\nlines -rw\"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := m.obey(t, nil, "ls", "-R", m.remote("dir")), "deeper/\ndeeper/file\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	long := strings.Split(m.obey(t, nil, "ls", "-lR", m.remote("")), "\n")
	if len(long) != 7 || !strings.HasPrefix(long[0], "drwx------") || !strings.HasSuffix(long[2], "\"two\\nlines -rw\"") || !strings.Contains(long[5], "(") {
		t.Errorf("%q", long)
	}
	m.refused(t, 32, nil, []string{"cat", m.remote("implicit/foreign")}, "implicit/foreign", "--allow-plaintext")
	m.refused(t, 32, nil, []string{"ls", m.remote("none")}, "list s3://"+m.bucket+"/pre/fix/none")
	m.refused(t, 32, nil, []string{"stat", m.remote("none")})
	m.refused(t, 32, nil, []string{"cat", m.remote(".sigil/epochs")}, "volume's own")
	m.refused(t, 32, nil, []string{"cat", m.remote("dir")}, "is a directory")
	m.refused(t, 1, nil, []string{"cat", m.remote("dir"), "s3://elsewhere/x"}, "another volume")
}

// What does not authenticate is not written, and why is said.
func TestCatOfDamage(t *testing.T) {
	m := newMount(t, mountOptions{})
	text := content(3, 300_000)
	m.obey(t, text, "put", m.remote("file"))
	c := newClient(t, m.bucket)
	o := c.get(m.Key("file"))
	o.Body[3*(64<<10+16)+5] ^= 1
	c.put(m.Key("file"), o)
	out, complaint, err := m.attempt(t, nil, "cat", m.remote("file"))
	if err == nil || !strings.Contains(complaint, "pre/fix/file") || !strings.Contains(complaint, "at byte 196608") {
		t.Errorf("%v, %s", err, complaint)
	}
	if !bytes.HasPrefix(text, []byte(out)) || len(out) != 196608 {
		t.Errorf("%d bytes are given, or others", len(out))
	}
}

// A version that another program has put there meanwhile stands; so does one
// where there was to be none.
func TestPutYields(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--attr-timeout", "0"}})
	for _, name := range []string{"old", "new"} {
		if name == "old" {
			writeFile(t, m.Path(name), []byte("before"))
		}
		c := m.offline(t, "put", m.remote(name))
		stdin, err := c.StdinPipe()
		must(t, err)
		must(t, c.Start())
		// More than a pipe holds: it has been read from, so put has begun.
		_, err = stdin.Write(make([]byte, 4<<20))
		must(t, err)
		writeFile(t, m.Path(name), []byte("theirs"))
		must(t, stdin.Close())
		if err := c.Wait(); err == nil || !strings.Contains(c.err.String(), "another program was first") {
			t.Errorf("%s: %v %s", name, err, c.err.String())
		}
		if got := readFile(t, m.Path(name)); string(got) != "theirs" {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
	m.refused(t, 32, []byte("x"), []string{"put", "--if-absent", m.remote("old")}, "exists")
	m.refused(t, 32, []byte("x"), []string{"put", m.remote("old/below")}, "not a directory")
	m.obey(t, []byte("over"), "put", m.remote("old"))
	if got := readFile(t, m.Path("old")); string(got) != "over" {
		t.Errorf("%q", got)
	}
	if all := entries(t, m.obey(t, nil, "ls", "--json", m.remote(""))); len(all) != 2 {
		t.Errorf("conflict copies: %+v", all)
	}
}

// Whatever ends a put half way, there is nothing under the name, nor what costs
// money; and what it had written of its own is gone with the next one.
func TestPutInterrupted(t *testing.T) {
	m := newMount(t, mountOptions{})
	bucket := newClient(t, m.bucket)
	for name, signal := range map[string]os.Signal{"interrupted": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		c := m.offline(t, "put", m.remote(name))
		stdin, err := c.StdinPipe()
		must(t, err)
		must(t, c.Start())
		secret := bytes.Repeat([]byte("a secret that goes through a pipe. "), 40<<20/35)
		_, err = stdin.Write(secret)
		must(t, err)
		for len(bucket.keys(m.Key(".sigil/uploads/"))) == 0 { // its upload has begun
			must(t, t.Context().Err())
		}
		must(t, c.Process.Signal(signal))
		if err := c.Wait(); err == nil {
			t.Errorf("%s: it ended well", name)
		}
		for _, f := range filesWith(t, m.state, secret[:30]) {
			t.Errorf("%s: it is readable in %s", name, f)
		}
	}
	if all := entries(t, m.obey(t, nil, "ls", "--json", m.remote(""))); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	m.obey(t, []byte("x"), "put", m.remote("next"))
	for _, name := range []string{"interrupted", "killed"} {
		for u := range bucket.s3.ListIncompleteUploads(t.Context(), m.bucket, m.Key(name), true) {
			t.Errorf("an upload is left: %+v", u)
		}
	}
	if left := bucket.keys(m.Key(".sigil/uploads/")); len(left) != 0 {
		t.Errorf("records of uploads are left: %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(m.state, "*", "work", "*")); len(left) != 0 {
		t.Errorf("%q", left)
	}
}

// A pipe of unknown length takes neither memory nor disk for its length.
func TestPutOfAPipe(t *testing.T) {
	const size = 100 << 20
	m := newMount(t, mountOptions{})
	c := m.offline(t, "put", m.remote("dump"), "--memory-limit", "128MiB", "--spool-size", "64MiB")
	stdin, err := c.StdinPipe()
	must(t, err)
	must(t, c.Start())
	piece := content(4, 1<<20)
	peak := int64(0)
	for range size / len(piece) {
		_, err := stdin.Write(piece)
		must(t, err)
		peak = max(peak, residentPeak(t, c.Process.Pid))
	}
	must(t, stdin.Close())
	if err := c.Wait(); err != nil {
		t.Fatalf("%v %s", err, c.err.String())
	}
	if os.Getenv("SIGILFS_RACE") == "" && peak > 160<<20 {
		t.Errorf("%d MiB of memory", peak>>20)
	}
	f, err := os.Open(m.Path("dump"))
	must(t, err)
	defer f.Close()
	got := make([]byte, len(piece))
	for i := range size / len(piece) {
		if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, piece) {
			t.Fatalf("MiB %d: %v", i, err)
		}
	}
	if n, err := f.Read(got); n != 0 || err != io.EOF {
		t.Errorf("%d bytes more, %v", n, err)
	}
}

// residentPeak is VmHWM of proc(5), in bytes.
func residentPeak(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
