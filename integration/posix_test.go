package integration

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// Cases that are left out, and why.
var posixSkips = map[string]string{
	"FcntlFlockLocksFile": "go-fuse skips it too: POSIX locks of one process never conflict, on any filesystem whose locks the kernel keeps",
}

// TestPosix runs go-fuse's own conformance cases, each in a directory of its
// own on one mount.
func TestPosix(t *testing.T) {
	d := newDisk(t)
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			if why := posixSkips[name]; why != "" {
				t.Skip(why)
			}
			if name == "OpenSymlinkRace" {
				onMount(t) // it takes /etc/passwd on the same device for an escape
			}
			dir := filepath.Join(d.Dir(), name)
			must(t, os.Mkdir(dir, 0o755))
			posixtest.All[name](t, dir)
		})
	}
}
