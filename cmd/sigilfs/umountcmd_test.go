package main

import (
	"io"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"golang.org/x/sys/unix"
)

// Who waits for nobody asks nobody either: what is not ours stays.
func TestUmountHelperLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("elsewhere", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	for _, flags := range []string{"-l", "-f", "-lf", "-r"} {
		err := umountHelper(t.Context(), []string{dir, flags}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), `is a mount of "elsewhere", type tmpfs`) || exitCode(err) != exitMount {
			t.Errorf("umount.sigilfs %s: %v", flags, err)
		}
		if _, mounted, err := mountpoint.Find(dir); err != nil || !mounted {
			t.Fatalf("umount.sigilfs %s took it away: %v", flags, err)
		}
	}
}
