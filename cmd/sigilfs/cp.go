package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// copying is a cp.
type copying struct {
	recursive, archive, update, dry, quiet, json bool

	config   string
	parallel int

	from, to tree
	within   *volumeTree // both sides, where both are in the bucket
	bar      *progress.Progress
	say      func(text string)
	out      *printer // of --dry-run
	work     errgroup.Group
	sum      struct{ objects, bytes int64 } // of files that were asked for by name

	mu     sync.Mutex // guards what follows
	failed int
	first  error
	links  map[fileID]string // by the id of a file with several names: the copy of the first
	later  []pair            // names that become links, when their files are there
	dirs   []pair            // whose attributes follow, the outermost first
	done   map[string]bool   // copies of files with several names that succeeded
}

// pair is a path and where it is copied to.
type pair struct {
	from, to string
	node     node
}

func newCopy() *cobra.Command {
	cp := &copying{}
	s := defaultSettings()
	cmd := &cobra.Command{
		Use:   "cp SRC… DST",
		Short: "Copy files between this host and a bucket, or within one",
		Long: `cp copies files to a bucket, from it, or within it, without a mount. What begins
with s3:// is in the bucket, the rest is here; all of the bucket's are in one volume:

    sigilfs cp -a ./site s3://bucket/prefix/ --encryption client --key file:main.key
    sigilfs cp -r s3://bucket/prefix/site ./restored --encryption client --key file:main.key
    sigilfs cp --config CONFIG.yaml s3://bucket/prefix/a s3://bucket/prefix/b

Within the bucket large bodies are copied by the server. A file is there as a
whole or not at all; here too, where it gets its name when it is on the disk. No
symbolic link of DST leads a copy elsewhere. With --update what is there already,
as long and not older, is passed over, so that a copy that was interrupted goes on.
With --dry-run nothing is written: what would be copied is listed.

What cannot be copied is told of and passed over, and the exit code is 32.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError("sigilfs cp SRC… DST, of which one begins with s3://")
			}
			return nil
		},
	}
	cmd.RunE = func(c *cobra.Command, args []string) error {
		target, how, err := cp.target(args)
		if err != nil {
			return err
		}
		return withVolume(c, s, target, "", how, func(ctx context.Context, o *offline) error { return cp.run(ctx, c, o, args) })
	}
	s.addFlags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVarP(&cp.recursive, "recursive", "r", false, "copy directories, with symbolic links, fifos and the like as they are")
	f.BoolVarP(&cp.archive, "archive", "a", false, "--recursive, and keep modes, owners (as root), times, user.* attributes and hard links")
	f.BoolVarP(&cp.update, "update", "u", false, "pass over files that are there already, as long and not older")
	f.StringVar(&cp.config, "config", "", "`FILE` that configures the volume, in place of the flags for it")
	f.IntVarP(&cp.parallel, "parallel", "j", 8, "`N` files at a time")
	f.BoolVar(&cp.dry, "dry-run", false, "list what would be copied, and write nothing")
	f.BoolVarP(&cp.quiet, "quiet", "q", false, "do not tell how far it is")
	f.BoolVar(&cp.json, "json", false, "tell how far it is as JSON on stdout, an object a line")
	return cmd
}

// target chooses what the volume is found by, and how it is come to.
func (cp *copying) target(args []string) (target string, how access, err error) {
	sources, to := args[:len(args)-1], args[len(args)-1]
	remote := 0
	for _, src := range sources {
		if isRemote(src) {
			remote++
			target = src
		}
	}
	how = aFile
	if isRemote(to) {
		target, how = to, writes|aFile
	}
	inBucket := isRemote(to)
	if cp.dry {
		how &^= writes
	}
	switch {
	case cp.parallel < 1 || cp.parallel > 64:
		return "", 0, usageError("--parallel is from 1 to 64")
	case remote == 0 && !inBucket:
		return "", 0, usageError("neither SRC nor DST begins with s3://: that is for cp(1)")
	case remote > 0 && remote < len(sources):
		return "", 0, usageError("SRC are here or in the bucket: give both a command of their own")
	}
	cp.recursive = cp.recursive || cp.archive
	if cp.config != "" {
		target = cp.config
	}
	return target, how, nil
}

func (cp *copying) run(ctx context.Context, c *cobra.Command, o *offline, args []string) error {
	cp.bar = tellProgress(c, "copying", cp.quiet, cp.json)
	defer cp.bar.Done()
	cp.say = func(text string) {
		cp.bar.Clear()
		say(c.ErrOrStderr(), text)
	}
	cp.out = &printer{bar: cp.bar, json: cp.json, err: c.ErrOrStderr(), out: c.OutOrStdout()}
	cp.links, cp.done = map[fileID]string{}, map[string]bool{}
	cp.work.SetLimit(cp.parallel)
	sources, dst := args[:len(args)-1], args[len(args)-1]
	closing, err := cp.ends(ctx, o, sources, &dst)
	if err != nil {
		return err
	}
	defer closing()
	stop := cp.count(ctx, o, sources)
	defer stop()
	into, err := cp.isDir(ctx, dst, strings.HasSuffix(args[len(args)-1], "/") || len(sources) > 1)
	if err != nil {
		return err
	}
	for _, src := range sources {
		cp.source(ctx, o, src, dst, into)
	}
	_ = cp.work.Wait() // its functions give no error
	cp.finish(ctx)
	switch {
	case ctx.Err() != nil:
		return mountError("interrupted; with --update the same command goes on")
	case cp.failed > 0:
		return mountError("%d could not be copied, the first: %w", cp.failed, cp.first)
	case cp.out.bad != nil:
		return systemError("%w", cp.out.bad)
	}
	return nil
}

// ends makes both sides; dst becomes the path in its own.
func (cp *copying) ends(ctx context.Context, o *offline, sources []string, dst *string) (closing func(), err error) {
	bucket := &volumeTree{o: o, archive: cp.archive}
	cp.from, cp.to, closing = bucket, bucket, func() {}
	if !isRemote(sources[0]) {
		cp.from = localSource{cp.archive}
	}
	if isRemote(*dst) {
		*dst, err = o.locate(*dst)
	} else {
		local, err := openLocal(*dst, cp.archive, o.mask)
		if err != nil {
			return nil, systemError("%w", err)
		}
		cp.to, *dst, closing = local, local.name, func() { _ = local.root.Close() }
	}
	if cp.from == cp.to {
		cp.within = bucket
	}
	if cp.dry {
		cp.to = dryTree{cp.to}
	}
	return closing, err
}

// count has it found out meanwhile how much there is to copy; stop ends that. What
// is no tree is known as soon as it is looked at.
func (cp *copying) count(ctx context.Context, o *offline, sources []string) (stop func()) {
	if !cp.recursive {
		return func() {}
	}
	return counting(ctx, cp.bar, func(ctx context.Context) (objects, bytes int64, err error) {
		for _, src := range sources {
			if isRemote(src) {
				if src, err = o.locate(src); err != nil {
					return 0, 0, err
				}
			}
			n, b, err := cp.from.size(ctx, src)
			if err != nil {
				return 0, 0, err
			}
			objects, bytes = objects+n, bytes+b
		}
		return objects, bytes, nil
	})
}

// isDir tells whether copies go into dst, under their own names. must: if not,
// that is an error.
func (cp *copying) isDir(ctx context.Context, dst string, must bool) (bool, error) {
	n, err := cp.to.stat(ctx, dst, true)
	switch {
	case err == nil && n.isDir():
		return true, nil
	case err == nil && must:
		return false, cp.to.explain("copy to", dst, errNotDir)
	case err != nil && !isAbsent(err):
		return false, cp.to.explain("copy to", dst, err)
	}
	return must, nil
}

// source copies one that was asked for.
func (cp *copying) source(ctx context.Context, o *offline, src, dst string, into bool) {
	p, name := src, filepath.Base(filepath.Clean(src))
	if isRemote(src) {
		var err error
		if p, err = o.locate(src); err != nil {
			cp.fail(err)
			return
		}
		name = path.Base("/" + p)
	}
	if strings.HasSuffix(src, "/.") { // what is in it, as of cp(1)
		name = "."
	}
	if into && name != "/" && name != "." && name != ".." {
		dst = joinPath(dst, name)
	}
	n, err := cp.from.stat(ctx, p, !cp.recursive)
	if err != nil {
		cp.fail(cp.from.explain("copy", p, err))
		return
	}
	if n.isDir() && !cp.recursive {
		cp.fail(cp.from.explain("copy", p, errors.New("is a directory; -r copies it")))
		return
	}
	if cp.sameSide(p, dst) {
		cp.fail(cp.from.explain("copy", p, errors.New("it would be copied onto itself, or into itself")))
		return
	}
	if !cp.recursive {
		cp.sum.objects, cp.sum.bytes = cp.sum.objects+1, cp.sum.bytes+n.size
		cp.bar.Total(cp.sum.objects, cp.sum.bytes)
	}
	if err := cp.to.parents(ctx, dst); err != nil {
		cp.fail(cp.to.explain("copy to", dst, err))
		return
	}
	cp.walk(ctx, pair{p, dst, n})
}

// sameSide tells a copy within the bucket that would meet itself.
func (cp *copying) sameSide(p, dst string) bool {
	return cp.within != nil && (p == dst || p == "" || strings.HasPrefix(dst+"/", p+"/"))
}

// walk copies what is at p.from, and below.
func (cp *copying) walk(ctx context.Context, p pair) {
	if ctx.Err() != nil {
		return
	}
	if p.node.isDir() {
		cp.dir(ctx, p)
		return
	}
	if cp.archive && p.node.nlink > 1 && cp.linked(p) {
		return
	}
	cp.work.Go(func() error {
		cp.leaf(ctx, p)
		return nil
	})
}

// linked tells whether p is another name of what was met before, to be linked
// when that is there.
func (cp *copying) linked(p pair) bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	first, again := cp.links[p.node.id]
	if !again {
		cp.links[p.node.id] = p.to
		return false
	}
	cp.later = append(cp.later, pair{first, p.to, p.node})
	return true
}

func (cp *copying) dir(ctx context.Context, p pair) {
	if err := cp.to.mkdir(ctx, p.to, p.node); err != nil {
		cp.fail(cp.to.explain("make", p.to, err))
		return
	}
	cp.mu.Lock()
	cp.dirs = append(cp.dirs, p)
	cp.mu.Unlock()
	for name, err := range cp.from.list(ctx, p.from) {
		if err != nil {
			cp.fail(cp.from.explain("list", p.from, err))
			return
		}
		below := pair{from: joinPath(p.from, name), to: joinPath(p.to, name)}
		if p.from == "/" {
			below.from = "/" + name
		}
		if below.node, err = cp.from.stat(ctx, below.from, false); err != nil {
			cp.fail(cp.from.explain("copy", below.from, err))
			continue
		}
		cp.walk(ctx, below)
	}
}

// leaf copies what is no directory.
func (cp *copying) leaf(ctx context.Context, p pair) {
	if ctx.Err() != nil {
		return
	}
	if cp.update && cp.isThere(ctx, p) {
		cp.copied(p, p.node.size)
		return
	}
	var err error
	switch p.node.mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = cp.file(ctx, p)
	case unix.S_IFLNK:
		err = cp.to.symlink(ctx, p.to, p.node)
	case unix.S_IFSOCK:
		cp.say(fmt.Sprintf("%s is a socket, and not copied", quoted(p.from)))
		return
	default:
		err = cp.to.mknod(ctx, p.to, p.node)
	}
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		cp.fail(cp.to.explain("copy "+quoted(p.from)+" to", p.to, err))
	default:
		cp.would(p)
		cp.copied(p, 0)
	}
}

// isThere tells whether --update passes p over.
func (cp *copying) isThere(ctx context.Context, p pair) bool {
	n, err := cp.to.stat(ctx, p.to, false)
	if err != nil || n.mode&unix.S_IFMT != p.node.mode&unix.S_IFMT {
		return false
	}
	switch p.node.mode & unix.S_IFMT {
	case unix.S_IFREG:
		return n.size == p.node.size && n.mtime >= p.node.mtime
	case unix.S_IFLNK:
		return n.link == p.node.link
	}
	return n.rdev == p.node.rdev
}

// file copies a regular file: inside the store where both are in the bucket.
func (cp *copying) file(ctx context.Context, p pair) error {
	if cp.within != nil && !cp.dry {
		return cp.within.copyWithin(ctx, p, func(n int64) { cp.bar.Add(0, n) })
	}
	src, err := cp.from.open(ctx, p.from, p.node)
	if err != nil {
		return err
	}
	defer src.close()
	return cp.to.file(ctx, p.to, p.node, src, func(n int64) { cp.bar.Add(0, n) })
}

func (cp *copying) copied(p pair, skipped int64) {
	cp.bar.Add(1, skipped)
	if p.node.nlink > 1 {
		cp.mu.Lock()
		defer cp.mu.Unlock()
		cp.done[p.to] = true
	}
}

// finish makes links, and then gives directories their attributes, the innermost
// first: what is made in one moves its time.
func (cp *copying) finish(ctx context.Context) {
	for _, p := range cp.later {
		if ctx.Err() != nil {
			return
		}
		if !cp.done[p.from] {
			continue // it has failed, and that was said
		}
		err := cp.to.link(ctx, p.from, p.to)
		if err != nil {
			cp.fail(cp.to.explain("link", p.to, err))
			continue
		}
		cp.would(p)
		cp.bar.Add(1, 0)
	}
	for i := len(cp.dirs) - 1; i >= 0 && ctx.Err() == nil; i-- {
		p := cp.dirs[i]
		if err := cp.to.endDir(ctx, p.to, p.node); err != nil {
			cp.fail(cp.to.explain("set attributes of", p.to, err))
		}
	}
	if local, ok := cp.to.(*localTree); ok {
		if err := local.end(); err != nil {
			cp.fail(local.explain("sync", "", err))
		}
	}
}

// fail tells of what could not be copied, and goes on.
func (cp *copying) fail(err error) {
	cp.mu.Lock()
	cp.failed++
	if cp.first == nil {
		cp.first = err
	}
	cp.mu.Unlock()
	cp.say(err.Error())
}

// isAbsent tells that nothing is there, on either side.
func isAbsent(err error) bool { return absent(err) || errors.Is(err, os.ErrNotExist) }
