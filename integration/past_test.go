package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sys/unix"
)

// versionedMount is a mount of a bucket that keeps versions.
func versionedMount(t *testing.T, opt mountOptions) *mount {
	t.Helper()
	if opt.Server == nil {
		opt.Server = shared(t)
	}
	opt.Bucket = server.Bucket(t, opt.Server)
	must(t, opt.Server.Version(t.Context(), opt.Bucket))
	return newMount(t, opt)
}

// ago mounts what m's bucket was at a time, on a directory of its own, as a host
// that has nothing but the key.
func ago(t *testing.T, m *mount, at time.Time) *mount {
	t.Helper()
	base := t.TempDir()
	p := &mount{
		s3: m.s3, bucket: m.bucket, prefix: m.prefix, key: m.key, state: filepath.Join(base, "state"), dir: filepath.Join(base, "mnt"),
		args: append(slices.Clone(m.args), "--at", at.UTC().Format(time.RFC3339Nano)), envs: m.envs, yaml: m.yaml,
	}
	must(t, os.Mkdir(p.dir, 0o755))
	t.Cleanup(func() { p.cleanup(t) })
	p.Start(t)
	return p
}

// damage is what ransomware does to everything in a bucket, epochs included, with
// nothing but a client of S3: some is overwritten, some deleted, something added.
func damage(t *testing.T, m *mount) {
	t.Helper()
	c := newClient(t, m.bucket)
	for i, key := range c.keys("") {
		switch {
		case i%2 == 0 && !strings.HasSuffix(key, "/"):
			c.put(key, object{Body: []byte("pay us, or else"), Metadata: map[string]string{"note": "pay"}})
		default:
			c.remove(key) // and whatever begins so
		}
	}
	c.put(m.Key("README-PAY-US.txt"), object{Body: []byte("pay us")})
}

// files are those of a tree: MinIO keeps no versions of keys that end in a slash,
// so that the attributes of directories, and empty ones, are those of now there.
func files(t *testing.T, dir string) map[string]thing {
	t.Helper()
	all := readTree(t, dir)
	maps.DeleteFunc(all, func(_ string, th thing) bool { return th.Mode.IsDir() })
	return all
}

// same holds two trees against each other.
func same(t *testing.T, what string, want, got map[string]thing) {
	t.Helper()
	for name, w := range want {
		if g, there := got[name]; !there || !reflect.DeepEqual(w, g) {
			t.Errorf("%s: %q is %+v (there: %v), want %+v", what, name, g, there, w)
		}
	}
	for name := range got {
		if _, there := want[name]; !there {
			t.Errorf("%s: %q should not be there", what, name)
		}
	}
}

// A mount of what was shows what was, whatever was done to the bucket since,
// epochs included, and lets nothing be written.
func TestPastIsShown(t *testing.T) {
	m := versionedMount(t, mountOptions{})
	makeTree(t, m.dir)
	must(t, os.Link(m.Path("d0/sub/a"), m.Path("d1/hard")))
	m.Remount(t) // attributes too are in the bucket
	was, then := files(t, m.dir), time.Now()
	writeFile(t, m.Path("d0/sub/a"), []byte("as it is"))
	writeFile(t, m.Path("d1/new"), []byte("new"))
	must(t, os.Mkdir(m.Path("newdir"), 0o755))
	writeFile(t, m.Path("newdir/file"), []byte("new"))
	must(t, os.Remove(m.Path("link")))
	must(t, os.Rename(m.Path("d2"), m.Path("moved")))
	p := ago(t, m, then)
	same(t, "after changes", was, files(t, p.dir))
	if _, err := os.Lstat(p.Path("newdir")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is new: %v", err)
	}
	var a, b unix.Stat_t
	must(t, unix.Stat(p.Path("d0/sub/a"), &a))
	must(t, unix.Stat(p.Path("d1/hard"), &b))
	if a.Ino != b.Ino || a.Nlink != 2 {
		t.Errorf("hard links are inodes %d and %d, of %d names", a.Ino, b.Ino, a.Nlink)
	}
	if err := os.WriteFile(p.Path("d1/new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("a write: %v", err)
	}
	p.Unmount(t)
	m.Unmount(t)
	damage(t, m)
	p = ago(t, m, then)
	same(t, "after damage", was, files(t, p.dir))
	p.Unmount(t)
}

func TestPastIsRefused(t *testing.T) {
	m := newMount(t, mountOptions{})
	for at, says := range map[string]string{
		"1h": "keeps no versions", "tomorrow": "is not a time", time.Now().Add(time.Hour).Format(time.RFC3339): "in the future",
	} {
		cfg := m.config(t)
		out, err := tryBinary(t, m.env(t), append([]string{"mount", "-f", "--at", at, m.target(), t.TempDir()}, cfg.Args...)...)
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("--at %s: %v, %s", at, err, out)
		}
	}
	out, err := tryBinary(t, m.env(t), append([]string{"doctor", "--at", "1h", m.target()}, m.config(t).Args...)...)
	if err == nil || !strings.Contains(out, "--at goes with what reads files") {
		t.Errorf("doctor: %v, %s", err, out)
	}
}

// The morning after: with nothing but a client of S3 everything in the bucket was
// overwritten or deleted. A look at what was, one command, and it is there again,
// for hosts that were there before too.
func TestMorningAfterRansomware(t *testing.T) {
	m := versionedMount(t, mountOptions{})
	makeTree(t, m.dir)
	must(t, os.Link(m.Path("d0/sub/a"), m.Path("d1/hard")))
	writeFile(t, m.Path("report"), []byte("first draft"))
	writeFile(t, m.Path("report"), []byte("final"))
	m.Remount(t) // attributes too are in the bucket
	was, then := files(t, m.dir), time.Now()
	m.Unmount(t)
	damage(t, m)

	fresh := *m // a host that knows nothing
	fresh.state, fresh.daemon = t.TempDir(), nil
	at := then.UTC().Format(time.RFC3339Nano)
	run := func(args ...string) string {
		t.Helper()
		return fresh.sigilfs(t, append(append([]string{"versions"}, args...), fresh.config(t).Args...)...)
	}
	p := ago(t, m, then)
	same(t, "as it was", was, files(t, p.dir))
	p.Unmount(t)
	if out := run(m.target(), "--restore-at", at, "--dry-run"); !strings.Contains(out, "would be restored") {
		t.Errorf("dry run: %s", out)
	}
	out := run(m.target(), "--restore-at", at)
	if !strings.Contains(out, " 0 failed") || !strings.Contains(out, "1 new since, left") {
		t.Errorf("restore: %s", out)
	}
	if out := run(m.target(), "--restore-at", at); !strings.Contains(out, " 0 restored") {
		t.Errorf("once more: %s", out)
	}
	for _, host := range []*mount{&fresh, m} {
		host.Start(t)
		if host == &fresh {
			must(t, os.Remove(host.Path("README-PAY-US.txt"))) // which no key opens
		}
		same(t, "brought back", was, files(t, host.dir))
		var a, b unix.Stat_t
		must(t, unix.Stat(host.Path("d0/sub/a"), &a))
		must(t, unix.Stat(host.Path("d1/hard"), &b))
		if a.Ino != b.Ino || a.Nlink != 2 {
			t.Errorf("hard links are inodes %d and %d, of %d names", a.Ino, b.Ino, a.Nlink)
		}
		host.Unmount(t)
	}

	// One version of one file.
	id := ""
	for line := range strings.Lines(run(m.target()+"/report", "--json")) {
		var v struct {
			Version string
			Size    *int64
		}
		if json.Unmarshal([]byte(line), &v) == nil && v.Size != nil && *v.Size == int64(len("first draft")) {
			id = v.Version
		}
	}
	fresh.refused(t, 32, nil, []string{"versions", m.target(), "--restore", id}, "no version of it has the ID") // it is one of a file in it
	run(m.target()+"/report", "--restore", id)
	m.Start(t)
	wantFile(t, m.Path("report"), []byte("first draft"))
}

// A run that is killed goes on where it was, and what it had done stays done.
func TestRestoreOfThePastIsKilled(t *testing.T) {
	m := versionedMount(t, mountOptions{Proxy: true})
	want := map[string][]byte{}
	for i := range 40 {
		name := fmt.Sprintf("f%02d", i)
		want[name] = content(uint64(i), int64(100+i*3000))
		writeFile(t, m.Path(name), want[name])
	}
	must(t, os.Link(m.Path("f00"), m.Path("hard")))
	m.Unmount(t)
	then := time.Now()
	damage(t, m)

	args := []string{"versions", m.target(), "--restore-at", then.UTC().Format(time.RFC3339Nano), "--parallel", "4"}
	copies := func(r *http.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" }
	gate := faultproxy.NewGate(copies, 15, faultproxy.After)
	m.proxy.Set(gate.Fault)
	c := m.offline(t, args...)
	must(t, c.Start())
	<-gate.Arrived()
	must(t, c.Process.Kill())
	_ = c.Wait() // it was killed
	gate.Drop()
	m.proxy.Set(faultproxy.Pass)

	out, said, err := m.attempt(t, nil, args...)
	if err != nil || !strings.Contains(out, " 0 failed") || !strings.Contains(said, "going on with what was interrupted") {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	if !strings.Contains(out, " as it was,") || strings.Contains(out, " 0 as it was,") {
		t.Errorf("all was done again: %s", out)
	}
	if out, said, err = m.attempt(t, nil, args...); err != nil || !strings.Contains(out, " 0 restored,") || strings.Contains(said, "going on") {
		t.Errorf("once more: %v\n%s%s", err, out, said)
	}
	m.Start(t)
	for name, text := range want {
		wantFile(t, m.Path(name), text)
	}
	oneFile(t, m.Path("f00"), m.Path("hard"))
}
