package integration

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"golang.org/x/sys/unix"
)

// failUploads answers every write of the object's body with 403.
func failUploads(m *mount, name string) {
	m.proxy.Set(faultproxy.Reply(faultproxy.Writing("/"+m.Key(name)), http.StatusForbidden, "AccessDenied"))
}

func TestFailedUploadComesBackFromFsyncAndIsRepaired(t *testing.T) {
	for _, size := range []int64{1000, segment + 5000} {
		m := newMount(t, mountOptions{Proxy: true})
		want := content(1, size)
		failUploads(m, "file")
		f, err := os.Create(m.Path("file"))
		must(t, err)
		_, err = f.Write(want)
		must(t, err)
		for range 2 { // by that call and by every later one
			if err := f.Sync(); !errors.Is(err, unix.EACCES) {
				t.Errorf("fsync: %v, want EACCES", err)
			}
		}
		wantFile(t, m.Path("file"), want)
		m.WantLog(t, m.Key("file"))
		m.proxy.Set(faultproxy.Pass)
		if err := f.Sync(); err != nil {
			t.Errorf("fsync after the server was healed: %v", err)
		}
		must(t, f.Close())
		m.Remount(t)
		wantFile(t, m.Path("file"), want)
	}
}

func TestFailedUploadComesBackFromClose(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	writeFile(t, m.Path("file"), []byte("old"))
	failUploads(m, "file")
	want := []byte("new, and longer")
	if err := os.WriteFile(m.Path("file"), want, 0o644); !errors.Is(err, unix.EACCES) {
		t.Errorf("close: %v, want EACCES", err)
	}
	// The data stays, and this host goes on showing it: never zeros.
	wantFile(t, m.Path("file"), want)
	if o := newClient(t, m.bucket).get(m.Key("file")); len(o.Body) != len("old")+16 {
		t.Errorf("the object has %d bytes, want the old ones", len(o.Body))
	}
	m.proxy.Set(faultproxy.Pass)
	f, err := os.OpenFile(m.Path("file"), os.O_WRONLY, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	m.Remount(t)
	wantFile(t, m.Path("file"), want)
}

// A storm that ends within the time of the retries is none.
func TestSlowDownIsRetried(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	var storm atomic.Int64
	failing := faultproxy.Reply(faultproxy.Mutating, http.StatusServiceUnavailable, "SlowDown")
	m.proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if storm.Add(1) <= 4 {
			failing(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
	want := content(1, 100_000)
	writeFile(t, m.Path("file"), want)
	if n := storm.Load(); n < 5 {
		t.Errorf("%d requests came", n)
	}
	m.Remount(t)
	wantFile(t, m.Path("file"), want)
}

// The answer to a PUT is lost after it was carried out: the retry recognises
// its own success.
func TestLostAnswerIsNoConflict(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	var lost atomic.Int64
	m.proxy.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if faultproxy.Writing("/"+m.Key("file"))(r) && lost.CompareAndSwap(0, 1) {
			next.ServeHTTP(&deaf{header: http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	for _, text := range []string{"first", "second"} { // If-None-Match, then If-Match
		lost.Store(0)
		if err := os.WriteFile(m.Path("file"), []byte(text), 0o644); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if lost.Load() != 1 {
			t.Errorf("%s: no answer was lost", text)
		}
	}
	m.Remount(t)
	wantFile(t, m.Path("file"), []byte("second"))
	if entries, err := os.ReadDir(m.Dir()); err != nil || len(entries) != 1 {
		t.Errorf("the root shows %v, %v", entries, err)
	}
}

// deaf is an http.ResponseWriter that nobody listens to.
type deaf struct {
	header http.Header
	bytes.Buffer
}

func (d *deaf) Header() http.Header { return d.header }
func (d *deaf) WriteHeader(int)     {}
