package integration

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
)

// report is what `sigilfs status --json` prints, as far as it is looked at here.
type report struct {
	Version int
	Mounts  []struct {
		Dir, Source, Bucket, Health, State, Error string
		PID                                       int
		Since                                     time.Time
		Reasons                                   []string
		Options                                   map[string]string
		Rules                                     []struct{ Prefix, Mode string }
		Files                                     struct {
			Dirty, Uploading, Failing int
			Size                      int64
			List                      []struct {
				Path, Error    string
				Size, Uploaded int64
				Uploading      bool
				FailingSince   time.Time `json:"failing_since"`
				NextTry        time.Time `json:"next_try"`
			}
		}
		Spool struct{ Used, Limit int64 }
		Cache struct {
			Memory, Disk *struct{ Used, Limit, Hits, Misses int64 }
		}
		Memory struct{ Heap, Limit int64 }
		Keys   []struct{ Kind, ID string }
		Epochs []struct {
			ID, State string
			Current   bool
		}
		Errors []struct{ Level, Text, Path, Error string }
	}
}

// status gives the document of one command, and how it exited.
func status(t *testing.T, m *mount, args ...string) (r report, text string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), append([]string{"status", "--json"}, args...)...)
	cmd.Env = m.env(t)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &r); err != nil && code != daemon.ExitMount {
		t.Fatalf("%v\n%s", err, out)
	}
	return r, string(out), code
}

func TestStatusOfAMount(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--cache", filepath.Join(t.TempDir(), "cache"), "--max-cache-size", "64MiB"}})
	writeFile(t, m.Path("file"), content(1, 300_000))
	wantFile(t, m.Path("file"), content(1, 300_000))
	r, text, code := status(t, m, m.dir)
	if code != 0 || r.Version != 1 || len(r.Mounts) != 1 {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	got := r.Mounts[0]
	switch {
	case got.Dir != m.dir || got.PID != m.running(t).PID() || got.Health != "ok" || got.State != "serving" || got.Bucket != m.volume():
		t.Errorf("what it is:\n%s", text)
	case got.Files.Dirty != 0 || got.Spool.Limit == 0 || got.Cache.Memory == nil || got.Cache.Disk == nil || got.Cache.Disk.Limit != 64<<20 || got.Memory.Heap == 0:
		t.Errorf("space:\n%s", text)
	case len(got.Keys) != 1 || got.Keys[0].Kind != "aes" || got.Keys[0].ID == "" || len(got.Epochs) != 1 || !got.Epochs[0].Current || got.Epochs[0].State != "open":
		t.Errorf("keys:\n%s", text)
	case len(got.Rules) != 1 || got.Rules[0].Mode != "client" || got.Options["max-cache-size"] != "64MiB":
		t.Errorf("options:\n%s", text)
	}
	secret, err := os.ReadFile(m.key)
	must(t, err)
	for _, line := range strings.Split(string(secret), "\n") {
		if len(line) > 20 && !strings.HasPrefix(line, "#") && strings.Contains(text, line) || strings.Contains(text, m.key) {
			t.Error("a key, or where it is, is told")
		}
	}
	all, text, _ := status(t, m) // other mounts may be there, and ill
	well := false
	for _, a := range all.Mounts {
		well = well || a.Dir == m.dir && a.Health == "ok"
	}
	if !well {
		t.Errorf("among all mounts it is not, or not well:\n%s", text)
	}
	if out := m.sigilfs(t, "status", m.dir); !strings.Contains(out, "serving") || !strings.Contains(out, ": ok\n") {
		t.Errorf("for a person:\n%s", out)
	}
}

// What fails is named with its error, since when, and when it is tried again;
// the exit code says that somebody should look.
func TestStatusOfFailures(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	failUploads(m, "sub dir/file")
	must(t, os.Mkdir(m.Path("sub dir"), 0o755))
	if err := os.WriteFile(m.Path("sub dir/file"), content(1, 1234), 0o644); err == nil {
		t.Fatal("it was written")
	}
	r, text, code := status(t, m, m.dir)
	if code != 64 || len(r.Mounts) != 1 || r.Mounts[0].Health != "degraded" || len(r.Mounts[0].Reasons) != 1 || r.Mounts[0].Files.Failing != 1 || len(r.Mounts[0].Files.List) != 1 {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	f := r.Mounts[0].Files.List[0]
	if f.Path != "sub dir/file" || f.Size != 1234 || !strings.Contains(f.Error, "access denied") || time.Since(f.FailingSince) > time.Minute || f.NextTry.Before(f.FailingSince) {
		t.Errorf("%+v", f)
	}
	last := r.Mounts[0].Errors
	if len(last) == 0 || !strings.Contains(last[len(last)-1].Error, "access denied") {
		t.Errorf("last errors: %+v", last)
	}
	m.proxy.Set(faultproxy.Pass)
	wait(t, func() bool {
		r, _, code := status(t, m, m.dir)
		return code == 0 && r.Mounts[0].Files.Dirty == 0
	})
}

// A large file that is on its way shows how far it is.
func TestStatusOfAnUpload(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	gate := faultproxy.NewGate(func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
	}, 0, faultproxy.Before)
	m.proxy.Set(gate.Fault)
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(m.Path("large"), content(1, 60<<20), 0o644) }()
	<-gate.Arrived() // the parts are there, and the end of the upload is held
	r, text, code := status(t, m, m.dir)
	if code != 0 || r.Mounts[0].Files.Uploading != 1 || len(r.Mounts[0].Files.List) != 1 {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	if f := r.Mounts[0].Files.List[0]; !f.Uploading || f.Uploaded < 50<<20 || f.Size != 60<<20 {
		t.Errorf("%+v", f)
	}
	gate.Open()
	must(t, <-done)
}

func TestStatusOfNoMount(t *testing.T) {
	m := newMount(t, mountOptions{})
	m.Unmount(t)
	if _, _, code := status(t, m, m.dir); code != daemon.ExitMount {
		t.Errorf("exit code %d", code)
	}
	m.Start(t)
	m.running(t).Kill()
	if _, _, code := status(t, m, m.dir); code != daemon.ExitMount {
		t.Errorf("of a dead mount: exit code %d", code)
	}
	if _, text, _ := status(t, m); strings.Contains(text, m.dir) {
		t.Errorf("a dead mount is among all:\n%s", text)
	}
	must(t, daemon.Detach(m.dir))
	m.daemon = nil
	m.Start(t) // over the socket that the dead one left
	if _, text, code := status(t, m, m.dir); code != 0 {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

// Another user is told nothing, by the command or at the socket itself.
func TestStatusIsForItsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it takes root to be another user")
	}
	m := newMount(t, mountOptions{})
	bin := readable(t)
	cmd := exec.CommandContext(t.Context(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", bin, "status", m.dir)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != daemon.ExitMount {
		t.Errorf("%v\n%s", err, out)
	}
	found, err := filepath.Glob("/run/sigilfs/*.sock")
	must(t, err)
	for _, at := range found {
		if info, err := os.Lstat(at); err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", at, info.Mode())
		}
	}
	if info, err := os.Lstat("/run/sigilfs"); err != nil || info.Mode().Perm() != 0o700 || len(found) == 0 {
		t.Errorf("%v, %v, %d sockets", info, err, len(found))
	}
}

// readable is the binary where other users may run it.
func readable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sigilfs-bin-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	b, err := os.ReadFile(binary(t))
	must(t, err)
	at := filepath.Join(dir, "sigilfs")
	must(t, os.WriteFile(at, b, 0o755))
	return at
}
