package socket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, path, port, wrong string }{
		{in: "127.0.0.1:9417", port: "127.0.0.1:9417"},
		{in: "localhost:0", port: "127.0.0.1:0"},
		{in: "[::1]:80", port: "[::1]:80"},
		{in: "127.7.7.7:80", port: "127.7.7.7:80"},
		{in: "unix:/run/x.sock", path: "/run/x.sock"},
		{in: "unix:/run//y/../x.sock", path: "/run/x.sock"},
		{in: "", wrong: "is not HOST:PORT"},
		{in: "9417", wrong: "is not HOST:PORT"},
		{in: ":9417", wrong: "is not HOST:PORT"},
		{in: "0.0.0.0:9417", wrong: "this host alone"},
		{in: "[::]:9417", wrong: "this host alone"},
		{in: "10.0.0.1:9417", wrong: "this host alone"},
		{in: "[::ffff:10.0.0.1]:9417", wrong: "this host alone"},
		{in: "example.com:9417", wrong: "a number for each"},
		{in: "127.0.0.1:99999", wrong: "a number for each"},
		{in: "unix:x.sock", wrong: "absolute"},
		{in: "unix:", wrong: "absolute"},
		{in: "unix:/" + strings.Repeat("x", 107), wrong: "too long"},
	} {
		got, err := Parse(tt.in)
		switch {
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%q: %v", tt.in, err)
		case tt.wrong == "" && (err != nil || got.Path != tt.path || got.Path == "" && got.Port.String() != tt.port):
			t.Errorf("%q: %+v, %v", tt.in, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"127.0.0.1:9417", "unix:/run/x.sock", "[::1]:0", ":1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		switch {
		case err != nil:
		case a.Path != "" && (!filepath.IsAbs(a.Path) || len(a.Path) > maxPath):
			t.Errorf("%q: %q", s, a.Path)
		case a.Path == "" && !a.Port.Addr().Unmap().IsLoopback():
			t.Errorf("%q: %v", s, a.Port)
		}
	})
}

func listen(t *testing.T, path string) *Listener {
	t.Helper()
	l, err := Private(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.sock")
	old := unix.Umask(0) // nothing may depend on it
	defer unix.Umask(old)
	l := listen(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Private(t.Context(), path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a socket in use was taken: %v", err)
	}
	if at := l.Addr().String(); at != path {
		t.Errorf("it says that it is at %s", at)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Private(t.Context(), file); err == nil {
		t.Error("a file was replaced")
	}
}

// What a killed process left is replaced; its late Close takes nothing away.
func TestPrivateOverADeadOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	dead := listen(t, path)
	_ = dead.UnixListener.Close()
	l := listen(t, path)
	defer l.Close()
	if err := dead.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	stop := Answer(l, func() []byte { return []byte("hello") })
	got, err := Ask(t.Context(), path, os.Geteuid())
	if err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	long := strings.Repeat("x", 1<<20)
	stop := Answer(listen(t, path), func() []byte { return []byte(long) })
	var all sync.WaitGroup
	for range mostAsking / 2 {
		all.Go(func() {
			if got, err := Ask(t.Context(), path, os.Geteuid()); err != nil || string(got) != long {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
	if _, err := Ask(t.Context(), path, os.Geteuid()+1); !errors.Is(err, ErrStranger) {
		t.Errorf("a process of another user was believed: %v", err)
	}
	// Who asks and does not read does not hold up the end.
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := Ask(t.Context(), path, os.Geteuid()); err == nil {
		t.Error("it answers after its end")
	}
}

func TestAskIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	stop := Answer(listen(t, path), func() []byte { return make([]byte, maxAnswer+1) })
	defer func() { _ = stop() }()
	if _, err := Ask(t.Context(), path, os.Geteuid()); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

func TestAskNobody(t *testing.T) {
	stop := Answer(listen(t, filepath.Join(t.TempDir(), "s.sock")), func() []byte { return nil })
	defer func() { _ = stop() }()
	if _, err := Ask(t.Context(), filepath.Join(t.TempDir(), "none.sock"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
