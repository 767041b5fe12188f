package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sigilfs/sigilfs/integration/daemon"
)

// inBucket gives all keys of the volume as AWS's command line lists them, but those
// of the volume's own objects.
func (m *mount) inBucket(t *testing.T) (keys []string) {
	t.Helper()
	out := newRescuer(t, m).run(awsCLI, "--endpoint-url", minioServer(t).URL, "s3", "ls", "--recursive", "s3://"+m.bucket+"/"+m.prefix+"/")
	for line := range strings.Lines(out) { // date, time, size, key
		if f := strings.Fields(line); len(f) == 4 && !strings.Contains(f[3], "/.sigil/") {
			keys = append(keys, f[3])
		}
	}
	return keys
}

// The names of a volume that is in use are encrypted in place: what was interrupted
// goes on, nobody mounts a part, and all is there as it was, under names that
// nobody reads in the bucket.
func TestEncryptNames(t *testing.T) {
	m := newMount(t, mountOptions{})
	must(t, os.MkdirAll(m.Path("secret/deeper"), 0o750))
	writeFile(t, m.Path("secret/deeper/secret.txt"), []byte("text"))
	writeFile(t, m.Path("secret/large"), content(1, 2*segment+5))
	must(t, os.Symlink("deeper/secret.txt", m.Path("secret/link")))
	must(t, os.Link(m.Path("secret/deeper/secret.txt"), m.Path("secret/hard")))
	must(t, os.Chmod(m.Path("secret/large"), 0o640))
	must(t, unix.Setxattr(m.Path("secret/large"), "user.color", []byte("blue"), 0))
	before := m.tree(t)

	m.refused(t, 32, nil, []string{"encrypt-names", m.volume(), "--no-writers"}, "unmount it first")
	m.Unmount(t)
	m.refused(t, 1, nil, []string{"encrypt-names", m.volume()}, "--no-writers")
	m.refused(t, 1, nil, []string{"encrypt-names", m.volume() + "/secret", "--no-writers"}, "whole volume")
	if out := m.obey(t, nil, "encrypt-names", m.volume(), "--dry-run"); !strings.Contains(out, "6 objects would be moved") {
		t.Errorf("a dry run says %s", out)
	}

	killed := m.offline(t, "encrypt-names", m.volume(), "--no-writers", "--parallel", "1")
	must(t, killed.Start())
	bucket := newClient(t, m.bucket)
	wait(t, func() bool { return len(bucket.keys(m.Key("secret/"))) < 6 })
	_ = killed.Process.Signal(syscall.SIGKILL)
	_ = killed.Wait()
	if d, err := daemon.Start(t.Context(), m.config(t)); err == nil {
		must(t, d.Unmount(t.Context()))
		if left := bucket.keys(m.Key("secret/")); len(left) > 0 {
			t.Errorf("mounted, and %q have readable names", left)
		}
	} else if !strings.Contains(err.Error(), "encrypt-names goes on") {
		t.Errorf("the mount is refused with %v", err)
	}
	out := m.obey(t, nil, "encrypt-names", m.volume(), "--no-writers")
	keys := m.inBucket(t)
	if len(keys) != 6 {
		t.Errorf("%d objects: %q", len(keys), keys)
	}
	for _, key := range keys {
		if strings.Contains(key, "secret") || strings.Contains(key, "deeper") || strings.Contains(key, "large") {
			t.Errorf("the bucket shows %s", key)
		}
	}
	m.Start(t)
	if after := m.tree(t); after != before {
		t.Errorf("there is\n%s\nand was\n%s", after, before)
	}
	writeFile(t, m.Path("secret/new"), []byte("new"))
	m.Unmount(t)
	if again := m.obey(t, nil, "encrypt-names", m.volume(), "--no-writers"); !strings.Contains(again, "0 objects moved, 0 left") {
		t.Errorf("the second time: %s", again)
	}
	if !strings.Contains(out, "names: encrypted:") {
		t.Errorf("it says %s", out)
	}
}

// tree tells all that a mount has: names, attributes, content.
func (m *mount) tree(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.Walk(m.Dir(), func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(m.Dir(), p)
		b.WriteString(name + " " + info.Mode().String())
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(p)
			must(t, err)
			b.WriteString(" -> " + to)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			must(t, err)
			b.WriteString(" " + fmt.Sprintf("%x", sha256.Sum256(data)) + " " + info.ModTime().UTC().String())
			color := make([]byte, 10)
			if n, err := unix.Getxattr(p, "user.color", color); err == nil {
				b.WriteString(" " + string(color[:n]))
			}
			// A link that was moved when the process was killed may be counted twice.
			if st := info.Sys().(*syscall.Stat_t); st.Nlink > 1 {
				b.WriteString(" linked")
			}
		}
		b.WriteString("\n")
		return nil
	}))
	return b.String()
}
