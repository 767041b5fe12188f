package main

import (
	"context"
	"fmt"
	"path"

	"github.com/sigilfs/sigilfs/internal/volume"
)

// dryTree is the side that a copy would write to. It refuses what that would
// refuse for what is there, and writes nothing.
type dryTree struct{ tree }

// replaceable tells whether n may take the place of what is at p.
func (d dryTree) replaceable(ctx context.Context, p string, n node) error {
	if local, ok := d.tree.(*localTree); ok {
		return local.replaceable(p, n)
	}
	there, err := d.stat(ctx, p, false)
	switch {
	case isAbsent(err):
		return nil
	case err == nil && there.isDir():
		return volume.ErrIsDir
	}
	return err
}

func (d dryTree) file(ctx context.Context, p string, n node, _ content, done func(int64)) error {
	err := d.replaceable(ctx, p, n)
	if err == nil {
		done(n.size)
	}
	return err
}

func (d dryTree) mkdir(ctx context.Context, p string, _ node) error {
	there, err := d.stat(ctx, p, false)
	switch {
	case isAbsent(err):
		return nil
	case err == nil && !there.isDir():
		return errNotDir
	}
	return err
}

func (d dryTree) symlink(ctx context.Context, p string, n node) error {
	return d.replaceable(ctx, p, n)
}

func (d dryTree) mknod(ctx context.Context, p string, n node) error {
	return d.replaceable(ctx, p, n)
}

func (d dryTree) link(context.Context, string, string) error { return nil }
func (d dryTree) endDir(context.Context, string, node) error { return nil }

// would tells what --dry-run has found to be copied.
func (cp *copying) would(p pair) {
	if !cp.dry {
		return
	}
	from, to := fullName(cp.from, p.from), fullName(cp.to, p.to)
	cp.out.line(fmt.Sprintf("would copy %s to %s", shownName(from), shownName(to)), event{"event": "would-copy", "from": from, "to": to, "bytes": p.node.size})
}

// fullName is a path of t as it can be given to a command.
func fullName(t tree, p string) string {
	switch t := t.(type) {
	case dryTree:
		return fullName(t.tree, p)
	case *volumeTree:
		return "s3://" + t.o.set.target.Bucket + "/" + t.o.set.target.Prefix + p
	case *localTree:
		return path.Join(t.dir, p)
	}
	return p
}
