package integration

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A volume that was written under one key and is mounted with another: what
// lies there gives an error that says why, and is not shadowed or destroyed.
func TestWrongKey(t *testing.T) {
	m := newMount(t, mountOptions{})
	writeFile(t, m.Path("file"), []byte("under the first key"))
	m.Unmount(t)

	first, state := m.key, m.state
	m.key, m.state = filepath.Join(t.TempDir(), "second.key"), t.TempDir()
	m.sigilfs(t, "keygen", "-o", m.key)
	m.Start(t)
	got, err := readAll(m.Path("file"))
	if !errors.Is(err, unix.ENOKEY) && !errors.Is(err, unix.EKEYREJECTED) || len(got) != 0 {
		t.Errorf("open with the wrong key: %q, %v, want ENOKEY or EKEYREJECTED", got, err)
	}
	m.WantLog(t, m.Key("file"), "epoch", "aes:") // which key of which file
	if err := os.WriteFile(m.Path("own"), []byte("under the second key"), 0o644); err != nil {
		t.Errorf("a file of its own: %v", err)
	}
	wantFile(t, m.Path("own"), []byte("under the second key"))
	m.Unmount(t)

	m.key, m.state = first, state
	m.Start(t)
	wantFile(t, m.Path("file"), []byte("under the first key"))
	if _, err := readAll(m.Path("own")); !errors.Is(err, unix.ENOKEY) && !errors.Is(err, unix.EKEYREJECTED) {
		t.Errorf("a file under the second key: %v", err)
	}
}

func TestKeygenMakesAPrivateKeyOnce(t *testing.T) {
	onMount(t)
	name := filepath.Join(t.TempDir(), "main.key")
	m := &mount{s3: minioServer(t)}
	m.sigilfs(t, "keygen", "-o", name)
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	before, err := os.ReadFile(name)
	must(t, err)
	if out, err := tryBinary(t, m.env(t), "keygen", "-o", name); err == nil {
		t.Errorf("a second keygen overwrote the key: %s", out)
	}
	wantFile(t, name, before)
}
