package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// putting is what a put is asked for.
type putting struct {
	ifAbsent, preserve, dry, quiet, json bool
	mode, owner, mtime                   string

	source string // "-" is stdin
}

func newPut() *cobra.Command {
	var p putting
	cmd := &cobra.Command{
		Use:   "put [FILE|-] TARGET",
		Short: "Write a file, or what comes through a pipe, to a bucket, encrypted",
		Long: `put writes one file without a mount; without FILE, or with -, what comes from
stdin, of any length, in bounded memory and disk:

    pg_dumpall | sigilfs put s3://bucket/prefix/dump.sql --encryption client --key file:main.key
    sigilfs put FILE CONFIG.yaml PATH

The file is there as a whole or not at all. It replaces the version that was
there when put began; where another program replaces that meanwhile, or makes
the file, put fails and leaves theirs. After an error or a signal nothing is left
under the name. A pipe does not tell whether its writer has died: have the shell
tell (set -o pipefail), and put under another name first where that matters.

TARGET with a slash at its end is a directory: the file gets its own name there.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 3 {
				return usageError("sigilfs put FILE s3://bucket/prefix/file --encryption client --key file:main.key")
			}
			return nil
		},
	}
	s := defaultSettings()
	cmd.RunE = func(c *cobra.Command, args []string) error {
		target, in, err := p.arguments(args)
		if err != nil {
			return err
		}
		how := writes | aFile
		if p.dry {
			how = aFile
		}
		return withVolume(c, s, target, in, how, func(ctx context.Context, o *offline) error { return p.run(ctx, c, o) })
	}
	s.addFlags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&p.ifAbsent, "if-absent", false, "fail where there is a file already")
	f.StringVar(&p.mode, "mode", "", "`MODE` of the file, in octal (default: as it was, of a new one 0666 less the umask)")
	f.StringVar(&p.owner, "owner", "", "`USER[:GROUP]` whose the file is (default: as it was, of a new one yours)")
	f.StringVar(&p.mtime, "mtime", "", "`TIME` of its last change, as 2006-01-02T15:04:05Z or @SECONDS (default: now)")
	f.BoolVarP(&p.preserve, "preserve", "p", false, "take mode, owner and time of the last change of FILE")
	f.BoolVar(&p.dry, "dry-run", false, "say what would be written, and write nothing; stdin is not read")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "do not tell how far it is")
	f.BoolVar(&p.json, "json", false, "tell how far it is as JSON on stdout, an object a line")
	return cmd
}

// arguments are [FILE] TARGET, or [FILE] CONFIG.yaml PATH.
func (p *putting) arguments(args []string) (target, in string, err error) {
	last := args[len(args)-1]
	rest := args[:len(args)-1]
	if !isRemote(last) {
		if len(rest) == 0 || !isFile(rest[len(rest)-1]) {
			return "", "", usageError("%q is not a bucket; write sigilfs put FILE s3://bucket/prefix/file, or CONFIG.yaml PATH", last)
		}
		target, in, rest = rest[len(rest)-1], last, rest[:len(rest)-1]
	} else {
		target = last
	}
	switch len(rest) {
	case 0:
		p.source = "-"
	case 1:
		p.source = rest[0]
	default:
		return "", "", usageError("sigilfs put [FILE|-] TARGET: one file at a time; sigilfs cp copies several")
	}
	name := in + target
	if in != "" {
		name = in
	}
	if !strings.HasSuffix(name, "/") {
		return target, in, nil
	}
	if p.source == "-" {
		return "", "", usageError("%s is a directory, and what comes from stdin has no name: give one", name)
	}
	if in != "" {
		return target, in + filepath.Base(p.source), nil
	}
	return target + filepath.Base(p.source), "", nil
}

func (p *putting) run(ctx context.Context, c *cobra.Command, o *offline) error {
	src, err := p.open(c)
	if err != nil {
		return err
	}
	defer src.Close()
	change, err := p.change(src)
	if err != nil {
		return err
	}
	at, err := o.creatable(ctx, o.path)
	if err != nil {
		return o.explain("write", o.path, err)
	}
	if p.dry {
		return p.would(ctx, c, o, at)
	}
	bar := p.bar(c, src)
	defer bar.Done()
	f, err := o.beginFile(ctx, at, p.ifAbsent)
	if err != nil {
		return o.explain("write", o.path, err)
	}
	err = fill(ctx, f, src, func(n int64) { bar.Add(0, n) })
	if err = o.finishFile(ctx, f, change, err); err != nil {
		return o.explain("write", o.path, err)
	}
	bar.Add(1, 0)
	return nil
}

// would tells what a put to at would do, and refuses what that would.
func (p *putting) would(ctx context.Context, c *cobra.Command, o *offline, at string) error {
	did := "replace"
	_, err := o.files.Stat(ctx, at)
	switch {
	case absent(err):
		did = "write"
	case err == nil && p.ifAbsent:
		return o.explain("write", o.path, volume.ErrExist)
	case err != nil:
		return o.explain("write", o.path, err)
	}
	to := fullName(&volumeTree{o: o}, at)
	out := &printer{bar: tellProgress(c, "writing", true, p.json), json: p.json, out: c.OutOrStdout()}
	out.line(fmt.Sprintf("would %s %s", did, shownName(to)), event{"event": "would-" + did, "to": to})
	out.bar.Done()
	if out.bad != nil {
		return systemError("%w", out.bad)
	}
	return nil
}

func (p *putting) bar(c *cobra.Command, src *os.File) *progress.Progress {
	bar := tellProgress(c, "writing", p.quiet, p.json)
	if info, err := src.Stat(); err == nil && info.Mode().IsRegular() {
		bar.Total(1, info.Size())
	}
	return bar
}

// tellProgress tells how far a command is: events on stdout, or else on stderr.
func tellProgress(c *cobra.Command, what string, quiet, asJSON bool) *progress.Progress {
	switch {
	case asJSON:
		return progress.New(c.OutOrStdout(), progress.Options{What: what, JSON: true})
	case quiet:
		return nil
	}
	return progress.New(c.ErrOrStderr(), progress.Options{What: what})
}

func (p *putting) open(c *cobra.Command) (*os.File, error) {
	if p.source == "-" {
		if f, ok := c.InOrStdin().(*os.File); ok {
			return f, nil
		}
		return nil, systemError("stdin is not a file")
	}
	f, err := os.Open(p.source)
	if err != nil {
		return nil, systemError("%w", err)
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, errors.Join(systemError("%s is a directory; sigilfs cp -r copies it", p.source), f.Close())
	}
	return f, nil
}

// change is what was asked for of the attributes.
func (p *putting) change(src *os.File) (c volume.Change, err error) {
	if p.preserve {
		var st unix.Stat_t
		if err := unix.Fstat(int(src.Fd()), &st); err != nil {
			return c, systemError("%s: %w", p.source, err)
		}
		mode, mtime := st.Mode&0o7777, st.Mtim.Nano()
		c.Mode, c.UID, c.GID, c.Mtime = &mode, &st.Uid, &st.Gid, &mtime
	}
	if p.mode != "" {
		mode, err := option.Mode(p.mode)
		if err != nil {
			return c, usageError("--mode: %w", err)
		}
		c.Mode = &mode
	}
	if p.owner != "" {
		user, group, both := strings.Cut(p.owner, ":")
		if user != "" {
			uid, err := option.UID(user)
			if err != nil {
				return c, usageError("--owner: %w", err)
			}
			c.UID = &uid
		}
		if both {
			gid, err := option.GID(group)
			if err != nil {
				return c, usageError("--owner: %w", err)
			}
			c.GID = &gid
		}
	}
	if p.mtime != "" {
		at, err := parseTime(p.mtime)
		if err != nil {
			return c, usageError("--mtime: %w", err)
		}
		ns := at.UnixNano()
		c.Mtime = &ns
	}
	return c, nil
}

func parseTime(s string) (time.Time, error) {
	if seconds, ok := strings.CutPrefix(s, "@"); ok {
		d, err := time.ParseDuration(seconds + "s")
		if err != nil || strings.ContainsAny(seconds, "hmnuµμs") {
			return time.Time{}, fmt.Errorf("%q is not a number of seconds", s)
		}
		return time.Unix(0, int64(d)), nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time as 2006-01-02T15:04:05Z", s)
	}
	if !time.Unix(0, at.UnixNano()).Equal(at) { // 1677 to 2262
		return time.Time{}, fmt.Errorf("%q is a time that no file can have", s)
	}
	return at, nil
}

// creatable gives where a file at p goes: symbolic links are followed, and what
// is above it are directories, or nothing yet.
func (o *offline) creatable(ctx context.Context, p string) (string, error) {
	at, info, err := o.follow(ctx, p)
	switch {
	case err == nil && info.Mode&unix.S_IFMT == unix.S_IFDIR:
		return "", volume.ErrIsDir
	case err == nil && info.Mode&unix.S_IFMT != unix.S_IFREG:
		return "", fmt.Errorf("not a regular file: %w", volume.ErrInvalid)
	case err == nil:
		return at, nil
	case !absent(err):
		return "", err
	}
	return at, o.parents(ctx, at)
}

// parents refuses a path that goes through a file.
func (o *offline) parents(ctx context.Context, p string) error {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		info, err := o.files.Stat(ctx, dir)
		switch {
		case absent(err):
			continue
		case err != nil:
			return err
		case info.Mode&unix.S_IFMT != unix.S_IFDIR:
			return fmt.Errorf("%q: %w", dir, volume.ErrNotDir)
		}
		return nil
	}
	return nil
}

// beginFile opens the file at p to be written anew, or makes it. Nothing is in
// the bucket before finishFile.
func (o *offline) beginFile(ctx context.Context, p string, ifAbsent bool) (*volume.File, error) {
	f, err := o.files.Open(ctx, p, volume.OpenOptions{Write: true, Truncate: !ifAbsent})
	switch {
	case err == nil && ifAbsent:
		f.Release()
		return nil, volume.ErrExist
	case !errors.Is(err, volume.ErrNotExist):
		return f, err
	}
	a := volume.Attr{Mode: 0o666 &^ o.mask, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	return o.files.Create(ctx, p, a, ifAbsent)
}

// umask is the process's, which can only be read by setting it (umask(2)): to be
// asked for while nothing else runs.
func umask() uint32 {
	m := unix.Umask(0o077)
	unix.Umask(m)
	return uint32(m)
}

// finishFile sets the attributes of what was written and puts it into the bucket,
// unless writing has failed: f goes either way.
func (o *offline) finishFile(ctx context.Context, f *volume.File, change volume.Change, failed error) error {
	err := failed
	if err == nil && !unchanged(change) {
		_, err = f.SetAttr(ctx, change)
	}
	if err == nil {
		err = f.Commit(ctx)
	}
	if err == nil {
		f.Release()
		return nil
	}
	f.Discard(ctx)
	if errors.Is(err, volume.ErrChanged) {
		return fmt.Errorf("another program was first, and what it wrote stands: %w", err)
	}
	return err
}

func unchanged(c volume.Change) bool {
	return c.Mode == nil && c.UID == nil && c.GID == nil && c.Mtime == nil && c.Ctime == nil && c.Size == nil && len(c.Xattrs) == 0
}

// fill writes all of src to f, in order.
func fill(ctx context.Context, f *volume.File, src *os.File, done func(int64)) error {
	buf := make([]byte, readPiece)
	for off := int64(0); ; {
		n, err := readSome(ctx, src, buf)
		if n > 0 {
			if _, werr := f.WriteAt(ctx, buf[:n], off); werr != nil {
				return werr
			}
			off += int64(n)
			done(int64(n))
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return mountError("interrupted; nothing was written")
		case err != nil:
			return systemError("%w", err)
		}
	}
}

// readSome reads until buf is full, src ends, or ctx does: a read(2) of a pipe
// is waited for by poll(2), since no signal ends it.
func readSome(ctx context.Context, src *os.File, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		if err := readable(ctx, src); err != nil {
			return n, err
		}
		got, err := src.Read(buf[n:])
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// pollEvery is how soon the end of a context is seen, in ms.
const pollEvery = 100

func readable(ctx context.Context, src *os.File) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		fds := []unix.PollFd{{Fd: int32(src.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, pollEvery)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for %s: %w", src.Name(), err)
		case n > 0:
			return nil
		}
	}
}
