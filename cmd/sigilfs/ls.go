package main

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// listing is an ls.
type listing struct {
	o                     *offline
	out                   rows
	long, recursive, json bool
	failed                int // entries of which nothing could be told
	unlisted              int // directories of which no more could be told
	stderr                io.Writer
}

func newList() *cobra.Command {
	l := &listing{}
	cmd := &cobra.Command{
		Use:   "ls TARGET…",
		Short: "List directories of a bucket",
		Long: `ls lists what a mount would show, with sizes and attributes as it shows them:

    sigilfs ls -l s3://bucket/prefix/ --encryption client --key file:main.key
    sigilfs ls --json -R s3://bucket/prefix --encryption client --key file:main.key

An entry takes one line, whatever its name is: one with line breaks, or what no
terminal shows, is quoted as in Go. A directory ends in a slash. What does not
open is listed all the same, with the reason behind its name.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("sigilfs ls s3://bucket/prefix --encryption client --key file:main.key")
			}
			return nil
		},
	}
	onVolume(cmd, reads|aFile, func(ctx context.Context, c *cobra.Command, o *offline, args []string) error {
		paths, err := o.targets(args)
		if err != nil {
			return err
		}
		l.o, l.out, l.stderr = o, l.rows(c.OutOrStdout()), c.ErrOrStderr()
		err = l.all(ctx, paths)
		if oerr := l.out.end(); oerr != nil && err == nil {
			err = systemError("%w", oerr)
		}
		return err
	})
	cmd.Flags().BoolVarP(&l.long, "long", "l", false, "show mode, links, owner, size and time of the last change")
	cmd.Flags().BoolVarP(&l.recursive, "recursive", "R", false, "list what is in directories too, each by its path")
	cmd.Flags().BoolVar(&l.json, "json", false, "print one JSON document, an array of entries, with all that is known")
	return cmd
}

func (l *listing) all(ctx context.Context, paths []string) error {
	for _, p := range paths {
		if err := l.target(ctx, p); err != nil {
			return l.o.explain("list", p, err)
		}
	}
	if l.unlisted > 0 {
		return mountError("%d directories could not be listed", l.unlisted)
	}
	if l.failed > 0 {
		return mountError("of %d entries nothing could be told", l.failed)
	}
	return nil
}

// target lists what an argument names: of a directory its entries.
func (l *listing) target(ctx context.Context, p string) error {
	at, info, err := l.o.follow(ctx, p)
	if err != nil {
		return err
	}
	if info.Mode&unix.S_IFMT == unix.S_IFDIR {
		return l.dir(ctx, at, "")
	}
	return l.out.row(row{path: p, name: path.Base(p), info: info, known: true, err: info.Err})
}

// looksAhead is how many entries are asked for at a time.
const looksAhead = 32

// dir lists the directory at p, as below shown.
func (l *listing) dir(ctx context.Context, p, shown string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var below []string
	for r := range ordered(ctx, looksAhead, l.entries(ctx, p, shown), l.look) {
		if r.fatal {
			return r.err
		}
		if r.err != nil && !r.known {
			l.failed++
		}
		if err := l.out.row(r); err != nil {
			return systemError("%w", err)
		}
		if l.recursive && r.isDir() {
			below = append(below, r.path[strings.LastIndexByte(r.path, '/')+1:])
		}
	}
	if err := ctx.Err(); err != nil {
		return mountError("interrupted")
	}
	for _, name := range below {
		if err := l.below(ctx, joinPath(p, name), joinPath(shown, name)); err != nil {
			return err
		}
	}
	return nil
}

// below lists a directory that was met. One that cannot be listed is told of,
// and the rest is listed.
func (l *listing) below(ctx context.Context, p, shown string) error {
	err := l.dir(ctx, p, shown)
	if coded := (*exitError)(nil); err == nil || errors.As(err, &coded) {
		return err
	}
	l.unlisted++
	say(l.stderr, l.o.explain("list", p, err).Error())
	return nil
}

// entries gives those of a directory with what a listing tells of them. The last
// one may be an error.
func (l *listing) entries(ctx context.Context, p, shown string) func(yield func(row) bool) {
	return func(yield func(row) bool) {
		for e, err := range l.o.files.List(ctx, p, "") {
			r := row{path: joinPath(p, e.Name), name: joinPath(shown, e.Name), err: err, fatal: err != nil}
			r.info.Mode = e.Type
			if !yield(r) || err != nil {
				return
			}
		}
	}
}

// joinPath puts a name behind a directory's path; "" is none.
func joinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// look asks for the entry, unless its name is all that is wanted.
func (l *listing) look(ctx context.Context, r row) row {
	if r.fatal || !l.long && !l.json && (!l.recursive || r.info.Mode != 0) {
		return r
	}
	if l.json {
		return l.o.look(ctx, r, l.o.files.Stat)
	}
	return l.o.look(ctx, r, l.o.files.Glance)
}

// look fills in what stat tells of the entry at r.path.
func (o *offline) look(ctx context.Context, r row, stat func(context.Context, string) (volume.Info, error)) row {
	info, err := stat(ctx, r.path)
	if err != nil {
		r.err = err
		return r
	}
	r.info, r.known, r.err = info, true, info.Err
	if info.Mode&unix.S_IFMT == unix.S_IFLNK && r.err == nil {
		r.link, r.err = o.files.Readlink(ctx, r.path)
	}
	return r
}
