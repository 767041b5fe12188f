package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binary gives the binary to drive: $SIGILFS_BIN, or else one that it builds
// into dir from the module in the parent of the working directory's module.
// SIGILFS_RACE=1 builds it with the race detector (its memory bounds do not
// hold then).
func Binary(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("SIGILFS_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("where is the module: %w", err)
	}
	bin := filepath.Join(dir, "sigilfs")
	args := []string{"build", "-o", bin}
	if os.Getenv("SIGILFS_RACE") != "" {
		args = append(args, "-race")
	}
	build := exec.CommandContext(ctx, "go", append(args, "./cmd/sigilfs")...)
	build.Dir = filepath.Join(filepath.Dir(string(gomod)), "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sigilfs: %w\n%s", err, out)
	}
	return bin, nil
}
