package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// SIGTERM with a file open: what was closed is in the bucket, the open one is
// never half-written to its name; its data is kept, sealed.
func TestStopWithAnOpenFile(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--stop-timeout", "1s"}})
	writeFile(t, m.Path("closed"), []byte("closed"))
	f, err := os.Create(m.Path("open"))
	must(t, err)
	secret := []byte(strings.Repeat("half a file. ", 100))
	_, err = f.Write(secret)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), daemonTime)
	defer cancel()
	if err := m.daemon.Interrupt(ctx); err == nil {
		t.Error("the daemon says that all is well")
	}
	m.WantLog(t, "open")
	_ = f.Close()
	m.daemon = nil
	c := newClient(t, m.bucket)
	if keys := c.keys(m.Key("open")); len(keys) != 0 {
		t.Errorf("the open file is in the bucket: %q", keys)
	}
	kept, err := filepath.Glob(m.state + "/*/spool/*/*.data")
	must(t, err)
	if len(kept) == 0 {
		t.Error("nothing is kept in the state directory")
	}
	if found := filesWith(t, m.state, secret[:20]); len(found) != 0 {
		t.Errorf("readable in the state directory: %v", found)
	}
	m.Start(t)
	wantFile(t, m.Path("closed"), []byte("closed"))
}
