package integration

import (
	"os"
	"testing"
)

// A disk is a directory to work in that can be taken away and brought back.
type disk interface {
	Dir() string // empty at first; the same after Remount

	// Remount ends the daemon cleanly and starts another: what is seen then
	// comes out of the bucket.
	Remount(t *testing.T)
}

// newDisk mounts a bucket of its own, or makes a plain directory: see the
// package comment. The test's cleanup takes it away. One disk a test.
func newDisk(t *testing.T) disk {
	t.Helper()
	if parent := os.Getenv("SIGILFS_TEST_DIR"); parent != "" {
		dir, err := os.MkdirTemp(parent, "disk")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return plainDir(dir)
	}
	t.Parallel() // it waits most of the time
	return newMount(t, mountOptions{})
}

type plainDir string

func (d plainDir) Dir() string        { return string(d) }
func (plainDir) Remount(t *testing.T) { t.Helper() }

// onMount skips a test that means nothing in a plain directory.
func onMount(t *testing.T) {
	t.Helper()
	if os.Getenv("SIGILFS_TEST_DIR") != "" {
		t.Skip("SIGILFS_TEST_DIR is set: this test needs a bucket")
	}
}
