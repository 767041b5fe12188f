package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// files is how many small ones there are.
func (b *bed) files() int { return int(b.opt.size(1000, 10_000)) }

// small makes a local directory of small files, once a run.
func (b *bed) small() (string, error) {
	dir := b.local("small")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, makeSmall(dir, b.files())
}

func makeSmall(dir string, n int) error {
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	for i := range n {
		if err := fill(filepath.Join(dir, fmt.Sprintf("file%05d", i)), int64(100+i)); err != nil {
			return err
		}
	}
	return nil
}

// tool measures a program that is given a directory and where to put it. AWS's
// command line does the same.
func tool(argv ...string) func(context.Context, *bed) ([]result, error) {
	return func(ctx context.Context, b *bed) ([]result, error) {
		dir, err := b.small()
		if err != nil {
			return nil, err
		}
		us, err := b.filled(ctx, append(argv, dir, b.path("copy"))...)
		if err != nil {
			return nil, err
		}
		them, err := b.timed(result{who: "aws s3 cp", files: b.files()}, func() error {
			return b.run(ctx, awsCLI, "--endpoint-url", b.proxy.URL(), "s3", "cp", "--only-show-errors", "--recursive", dir, "s3://"+bucket+"/"+theirs)
		})
		return []result{us, them}, errors.Join(err, b.drop(ctx, theirs))
	}
}

// untar is tool for an archive.
func untar(ctx context.Context, b *bed) ([]result, error) {
	dir, err := b.small()
	if err != nil {
		return nil, err
	}
	archive := b.local("small.tar")
	if err := b.run(ctx, "tar", "--format=posix", "-C", dir, "-cf", archive, "."); err != nil {
		return nil, err
	}
	if err := os.Mkdir(b.path("copy"), 0o750); err != nil {
		return nil, err
	}
	us, err := b.filled(ctx, "tar", "xf", archive, "-C", b.path("copy"))
	return []result{us}, err
}

// filled measures what fills copy with the small files. Its time is the
// program's, its requests are all until the mount has ended.
func (b *bed) filled(ctx context.Context, argv ...string) (result, error) {
	r, err := b.timed(result{who: "sigilfs", mount: true, files: b.files()}, func() error { return b.run(ctx, argv...) })
	if err != nil {
		return r, err
	}
	rest, err := b.timed(result{}, func() error { return b.unmount(ctx) })
	if err != nil {
		return r, err
	}
	r.tally = r.tally.Add(rest.tally)
	return r, errors.Join(b.start(ctx), b.run(ctx, "rm", "-r", b.path("copy")))
}

// renameDirectory renames a directory of small files.
func renameDirectory(ctx context.Context, b *bed) ([]result, error) {
	dir, err := b.small()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(b.run(ctx, "cp", "-r", dir, b.path("copy")), b.remount(ctx)); err != nil {
		return nil, err
	}
	r, err := b.timed(result{who: "sigilfs", mount: true, files: b.files()}, func() error { return os.Rename(b.path("copy"), b.path("moved")) })
	return []result{r}, errors.Join(err, b.run(ctx, "rm", "-r", b.path("moved")))
}
