package integration

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rolledBack gives user.sigil.rollback; "" where there is none.
func rolledBack(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 200)
	n, err := unix.Getxattr(path, "user.sigil.rollback", buf)
	if errors.Is(err, unix.ENODATA) {
		return ""
	}
	must(t, err)
	return string(buf[:n])
}

// TestRollbackSeen (T17): a second client puts back an older body and older
// attributes, and an object that was removed. The mount tells of them, the next
// one too, a read-only one by the same memory, and one under deny gives nothing
// of them; when the newer objects are back all is well.
func TestRollbackSeen(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--attr-timeout", "0"}})
	c := newClient(t, m.bucket)
	for _, name := range []string{"body", "mode", "gone", "good"} {
		writeFile(t, m.Path(name), content(1, 100_000))
	}
	must(t, chmodSynced(m.Path("mode"), 0o666))
	old := map[string]object{}
	for _, name := range []string{"body", "mode", "gone"} {
		old[name] = c.get(m.Key(name))
	}
	writeFile(t, m.Path("body"), content(2, 100_000))
	must(t, chmodSynced(m.Path("mode"), 0o600))
	must(t, os.Remove(m.Path("gone")))
	newer := map[string]object{"body": c.get(m.Key("body")), "mode": c.get(m.Key("mode"))}
	wellStatus := func() {
		t.Helper()
		if r, text, code := status(t, m, m.dir); code != 0 || r.Mounts[0].Health != "ok" {
			t.Errorf("exit code %d\n%s", code, text)
		}
	}
	wellStatus()

	kinds := map[string]string{"body": "rollback", "mode": "rollback", "gone": "resurrection"}
	for name, o := range old {
		c.put(m.Key(name), o)
	}
	seen := func() {
		t.Helper()
		for name, kind := range kinds {
			if got := rolledBack(t, m.Path(name)); !strings.HasPrefix(got, kind+": ") {
				t.Errorf("%s: user.sigil.rollback is %q", name, got)
			}
		}
		if got := rolledBack(t, m.Path("good")); got != "" {
			t.Errorf("good: user.sigil.rollback is %q", got)
		}
		_, text, code := status(t, m, m.dir)
		if code != 64 || !strings.Contains(text, "3 objects are in an older state than this host has known") {
			t.Errorf("exit code %d\n%s", code, text)
		}
		for name, kind := range kinds {
			if !strings.Contains(text, `"path": "`+name+`"`) || !strings.Contains(text, `"kind": "`+kind+`"`) {
				t.Errorf("status does not tell of %s\n%s", name, text)
			}
		}
		m.WantLog(t, "rollback: this object is in an older state than this host has known", "rollback: this object was removed and is there again")
	}
	shown := func() {
		t.Helper()
		wantFile(t, m.Path("body"), content(1, 100_000))
		if info, err := os.Stat(m.Path("mode")); err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("%v, %v", info, err)
		}
	}
	seen()
	shown()
	m.Remount(t)
	seen()
	shown()

	how := m.args
	m.args = append(how[:len(how):len(how)], "--read-only")
	m.Remount(t)
	seen()

	m.args = how
	m.Remount(t)
	seen()
	m.sigilfs(t, append(append([]string{"verify", m.target()}, m.config(t).Args...), "--accept-restore")...)
	shown()
	for name := range kinds {
		if got := rolledBack(t, m.Path(name)); got != "" {
			t.Errorf("%s, which was accepted: user.sigil.rollback is %q", name, got)
		}
	}
	wellStatus()
	// What was accepted is what is to be; now the newer ones are put back, and
	// the older ones again.
	for _, all := range []map[string]object{newer, old} {
		for name, o := range all {
			c.put(m.Key(name), o)
			_, err := os.Stat(m.Path(name))
			must(t, err)
		}
		must(t, os.Remove(m.Path("gone")))
	}
	c.put(m.Key("gone"), old["gone"])

	m.args = append(how[:len(how):len(how)], "--rollback", "deny")
	m.Remount(t)
	seen()
	for name := range kinds {
		if _, err := os.ReadFile(m.Path(name)); !errors.Is(err, unix.EBADMSG) {
			t.Errorf("read %s: %v", name, err)
		}
		if err := os.Chmod(m.Path(name), 0o777); !errors.Is(err, unix.EBADMSG) {
			t.Errorf("chmod %s: %v", name, err)
		}
	}
	if info, err := os.Stat(m.Path("mode")); err == nil && info.Mode().Perm() == 0o666 {
		t.Error("the older mode is shown")
	}
	wantFile(t, m.Path("good"), content(1, 100_000))
	must(t, os.Remove(m.Path("gone")))
	if _, err := os.Stat(m.Path("gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its removal: %v", err)
	}
	for name, o := range newer {
		c.put(m.Key(name), o)
	}
	wantFile(t, m.Path("body"), content(2, 100_000))
	if info, err := os.Stat(m.Path("mode")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	wellStatus()
}

// chmodSynced returns when the mode is in the bucket.
func chmodSynced(path string, mode os.FileMode) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(mode), f.Sync(), f.Close())
}
