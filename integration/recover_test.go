package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// A leftover is a file in `sigilfs recover list --json`.
type leftover struct {
	ID, Path, State, Cause, Reason string
	Size, Here                     int64
}

// tryRecover runs a part of sigilfs recover with the flags of the mount; args
// come after the target.
func (m *mount) tryRecover(t *testing.T, part string, args ...string) (string, error) {
	t.Helper()
	all := append([]string{"recover", part, m.target()}, args...)
	return tryBinary(t, m.env(t), append(all, m.config(t).Args...)...)
}

func (m *mount) recover(t *testing.T, part string, args ...string) string {
	t.Helper()
	out, err := m.tryRecover(t, part, args...)
	if err != nil {
		t.Fatalf("recover %s: %v\n%s", part, err, out)
	}
	return out
}

// left lists what dead mounts have left.
func (m *mount) left(t *testing.T) []leftover {
	t.Helper()
	out := m.recover(t, "list", "--json")
	var doc struct {
		Files  []leftover
		Sealed []any
	}
	// The log goes to the same place, before the document.
	if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &doc); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(doc.Sealed) != 0 {
		t.Errorf("cannot be opened: %v", doc.Sealed)
	}
	return doc.Files
}

// closing writes a file and closes it, while nothing that writes name in the
// bucket gets through. Whoever reads the channel hears what close(2) said.
func closing(t *testing.T, m *mount, name string, text []byte) (*faultproxy.Gate, <-chan error) {
	t.Helper()
	gate := faultproxy.NewGate(faultproxy.Writing("/"+m.Key(name)), 0, faultproxy.Before)
	t.Cleanup(gate.Drop)
	m.proxy.Set(gate.Fault)
	ended := make(chan error, 1)
	go func() { ended <- os.WriteFile(m.Path(name), text, 0o640) }()
	select {
	case <-gate.Arrived():
	case err := <-ended:
		t.Fatalf("close ended before its upload: %v", err)
	case <-time.After(daemonTime):
		t.Fatal("the file is not sent")
	}
	return gate, ended
}

// arrives fails the test unless a request comes to the gate.
func arrives(t *testing.T, gate *faultproxy.Gate) {
	t.Helper()
	select {
	case <-gate.Arrived():
	case <-time.After(daemonTime):
		t.Fatal("nothing is sent")
	}
}

// half writes a file and leaves it open.
func half(t *testing.T, m *mount, name string, text []byte) {
	t.Helper()
	f, err := os.Create(m.Path(name))
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(text)
	must(t, err)
}

// A kill -9 while the bucket is not to be reached: the next mount commits what
// was closed; what was open waits for a person, who has it exported as it was
// written, or committed. Until then nobody reads it on this disk.
func TestKillWithoutTheBucket(t *testing.T) {
	const closedName, openName = "the-name-of-what-was-closed", "the-name-of-what-was-still-open"
	m := newMount(t, mountOptions{Proxy: true})
	closed := []byte(strings.Repeat("a secret that was closed. ", 20_000))
	open := []byte(strings.Repeat("0123456789abcde\n", 2<<16/16)) // two blocks of the spool
	writeFile(t, m.Path("old"), oldContent)
	half(t, m, openName, open)
	gate, ended := closing(t, m, closedName, closed)
	m.Crash(t)
	if err := <-ended; err == nil {
		t.Error("close was confirmed")
	}
	gate.Drop()
	for _, secret := range [][]byte{closed[:20], open[:20], []byte(closedName), []byte(openName)} {
		for _, f := range filesWith(t, m.state, secret) {
			t.Errorf("%q is readable in %s", secret, f)
		}
	}
	out, err := tryBinary(t, m.env(t), "recover", "list", "--state-dir", m.state)
	if err != nil || !strings.Contains(out, "2 files that cannot be opened") || !strings.Contains(out, "give the TARGET") || strings.Contains(out, closedName) {
		t.Errorf("without keys: %v: %s", err, out)
	}
	if out, err := m.tryRecover(t, "list"); err != nil || !strings.Contains(out, closedName) || !strings.Contains(out, openName) {
		t.Errorf("before the next mount: %v: %s", err, out)
	}
	m.proxy.Set(faultproxy.Pass)
	m.Start(t)
	wantFile(t, m.Path(closedName), closed)
	if info, err := os.Stat(m.Path(closedName)); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if keys := newClient(t, m.bucket).keys(m.Key(openName)); len(keys) != 0 {
		t.Errorf("the open file is in the bucket: %q", keys)
	}
	left := m.left(t) // while it is mounted
	if len(left) != 1 || left[0].Path != openName || left[0].State != "open" || left[0].Here != int64(len(open)) {
		t.Fatalf("left: %+v", left)
	}
	id := left[0].ID
	out = filepath.Join(t.TempDir(), "out")
	if text, err := m.tryRecover(t, "export", id, out); err == nil || !strings.Contains(text, "in use") {
		t.Errorf("export under a mount: %v: %s", err, text)
	}
	m.Unmount(t)
	m.recover(t, "export", id[:8], out)
	wantFile(t, out, open)
	if info, err := os.Stat(out); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if text, err := m.tryRecover(t, "export", id, out); err == nil {
		t.Errorf("exported over a file: %s", text)
	}
	if text, err := m.tryRecover(t, "replay", "--all"); err == nil || !strings.Contains(text, "kept") {
		t.Errorf("replay of what was closed: %v: %s", err, text)
	}
	if text := m.recover(t, "replay", id); !strings.Contains(text, openName) {
		t.Error(text)
	}
	if left := m.left(t); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	m.Start(t)
	wantFile(t, m.Path(openName), open)
	wantFile(t, m.Path("old"), oldContent)
}

// Another host was there before the next mount: its file stands, ours beside it.
func TestReplayNeverOverANewerObject(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	writeFile(t, m.Path("file"), oldContent)
	gate, _ := closing(t, m, "file", newContent)
	m.Crash(t)
	gate.Drop()
	m.proxy.Set(faultproxy.Pass)
	other := &mount{s3: m.s3, bucket: m.bucket, prefix: m.prefix, key: m.key, state: filepath.Join(t.TempDir(), "state"), dir: t.TempDir()}
	t.Cleanup(func() { other.cleanup(t) })
	other.Start(t)
	writeFile(t, other.Path("file"), []byte("theirs"))
	other.Unmount(t)
	m.Start(t)
	wantFile(t, m.Path("file"), []byte("theirs"))
	copies, err := filepath.Glob(m.Path("file.conflict-*"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("%q, %v", copies, err)
	}
	wantFile(t, copies[0], newContent)
}

// SIGTERM, or expired credentials and then a kill, when nothing can be
// committed: the close says so, and the next mount has it all the same.
func TestStopWithoutTheBucket(t *testing.T) {
	everything := func(*http.Request) bool { return true }
	for _, tt := range []struct {
		name  string
		fault faultproxy.Fault
		errno error
		end   func(t *testing.T, m *mount)
	}{
		{"SIGTERM, uploads denied", faultproxy.Reply(faultproxy.Mutating, http.StatusForbidden, "AccessDenied"), unix.EACCES, interrupt},
		{"SIGTERM, over quota", faultproxy.Reply(faultproxy.Mutating, http.StatusForbidden, "QuotaExceeded"), unix.EDQUOT, interrupt},
		{"kill, credentials expired", faultproxy.Reply(everything, http.StatusBadRequest, "ExpiredToken"), unix.EACCES, crash},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMount(t, mountOptions{Proxy: true, Args: []string{"--stop-timeout", "1s", "--retry-timeout", "2s"}})
			want := content(5, 300_000)
			f, err := os.Create(m.Path("file"))
			must(t, err)
			_, err = f.Write(want)
			must(t, err)
			half(t, m, "open", content(6, 65536))
			m.proxy.Set(tt.fault)
			for range 2 { // sticky, until one succeeds
				if err := f.Sync(); !errors.Is(err, tt.errno) {
					t.Errorf("fsync: %v, want %v", err, tt.errno)
				}
			}
			if err := f.Close(); !errors.Is(err, tt.errno) {
				t.Errorf("close: %v, want %v", err, tt.errno)
			}
			tt.end(t, m)
			m.proxy.Set(faultproxy.Pass)
			if left := m.left(t); len(left) != 2 {
				t.Errorf("left: %+v", left)
			} else if i := map[bool]int{true: 0, false: 1}[left[0].Path == "file"]; left[i].State != "closed" || left[i].Cause == "" {
				t.Errorf("left: %+v", left)
			}
			m.Start(t)
			wantFile(t, m.Path("file"), want)
			left := m.left(t)
			if len(left) != 1 || left[0].Path != "open" {
				t.Fatalf("left: %+v", left)
			}
			m.Unmount(t)
			if text, err := m.tryRecover(t, "discard", left[0].ID); err == nil {
				t.Errorf("discarded without --yes: %s", text)
			}
			m.recover(t, "discard", left[0].ID, "--yes")
			if left := m.left(t); len(left) != 0 {
				t.Errorf("left: %+v", left)
			}
			if found, _ := filepath.Glob(m.state + "/*/spool/*"); len(found) != 0 {
				t.Errorf("in the state directory: %q", found)
			}
			m.Start(t)
		})
	}
}

func crash(t *testing.T, m *mount) { m.Crash(t) }

func interrupt(t *testing.T, m *mount) {
	t.Helper()
	if _, err := m.Interrupt(t); err == nil {
		t.Error("the daemon says that all is well")
	}
	_ = daemon.Detach(m.dir)
}

// The bucket is gone at the next mount too: that fails, and keeps everything;
// gone behind the probe it is waited for, without the mount.
func TestMountWithoutTheBucket(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--retry-timeout", "2s"}})
	gate, _ := closing(t, m, "file", newContent)
	m.Crash(t)
	gate.Drop()
	m.proxy.Set(faultproxy.Reply(func(*http.Request) bool { return true }, http.StatusServiceUnavailable, "SlowDown"))
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	if d, err := daemon.Start(ctx, m.config(t)); err == nil {
		m.daemon = d
		t.Fatal("mounted without a bucket")
	}
	failUploads(m, "file")
	m.Start(t)
	m.WantLog(t, "will be tried again")
	m.proxy.Set(faultproxy.Pass)
	wait(t, func() bool {
		got, err := os.ReadFile(m.Path("file"))
		return err == nil && bytes.Equal(got, newContent)
	})
}

// A full disk at the moment of the kill loses nothing that was accepted.
func TestKillOnAFullDisk(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--retry-timeout", "2s"}})
	m.Unmount(t)
	if err := unix.Mount("tmpfs", m.state, "tmpfs", 0, "size=4m,mode=700"); err != nil {
		t.Skipf("no small disk: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(m.state, unix.MNT_DETACH) })
	m.Start(t)
	want := content(7, 300_000)
	failUploads(m, "file")
	if err := os.WriteFile(m.Path("file"), want, 0o644); !errors.Is(err, unix.EACCES) {
		t.Fatalf("close: %v", err)
	}
	f, err := os.Create(m.Path("big"))
	must(t, err)
	defer f.Close()
	for i := 0; err == nil && i < 1000; i++ {
		_, err = f.Write(content(1, 65536))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write: %v, want ENOSPC", err)
	}
	m.Crash(t)
	m.proxy.Set(faultproxy.Pass)
	m.Start(t)
	wantFile(t, m.Path("file"), want)
}

// A host that cannot read what it writes replays its own all the same, by a key
// of its own; without that key its disk tells nothing.
func TestWriteOnlyHostReplaysItsOwn(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(map[bool]string{true: "--state-key", false: "key file"}[own], func(t *testing.T) {
			m := newMount(t, mountOptions{Proxy: true})
			m.Unmount(t)
			base := t.TempDir()
			recipient := strings.TrimSpace(m.sigilfs(t, "keygen", "--kind", "age", "-o", filepath.Join(base, "identity")))
			recipient = recipient[strings.Index(recipient, "age1"):]
			recipient, _, _ = strings.Cut(recipient, "\n")
			blind := &mount{
				s3: m.s3, proxy: m.proxy, bucket: m.bucket, prefix: m.prefix, state: m.state, dir: m.dir,
				yaml: filepath.Join(base, "blind.yaml"),
			}
			conf := "bucket: " + m.volume() + "\nkeys:\n  out: {age: {recipients: [" + recipient + "]}}\nencryption:\n  - {mode: client, key: out}\n"
			if own {
				m.sigilfs(t, "keygen", "-o", filepath.Join(base, "state.key"))
				conf += "state-key: file:" + filepath.Join(base, "state.key") + "\n"
			}
			must(t, os.WriteFile(blind.yaml, []byte(conf), 0o600))
			t.Cleanup(func() { blind.cleanup(t) })
			blind.Start(t)
			secret := []byte(strings.Repeat("only for the one with the identity ", 1000))
			for _, name := range []string{"before", "after"} {
				side := map[string]faultproxy.Side{"before": faultproxy.Before, "after": faultproxy.After}[name]
				gate := faultproxy.NewGate(faultproxy.Writing("/"+m.Key(name)), 0, side)
				m.proxy.Set(gate.Fault)
				go func() { _ = os.WriteFile(blind.Path(name), secret, 0o600) }()
				arrives(t, gate)
				blind.Crash(t)
				gate.Drop()
				m.proxy.Set(faultproxy.Pass)
				if found := filesWith(t, m.state, secret[:30]); len(found) != 0 {
					t.Errorf("readable: %v", found)
				}
				list := []string{"recover", "list", "--state-dir", m.state}
				if own {
					list = append(list, "--state-key", "file:"+filepath.Join(base, "state.key"))
				}
				if out, err := tryBinary(t, []string{"PATH=" + os.Getenv("PATH")}, list...); err != nil || !strings.Contains(out, m.Key(name)) {
					t.Errorf("without the bucket: %v: %s", err, out)
				}
				blind.Start(t)
				if left := blind.left(t); len(left) != 0 {
					t.Errorf("%s: left: %+v", name, left)
				}
			}
			blind.Unmount(t)
			reader := &mount{s3: m.s3, bucket: m.bucket, prefix: m.prefix, key: filepath.Join(base, "identity"), state: filepath.Join(base, "state"), dir: m.dir}
			t.Cleanup(func() { reader.cleanup(t) })
			reader.Start(t)
			wantFile(t, reader.Path("before"), secret)
			wantFile(t, reader.Path("after"), secret)
			if all, err := os.ReadDir(reader.Dir()); err != nil || len(all) != 2 {
				t.Errorf("%v, %v", all, err)
			}
		})
	}
}
