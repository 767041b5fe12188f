package state_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/state"
)

var volume = state.ID{Endpoint: "https://127.0.0.1:9000", Bucket: "acme", VolumeRoot: "web/1/"}

func open(t *testing.T, opt state.Options) *state.Dir {
	t.Helper()
	d, err := state.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestOpen(t *testing.T) {
	root := filepath.Join(t.TempDir(), "deep", "state")
	d := open(t, state.Options{Root: root, ID: volume})
	if !strings.HasPrefix(filepath.Base(d.Path()), "acme-web-1-") {
		t.Errorf("path %s does not say which volume it is", d.Path())
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Each part of the ID tells volumes apart; spellings of one endpoint do not.
func TestIdentity(t *testing.T) {
	root := t.TempDir()
	first := open(t, state.Options{Root: root, ID: volume})
	for _, id := range []state.ID{
		{Endpoint: "https://127.0.0.1:9001", Bucket: "acme", VolumeRoot: "web/1/"},
		{Endpoint: volume.Endpoint, Bucket: "acme2", VolumeRoot: "web/1/"},
		{Endpoint: volume.Endpoint, Bucket: "acme", VolumeRoot: "web-1/"},
		{Endpoint: volume.Endpoint, Bucket: "acme"},
	} {
		d := open(t, state.Options{Root: root, ID: id})
		if d.Path() == first.Path() {
			t.Errorf("%+v shares its state", id)
		}
		if d.Host() != first.Host() || len(d.Host()) != 16 {
			t.Errorf("host id %q, before %q", d.Host(), first.Host())
		}
	}
	same := volume
	same.Endpoint = "https://127.0.0.1:9000/"
	if _, err := state.Open(t.Context(), state.Options{Root: root, ID: same}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("another spelling of the endpoint: %v", err)
	}
}

func TestLock(t *testing.T) {
	root := t.TempDir()
	owner := state.Owner{PID: 4711, Mountpoint: "/mnt/a", Spec: "s3://acme/web"}
	first, err := state.Open(t.Context(), state.Options{Root: root, ID: volume, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	_, err = state.Open(t.Context(), state.Options{Root: root, ID: volume})
	var locked *state.LockedError
	if !errors.As(err, &locked) || locked.Owner != owner || !strings.Contains(err.Error(), "process 4711 serves s3://acme/web on /mnt/a") {
		t.Fatalf("second Open: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, state.Options{Root: root, ID: volume})
}

// A lock whose owner is about to end is waited for.
func TestLockWait(t *testing.T) {
	root := t.TempDir()
	first := open(t, state.Options{Root: root, ID: volume, Owner: state.Owner{PID: 1}})
	asked := 0
	second := open(t, state.Options{Root: root, ID: volume, Wait: func(e *state.LockedError) bool {
		if asked++; asked == 2 {
			_ = first.Close()
		}
		return e.Owner.PID == 1
	}})
	if second.Path() != first.Path() || asked < 2 {
		t.Errorf("asked %d times", asked)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, err := state.Open(ctx, state.Options{Root: root, ID: volume, Wait: func(*state.LockedError) bool {
		cancel()
		return true
	}})
	if !errors.Is(err, state.ErrLocked) || !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

func TestUnsafe(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, root, path string){
		"others may write to the root": func(t *testing.T, root, _ string) { chmod(t, root, 0o777) },
		"others may enter the volume":  func(t *testing.T, _, path string) { chmod(t, path, 0o755) },
		"the volume is a link": func(t *testing.T, _, path string) {
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+".old", path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "state")
			d, err := state.Open(t.Context(), state.Options{Root: root, ID: volume})
			if err != nil {
				t.Fatal(err)
			}
			_ = d.Close()
			prepare(t, root, d.Path())
			if _, err := state.Open(t.Context(), state.Options{Root: root, ID: volume}); !errors.Is(err, state.ErrUnsafe) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestLeftovers(t *testing.T) {
	d := open(t, state.Options{Root: t.TempDir(), ID: volume})
	if all, err := d.Leftovers(); err != nil || len(all) != 0 {
		t.Fatalf("at first: %v, %v", all, err)
	}
	empty, full, strange, scraps := d.NewSpool(time.Now()), d.NewSpool(time.Now()), d.NewSpool(time.Now()), d.NewSpool(time.Now())
	if empty == full {
		t.Fatal("two mounts have one spool")
	}
	for _, path := range []string{
		filepath.Join(empty, "key"),
		filepath.Join(full, "key"),
		filepath.Join(full, "00112233445566778899aabbccddeeff.data"),
		filepath.Join(full, "00112233445566778899aabbccddeeff.meta"),
		filepath.Join(full, "ff112233445566778899aabbccddeeff.data"),
		filepath.Join(full, "ee112233445566778899aabbccddeeff.log"), // of a file that is gone but for it
		filepath.Join(strange, ".data"),                             // a name that was damaged
		filepath.Join(strange, "a.log"),
		filepath.Join(scraps, "00112233445566778899aabbccddeeff.log"),
		filepath.Join(scraps, "00112233445566778899aabbccddeeff.log.tmp"),
		filepath.Join(scraps, "00112233445566778899aabbccddeeff.meta.tmp"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := d.Leftovers()
	if err != nil || len(all) != 2 || !slices.Contains(all, state.Leftover{Path: full, Files: 2}) || !slices.Contains(all, state.Leftover{Path: strange, Files: 2}) {
		t.Errorf("Leftovers: %v, %v", all, err)
	}
	for _, path := range []string{empty, scraps} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an empty spool: %v", err)
		}
	}
	if _, err := os.Stat(full); err != nil {
		t.Errorf("the spool with data: %v", err)
	}
}

// A lock whose record says nothing is held all the same, and is told of.
func TestDamagedLock(t *testing.T) {
	root := t.TempDir()
	first := open(t, state.Options{Root: root, ID: volume, Owner: state.Owner{PID: 1}})
	for _, content := range []string{"", "{", `{"pid":0}`, "null"} {
		if err := os.WriteFile(filepath.Join(first.Path(), "lock"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := state.Open(t.Context(), state.Options{Root: root, ID: volume})
		var locked *state.LockedError
		if !errors.As(err, &locked) || locked.Record == nil || !strings.Contains(err.Error(), "does not tell by whom") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestDamagedHostID(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "host-id"), []byte("../../evil\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := state.Open(t.Context(), state.Options{Root: root, ID: volume}); err == nil {
		t.Errorf("host id %q", d.Host())
	}
}

func TestDefaultRoot(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "/x/state")
	got, err := state.DefaultRoot()
	want := "/x/state/sigilfs"
	if os.Geteuid() == 0 {
		want = "/var/lib/sigilfs"
	}
	if err != nil || got != want {
		t.Errorf("DefaultRoot() = %q, %v; want %q", got, err, want)
	}
	t.Setenv("XDG_STATE_HOME", "relative")
	if got, err = state.DefaultRoot(); err != nil || !filepath.IsAbs(got) {
		t.Errorf("without HOME: %q, %v", got, err)
	}
}
