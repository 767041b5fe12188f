package integration

import (
	"crypto/sha256"
	"io"
	"os"
	"testing"
)

// A file several times the size of the spool goes in and comes out, and the
// daemon never holds 300 MiB. SIGILFS_FULL=1 makes it 4 GiB.
func TestStreamInBoundedMemory(t *testing.T) {
	size := int64(3 << 28)
	if os.Getenv("SIGILFS_FULL") != "" {
		size = 4 << 30
	}
	m := newMount(t, mountOptions{Args: []string{"--spool-size", "256MiB"}})
	m.streamsThrough(t, size)
}

// streamsThrough has size bytes written and, after a remount, read, and holds
// the daemon to its memory.
func (m *mount) streamsThrough(t *testing.T, size int64) {
	t.Helper()
	const maxPeak = 300 << 20
	want := sha256.New()
	f, err := os.Create(m.Path("large"))
	must(t, err)
	_, err = io.CopyBuffer(f, io.TeeReader(io.LimitReader(stream(1), size), want), make([]byte, 1<<20))
	must(t, err)
	must(t, f.Close())
	peak := func(when string) {
		t.Helper()
		rss, err := m.daemon.PeakRSS()
		must(t, err)
		t.Logf("%s: peak RSS %d MiB", when, rss>>20)
		if rss >= maxPeak && os.Getenv("SIGILFS_RACE") == "" {
			t.Errorf("%s: peak RSS is %d MiB", when, rss>>20)
		}
	}
	peak("in")
	m.Remount(t)
	got, err := sumFile(m.Path("large"))
	must(t, err)
	if got != sum(want.Sum(nil)) {
		t.Errorf("SHA-256 %s, want %s", got, sum(want.Sum(nil)))
	}
	peak("out")
	must(t, os.Remove(m.Path("large"))) // the servers' disk is small
}
