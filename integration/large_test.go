package integration

import (
	"crypto/sha256"
	"io"
	"os"
	"testing"
)

// A 2 GiB file goes in and comes out, and the daemon never holds 300 MiB.
func TestTwoGiBStreamInBoundedMemory(t *testing.T) {
	const (
		size    = 2 << 30
		maxPeak = 300 << 20
	)
	m := newMount(t, mountOptions{})
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
