package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sigilfs/sigilfs/integration/daemon"
)

// sigilfs is the binary in one mode.
type sigilfs struct {
	b     *bed
	mode  string
	args  []string
	names bool // are encrypted
}

func (f sigilfs) version(ctx context.Context) string { return firstLine(ctx, f.b.bin, "version") }

func (f sigilfs) mount(ctx context.Context, at place) (mounted, error) {
	args := []string{
		"--endpoint-url", f.b.proxy.URL(), "--ca-bundle", f.b.ca(), "--state-dir", at.local + "/state", "--encryption", f.mode,
	}
	if f.mode == "client" {
		args = append(args, "--key", "file:"+f.b.local("main.key"))
	}
	args = append(args, f.args...)
	target := "s3://" + at.bucket + "/mount"
	if f.names {
		if err := f.init(ctx, target, at.local, args); err != nil {
			return nil, err
		}
	}
	if at.cached {
		args = append(args, "--cache", at.scratch)
	}
	env := f.b.env()
	if at.profile != "" {
		env = append(env, "SIGILFS_PROFILE="+at.profile)
	}
	d, err := daemon.Start(ctx, daemon.Config{Bin: f.b.bin, Args: args, Target: target, Dir: at.dir, Env: env})
	if err != nil {
		return nil, err
	}
	return ours{d}, nil
}

// init has the names of a volume encrypted, once.
func (f sigilfs) init(ctx context.Context, target, local string, args []string) error {
	done := filepath.Join(local, "init")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := f.b.tool(ctx, append([]string{f.b.bin, "init", target, "--encrypt-names"}, args...)...); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o600)
}

// ours is a running sigilfs.
type ours struct{ d *daemon.Daemon }

func (o ours) pids() []int                       { return []int{o.d.PID()} }
func (o ours) settle(context.Context) error      { return nil } // close(2) has seen to that
func (o ours) unmount(ctx context.Context) error { return o.d.Unmount(ctx) }

func (o ours) kill() {
	o.d.Kill()
	_ = daemon.Detach(o.d.Dir()) // what is not mounted is no error
}
