package server

import (
	"context"
	_ "embed"
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
	venv, err := Venv(ctx, "moto", motoPins)
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
