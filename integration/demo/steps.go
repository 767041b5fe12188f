package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sigilfs/sigilfs/integration/daemon"
)

const letter = "Dear diary,\nnobody but us can read this.\n"

// steps are what the demo shows. Each checks itself.
func (d *demo) steps(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.makeKey, d.start, d.write, d.showBucket, d.comeBack, d.tamper,
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) makeKey(ctx context.Context) error {
	say("A key. It never leaves this machine.")
	command("sigilfs", "keygen", "-o", d.key)
	if out, err := daemon.Run(ctx, d.bin, d.s3.Env(), "keygen", "-o", d.key); err != nil {
		return fmt.Errorf("keygen: %w: %s", err, out)
	}
	info, err := os.Stat(d.key)
	if err != nil {
		return err
	}
	if info.Mode() != 0o600 {
		return fmt.Errorf("the key file has mode %v", info.Mode())
	}
	return nil
}

func (d *demo) start(ctx context.Context) error {
	say("A mount. It has tried bucket, credentials, key and conditional writes when it says so.")
	return d.remount(ctx)
}

func (d *demo) remount(ctx context.Context) error {
	args := []string{
		"--encryption", "client", "--key", "file:" + d.key,
		"--endpoint-url", d.s3.URL, "--ca-bundle", d.s3.CAFile, "--state-dir", d.dir + "/state",
	}
	command(append(append([]string{"sigilfs", "mount", "-f"}, args...), target, d.mnt)...)
	m, err := daemon.Start(ctx, daemon.Config{Bin: d.bin, Args: args, Target: target, Dir: d.mnt, Env: d.s3.Env(), Log: os.Stdout})
	if err != nil {
		return err
	}
	d.mount = m
	return nil
}

func (d *demo) write(context.Context) error {
	say("Work in it as on a disk.")
	if err := errors.Join(
		os.WriteFile(d.mnt+"/letter.txt", []byte(letter), 0o600),
		os.MkdirAll(d.mnt+"/photos/2026", 0o755),
		os.WriteFile(d.mnt+"/photos/2026/beach.raw", bytes.Repeat([]byte("pixels "), 300_000), 0o644),
		os.Symlink("photos/2026/beach.raw", d.mnt+"/favourite"),
	); err != nil {
		return err
	}
	if err := show(d.mnt, "ls", "-lR", "."); err != nil {
		return err
	}
	return show(d.mnt, "cat", "letter.txt")
}

// secrets are what must not be found in the bucket.
var secrets = [][]byte{[]byte("Dear diary"), []byte("pixels pixels"), []byte("2026/beach.raw")}

func (d *demo) showBucket(context.Context) error {
	say("What the owner of the bucket sees: names, sizes, noise.")
	if err := listObjects(d.s3.Dir, bucket); err != nil {
		return err
	}
	if err := dump(filepath.Join(d.raw(), "letter.txt")); err != nil {
		return err
	}
	seen := 0
	err := filepath.WalkDir(d.s3.Dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		seen++
		b, err := os.ReadFile(p)
		for _, s := range secrets {
			if bytes.Contains(b, s) {
				return fmt.Errorf("%q is readable in %s", s, p)
			}
		}
		return err
	})
	if err == nil && seen < 4 {
		err = fmt.Errorf("only %d files in the bucket", seen)
	}
	return err
}

func (d *demo) comeBack(ctx context.Context) error {
	say("Unmounted, and mounted again with the same key.")
	command("sigilfs", "umount", d.mnt)
	if err := d.unmount(ctx); err != nil {
		return err
	}
	if err := d.remount(ctx); err != nil {
		return err
	}
	if err := show(d.mnt, "cat", "letter.txt"); err != nil {
		return err
	}
	got, err := os.ReadFile(d.mnt + "/letter.txt")
	if err != nil {
		return err
	}
	if string(got) != letter {
		return fmt.Errorf("the letter came back as %q", got)
	}
	info, err := os.Stat(d.mnt + "/favourite")
	if err != nil {
		return err
	}
	if want := int64(len("pixels ") * 300_000); info.Size() != want {
		return fmt.Errorf("the photo came back with %d bytes, want %d", info.Size(), want)
	}
	return nil
}

func (d *demo) tamper(ctx context.Context) error {
	say("The owner of the bucket flips one bit of the letter.")
	if err := d.unmount(ctx); err != nil {
		return err
	}
	object := filepath.Join(d.raw(), "letter.txt")
	if err := flip(object); err != nil {
		return err
	}
	if err := d.remount(ctx); err != nil {
		return err
	}
	got, err := os.ReadFile(d.mnt + "/letter.txt")
	fmt.Printf("  $ cat letter.txt\n  %v\n", err)
	if !errors.Is(err, syscall.EBADMSG) || len(got) != 0 {
		return fmt.Errorf("a tampered file reads as %q, error %v", got, err) //nolint:errorlint // it is what was expected
	}
	say("The bit is flipped back.")
	if err := flip(object); err != nil {
		return err
	}
	got, err = os.ReadFile(d.mnt + "/letter.txt")
	if err != nil || !strings.HasPrefix(string(got), "Dear diary") {
		return fmt.Errorf("the mended letter reads as %q, error %v", got, err) //nolint:errorlint // may be nil
	}
	return nil
}

// flip changes one bit of a file in place.
func flip(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(name, b, 0o600)
}
