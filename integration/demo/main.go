// Demo shows sigilfs at work without an account anywhere: it starts an
// S3 server in its own process, makes a key, mounts, writes, and puts what the
// mount shows beside what the bucket holds. It drives the built binary as a
// person would. Ctrl-C ends it and leaves nothing; -once goes through the same
// steps, checks each, and exits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
	"github.com/sigilfs/sigilfs/integration/server"
)

func main() {
	once := flag.Bool("once", false, "check every step and exit instead of waiting for Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *once); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, once bool) (err error) {
	dir, remove, err := daemon.WorkDir("sigilfs-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	d, err := newDemo(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.steps(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C in the middle
		}
		return err
	}
	if once {
		say("Every step was checked.")
		return nil
	}
	say("The mount is yours: %s\nThe bucket's files:  %s\nCtrl-C ends it all.", d.mnt, d.raw())
	select {
	case <-ctx.Done():
		fmt.Println()
		return nil
	case <-d.mount.Exited(): // somebody unmounted it
		return nil
	}
}

// A demo is one server and one mount.
type demo struct {
	bin, dir, mnt, key string
	s3                 *server.Server
	mount              *daemon.Daemon // nil while unmounted
}

const (
	bucket = "demo"
	target = "s3://" + bucket + "/vault"
)

func newDemo(ctx context.Context, dir string) (*demo, error) {
	bin, err := daemon.Binary(ctx, dir)
	if err != nil {
		return nil, err
	}
	d := &demo{bin: bin, dir: dir, mnt: dir + "/mnt", key: dir + "/main.key"}
	if err := os.Mkdir(d.mnt, 0o755); err != nil {
		return nil, err
	}
	say("An S3 server in this process: versitygw, over a plain directory, with TLS.")
	if d.s3, err = server.Versity(ctx, dir+"/s3"); err != nil {
		return nil, err
	}
	if err := d.s3.MakeBucket(ctx, bucket); err != nil {
		return nil, errors.Join(err, d.s3.Close())
	}
	return d, nil
}

// raw is where the server keeps the objects, as files.
func (d *demo) raw() string { return d.s3.Dir + "/" + bucket + "/vault" }

// close unmounts and stops the server, also when the steps were interrupted.
func (d *demo) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(d.unmount(ctx), d.s3.Close())
}

func (d *demo) unmount(ctx context.Context) error {
	if d.mount == nil {
		return nil
	}
	m := d.mount
	d.mount = nil
	select {
	case <-m.Exited():
		return nil
	default:
	}
	return m.End(ctx)
}
