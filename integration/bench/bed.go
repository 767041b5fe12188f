package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
)

// bucket is the only one; the mount has a prefix, the other clients another.
const (
	bucket = "bench"
	target = "s3://" + bucket + "/mount"
	theirs = "other/"
)

// A bed is where everything is measured: one server, one proxy before it, one
// mount through that.
type bed struct {
	opt   options
	dir   string // everything of the run
	bin   string
	s3    *server.Server
	proxy *faultproxy.Proxy
	meter *faultproxy.Meter
	mount *daemon.Daemon // nil while unmounted
}

func newBed(ctx context.Context, dir string, opt options) (*bed, error) {
	b := &bed{opt: opt, dir: dir, meter: faultproxy.NewMeter(func(*http.Request) bool { return true })}
	var err error
	if b.bin, err = daemon.Binary(ctx, dir); err != nil {
		return nil, err
	}
	if b.s3, err = server.MinIO(ctx, filepath.Join(dir, "s3")); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, b.close(ctx))
	}
	return b, nil
}

// prepare makes what a mount needs, and mounts.
func (b *bed) prepare(ctx context.Context) error {
	if err := b.s3.MakeBucket(ctx, bucket); err != nil {
		return err
	}
	roots, err := os.ReadFile(b.s3.CAFile)
	if err != nil {
		return err
	}
	if b.proxy, err = faultproxy.Start(b.s3.URL, roots); err != nil {
		return err
	}
	b.proxy.Set(b.meter.Fault)
	if err := errors.Join(os.WriteFile(b.ca(), b.proxy.CA(), 0o600), os.Mkdir(b.path(""), 0o750)); err != nil {
		return err
	}
	if out, err := daemon.Run(ctx, b.bin, b.env(), "keygen", "-o", b.key()); err != nil {
		return fmt.Errorf("keygen: %w: %s", err, out)
	}
	return b.start(ctx)
}

func (b *bed) ca() string  { return filepath.Join(b.dir, "proxy.crt") }
func (b *bed) key() string { return filepath.Join(b.dir, "main.key") }

// path is a file in the mount, local one beside it.
func (b *bed) path(name string) string  { return filepath.Join(b.dir, "mnt", name) }
func (b *bed) local(name string) string { return filepath.Join(b.dir, name) }

// env is the environment of everything that talks to the server: through the
// proxy.
func (b *bed) env() []string {
	return append(b.s3.Env(), "AWS_ENDPOINT_URL="+b.proxy.URL(), "AWS_CA_BUNDLE="+b.ca())
}

// start mounts, with more flags.
func (b *bed) start(ctx context.Context, more ...string) error {
	args := []string{
		"--endpoint-url", b.proxy.URL(), "--ca-bundle", b.ca(), "--state-dir", b.local("state"), "--encryption", b.opt.encryption,
	}
	if b.opt.encryption == "client" {
		args = append(args, "--key", "file:"+b.key())
	}
	m, err := daemon.Start(ctx, daemon.Config{Bin: b.bin, Args: append(args, more...), Target: target, Dir: b.path(""), Env: b.env()})
	b.mount = m
	return err
}

// remount forgets whatever is cached.
func (b *bed) remount(ctx context.Context, more ...string) error {
	if err := b.unmount(ctx); err != nil {
		return err
	}
	return b.start(ctx, more...)
}

func (b *bed) unmount(ctx context.Context) error {
	if b.mount == nil {
		return nil
	}
	m := b.mount
	b.mount = nil
	return m.End(ctx)
}

// close unmounts and stops everything, also when the run was interrupted.
func (b *bed) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := b.unmount(ctx)
	if b.proxy != nil {
		b.proxy.Close()
	}
	return errors.Join(err, b.s3.Close())
}

// timed measures do: its time, and what passes the proxy meanwhile.
func (b *bed) timed(r result, do func() error) (result, error) {
	b.meter.Take()
	began := time.Now()
	err := do()
	r.took = time.Since(began)
	r.tally = b.meter.Take()
	return r, err
}

// run runs a program to its end.
func (b *bed) run(ctx context.Context, argv ...string) error {
	out, err := daemon.Run(ctx, argv[0], b.env(), argv[1:]...)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}
