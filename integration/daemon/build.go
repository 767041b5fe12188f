package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Binary gives the binary to drive: $SIGILFS_BIN, or else one that it builds
// into dir from the module in the parent of the working directory's module.
// SIGILFS_RACE=1 builds it with the race detector (its memory bounds do not
// hold then).
func Binary(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("SIGILFS_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	if os.Getenv("SIGILFS_RACE") != "" {
		return Build(ctx, dir, "-race")
	}
	return Build(ctx, dir)
}

// Build builds it into dir, with flags of go build.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("where is the module: %w", err)
	}
	bin := filepath.Join(dir, "sigilfs")
	args := slices.Concat([]string{"build", "-o", bin}, flags, []string{"./cmd/sigilfs"})
	build := exec.CommandContext(ctx, "go", args...)
	build.Dir = filepath.Join(filepath.Dir(string(gomod)), "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sigilfs: %w\n%s", err, out)
	}
	return bin, nil
}
