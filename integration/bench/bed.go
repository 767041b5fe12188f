package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
)

// A bed is where everything is measured: one server, the meter before it, and
// what the programs are given to write.
type bed struct {
	opt        options
	dir        string // everything of the run, but the server's files
	bin        string // sigilfs
	self       string // this program
	s3         *server.Server
	storeOn    string // "tmpfs" or "disk"
	owner      *minio.Client
	proxy      *faultproxy.Proxy
	meter      *faultproxy.Meter
	source     *source
	contending []*contender
	cleanup    []func() error
}

func newBed(ctx context.Context, dir string, opt options) (*bed, error) {
	b := &bed{opt: opt, dir: dir, meter: faultproxy.NewMeter(func(*http.Request) bool { return true })}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bed) prepare(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.bin, err = b.build(ctx); err != nil {
		return err
	}
	if err := b.serve(ctx); err != nil {
		return err
	}
	if b.source, err = makeSource(b.local("source"), b.opt.sizes); err != nil {
		return err
	}
	b.cleanup = append(b.cleanup, b.source.close)
	if err := b.tool(ctx, b.bin, "keygen", "-o", b.local("main.key")); err != nil {
		return err
	}
	b.contending, err = b.contenders()
	return err
}

// build gives the binary: the one to measure, or one with profiles in it.
func (b *bed) build(ctx context.Context) (string, error) {
	if b.opt.profile == "" {
		return daemon.Binary(ctx, b.dir)
	}
	if err := os.MkdirAll(b.opt.profile, 0o750); err != nil {
		return "", err
	}
	return daemon.Build(ctx, b.dir, "-tags", "profile")
}

// serve starts the server and the meter.
func (b *bed) serve(ctx context.Context) error {
	dir, err := b.store()
	if err != nil {
		return err
	}
	if b.s3, err = server.PlainMinIO(ctx, dir); err != nil {
		return err
	}
	b.cleanup = append(b.cleanup, b.s3.Close)
	b.owner, err = minio.New(strings.TrimPrefix(b.s3.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(b.s3.AccessKey, b.s3.SecretKey, ""), Region: b.s3.Region,
	})
	if err != nil {
		return err
	}
	if b.proxy, err = faultproxy.Start(b.s3.URL, nil); err != nil {
		return err
	}
	b.cleanup = append(b.cleanup, func() error { b.proxy.Close(); return nil })
	b.proxy.Set(b.meter.Fault)
	return os.WriteFile(b.ca(), b.proxy.CA(), 0o600)
}

// store is where the server's files lie: in memory where that has room for the
// large file of all programs twice over, so that no disk is measured.
func (b *bed) store() (string, error) {
	const shm = "/dev/shm"
	within := b.opt.store
	if within == "" && room(shm) > 16*b.opt.sizes.large {
		within = shm
	}
	dir, err := os.MkdirTemp(within, "sigilfs-bench-store-")
	if err != nil {
		return "", err
	}
	b.cleanup = append(b.cleanup, func() error { return os.RemoveAll(dir) })
	b.storeOn = "disk"
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil && fs.Type == unix.TMPFS_MAGIC {
		b.storeOn = "tmpfs"
	}
	return dir, nil
}

// room is how many bytes are free in a filesystem.
func room(dir string) int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0
	}
	return int64(fs.Bavail) * fs.Bsize
}

// local is a file beside the mount.
func (b *bed) local(name string) string { return filepath.Join(b.dir, name) }

// mnt is the mountpoint of all programs.
func (b *bed) mnt() string { return b.local("mnt") }

func (b *bed) ca() string { return b.local("meter.crt") }

// env is the environment of everything that talks to the server: through the
// meter.
func (b *bed) env() []string {
	return append(b.s3.Env(), "AWS_ENDPOINT_URL="+b.proxy.URL(), "AWS_CA_BUNDLE="+b.ca())
}

// place puts the server at a distance.
func (b *bed) place(l link) {
	b.proxy.Far(l.trip)
	b.proxy.Cap(l.rate)
}

// close ends everything, also when the run was interrupted.
func (b *bed) close() error {
	var errs []error
	for len(b.cleanup) > 0 {
		last := len(b.cleanup) - 1
		errs = append(errs, b.cleanup[last]())
		b.cleanup = b.cleanup[:last]
	}
	return errors.Join(errs...)
}
