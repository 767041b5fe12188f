package integration

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// Bodies pass at the rate that was given, both ways, and a small file is not
// behind a large one.
func TestRatesAreHeld(t *testing.T) {
	const limit, size = 4 << 20, 12 << 20
	m := newMount(t, mountOptions{Proxy: true, Args: []string{"--upload-limit", "4MiB", "-o", "download_limit=4MiB", "--attr-timeout", "0"}})
	want := content(1, size)
	least := time.Duration(float64(size-limit) / limit * float64(time.Second)) // a burst, and what came before
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(m.Path("large"), want, 0o644) }()
	writeFile(t, m.Path("small"), []byte("content"))
	if len(done) > 0 {
		t.Errorf("a small file took %v and was behind a large one", time.Since(began))
	}
	must(t, <-done)
	if took := time.Since(began); took < least {
		t.Errorf("%d bytes went up in %v, which is more than %d a second", size, took, limit)
	}
	m.Remount(t)
	began = time.Now()
	got, err := os.ReadFile(m.Path("large"))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if took := time.Since(began); took < least {
		t.Errorf("%d bytes came in %v", size, took)
	}
	if log := m.running(t).Log(); strings.Contains(log, "level=error") || strings.Contains(log, "no progress") {
		t.Errorf("the limit looks like trouble:\n%s", log)
	}
}
