package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/control"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/socket"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/status"
)

// A mount that has just begun is waited for, and which one it is is not for
// itself to say.
func TestStatusOfAMountThatBegins(t *testing.T) {
	file, peer := serving(t, control.Record{PID: 42, Dir: "/mnt/a"})
	told := make(chan status.Mount)
	go func() { told <- askStatus(t.Context(), peer) }()
	select {
	case m := <-told:
		t.Fatalf("it is given up: %+v", m)
	case <-time.After(3 * poll):
	}
	l, err := socket.Private(t.Context(), file.Socket())
	if err != nil {
		t.Fatal(err)
	}
	stop := socket.Answer(l, func() []byte {
		return []byte(`{"version": 1, "dir": "/elsewhere", "pid": 1, "uid": 0, "health": "ok", "state": "serving"}`)
	})
	defer stop() //nolint:errcheck // nothing depends on it
	m := <-told
	if m.Health != status.OK || m.State != status.Serving || m.Dir != "/mnt/a" || m.PID != 42 || m.UID != os.Geteuid() {
		t.Errorf("%+v", m)
	}
}

// serving is a process that says rec of itself, and how others find it.
func serving(t *testing.T, rec control.Record) (*control.File, *control.Peer) {
	t.Helper()
	places := []string{filepath.Join(t.TempDir(), "run")}
	file, err := control.Create(places, rec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Remove(); err != nil {
			t.Error(err)
		}
	})
	peer := control.Find(places, os.Geteuid(), rec.Dir)
	if peer == nil {
		t.Fatal("it is not found")
	}
	t.Cleanup(func() {
		if err := peer.Close(); err != nil {
			t.Error(err)
		}
	})
	return file, peer
}
