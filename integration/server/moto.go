package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// motoPins are moto and everything it needs, with exact versions.
//
//go:embed moto.txt
var motoPins string

// Moto starts moto's KMS for a test and ends it with it.
func Moto(t testing.TB) *KMS {
	t.Helper()
	k, err := StartMoto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// StartMoto starts moto's KMS (PyPI, moto[server]) with its files under root,
// and what moto lacks in front of it. The caller closes it; it also ends when
// this process does.
func StartMoto(ctx context.Context, root string) (*KMS, error) {
	venv, err := motoVenv(ctx)
	if err != nil {
		return nil, err
	}
	address, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	if err := makeDirs(root); err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + address, LogFile: filepath.Join(root, "moto.log"), client: &http.Client{Timeout: 10 * time.Second}}
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	host, port, _ := strings.Cut(address, ":")
	// The process outlives ctx, which bounds the start only.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(venv, "bin", "moto_server"), "-H", host, "-p", port)
	cmd.Env = []string{"HOME=" + root, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // as for MinIO
	ended, err := start(cmd)
	if err != nil {
		return nil, fmt.Errorf("start moto: %w", err)
	}
	stop := func() error { return terminate(cmd, ended) }
	if err := s.await(ctx, "/moto-api/", ended); err != nil {
		return nil, errors.Join(err, stop())
	}
	target, err := url.Parse(s.URL)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	k, err := guard(ctx, target, stop)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return k, nil
}

// motoVenv gives the virtual environment of moto. It lies in .cache of the
// repository, named by what is pinned, and a lock on that directory lets one
// process make it while the others wait.
func motoVenv(ctx context.Context) (string, error) {
	module, _, err := locate(ctx)
	if err != nil {
		return "", err
	}
	cache := filepath.Join(filepath.Dir(module), ".cache")
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // a build directory
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, "moto.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	sum := sha256.Sum256([]byte(motoPins))
	venv := filepath.Join(cache, "moto-"+hex.EncodeToString(sum[:6]))
	done := filepath.Join(venv, "complete") // scripts in bin/ name the directory, so it is not renamed
	if _, err := os.Stat(done); err == nil {
		return venv, nil
	}
	if err := makeVenv(ctx, venv); err != nil {
		return "", fmt.Errorf("make moto's virtual environment: %w", err)
	}
	return venv, os.WriteFile(done, nil, 0o600)
}

func makeVenv(ctx context.Context, venv string) error {
	python := "/usr/bin/python3" // Debian's, whatever shadows it
	if _, err := os.Stat(python); err != nil {
		python = "python3"
	}
	pins := venv + ".txt"
	if err := os.WriteFile(pins, []byte(motoPins), 0o600); err != nil {
		return err
	}
	defer os.Remove(pins)
	if err := tool(ctx, python, "-m", "venv", "--clear", venv); err != nil {
		return err
	}
	return tool(ctx, filepath.Join(venv, "bin", "pip"), "install", "-q", "--no-input", "--disable-pip-version-check", "--no-deps", "-r", pins)
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
