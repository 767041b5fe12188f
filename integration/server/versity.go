package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// Versity runs versitygw in this process with its files under root, over its
// POSIX backend: an object is a file of that name under Dir. Its metadata lies
// in a directory beside it, since not every filesystem has extended attributes.
// There can be one at a time in a process.
func Versity(ctx context.Context, root string) (*Server, error) {
	s, address, err := prepare(ctx, root)
	if err != nil {
		return nil, err
	}
	side := filepath.Join(root, "meta")
	versions := filepath.Join(root, "versions")
	if err := makeDirs(side, versions); err != nil {
		return nil, err
	}
	sidecar, err := meta.NewSideCar(side)
	if err != nil {
		return nil, fmt.Errorf("versitygw: %w", err)
	}
	backend, err := posix.New(s.Dir, sidecar, posix.PosixOpts{SideCarDir: side, VersioningDir: versions, CopyObjectThreshold: 5 << 30})
	if err != nil {
		return nil, fmt.Errorf("versitygw: %w", err)
	}
	// The gateway lives until Close; ctx bounds only its start.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { // stop waits for it by ended
		ended <- embedgw.RunVersityGW(life, backend, &embedgw.Config{
			RootUserAccess: s.AccessKey, RootUserSecret: s.SecretKey, Region: s.Region,
			Ports: []string{address}, HealthPath: "/health", KeepAlive: true, Quiet: true,
			CertFile: filepath.Join(root, "certs", "public.crt"), KeyFile: filepath.Join(root, "certs", "private.key"),
			MaxConnections: 1024, MaxRequests: 512, MultipartMaxParts: 10000,
		})
	}()
	s.stop = func() error {
		end()
		return finish(ended)
	}
	if err := s.await(ctx, "/health", ended); err != nil {
		end()
		return nil, err
	}
	return s, nil
}

// finish waits for the gateway's end.
func finish(ended <-chan error) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, context.Canceled) {
			return nil
		}
		return fmt.Errorf("versitygw: %w", err)
	case <-timer.C:
		return errors.New("versitygw did not end")
	}
}
