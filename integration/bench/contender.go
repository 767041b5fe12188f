package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/sigilfs/sigilfs/integration/bench/report"
)

// A contender is a program with a bucket of its own.
type contender struct {
	name, kind string
	bucket     string
	local      string     // directory for what it keeps
	fs         filesystem // nil for the raw client
	fixture    string     // what is in the bucket and as it was made; "" for nothing, or nobody knows
	used       bool       // there is a bucket, and local
	only       []string   // works that it does; nil for all that are for its kind
}

// A filesystem can be mounted.
type filesystem interface {
	// mount returns when the mount answers.
	mount(ctx context.Context, at place) (mounted, error)
	// version says what it is, in a line.
	version(ctx context.Context) string
}

// A place is where to mount what.
type place struct {
	bucket, dir string
	local       string // a directory that stays from mount to mount
	scratch     string // one that is empty at each mount
	profile     string // without an ending; "" for none
	use
}

// use is what a mount is for.
type use struct {
	cached  bool // what was read is to be kept on the local disk
	renames bool // files are renamed right after they are closed
}

// A mounted filesystem runs as one process or several.
type mounted interface {
	pids() []int
	// settle returns when all that was closed is in the bucket.
	settle(ctx context.Context) error
	// unmount ends it in order.
	unmount(ctx context.Context) error
	// kill ends it at once; nothing after an unmount that succeeded.
	kill()
}

// contenders are all that are installed and asked for.
func (b *bed) contenders() ([]*contender, error) {
	over := s3fs{b}
	var all []*contender
	for _, c := range []*contender{
		{name: report.Client, kind: report.Ours, fs: sigilfs{b: b, mode: "client"}},
		{name: report.Packed, kind: report.Ours, fs: sigilfs{b: b, mode: "client", args: []string{"--compress", "zstd"}}, only: []string{report.Write, report.Read, report.Random}},
		{name: report.Hidden, kind: report.Ours, fs: sigilfs{b: b, mode: "client", names: true}, only: []string{report.Names, report.Find, report.Tar}},
		{name: "sigilfs sse-s3", kind: report.Ours, fs: sigilfs{b: b, mode: "sse-s3"}},
		{name: report.Plain, kind: report.Ours, fs: sigilfs{b: b, mode: "none"}},
		{name: report.S3FS, kind: report.Peer, fs: over},
		{name: report.Rclone, kind: report.Peer, fs: rclone{b}},
		{name: "gocryptfs on s3fs", kind: report.Peer, fs: gocryptfs{b, over}},
		{name: report.RawClient, kind: report.Raw},
		{name: report.NullFS, kind: report.Null, fs: nullFS{b}},
	} {
		if !b.opt.who.MatchString(c.name) {
			continue
		}
		if lacking := c.lacks(); lacking != "" {
			progress("%s is not measured: no %s (apt-get install %s)", c.name, lacking, lacking)
			continue
		}
		c.bucket = "bench-" + strings.ReplaceAll(c.name, " ", "-")
		c.local = b.local(c.bucket)
		all = append(all, c)
	}
	return all, os.Mkdir(b.mnt(), 0o750)
}

// lacks names a program that it needs and that is not there.
func (c *contender) lacks() string {
	n, ok := c.fs.(interface{ needs() []string })
	if !ok {
		return ""
	}
	for _, name := range n.needs() {
		if _, err := exec.LookPath(name); err != nil {
			return name
		}
	}
	return ""
}

// reset gives a contender an empty bucket, past the meter, and forgets all that
// was kept.
func (b *bed) reset(ctx context.Context, c *contender) error {
	if err := b.clear(ctx, c); err != nil {
		return err
	}
	c.used = true
	return errors.Join(os.Mkdir(c.local, 0o700), b.s3.MakeBucket(ctx, c.bucket))
}

// clear takes away its bucket and all that it kept: memory, where the server's
// files are there.
func (b *bed) clear(ctx context.Context, c *contender) error {
	c.fixture = ""
	if !c.used {
		return nil
	}
	err := b.owner.RemoveBucketWithOptions(ctx, c.bucket, minio.RemoveBucketOptions{ForceDelete: true})
	c.used = err != nil
	return errors.Join(err, os.RemoveAll(c.local))
}

// release clears all whose content the next work has no use for.
func (b *bed) release(ctx context.Context, next string) error {
	for _, c := range b.contending {
		if c.fixture == "" || c.fixture != next {
			if err := b.clear(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// mounts mounts a contender with nothing cached. at names the round, for its
// profile.
func (b *bed) mounts(ctx context.Context, c *contender, u use, at string) (mounted, error) {
	p := place{bucket: c.bucket, dir: b.mnt(), local: c.local, scratch: filepath.Join(c.local, "scratch"), use: u}
	if b.opt.profile != "" && at != "" {
		p.profile = filepath.Join(b.opt.profile, strings.NewReplacer(" ", "-", "/", "-").Replace(c.name+"-"+at))
	}
	if err := errors.Join(os.RemoveAll(p.scratch), os.Mkdir(p.scratch, 0o700)); err != nil {
		return nil, err
	}
	return c.fs.mount(ctx, p)
}
