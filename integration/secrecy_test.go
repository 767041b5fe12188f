package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sys/unix"
)

// What no one but the mount may ever read. None of it is a file's name: those
// are clear.
var secrets = map[string][]byte{
	"content":          []byte("CONTENT-that-nobody-may-read"),
	"unclosed content": []byte("DIRTY-that-nobody-may-read"),
	"symlink target":   []byte("TARGET-that-nobody-may-read"),
	"xattr name":       []byte("user.NAME-that-nobody-may-read"),
	"xattr value":      []byte("VALUE-that-nobody-may-read"),
}

// T1: the bucket as its operator sees it, on the server's own disks.
func TestNothingInTheBucketIsReadable(t *testing.T) {
	onMount(t)
	srv := server.T(t, server.MinIO) // whose disks hold nothing else
	m := newMount(t, mountOptions{Server: srv})
	writeSecrets(t, m)
	m.Unmount(t)
	operator, raw := clientOf(t, m.s3, m.bucket), srv.Dir

	// The search itself: what lies in the clear is found.
	operator.put("control", object{Body: []byte("PLAINTEXT-of-the-control"), Metadata: map[string]string{"mode": "METADATA-of-the-control"}})
	for _, control := range []string{"PLAINTEXT-of-the-control", "METADATA-of-the-control"} {
		if len(filesWith(t, raw, []byte(control))) == 0 {
			t.Fatalf("the search does not find %q in %s: it proves nothing", control, raw)
		}
	}
	for what, secret := range secrets {
		for _, name := range filesWith(t, raw, secret) {
			t.Errorf("%s is readable in %s", what, name)
		}
	}

	// Modes, owners, times and types show in no metadata.
	keys := operator.keys(m.prefix + "/")
	for _, key := range keys {
		if strings.Contains(key, "/.sigil/epochs/") {
			continue // an epoch object is JSON without a secret: checked below
		}
		for name := range operator.get(key).Metadata {
			if name != "sigil" && name != "sigil-seal" {
				t.Errorf("%s has metadata %q", key, name)
			}
		}
	}
	if len(keys) < 5 {
		t.Errorf("only %v was looked at", keys)
	}
	for what, secret := range keyMaterial(t, m.key) {
		for _, name := range filesWith(t, raw, secret) {
			t.Errorf("the master key (%s) is in %s", what, name)
		}
	}
}

// T7: the disk and the log of a host that was killed with dirty data.
func TestNothingOnTheHostIsReadable(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeSecrets(t, m)
	for name := range secrets {
		_, _ = os.ReadFile(m.Path(name))
	}
	f, err := os.Create(m.Path("never closed"))
	must(t, err)
	dirty := bytes.Repeat(append(secrets["unclosed content"], ' '), 1<<16)
	_, err = f.Write(dirty)
	must(t, err)
	pid := m.daemon.PID()
	opened, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	for _, fd := range opened {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/dev") && !strings.HasPrefix(target, m.state) {
			t.Logf("the daemon has %s open", target)
		}
	}
	log := m.daemon.Log()
	m.Crash(t)
	_ = f.Close()

	want := maps.Clone(secrets)
	for what, secret := range keyMaterial(t, m.key) {
		want["master key, "+what] = secret
	}
	want["secret access key"] = []byte(m.s3.SecretKey)
	for what, secret := range want {
		for _, name := range filesWith(t, m.state, secret) {
			t.Errorf("%s is readable in %s", what, name)
		}
		if bytes.Contains([]byte(log), secret) {
			t.Errorf("%s is in the log", what)
		}
	}
	var spooled int64
	must(t, filepath.WalkDir(m.state, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v: others can look", p, info.Mode())
		}
		if info.Mode().IsRegular() {
			spooled += info.Size()
		}
		return nil
	}))
	if spooled < int64(len(dirty)) {
		t.Errorf("the state directory has %d bytes: the dirty data was not looked at", spooled)
	}
	m.Start(t)
}

func writeSecrets(t *testing.T, m *mount) {
	t.Helper()
	for i, size := range []int{1, 100, 1 << 17} {
		writeFile(t, m.Path(fmt.Sprintf("content%d", i)), bytes.Repeat(secrets["content"], size))
	}
	must(t, os.Symlink(string(secrets["symlink target"]), m.Path("link")))
	must(t, os.Mkdir(m.Path("dir"), 0o751))
	must(t, unix.Setxattr(m.Path("dir"), string(secrets["xattr name"]), secrets["xattr value"], 0))
	must(t, unix.Setxattr(m.Path("content0"), string(secrets["xattr name"]), secrets["xattr value"], 0))
}

// keyMaterial is the master key in the forms in which it could leak.
func keyMaterial(t *testing.T, file string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	key := bytes.TrimSpace(text)
	found := map[string][]byte{"as in its file": key}
	if raw, err := base64.StdEncoding.DecodeString(string(key)); err == nil && len(raw) == 32 {
		key = raw
	} else if raw, err := hex.DecodeString(string(key)); err == nil && len(raw) == 32 {
		key = raw
	}
	found["raw"] = key
	found["hex"] = []byte(hex.EncodeToString(key))
	found["base64"] = []byte(base64.StdEncoding.EncodeToString(key))
	return found
}

// filesWith gives the files below dir that hold secret, as it is or in
// hex or base64.
func filesWith(t *testing.T, dir string, secret []byte) []string {
	t.Helper()
	forms := [][]byte{secret, []byte(hex.EncodeToString(secret))}
	for shift := range min(3, len(secret)-1) {
		encoded := base64.RawStdEncoding.EncodeToString(secret[shift:])
		forms = append(forms, []byte(encoded[:len(encoded)-2]))
	}
	found := map[string]bool{}
	must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p != dir {
			return nil // the server empties its trash meanwhile
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, form := range forms {
			if bytes.Contains(b, form) {
				found[p] = true
			}
		}
		return err
	}))
	return slices.Sorted(maps.Keys(found))
}
