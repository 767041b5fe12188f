package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sigilfs/sigilfs/integration/daemon"
)

// movedName is what the tree is renamed to, newName where files are created.
const (
	movedName = "moved"
	newName   = "new"
)

// quiet is how long a mount is left alone before its memory is looked at.
const quiet = 3 * time.Second

// idle lists the root and waits.
func idle(ctx context.Context, st *stage) error {
	if _, err := os.ReadDir(st.mnt()); err != nil {
		return err
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// create makes the small files in one directory, by some threads at once.
func create(threads int) func(context.Context, *stage) error {
	return func(_ context.Context, st *stage) error {
		if err := os.Mkdir(st.path(newName), 0o750); err != nil {
			return err
		}
		var group errgroup.Group
		group.SetLimit(threads)
		for i := range st.opt.sizes.small() {
			group.Go(func() error { return put(st.newFile(i), st.source.small(i)) })
		}
		return group.Wait()
	}
}

func (st *stage) newFile(i int) string { return st.path(fmt.Sprintf("%s/f%05d", newName, i)) }

func created(_ context.Context, st *stage) error {
	for i := range st.opt.sizes.small() {
		if err := compare(st.newFile(i), st.source.small(i)); err != nil {
			return err
		}
	}
	return nil
}

// writeTree copies the tree with its times, so that a second copy finds nothing
// to do.
func writeTree(ctx context.Context, st *stage) error { return rsync(ctx, st) }

func rsync(ctx context.Context, st *stage) error {
	return st.tool(ctx, "rsync", "-a", st.source.tree()+"/", st.path(treeName)+"/")
}

// sameTree compares all small files below a directory, and that there are no
// others.
func sameTree(name string) func(context.Context, *stage) error {
	return func(_ context.Context, st *stage) error {
		for i := range st.opt.sizes.small() {
			if err := compare(st.path(path.Join(name, st.source.name(i))), st.source.small(i)); err != nil {
				return err
			}
		}
		n := 0
		err := filepath.WalkDir(st.path(name), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return err
		})
		if err == nil && n != st.opt.sizes.small() {
			err = fmt.Errorf("%d files in %s: %w", n, name, errDiffers)
		}
		return err
	}
}

// find prints all attributes, and looks at what it printed.
func find(ctx context.Context, st *stage) error {
	out, err := daemon.Run(ctx, "find", st.env(), st.path(treeName), "-printf", `%y %s %m %U %G %T@ %P\n`)
	if err != nil {
		return fmt.Errorf("find: %w: %s", errors.Join(err, ctx.Err()), cut(out, 200))
	}
	files, size := 0, int64(0)
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "f" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return err
			}
			files, size = files+1, size+n
		}
	}
	if files != st.opt.sizes.small() || size != st.opt.sizes.smallBytes() {
		return fmt.Errorf("find: %d files of %d bytes: %w", files, size, errDiffers)
	}
	return nil
}

func (st *stage) archive() string { return filepath.Join(st.c.local, "tree.tar") }

// tarTree archives the tree on the local disk.
func tarTree(ctx context.Context, st *stage) error {
	return st.tool(ctx, "tar", "-C", st.path(treeName), "-cf", st.archive(), ".")
}

// tarred looks at the archive.
func tarred(_ context.Context, st *stage) error {
	f, err := os.Open(st.archive())
	if err != nil {
		return err
	}
	defer f.Close()
	want := map[string][]byte{}
	for i := range st.opt.sizes.small() {
		want[st.source.name(i)] = st.source.small(i)
	}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Clean(h.Name)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want[name]) {
			return fmt.Errorf("%s in the archive: %w", name, errors.Join(err, errDiffers))
		}
		delete(want, name)
	}
	if len(want) > 0 {
		return fmt.Errorf("%d files are not in the archive: %w", len(want), errDiffers)
	}
	return os.Remove(st.archive())
}

// writeNames makes many empty files in one directory.
func writeNames(_ context.Context, st *stage) error {
	if err := os.Mkdir(st.path(namesName), 0o750); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(32)
	for i := range st.opt.sizes.names {
		group.Go(func() error { return put(st.path(fmt.Sprintf("%s/IMG_%08d.jpeg", namesName, i)), nil) })
	}
	return group.Wait()
}

// listNames reads the directory, and nothing of what is in it.
func listNames(_ context.Context, st *stage) error {
	dir, err := os.Open(st.path(namesName))
	if err != nil {
		return err
	}
	all, err := dir.Readdirnames(-1)
	if err == nil && len(all) != st.opt.sizes.names {
		err = fmt.Errorf("%d names: %w", len(all), errDiffers)
	}
	return errors.Join(err, dir.Close())
}

func rename(_ context.Context, st *stage) error {
	return os.Rename(st.path(treeName), st.path(movedName))
}

func remove(ctx context.Context, st *stage) error {
	return st.tool(ctx, "rm", "-r", st.path(treeName))
}

func removed(_ context.Context, st *stage) error {
	names, err := os.ReadDir(st.mnt())
	for _, n := range names {
		if n.Name() == treeName {
			return fmt.Errorf("%s is still there: %w", treeName, errDiffers)
		}
	}
	return err
}
