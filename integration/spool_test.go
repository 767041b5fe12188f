package integration

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A full spool is ENOSPC at write(2), before anything is lost: what was
// accepted is committed, what was there before stays.
func TestFullSpoolIsSaidAtWrite(t *testing.T) {
	m := newMount(t, mountOptions{Args: []string{"--spool-size", "8MiB"}})
	writeFile(t, m.Path("before"), []byte("untouched"))
	f, err := os.Create(m.Path("file"))
	must(t, err)
	block := content(1, 64<<10)
	written := 0
	for ; written < 1000; written++ {
		if _, err = f.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("after %d blocks: %v, want ENOSPC", written, err)
	}
	must(t, f.Truncate(int64(written)*int64(len(block))))
	must(t, f.Close())
	m.Remount(t)
	wantFile(t, m.Path("before"), []byte("untouched"))
	got, err := os.ReadFile(m.Path("file"))
	if err != nil || len(got) != written*len(block) || string(got[:len(block)]) != string(block) {
		t.Errorf("%d bytes, %v, want %d blocks", len(got), err, written)
	}
}
