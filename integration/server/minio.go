package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// MinIO builds MinIO if need be and starts it with its files under root. The
// caller closes the server; it also ends when this process does.
func MinIO(ctx context.Context, root string) (*Server, error) {
	binary, err := buildMinIO(ctx)
	if err != nil {
		return nil, err
	}
	return launch(ctx, binary, root, "https")
}

// PlainMinIO is MinIO over http, for what stands behind a proxy that speaks TLS.
func PlainMinIO(ctx context.Context, root string) (*Server, error) {
	binary, err := buildMinIO(ctx)
	if err != nil {
		return nil, err
	}
	return launch(ctx, binary, root, "http")
}

// launch starts it under root. MinIO speaks https where it finds certificates.
func launch(ctx context.Context, binary, root, scheme string) (*Server, error) {
	s, address, err := prepare(ctx, root)
	if err != nil {
		return nil, err
	}
	certs := filepath.Join(root, "certs")
	if scheme == "http" {
		certs = filepath.Join(root, "none")
	}
	s.URL = scheme + "://" + address
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// The process outlives ctx, which bounds the start only.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, //nolint:gosec // built above
		"server", "--quiet", "--address", address, "--certs-dir", certs, s.Dir)
	cmd.Env = append(minioEnv(s), "HOME="+root, "PATH="+os.Getenv("PATH"))
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = log, log
	// Its own process group: Ctrl-C in a terminal is for us, who end it in
	// order. Should we be killed, the kernel kills it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ended, err := start(cmd)
	if err != nil {
		return nil, fmt.Errorf("start MinIO: %w", err)
	}
	s.stop = func() error { return terminate(cmd, ended) }
	if err := s.await(ctx, "/minio/health/ready", ended); err != nil {
		_ = cmd.Process.Kill()
		return nil, err
	}
	return s, nil
}

// start starts cmd and tells its end once on the channel. The goroutine keeps
// its thread: Pdeathsig speaks of the thread that forked, not of the process.
func start(cmd *exec.Cmd) (<-chan error, error) {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() { // stop waits for it by ended
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}

// minioEnv sets credentials, a KMS of one static key, and switches off what
// looks at the outside world.
func minioEnv(s *Server) []string {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return []string{
		"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
		"MINIO_KMS_SECRET_KEY=sigilfs-test:" + base64.StdEncoding.EncodeToString(key),
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_SITE_REGION=" + s.Region, "MINIO_CI_CD=1",
	}
}

// terminate asks first and kills then.
func terminate(cmd *exec.Cmd, ended <-chan error) error {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil // by our signal
		}
		return err
	case <-timer.C:
		_ = cmd.Process.Kill()
		return errors.Join(fmt.Errorf("the server did not end within %v and was killed", patience), <-ended)
	}
}
