package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const minioPackage = "github.com/minio/minio"

// buildMinIO gives the path of the MinIO binary, made from the module that
// go.mod pins. It lies in .cache of the repository, named by its version, and
// a lock on that directory lets one process build while the others wait.
func buildMinIO(ctx context.Context) (string, error) {
	cache, err := Cache(ctx)
	if err != nil {
		return "", err
	}
	module := filepath.Join(filepath.Dir(cache), "integration")
	version, err := run(ctx, module, "list", "-m", "-f", "{{.Version}}", minioPackage)
	if err != nil {
		return "", err
	}
	unlock, err := Lock(filepath.Join(cache, "minio.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	binary := filepath.Join(cache, "minio-"+strings.TrimSpace(version))
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if _, err := run(ctx, module, "build", "-trimpath", "-o", binary+".new", minioPackage); err != nil {
		return "", fmt.Errorf("build MinIO: %w", err)
	}
	return binary, os.Rename(binary+".new", binary)
}

// Cache gives the directory .cache of the repository, in which tests keep what
// takes long to make. It finds it from the working directory, which is below
// the repository.
func Cache(ctx context.Context) (string, error) {
	out, err := run(ctx, "", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	root := filepath.Dir(strings.TrimSpace(out))
	if filepath.Base(root) == "integration" { // a module of its own
		root = filepath.Dir(root)
	}
	cache := filepath.Join(root, ".cache")
	return cache, os.MkdirAll(cache, 0o755) //nolint:gosec // a build directory
}

// run runs the go command and gives its output.
func run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// Lock takes the file's lock, which ends with the process at the latest.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
