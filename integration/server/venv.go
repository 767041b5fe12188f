package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Venv gives a Python virtual environment with the packages that pins names in
// pip's form, each with its exact version and the hashes of its files. It lies in .cache of the repository,
// named by name and what is pinned, and a lock on that directory lets one
// process make it while the others wait.
func Venv(ctx context.Context, name, pins string) (string, error) {
	cache, err := Cache(ctx)
	if err != nil {
		return "", err
	}
	unlock, err := Lock(filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	sum := sha256.Sum256([]byte(pins))
	venv := filepath.Join(cache, name+"-"+hex.EncodeToString(sum[:6]))
	done := filepath.Join(venv, "complete") // scripts in bin/ name the directory, so it is not renamed
	if _, err := os.Stat(done); err == nil {
		return venv, nil
	}
	if err := makeVenv(ctx, venv, pins); err != nil {
		return "", fmt.Errorf("make the virtual environment %s: %w", name, err)
	}
	return venv, os.WriteFile(done, nil, 0o600)
}

func makeVenv(ctx context.Context, venv, pins string) error {
	python := "/usr/bin/python3" // Debian's, whatever shadows it
	if _, err := os.Stat(python); err != nil {
		python = "python3"
	}
	file := venv + ".txt"
	if err := os.WriteFile(file, []byte(pins), 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	if err := tool(ctx, python, "-m", "venv", "--clear", venv); err != nil {
		return err
	}
	return tool(ctx, filepath.Join(venv, "bin", "pip"), "install", "-q", "--no-input", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", file)
}

// tool runs a program to its end, and shows what it said if it fails.
func tool(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, said.String())
	}
	return nil
}
